from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from importlib import resources
from itertools import combinations

import numpy as np
import pytest
import yaml

from capwright.scenes.drawing import area_shapes, draw, looks, rasterize, svg
from capwright.scenes.sheet import contact_sheet, toy_sheet
from capwright.scenes.svg_files import drawing_names, svg_text
from capwright.scenes.toybox import INKS, LOOK_ALIKES, shades, toy_names, toy_shapes
from capwright.scenes.world import ACTIVITIES, AREAS, COLORS, Child, PlacedToy, Scene
from capwright.types import CapwrightError

NAMES = tuple(yaml.safe_load((resources.files("capwright.scenes") / "vocabulary.yaml").read_text(encoding="utf-8")))
PLACES = {area: category for category, areas in AREAS.items() for area in areas}


def scene(toys=(), children=(), area="block corner", seed=0, index=0):
    return Scene(seed, index, PLACES.get(area, "learning centers"), area, tuple(children), tuple(toys))


def toy(name="geoboard", color="red", count=1, x=0.5, size=0.34):
    return PlacedToy(name, color, count, "middle", x, 0.78, size)


def child(activity="standing", shirt="blue", look=0, x=0.5):
    return Child(activity, shirt, look, x, 0.5, 0.42)


def pixels(image):
    return np.asarray(image, dtype=float)


def thumbnail(name, color="red", size=34):
    return pixels(
        rasterize(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{toy_shapes(name, color)}</svg>', size
        )
    )


def test_every_term_has_a_drawing_and_every_drawing_a_term():
    assert sorted(NAMES) == list(toy_names())
    assert len(NAMES) == 45


@pytest.mark.parametrize("name", NAMES)
def test_toy_file_is_a_plain_tintable_svg(name):
    text = svg_text("toys", name)
    root = ET.fromstring(text)
    assert root.get("viewBox") == "0 0 100 100"
    kinds = {element.tag.rsplit("}", 1)[1] for element in root.iter()}
    assert kinds <= {"svg", "g", "path", "rect", "circle", "ellipse", "polygon"}
    assert "{main}" in text
    assert set(re.findall(r"{.*?}", text)) <= {"{main}", "{dark}", "{light}"}


@pytest.mark.parametrize("name", NAMES)
def test_toy_fills_its_box_and_shows_its_color(name):
    red, blue = thumbnail(name, "red"), thumbnail(name, "blue")
    drawn = np.argwhere((red < 250).any(axis=2))
    assert np.ptp(drawn, axis=0).max() >= 30, "drawing is too small"
    assert np.ptp(drawn, axis=0).min() >= 22, "drawing is too slim"
    changed = np.abs(red - blue).max(axis=2) > 60
    assert changed.mean() > 0.05, "main color hardly shows"


def test_no_two_toys_look_the_same_in_the_same_color():
    images = {name: thumbnail(name) for name in NAMES}
    for one, other in combinations(NAMES, 2):
        best = min(np.abs(images[one] - view).mean() for view in (images[other], images[other][:, ::-1]))
        assert best > 20, f"{one} and {other} differ by {best:.1f} only"


def test_look_alikes_are_known_toys_and_many():
    assert len(set(map(frozenset, LOOK_ALIKES))) == len(LOOK_ALIKES) >= 15
    assert all(a in NAMES and b in NAMES and a != b for a, b in LOOK_ALIKES)


def test_every_area_and_posture_has_a_drawing_whose_placeholders_are_filled():
    assert drawing_names("areas") == tuple(sorted(PLACES))
    assert drawing_names("postures") == tuple(sorted(ACTIVITIES))
    for activity in ACTIVITIES:
        named = set(re.findall(r"{(.*?)}", svg_text("postures", activity)))
        assert named <= {"main", "dark", *looks()[0]}
        assert "{" not in svg(scene(children=[child(activity)]))


def test_areas_all_differ():
    images = {area: pixels(draw(scene(area=area), 48)) for area in PLACES}
    assert len(images) == 9
    for one, other in combinations(images, 2):
        views = (images[other], images[other][:, ::-1])
        assert min(np.abs(images[one] - view).mean() for view in views) > 8, (one, other)


def test_areas_stay_light():
    for area in PLACES:
        floor = pixels(
            rasterize(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{area_shapes(area)}</svg>', 96)
        )
        assert floor[60:].mean() > 205, area


def test_postures_and_looks_all_differ():
    figures = {
        (a, k): pixels(draw(scene(children=[child(a, look=k)]))) for a in ACTIVITIES for k in range(len(looks()))
    }
    assert len(looks()) == 6
    for one, other in combinations(figures, 2):
        assert np.abs(figures[one] - figures[other]).sum() > 5_000, (one, other)


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_shirt_color_shows(activity):
    red, green = (pixels(draw(scene(children=[child(activity, shirt)]))) for shirt in ("red", "green"))
    assert (np.abs(red - green).max(axis=2) > 60).sum() > 40


def test_more_copies_take_more_room_and_stay_inside():
    blank = pixels(draw(scene()))
    widths = []
    for count in (1, 2, 3):
        drawn = np.abs(pixels(draw(scene([toy(count=count, size=0.26)]))) - blank).max(axis=2) > 60
        columns = np.flatnonzero(drawn.any(axis=0))
        widths.append(columns[-1] - columns[0])
    assert widths[0] < widths[1] < widths[2]
    for x in (0.0, 1.0):
        shifted = svg(scene([toy(count=3, size=0.26, x=x)]))
        lefts = [
            float(value)
            for value in re.findall(
                r'<ellipse cx="([-\d.]+)" cy="[\d.]+" rx="[\d.]+" ry="[\d.]+" fill="#3a2a20"', shifted
            )
        ]
        assert len(lefts) == 3
        assert min(lefts) > 10
        assert max(lefts) < 90


def test_same_scene_same_bytes_and_other_index_other_shade():
    one = scene([toy("abacus", "blue", 2)], [child("waving")], "garden", 5, 6)
    assert svg(one) == svg(one)
    assert draw(one).tobytes() == draw(one).tobytes()
    other = scene([toy("abacus", "blue", 2)], [child("waving")], "garden", 5, 7)
    assert draw(one).tobytes() != draw(other).tobytes()


def test_order_of_listing_at_equal_depth_keeps_document_stable():
    pair = [toy("abacus", "blue", x=0.3), toy("xylophone", "red", x=0.7)]
    document = svg(scene(pair))
    ET.fromstring(document)
    assert document.index(shades("blue", "0/0/toy/0")[0]) < document.index(shades("red", "0/0/toy/1")[0])


@pytest.mark.parametrize("size", [96, 160, 224, 640])
def test_sizes(size):
    image = draw(scene([toy()], [child()]), size)
    assert image.size == (size, size)
    assert image.mode == "RGB"


@pytest.mark.parametrize("size", [0, -5, 15, 4097, 96.5, "96", None, True])
def test_bad_size_is_named(size):
    with pytest.raises(CapwrightError, match="size is"):
        draw(scene(), size)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (scene([toy("teapot")]), "no drawing of 'teapot'"),
        (scene([toy(color="teal")]), "unknown color 'teal'"),
        (scene([toy(count=4)]), "count is 4"),
        (scene(children=[child("flying")]), "unknown activity 'flying'"),
        (scene(children=[child(look=6)]), "unknown look 6"),
        (scene(area="moon"), "unknown area 'moon'"),
    ],
)
def test_what_can_not_be_drawn_is_named(bad, message):
    with pytest.raises(CapwrightError, match=message):
        draw(bad)


def test_rasterizer_complaint_is_passed_on(monkeypatch):
    def refuse(**_):
        raise ValueError("no root node")

    monkeypatch.setattr("capwright.scenes.drawing.resvg_py.svg_to_bytes", refuse)
    with pytest.raises(CapwrightError, match="cannot rasterize"):
        rasterize("<svg", 32)


def test_color_words_match_the_world_and_stay_apart():
    assert tuple(INKS) == COLORS
    for color in COLORS:
        reds = {shades(color, str(i))[0] for i in range(50)}
        assert len(reds) > 20
    with pytest.raises(CapwrightError, match="unknown color"):
        shades("teal")


def test_contact_sheet():
    sheet = contact_sheet(
        [scene(index=i) for i in range(5)], ["A room with a caption that is long enough to wrap."] * 5, 100, 3
    )
    assert sheet.mode == "RGB"
    assert sheet.width > 300
    assert sheet.height > 240
    assert contact_sheet([scene()], [""], 64).width < 100


def test_contact_sheet_errors():
    with pytest.raises(CapwrightError, match="at least one"):
        contact_sheet([], [])
    with pytest.raises(CapwrightError, match="caption per scene"):
        contact_sheet([scene()], [])
    with pytest.raises(CapwrightError, match="columns"):
        contact_sheet([scene()], ["x"], columns=0)


def test_toy_sheet_shows_all():
    sheet = toy_sheet(48)
    assert sheet.width >= 9 * 48
    assert sheet.height >= 5 * 48
