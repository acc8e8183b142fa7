"""The report: complete, honest about what is missing, safe, self-contained, and the same for the same inputs."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capwright.data import open_dataset
from capwright.report import write_report
from capwright.report.cards import Mark, image_uri, pieces_of
from capwright.report.charts import draw, smooth, thin, ticks
from capwright.report.curves import _offsets
from capwright.report.pages import whole
from capwright.report.parts import as_estimate, label, p_value, system_tones
from capwright.report.run_folder import read_run, trained_systems
from capwright.scenes import vocabulary
from capwright.types import DataError, ImageError, Sample, Term
from fake_run import SAYS, SIGNATURE, fake_run, write_rows
from html_page import Page, luminance
from places import SOURCE

TEMPLATES = SOURCE / "report/templates"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Sample]]:
    root = tmp_path_factory.mktemp("run") / "demo"
    return root, fake_run(root, n=40, size=64)


@pytest.fixture
def run(made: tuple[Path, list[Sample]], tmp_path: Path) -> tuple[Path, list[Sample]]:
    """A copy of the invented run that a test may damage."""
    root, samples = made
    shutil.copytree(root, tmp_path / "demo", ignore=shutil.ignore_patterns("images"))
    return tmp_path / "demo", samples


def page_of(root: Path, samples: list[Sample], **options: Any) -> Page:
    return Page(write_report(root, samples, vocabulary=vocabulary(), **options).read_text("utf-8"))


def change_summary(root: Path, change: Any) -> None:
    path = root / "summary.json"
    summary = json.loads(path.read_text())
    change(summary)
    path.write_text(json.dumps(summary))


def change_caption(root: Path, system: str, id: str, **values: Any) -> None:
    path = root / "captions" / f"{system}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    write_rows(path, [row | values if row["id"] == id else row for row in rows])


def test_has_all_sections_and_says_what_happened(run: tuple[Path, list[Sample]]) -> None:
    page = page_of(*run, title="My run", things="teaching toys")
    assert "After RSRS the captioner names 68 of 100 teaching toys professionally; before, 11." in page.text
    assert [attrs["id"] for attrs in page.all("section")] == [
        "scores",
        "learning",
        "groups",
        "tiers",
        "gallery",
        "method",
    ]
    assert "Warm-up alone reaches 12." in page.text
    assert "it uses 48 of 100; before, 0." in page.text
    assert "My run · capwright report" in page.text
    assert "68.3 65.2 to 71.4" in page.text
    assert "RSRS against Warm-up" in page.text
    assert "clearly better p < 0.001" in page.text
    assert "may be chance p = 0.51" in page.text
    assert "1 more comparison" in page.text
    assert "The TTS reward went from" in page.text
    assert "imitated" in page.text
    assert "tts|v:1|terms:45" in page.text
    assert "name: rsrs-scenes" in page.text
    assert page.all("div", "never")


def test_headings_step_down_one_level_at_a_time(run: tuple[Path, list[Sample]]) -> None:
    page = page_of(*run)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_same_inputs_same_bytes(run: tuple[Path, list[Sample]], tmp_path: Path) -> None:
    root, samples = run
    first = write_report(root, samples, vocabulary=vocabulary()).read_bytes()
    again = write_report(root, samples, tmp_path / "deep" / "again.html", vocabulary=vocabulary())
    assert again == tmp_path / "deep" / "again.html"
    assert again.read_bytes() == first


def test_needs_nothing_from_elsewhere(run: tuple[Path, list[Sample]]) -> None:
    page = page_of(*run)
    assert not page.all("script")
    assert not page.all("link")
    assert all(attrs["src"].startswith("data:image/") for attrs in page.all("img"))
    links = {attrs["href"] for attrs in page.all("a")}
    assert {link for link in links if not link.startswith("#")} == {"https://arxiv.org/abs/2604.01941"}
    assert "url(" not in (TEMPLATES / "report.css").read_text()
    assert "@import" not in (TEMPLATES / "report.css").read_text()


def test_is_of_a_sane_size(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    size = write_report(root, samples, vocabulary=vocabulary()).stat().st_size
    assert 40_000 < size < 1_500_000
    few = write_report(root, samples, vocabulary=vocabulary(), limit=4).stat().st_size
    assert few < size


def test_every_image_has_a_text(run: tuple[Path, list[Sample]]) -> None:
    page = page_of(*run)
    assert all(attrs.get("alt") for attrs in page.all("img"))
    for attrs in page.all("svg"):
        nested = "preserveaspectratio" in attrs
        assert nested or attrs.get("aria-label") or attrs.get("aria-hidden") == "true"


def test_captions_and_titles_are_escaped(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    evil = "<script>alert('x')</script> & <img src=x onerror=y>"
    for system in SAYS:
        for sample in samples:
            change_caption(root, system, sample.id, caption=evil)
    (root / "recipe.yaml").write_text(f"name: {evil}\n")
    change_summary(root, lambda s: s["run"].update({evil: evil}))
    page = page_of(root, samples, title=evil, things=evil)
    assert not page.all("script")
    assert not [attrs for attrs in page.all("img") if "onerror" in attrs]
    assert evil in page.text


def test_right_wrong_and_generic_names_are_marked(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    sample = replace(samples[0], terms=(vocabulary()["geoboard"],))
    change_caption(root, "rsrs", sample.id, caption="A geoboard, an abacus and a board.")
    text = write_report(root, [sample], vocabulary=vocabulary()).read_text()
    assert '<mark class="right">geoboard<span class="sr"> (right name)</span></mark>' in text
    assert '<s class="wrong">abacus<span class="sr"> (wrong name)</span></s>' in text
    assert '<span class="generic">board<span class="sr"> (generic name)</span></span>' in text
    assert "1 of 1" in Page(text).text


def test_a_term_annotated_by_an_alias_is_found(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    sample = replace(samples[0], terms=(Term("geo board"),))
    change_caption(root, "rsrs", sample.id, caption="A geoboard.")
    assert "1 of 1" in page_of(root, [sample]).text


def test_hardest_come_first_and_ties_go_by_id(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    named = {s.id: " and ".join(t.name for t in s.terms) for s in samples}
    for sample in samples:
        change_caption(root, "rsrs", sample.id, caption=named[sample.id])
        change_caption(root, "base", sample.id, caption="A room.")
    missed = [samples[9].id, samples[4].id]
    for id in missed:
        change_caption(root, "rsrs", id, caption="A room.")
    page = page_of(root, samples[::-1], limit=8)
    shown = re.findall(r"scene-\d+", page.text)
    assert shown[:2] == sorted(missed)
    assert len(shown) == 8
    assert "the 6 with the lowest share of professional names said by RSRS, ties by id; then the 2 that" in page.text


def test_unknown_is_never_zero(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run

    def change(summary: dict) -> None:
        summary["rsrs"]["tts"]["precision"] = {"value": None, "low": None, "high": None}
        summary["rsrs"]["tts"]["by_tier"]["rare"] = {"value": float("nan"), "low": None, "high": None}
        del summary["warmup"]["samples"]

    change_summary(root, change)
    page = page_of(root, samples)
    cells = [words.strip() for words in page.words]
    assert cells.count("unknown") >= 4  # precision, tier, samples, and the status of the key
    assert "names it writes" not in page.text


def test_unscored_captions_are_counted_and_explained(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    path = root / "captions" / "rsrs.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:-2]) + "\n")
    change_caption(root, "rsrs", samples[0].id, caption="", status="refusal")
    page = page_of(root, samples, limit=40)
    assert "3 images of RSRS have no usable caption and are in none of its scores." in page.text
    assert "1 image of Warm-up has no usable caption" in page.text
    assert "2 missing caption, 1 refusal" in page.text
    assert "3 images have no names to look for or no known caption and were not candidates" in page.text
    assert "unknown: it took too long" in page.text
    change_summary(root, lambda s: s["rsrs"].update(unknown={"timeout": 7, "refusal": 0}, warnings=["look closer"]))
    page = page_of(root, samples)
    assert "7 images of RSRS have no usable caption" in page.text
    assert "look closer" in page.text


def test_empty_and_cut_off_captions_are_told_apart(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    change_caption(root, "rsrs", samples[0].id, caption="", status="empty")
    change_caption(root, "base", samples[0].id, caption="A room with", finish="length")
    page = page_of(root, samples[:1])
    assert "said nothing" in page.text
    assert "(cut off)" in page.text


def test_without_a_journal_the_curves_are_explained(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    (root / "metrics.jsonl").unlink()
    page = page_of(root, samples)
    assert "There is no training journal (metrics.jsonl) in this run, so there are no curves." in page.text
    assert "so there are no group states to show" in page.text
    assert "No probes were taken" in page.text
    assert not page.all("svg", "chart")


def test_with_imitation_alone_there_is_no_reward(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    write_rows(
        root / "metrics.jsonl",
        [{"kind": "step", "stage": "sft", "step": n, "images_seen": 8 * n, "loss_imitation": 1.0} for n in (1, 2)],
    )
    page = page_of(root, samples)
    assert "No stage of this run was trained on a reward" in page.text
    assert "No stage sampled groups of captions" in page.text


def test_one_system_alone(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    for system in ("warmup", "rsrs"):
        (root / "captions" / f"{system}.jsonl").unlink()
    change_summary(root, lambda s: [s.pop("warmup"), s.pop("rsrs"), s.pop("comparisons")])
    page = page_of(root, samples)
    assert "Before training the captioner names 11 of 100 things professionally." in page.text
    assert "There is no second system in this run to compare it with." in page.text
    assert "There is only one system in this run, so there is nothing to compare." in page.text


def test_without_a_summary_nothing_is_claimed(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    (root / "summary.json").unlink()
    page = page_of(root, samples)
    assert "This run has no measured score yet." in page.text
    assert "RSRS has captions but no score." in page.text
    assert "carry no tiers (or nothing was measured)" in page.text
    assert "recorded no scorer signatures" in page.text
    assert re.findall(r"(Base|Warm-up|RSRS) unknown", page.text) == ["Base", "Warm-up", "RSRS"]


def test_without_terms_nothing_is_marked(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    bare = [replace(sample, terms=()) for sample in samples]
    page = Page(write_report(root, bare).read_text())
    assert "There is no vocabulary and no annotated term" in page.text
    assert "The first 24 of 40 images by id" in page.text
    assert not page.all("mark")


def test_without_captions_or_samples_there_is_no_gallery(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    assert "There are no images to show: no samples were given." in page_of(root, []).text
    shutil.rmtree(root / "captions")
    page = page_of(root, samples)
    assert "There are no images to show: the run wrote no captions." in page.text


def test_of_several_images_the_first_is_shown_and_said_so(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    text = page_of(root, [replace(samples[0], more_images=(samples[1].image, samples[2].image))]).text
    assert f"{samples[0].id} (first of 3 images)" in text


def test_a_missing_image_is_said_so(run: tuple[Path, list[Sample]], tmp_path: Path) -> None:
    root, samples = run
    page = page_of(root, [replace(samples[0], image=tmp_path / "gone.png")])
    assert "The image could not be read." in page.text
    assert not page.all("img")


def test_alarms_of_training_are_caveats(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    journal = root / "metrics.jsonl"
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    stuck = [i for i, row in enumerate(rows) if row["kind"] == "step" and row["stage"] == "rsrs"][:2]
    for i in stuck:
        rows[i]["alarms"] = ["one caption is said of 80% of the images"]
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = page_of(root, samples).text
    assert text.count("one caption is said of 80% of the images.") == 1
    assert f"step {rows[stuck[0]]['step']}: one caption" in text


def test_systems_trained_on_the_score_are_marked(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    assert not page_of(root, samples[:2]).all("small", "trained")
    change_summary(root, lambda s: s["run"].update(trained_on={"naming": "tts|v:1|reward:penalized"}))
    rows = [{"kind": "step", "stage": "warmup", "images_seen": 8}]
    rows += [{"kind": "step", "stage": "rsrs", "images_seen": 16, "reward": {"naming": 0.5}}]
    write_rows(root / "metrics.jsonl", rows)
    page = page_of(root, samples[:2])
    assert len(page.all("small", "trained")) == 3, "its row, and its two comparisons"
    assert "RSRS trained on TTS" in page.text
    assert "RSRS was trained on TTS, so TTS says how well the training worked" in page.text
    (root / "metrics.jsonl").unlink()  # any stage may have seen the reward
    assert "Warm-up and RSRS were trained on TTS" in page_of(root, samples[:2]).text
    change_summary(root, lambda s: s["run"].update(trained_on={"len": "length|v:1|reward:words"}))
    assert "trained on TTS" not in page_of(root, samples[:2]).text


def test_caveats_follow_from_the_numbers(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run

    def shift(summary: dict) -> None:
        summary["rsrs"]["tts"]["micro"] = {"value": 13.0, "low": 10.0, "high": 16.0}
        summary["rsrs"]["tts"]["precision"] = {"value": 40.0, "low": 35.0, "high": 45.0}
        summary["rsrs"]["length"]["words"] = {"value": 33.0, "low": 32.0, "high": 34.0}
        summary["rsrs"]["tts"]["by_tier"]["never"] = {"value": 0.4, "low": 0.0, "high": 1.0}

    change_summary(root, shift)
    page = page_of(root, samples)
    assert "Their intervals overlap, though compared image by image the difference is clear." in page.text
    assert "Precision fell from 62 to 40" in page.text
    assert "Captions grew from 14 to 33 words" in page.text
    assert "still hardly said" in page.text
    assert "it uses fewer than 1 of 100" in page.text
    assert "Only 40 images were measured." in page.text
    change_summary(root, lambda s: s.update(comparisons=[]))
    page = page_of(root, samples)
    assert "Their intervals overlap: the difference may be chance." in page.text
    assert "No paired comparison was computed" in page.text
    change_summary(root, lambda s: s["rsrs"]["tts"].update(micro=4.0))
    page = page_of(root, samples)
    assert "names 4 of 100 things professionally; before, 11. It got worse." in page.text
    assert "The scores come without intervals" in page.text
    change_summary(root, lambda s: s["rsrs"]["tts"].update(micro=11.4))
    assert "professionally; before, just as many." in page_of(root, samples).text


def test_a_torn_journal_is_read_and_mentioned(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    with (root / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "sta')
    assert "The training journal breaks off" in page_of(root, samples).text


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("summary.json", "{oops", "summary.json: not JSON"),
        ("summary.json", "[1]", "must hold one object"),
        ("metrics.jsonl", '{"kind": "step"}\nnonsense\n{}\n', "metrics.jsonl:2: not a JSON object"),
        ("metrics.jsonl", "[]\n", "metrics.jsonl:1: not a JSON object"),
        ("captions/rsrs.jsonl", '{"caption": "no id"}\n', "captions/rsrs.jsonl:1"),
    ],
)
def test_broken_files_are_named(run: tuple[Path, list[Sample]], name: str, content: str, says: str) -> None:
    root, samples = run
    (root / name).write_text(content)
    with pytest.raises(DataError, match=re.escape(says)):
        write_report(root, samples)


def test_missing_or_empty_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder"):
        write_report(tmp_path / "nowhere", [])
    with pytest.raises(DataError, match="nothing to report"):
        write_report(tmp_path, [])


def test_a_page_that_can_not_be_written_is_an_error(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    (root / "taken").write_text("a file")
    with pytest.raises(DataError, match=re.escape("taken/report.html: the report cannot be written")):
        write_report(root, samples[:1], root / "taken" / "report.html")


def test_stages_that_count_from_zero_are_laid_end_to_end(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    groups = {"live": 1, "failed": 2, "saturated": 0, "unknown": 1}
    row = {"kind": "step", "reward": {"tts": 0.5}, "groups": groups}
    rows = [row | {"stage": stage, "images_seen": 100 * n} for stage in ("one", "two") for n in range(1, 11)]
    write_rows(root / "metrics.jsonl", rows)
    page = page_of(root, samples)
    assert "2,000" in page.text
    assert "live 25 → 25 %, failed 50 → 50 %, saturated 0 → 0 %, unknown 25 → 25 %" in page.text
    assert "No expert captions were imitated." in page.text


def test_stages_that_are_two_ways_to_go(run: tuple[Path, list[Sample]]) -> None:
    """warmup -> imitation, warmup -> rsrs, imitation -> more: equal budgets, so that no count of images tells."""
    root, samples = run
    rows = []
    for stage, before in (("warmup", 0), ("imitation", 100), ("rsrs", 100), ("more", 200)):
        for n in range(1, 11):
            rows.append({"kind": "step", "stage": stage, "images_seen": before + 10 * n})
            tts = {"micro": {"value": len(rows)}}
            rows.append({"kind": "eval", "stage": stage, "images_seen": before + 10 * n, "scores": {"tts": tts}})
        if stage in ("rsrs", "more"):
            for place, row in enumerate(rows[-20:]):
                states = {"live": 1, "failed": int(stage == "more")}
                reward = {"tts": {"rsrs": 0.5, "more": 0.3}[stage] + place / 100}
                row |= {"reward": reward, "groups": states, "demonstrated": 3} if row["kind"] == "step" else {}
    write_rows(root / "metrics.jsonl", rows)
    summary = json.loads((root / "summary.json").read_text())
    for name in ("imitation", "more"):
        summary[name] = summary["warmup"]
    order = ["base", "warmup", "imitation", "rsrs", "more", "comparisons", "signatures", "run"]
    summary = {name: summary[name] for name in order}
    summary["run"] |= {"starts": {"rsrs": "warmup", "more": "imitation"}, "trained_on": {"tts": SIGNATURE}}
    (root / "summary.json").write_text(json.dumps(summary))
    found = read_run(root)
    assert trained_systems(found, "tts") == ("rsrs", "more")
    offsets = _offsets(found)
    assert offsets == {"warmup": 0, "imitation": 0, "rsrs": 200 - 100, "more": 300 - 200}
    page = page_of(root, samples)
    assert "RSRS went on from Warm-up, not from Imitation: these are two ways to go." in page.text
    assert "More went on from Imitation, not from RSRS: these are two ways to go." in page.text
    assert (
        "from 1 to 19 in Warm-up, from 21 to 39 in Imitation, from 41 to 59 in RSRS, from 61 to 79 in More" in page.text
    )
    assert re.search(r"The TTS reward went from 0.5\d to 0.6\d in RSRS, from 0.3\d to 0.4\d in More", page.text)
    assert "in RSRS live 100 → 100 %, failed 0 → 0 %" in page.text
    assert "in More live 50 → 50 %, failed 50 → 50 %" in page.text
    assert "60 demonstrations beside the sampled captions taught something." in page.text
    assert "No expert captions" not in page.text


def test_a_run_that_is_not_finished_takes_its_forks_from_the_recipe(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    (root / "summary.json").unlink()
    (root / "recipe.yaml").write_text(
        "name: demo\nstages:\n- {name: warmup, kind: sft}\n- {name: imitation, kind: sft}\n"
        "- {name: rsrs, kind: rl, start_from: warmup}\n- {name: more, kind: rl, start_from: rsrs}\n"
    )
    assert read_run(root).starts == {"rsrs": "warmup"}  # more goes on from the one before it
    rows = [
        {"kind": "step", "stage": s, "images_seen": n, "reward": {"tts": 0.5}} for n, s in enumerate(("warmup", "rsrs"))
    ]
    write_rows(root / "metrics.jsonl", rows)
    assert "in RSRS" in page_of(root, samples).text
    for broken in ("stages: 3", "stages: [1, {}]", "a: [", ""):
        (root / "recipe.yaml").write_text(broken)
        assert read_run(root).starts == {}


def test_odd_journal_rows_do_not_break_the_page(run: tuple[Path, list[Sample]]) -> None:
    root, samples = run
    rows = [
        {"kind": "step"},
        {"kind": "step", "stage": "rsrs", "images_seen": None, "reward": {"tts": None}, "groups": {}},
        {"kind": "step", "stage": "rsrs", "images_seen": 16, "reward": {"tts": float("nan")}, "groups": {"live": 4}},
        {"kind": "eval", "stage": "rsrs", "images_seen": 16, "scores": {"tts": {"micro": {"value": 3.0}}}},
        {"kind": "step", "stage": "rsrs", "images_seen": 24, "reward": {"tts": -2.0}, "groups": {"live": 0}},
        {"kind": "step", "stage": "rsrs", "images_seen": 32, "reward": {"tts": 0}},
        {"kind": "eval", "stage": "rsrs", "scores": None},
    ]
    write_rows(root / "metrics.jsonl", rows)
    page_of(root, samples)
    for row in rows:
        write_rows(root / "metrics.jsonl", [row])
        page_of(root, samples[:2])


def test_photos_are_credited(run: tuple[Path, list[Sample]], photo_dataset: Path) -> None:
    root, _ = run
    samples = open_dataset(photo_dataset)
    write_rows(root / "captions" / "rsrs.jsonl", [{"id": s.id, "caption": "A dog and a person."} for s in samples])
    page = Page(write_report(root, samples, limit=6).read_text())
    links = [attrs["href"] for attrs in page.all("a") if not attrs["href"].startswith("#")]
    assert len([link for link in links if "flickr" in link]) == 12  # on the card and in the list
    assert len([link for link in links if "creativecommons.org" in link]) == 12
    assert "CC BY" in page.text
    evil = replace(samples[0], meta={"license": "javascript:alert(1)", "source_url": "javascript:alert(2)"})
    page = Page(write_report(root, [evil]).read_text())
    assert not [attrs for attrs in page.all("a") if "javascript" in attrs["href"]]


def test_images_are_made_small(photo_dataset: Path, tmp_path: Path) -> None:
    uri, width, height = image_uri(open_dataset(photo_dataset)[0].image, side=100)
    assert max(width, height) == 100
    assert uri.startswith("data:image/jpeg;base64,")
    with pytest.raises(ImageError, match="gone"):
        image_uri(tmp_path / "gone.png")


def test_pieces_join_to_the_caption() -> None:
    marks = [Mark(2, 5, "x", "right"), Mark(4, 7, "y", "wrong"), Mark(9, 99, "z", "wrong"), Mark(8, 9, "w", "vague")]
    pieces = pieces_of("0123456789", marks)
    assert "".join(text for text, _ in pieces) == "0123456789"
    assert pieces == (("01", ""), ("234", "right"), ("567", ""), ("8", "vague"), ("9", ""))
    assert pieces_of("", []) == ()


def test_systems_keep_their_order_and_colors(run: tuple[Path, list[Sample]]) -> None:
    root, _ = run
    assert read_run(root).systems == ("base", "warmup", "rsrs")
    (root / "summary.json").unlink()
    assert read_run(root).systems == ("base", "warmup", "rsrs")
    (root / "metrics.jsonl").unlink()
    assert read_run(root).systems == ("base", "warmup", "rsrs")
    assert system_tones(["a"]) == {"a": "tone-1"}
    assert system_tones(["a", "b", "c"]) == {"a": "tone-0", "b": "tone-2", "c": "tone-1"}
    assert len(set(system_tones("abcdef").values())) == 6


def test_numbers_and_names_as_people_write_them() -> None:
    assert [whole(v) for v in (0.5, 1.5, 10.49, 68.5)] == [1, 2, 10, 69]
    assert [p_value(p) for p in (None, 0.0005, 0.02, 0.51)] == ["", "p < 0.001", "p = 0.020", "p = 0.51"]
    assert [label(n) for n in ("warmup", "rsrs_v2", "my_stage")] == ["Warm-up", "RSRS v2", "My stage"]
    assert ticks(0, 1, 3) == [0, 0.25, 0.5, 0.75, 1]
    assert ticks(1920, 5760, 3) == [2000, 3000, 4000, 5000]
    assert ticks(0, 0, 3) == [0]
    assert as_estimate({"value": True}).value is None
    assert as_estimate(3).value == 3
    assert draw("squares", 11.2, "tone-0").count("h8v8h-8z") == 100
    assert thin([(n, 0.0) for n in range(1000)], 100)[-1] == (999, 0.0)
    assert len(thin([(n, 0.0) for n in range(1000)], 100)) <= 101
    assert smooth([(n, 2.0) for n in range(100)]) == tuple((n, pytest.approx(2.0)) for n in range(100))
    assert smooth([]) == thin([]) == ()


def test_text_stands_out_from_its_background_in_light_and_dark() -> None:
    css = (TEMPLATES / "report.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        colors = dict(re.findall(r"--([\w-]+): (#\w+)", block))
        inks = ["ink", "muted", "link", *(f"s{n}" for n in range(6))]
        pairs = [(ink, ground) for ink in inks for ground in ("paper", "card", "faint", "never")]
        pairs += [(f"{state}-ink", "paper") for state in ("live", "failed", "saturated", "unknown")]
        pairs += [("right", "right-back"), ("wrong", "card"), ("ink", "care")]
        for ink, ground in pairs:
            light, dark = sorted((luminance(colors[ink]), luminance(colors[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)


def test_reporting_does_not_import_torch() -> None:
    code = "import sys, capwright.report; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_scores_have_a_table_with_marks(tmp_path):
    """Scores besides TTS: every system in a column, and what a system was trained on is said."""
    estimate = {"value": 0.61, "low": 0.5, "high": 0.7}
    block = {
        "ciderD": {"ciderD": estimate},
        "bleu": {"bleu4": {"value": None, "low": None, "high": None}},
        "samples": 9,
    }
    row = {
        "a": "base",
        "b": "scst",
        "score": "ciderD.ciderD",
        "difference": 0.0123,
        "low": 0.001,
        "high": 0.02,
        "p": 0.03,
    }
    trained = {"trained_on": {"reward": "ciderD|n:4|reward:ciderD"}}
    summary = {"base": block, "scst": block, "comparisons": [row], "run": trained}
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    page = write_report(tmp_path, []).read_text(encoding="utf-8")
    table = page[page.index("How do the captions score?") : page.index("Compared on the same images")]
    assert "CIDEr-D" in table
    assert "BLEU-4" in table
    assert table.count("0.610") == 2
    assert table.count("unknown") == 2
    assert table.count("trained on this") == 1
    assert "+0.012" in page
