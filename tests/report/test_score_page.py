"""The report of scored captions: what it says follows from the numbers, and nothing a caption says can break it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup, escape

from capwright.evaluation import Comparison, Estimate, Evaluation, Scoring, adjust, compare, evaluate, prepare_scorers
from capwright.report import write_score_report
from capwright.report.length_charts import mean_line
from capwright.report.ngram_marks import NgramMark, ngram_marks, shade
from capwright.report.pages import visible
from capwright.report.parts import scale_of
from capwright.report.score_sheet import choose_lead, make_sheet, values_of
from capwright.report.slices import MOST_PARTS, divide, measure_part
from capwright.scenes import vocabulary
from capwright.scorers import Scorer
from capwright.types import NO_IMAGE, DataError, Sample
from fake_run import fake_samples
from html_page import Page, luminance
from overlap import Overlap
from places import SOURCE

TEMPLATES = SOURCE / "report/templates"
WORDS = [
    "a",
    "dog",
    "cat",
    "man",
    "sits",
    "runs",
    "on",
    "the",
    "red",
    "grass",
    "sofa",
    "near",
    "with",
    "two",
    "children",
]


def text_samples(n: int = 120) -> list[Sample]:
    """Images without images: two or three references each, three categories, two splits."""
    dice = np.random.default_rng(5)
    made = []
    for i in range(n):
        references = tuple(" ".join(dice.choice(WORDS, 8)) for _ in range(2 + i % 2))
        meta = {"category": ("kitchen", "street", "garden")[i % 3]}
        made.append(Sample(f"image-{i}", NO_IMAGE, references, split="val" if i % 4 else "test", meta=meta))
    return made


def captions_of(samples: Sequence[Sample], right: float, seed: int = 1, words: int = 8) -> dict[str, str]:
    """Captions of which a share of words is taken from the first reference, others are strange."""
    dice = np.random.default_rng(seed)
    return {
        s.id: " ".join(w if dice.random() < right else "xyz" for w in dice.choice(s.references[0].split(), words))
        for s in samples
    }


def measure(
    samples: Sequence[Sample],
    systems: Mapping[str, Mapping[str, Any]],
    scorers: Sequence[str | Scorer] = (Overlap(), "length"),
) -> tuple[list[Evaluation], list[Comparison]]:
    rulers = prepare_scorers(samples, scorers)
    found = [evaluate(samples, rows, rulers, replicates=200, name=name) for name, rows in systems.items()]
    pairs = [c for e in found[1:] for c in compare(found[0], e, test="randomization", trials=500)]
    return found, adjust(pairs)


def page_of(
    path: Path, samples: Sequence[Sample], measured: tuple[list[Evaluation], list[Comparison]], **options: Any
) -> Page:
    evaluations, comparisons = measured
    written = write_score_report(path / "page.html", evaluations, samples, comparisons=comparisons, **options)
    return Page(written.read_text("utf-8"))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return text_samples()


@pytest.fixture(scope="module")
def two(samples: list[Sample]) -> tuple[list[Evaluation], list[Comparison]]:
    return measure(samples, {"plain": captions_of(samples, 0.3), "better": captions_of(samples, 0.9, 2)})


def test_it_says_who_leads_and_shows_the_numbers(tmp_path: Path, samples: list[Sample], two: Any) -> None:
    page = page_of(tmp_path, samples, two, title="A duel")
    plain, better = (e.estimate("overlap") for e in two[0])
    assert "better scores better than plain on overlap." in page.text
    assert f"overlap: {plain.value:.3f} for plain and {better.value:.3f} for better." in page.text
    for one in (plain, better):
        assert f"{one.value:.3f} {one.low:.3f} to {one.high:.3f}" in page.text
    (test,) = [c for c in two[1] if c.score == "overlap.overlap"]
    assert f"+{test.difference:.3f} +{test.low:.3f} to +{test.high:.3f}" in page.text
    assert "clearly better p = 0.0" in page.text
    assert f"higher on {test.wins} images, lower on {test.losses}" in page.text
    assert f"p is corrected for {len(two[1])} tests (Holm)" in page.text
    assert "A duel · capwright report" in page.text
    assert "overlap|v:1|ci:jackknife|unit:image" in page.text
    assert [a["id"] for a in page.all("section")] == ["scores", "length", "slices", "gallery", "method"]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_a_difference_that_may_be_chance_is_called_so(tmp_path: Path, samples: list[Sample]) -> None:
    measured = measure(samples, {"one": captions_of(samples, 0.5, 1), "other": captions_of(samples, 0.5, 2)})
    page = page_of(tmp_path, samples, measured)
    assert "Nothing sets other apart from one: the difference in overlap may be chance." in page.text
    assert "may be chance p = " in page.text
    page = page_of(tmp_path, samples, (measured[0], []))
    assert "how much of a difference is chance is unknown" in page.text
    assert "No paired comparison with one was given." in page.text


def test_lower_is_better_turns_the_verdict(tmp_path: Path, samples: list[Sample]) -> None:
    said = {"plain": captions_of(samples, 0.3), "more": captions_of(samples, 0.9, 2)}
    page = page_of(tmp_path, samples, measure(samples, said, [Overlap("errors", better=False)]))
    assert "plain scores better than more on errors." in page.text
    assert "clearly worse p" in page.text
    assert "errors lower is better" in page.text
    assert "with the highest errors of more." in page.text


def test_many_systems_and_what_leads_by_chance(tmp_path: Path, samples: list[Sample]) -> None:
    said = {name: captions_of(samples, right, 3) for name, right in (("a", 0.5), ("b", 0.9), ("c", 0.2), ("d", 0.2))}
    page = page_of(tmp_path, samples, measure(samples, said))
    assert "b leads on overlap." in page.text
    assert "Against a, b is clearly better on overlap. Against a, c and d are clearly worse on overlap." in page.text
    assert "Only differences from a were tested" in page.text
    assert len(page.all("svg", "chart")) == 4
    near = {"a": captions_of(samples, 0.5, 3), "b": captions_of(samples, 0.52, 4), "c": captions_of(samples, 0.1, 3)}
    measured = measure(samples, near)
    best = max(measured[0], key=lambda e: e.estimate("overlap").value).name
    assert f"{best} leads on overlap (may be chance)." in page_of(tmp_path, samples, measured).text


def test_one_system_alone(tmp_path: Path, samples: list[Sample], two: Any) -> None:
    page = page_of(tmp_path, samples, (two[0][1:], []))
    one = two[0][1].estimate("overlap")
    assert f"better scores {one.value:.3f} on overlap, likely between {one.low:.3f} and {one.high:.3f}." in page.text
    assert "There is no second system to compare with." in page.text
    assert "on the same images" not in page.text


def test_scores_that_a_system_was_trained_on_are_marked_and_do_not_lead(tmp_path: Path, samples: list[Sample]) -> None:
    said = {"plain": captions_of(samples, 0.3), "tuned": captions_of(samples, 0.9, 2)}
    measured = measure(samples, said, [Overlap("reward"), Overlap("other", better=False, high=100), "length"])
    page = page_of(tmp_path, samples, measured, trained_on={"tuned": {"reward"}})
    assert "plain scores better than tuned on other." in page.text
    assert "tuned was trained on reward: that score says how well the training worked" in page.text
    assert len(page.all("small", "trained")) == 2  # its cell in the table, and the comparison
    assert "other of each image against the words" in page.text
    page = page_of(tmp_path, samples, measured, trained_on={"tuned": {"reward", "other"}})
    assert "Every score here was trained on, so none of them can judge." in page.text
    assert not page_of(tmp_path, samples, measured).all("small", "trained")


def test_numbers_are_written_by_their_range(tmp_path: Path, samples: list[Sample], two: Any) -> None:
    said = {"plain": captions_of(samples, 0.3)}
    measured = measure(samples, said, [Overlap("percent", high=100), Overlap("ten", high=10), "length"])
    page, (one,) = page_of(tmp_path, samples, measured), measured[0]
    assert f"{one.estimate('percent').value:.1f} {one.estimate('percent').low:.1f} to" in page.text
    assert f"{one.estimate('ten').value:.3f} {one.estimate('ten').low:.3f} to" in page.text
    assert "8.0 words" in page.text


def test_length_is_warned_about(tmp_path: Path, samples: list[Sample]) -> None:
    said = {"brief": captions_of(samples, 0.5), "wordy": captions_of(samples, 0.5, words=26)}
    measured = measure(samples, said)
    page = page_of(tmp_path, samples, measured)
    assert "Captions of wordy are 3.2 times as long as the references (26.0 against 8.0 words)" in page.text
    told = page_of(tmp_path, samples, measured, findings=["wordy: captions are 3.2 times as long as the references"])
    assert told.text.count("3.2 times as long as the references") == 1
    said["wordy"] = captions_of(samples, 0.5, words=16)
    page = page_of(tmp_path, samples, measure(samples, said))
    assert "Captions of wordy are 2.0 times as long as those of brief (16.0 against 8.0 words)" in page.text


def test_what_is_unknown_is_not_zero(tmp_path: Path, samples: list[Sample]) -> None:
    said: dict[str, Any] = {"whole": captions_of(samples, 0.5), "holes": dict(captions_of(samples, 0.5))}
    said["holes"] |= {"image-0": {"caption": "", "status": "timeout"}}
    del said["holes"]["image-1"]
    measured = measure(samples, said)
    page = page_of(tmp_path, samples, measured, limit=120, not_installed={"meteor": "not installed: <ask>"})
    assert "2 images of holes have no usable caption and are in none of its scores." in page.text
    assert "2 images unknown" in page.text
    assert "1 missing caption, 1 timeout" in page.text
    assert "Requested but not measured: METEOR." in page.text
    assert "not installed: <ask>" in page.text
    assert "of 118 images with the lowest overlap of holes" in page.text
    lost = measure(samples, {"none": {s.id: {"caption": "", "status": "refusal"} for s in samples}})
    page = page_of(tmp_path, samples, lost)
    assert "These captions have no score yet." in page.text
    assert "overlap unknown" in page.text
    assert "none was asked for, or none has a score" in page.text


def test_few_images_and_people_are_caveats(tmp_path: Path) -> None:
    few = text_samples(6)
    said = {"nn": captions_of(few, 0.5), "human4": captions_of(few, 0.5)}
    page = page_of(tmp_path, few, measure(few, said), findings=["swapped?", "swapped?"])
    assert "Only 6 images were measured." in page.text
    assert "human4: captions of people can score lower on CIDEr than automatic ones." in page.text
    assert page.text.count("swapped?") == 1


def test_without_a_scorer_of_images_the_page_says_so(tmp_path: Path, samples: list[Sample]) -> None:
    page = page_of(tmp_path, samples, measure(samples, {"one": captions_of(samples, 0.5)}, ["length"]))
    assert "Nothing measured here says which captions are better." in page.text
    assert "length.words" not in page.text
    assert "Worst first" not in page.text


def test_slices_are_measured_as_the_whole_is(samples: list[Sample], two: Any) -> None:
    sheet = make_sheet(Scoring(tuple(two[0]), samples=samples))
    assert sheet.lead is not None
    everything = np.arange(len(samples))
    for (measure, n), evaluation in zip(measure_part(sheet.systems, sheet.lead, everything), two[0]):
        whole = evaluation.estimate("overlap")
        assert n == len(samples)
        assert (measure.value, measure.low, measure.high) == pytest.approx((whole.value, whole.low, whole.high))
    parts = {
        division.name: {part.name: len(part.images) for part in division.parts}
        for division in divide(sheet, sheet.lead)
    }
    assert parts["References of the image"] == {"2": 60, "3": 60}
    assert parts["Split"] == {"test": 30, "val": 90}
    assert parts["Category"] == {"garden": 40, "kitchen": 40, "street": 40}
    assert "Tier of a name in the image" not in parts
    assert "Words of the caption, mean of all systems" not in parts  # all are of one length
    category = next(d for d in divide(sheet, sheet.lead) if d.name == "Category")
    garden = category.parts[0]
    assert set(garden.images.tolist()) == set(range(2, 120, 3))
    rows = two[0][0].scores["overlap"].rows[garden.images].sum(0)
    assert garden.measures[0][0].value == pytest.approx(rows[0] / rows[1])
    assert measure_part(sheet.systems, sheet.lead, np.array([4]))[0] == (Estimate(), 1)  # one image: unknown


def test_thirds_by_length_never_part_equal_lengths(samples: list[Sample]) -> None:
    said = {s.id: " ".join(["dog"] * (4 if i < 70 else 9 if i < 100 else 20)) for i, s in enumerate(samples)}
    sheet = make_sheet(Scoring(tuple(measure(samples, {"one": said})[0]), samples=samples))
    assert sheet.lead is not None
    lengths = next(d for d in divide(sheet, sheet.lead) if d.name == "Words of the caption")
    assert [(part.name, len(part.images)) for part in lengths.parts] == [("4", 70), ("9", 30), ("20", 20)]


def test_clusters_stay_together_in_slices(samples: list[Sample]) -> None:
    dependent = [replace(s, meta={"category": str(i % 2), "video": f"v{i // 40}"}) for i, s in enumerate(samples)]
    rulers = prepare_scorers(dependent, [Overlap()])
    said = captions_of(dependent, 0.5)
    wide = evaluate(dependent, said, rulers, replicates=300, cluster="video")
    sheet = make_sheet(Scoring((wide,), samples=dependent))
    assert sheet.lead is not None
    (found, _), whole = measure_part(sheet.systems, sheet.lead, np.arange(120))[0], wide.estimate("overlap")
    assert (found.low, found.high) == pytest.approx((whole.low, whole.high))


def test_many_categories_are_cut_and_said_so(tmp_path: Path, samples: list[Sample]) -> None:
    many = [replace(s, meta={"category": [f"c{i % 20}", "all"]}) for i, s in enumerate(samples)]
    page = page_of(tmp_path, many, measure(many, {"one": captions_of(many, 0.5)}))
    assert f"{21 - MOST_PARTS} smaller ones are not shown" in page.text


def cards_of(text: str) -> list[str]:
    return [card.split("</article>")[0] for card in text.split('<article class="card')[1:]]


def test_worst_and_most_divergent_images_are_chosen_by_rule(tmp_path: Path, samples: list[Sample], two: Any) -> None:
    evaluations, comparisons = two
    path = write_score_report(tmp_path / "p.html", evaluations, samples, comparisons=comparisons, limit=6)
    cards = cards_of(path.read_text("utf-8"))
    ids = [re.search(r'class="id">([^<]*)', card)[1] for card in cards]
    sheet = make_sheet(Scoring(tuple(evaluations), samples=samples))
    first, last = (values_of(system, sheet.lead) for system in sheet.systems)
    worst = np.argsort(last, kind="stable")[:3].tolist()
    gaps = [i for i in np.argsort(-np.abs(last - first), kind="stable").tolist() if i not in worst][:3]
    assert ids == [samples[i].id for i in [*worst, *gaps]]
    assert all("textual" in card.split('"')[0] for card in cards)
    for place, card in zip(worst, cards):
        for reference in samples[place].references:
            assert reference in card
        assert f"overlap {last[place]:.3f}" in card


def test_one_system_shows_where_two_scores_part(tmp_path: Path, samples: list[Sample]) -> None:
    said = {"one": captions_of(samples, 0.5) | {"image-7": "dog", "image-8": "xyz"}}
    measured = measure(samples, said, [Overlap("first"), Overlap("second", better=False)])
    page = page_of(tmp_path, samples, measured, limit=8)
    assert "The images that first and second rank most differently among all" in page.text
    assert len(page.all("article", "card")) == 8
    assert "Where two scores disagree" not in page_of(tmp_path, samples, measure(samples, said, [Overlap()])).text


def test_hostile_captions_are_only_text(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(2)> \u202egnol\u202c \x00\x0b\r\u2028 \ud800 & dog '
    few = text_samples(4)
    few[0] = replace(few[0], id=evil, references=(evil * 3, evil))
    few += [replace(few[1], id="long", references=("dog " * 4000,) * 30)]
    said = {evil: captions_of(few, 0.5) | {evil: evil, "long": "dog sits " * 5000}, "b": captions_of(few, 0.5)}
    measured = measure(few, said)
    page = page_of(tmp_path, few, measured, title=evil, findings=[evil], not_installed={evil: evil})
    assert not page.all("script")
    assert not [a for a in page.all("img") if a.get("src") == "x"]
    assert "<script>alert(1)</script>" in page.text
    assert "[U+202E]gnol[U+202C] [U+0000][U+000B]" in page.text
    assert not re.search("[\x00\u202e\u2028\ud800]", (tmp_path / "page.html").read_text("utf-8"))
    assert "… and 44,100 more characters" in page.text
    assert "and 22 more" in page.text
    assert (tmp_path / "page.html").stat().st_size < 300_000


def test_same_inputs_same_bytes_and_nothing_from_elsewhere(tmp_path: Path, samples: list[Sample], two: Any) -> None:
    evaluations, comparisons = two
    for name in ("one.html", "two.html"):
        write_score_report(tmp_path / name, evaluations, samples, comparisons=comparisons)
    text = (tmp_path / "one.html").read_text("utf-8")
    assert (tmp_path / "two.html").read_text("utf-8") == text
    page = Page(text)
    assert {a["href"] for a in page.all("a")} == {"#gallery", "#scores", "#length", "#slices", "#method"}
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not re.search(r"https?://|url\(|@import", text)


def test_marks_of_names_and_of_words_stand_together(tmp_path: Path) -> None:
    scenes = fake_samples(tmp_path / "images", 6, size=48)
    said = {s.id: s.references[0] for s in scenes}
    said[scenes[0].id] = f"A rocket ship. {scenes[0].references[0]}"
    measured = measure(scenes, {"expert": said}, ["tts", Overlap(), "length"])
    page = page_of(tmp_path, scenes, measured, vocabulary=vocabulary())
    names = {term.name for s in scenes for term in s.terms if term.level == "professional"}
    assert len(page.all("mark", "right")) > len(scenes)
    assert page.all("span", "n4")
    assert len(page.all("img")) == len(scenes)
    assert all(name in page.text for name in names)
    assert "Tier of a name in the image" in page.text
    assert "said by expert" in page.text
    bare = [replace(s, terms=()) for s in scenes]
    page = page_of(tmp_path, bare, measure(bare, {"expert": said}), vocabulary=vocabulary())
    assert len(page.all("mark")) == 0
    assert "right name" not in page.text


def test_several_captions_of_an_image_are_shown(tmp_path: Path, samples: list[Sample]) -> None:
    said: dict[str, Any] = {s.id: [f"dog {s.id}", "cat", "man", "sofa"] for s in samples}
    page = page_of(tmp_path, samples, measure(samples, {"beams": said}), limit=3)
    assert page.text.count("beams, caption 3 of 4") == 3
    assert "beams, caption 4 of 4" not in page.text


def test_photos_are_credited(tmp_path: Path, photo_dataset: Path) -> None:
    from capwright.data import open_dataset

    photos = list(open_dataset(photo_dataset))
    measured = measure(photos, {"one": {s.id: "a dog on a street" for s in photos}})
    page = page_of(tmp_path, photos, measured, limit=2)
    links = [a["href"] for a in page.all("a") if not a["href"].startswith("#")]
    assert len([link for link in links if "creativecommons.org" in link]) == 4  # on the card and in the list
    assert "Photos were made smaller for this page." in page.text


def test_what_does_not_belong_together_is_an_error(tmp_path: Path, samples: list[Sample], two: Any) -> None:
    with pytest.raises(DataError, match="there is no evaluation to report"):
        write_score_report(tmp_path / "p.html", [], samples)
    with pytest.raises(DataError, match="plain was not measured on these samples"):
        write_score_report(tmp_path / "p.html", two[0], samples[1:])
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        write_score_report(tmp_path / "taken" / "p.html", two[0], samples)
    assert write_score_report(tmp_path, two[0], samples) == tmp_path / "report.html"


def test_the_leading_score(samples: list[Sample]) -> None:
    names = ["bleu", "length", "noise", "ciderD"]
    scorers = [Overlap(n, better=None if n == "length" else True) for n in names]
    sheet = make_sheet(
        Scoring(tuple(measure(samples, {"one": captions_of(samples, 0.5)}, scorers)[0]), samples=samples)
    )
    picks = [choose_lead(sheet.scores, trained) for trained in ((), ("ciderD",), ("ciderD", "noise"), names)]
    assert [pick.scorer for pick in picks if pick] == ["ciderD", "noise", "bleu", "ciderD"]
    assert choose_lead((), ()) is None


def test_mean_lines_and_scales(samples: list[Sample], two: Any) -> None:
    words = np.repeat([3.0, 5.0, 9.0], 40)
    assert mean_line(words, words * 2) == [(3.0, 6.0), (5.0, 10.0), (9.0, 18.0)]
    assert mean_line(words[:39], words[:39]) == []
    score = make_sheet(Scoring(tuple(two[0]), samples=samples)).scores[0]
    low, high = scale_of([Estimate(0.4, 0.3, 0.5), Estimate(0.8, 0.7, 0.9), Estimate()], score)
    assert 0.2 < low < 0.3
    assert 0.9 < high < 1.0
    assert scale_of([Estimate(0.4, 0.3, 0.5)], score) == (0.0, 1.0)
    assert scale_of([Estimate(1.0, 0.8, 1.2)], replace(score, high=10.0)) == (0.0, 1.5)
    assert scale_of([Estimate()], score) == (0.0, 1.0)


def test_words_are_marked_by_the_longest_run_a_reference_has() -> None:
    caption = "A dog, on the red sofa near grass"
    marks = ngram_marks(caption, ["the dog on the red mat", "a sofa near", "grass"])
    assert [(caption[m.start : m.end], m.length) for m in marks] == [
        ("A", 1),
        ("dog, on the red", 4),
        ("sofa near", 2),
        ("grass", 1),
    ]
    assert ngram_marks("", ["a"]) == ngram_marks("a", []) == ngram_marks("!?", ["!?"]) == []
    assert ngram_marks("Ｄｏｇ’s", ["dog"]) == [NgramMark(0, 3, 1)]  # full width, possessive


letters = st.text(alphabet=st.sampled_from("ab ,.'-é\u0301ﬁ中文\u200d\u202e\r\n\u2028<&"), max_size=40)


@given(letters, st.lists(letters, max_size=3))
@settings(max_examples=150, deadline=None)
def test_marks_lie_in_the_text_in_order_and_lose_nothing(caption: str, references: list[str]) -> None:
    marks = ngram_marks(caption, references)
    edges = [edge for mark in marks for edge in (mark.start, mark.end)]
    assert edges == sorted(edges)
    assert all(0 <= m.start < m.end <= len(caption) and 1 <= m.length <= 4 for m in marks)
    assert Markup(re.sub("<[^>]*>", "", str(shade(caption, marks)))) == escape(caption)
    half = len(caption) // 2
    pieces = shade(caption[:half], marks) + shade(caption[half:], marks, half)
    assert Markup(re.sub("<[^>]*>", "", str(pieces))) == escape(caption)
    marked = {i for m in marks for i in range(m.start, m.end)}
    for one in references:  # what one reference has, all of them have
        assert {i for m in ngram_marks(caption, [one]) for i in range(m.start, m.end) if caption[i].isalnum()} <= marked


words = st.lists(st.sampled_from("abc"), max_size=9)


@given(words, st.lists(words, max_size=3))
@settings(max_examples=150, deadline=None)
def test_every_word_has_the_length_of_its_longest_ngram(caption: list[str], references: list[list[str]]) -> None:
    texts = [f" {' '.join(reference)} " for reference in references]
    expected = []
    for place in range(len(caption)):
        runs = [(n, f" {' '.join(caption[i : i + n])} ") for n in range(1, 5) for i in range(len(caption) - n + 1)
                if i <= place < i + n]  # fmt: skip
        expected.append(max((n for n, run in runs if any(run in text for text in texts)), default=0))
    found = [0] * len(caption)
    for mark in ngram_marks(" ".join(caption), texts):
        for place in range(mark.start // 2, mark.end // 2 + 1):
            found[place] = mark.length
    assert found == expected


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_visible_text_steers_nothing(text: str) -> None:
    shown = visible(text)
    assert not re.search(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", shown.replace("\r\n", "")
    )
    assert visible(shown) == shown
    shown.encode("utf-8")


def test_shaded_words_stand_out_enough_to_be_read() -> None:
    base = re.findall(r":root \{(.*?)\}", (TEMPLATES / "report.css").read_text(), re.DOTALL)
    own = re.findall(r":root \{(.*?)\}", (TEMPLATES / "score.css").read_text(), re.DOTALL)
    assert len(base) == len(own) == 2
    for block, added in zip(base, own):
        colors = dict(re.findall(r"--([\w-]+): (#\w+)", block + added))
        for ink in ("ink", "wrong"):
            for n in range(1, 5):
                light, dark = sorted((luminance(colors[ink]), luminance(colors[f"n{n}"])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= (4.5 if ink == "ink" else 3), (ink, n)
