from __future__ import annotations

import json
import re

import numpy as np
import pytest

import fake_java
from capwright.scorers import Corpus, Item, get_scorer
from capwright.scorers.base import explain
from capwright.scorers.objects import spice as module
from capwright.scorers.objects.spice import SPICE, read_counts
from capwright.types import NO_IMAGE, DataError, NotInstalledError, Sample, ScorerError


@pytest.fixture
def java(tmp_path, monkeypatch):
    return fake_java.install(tmp_path / "a folder", monkeypatch)


def split(**options):
    return SPICE(tokenizer="split", **options)


def items_of(*pairs):
    return [Item(Sample(str(9000 - n), NO_IMAGE, tuple(refs)), said) for n, (said, refs) in enumerate(pairs)]


def measure(scorer, *pairs):
    items = items_of(*pairs)
    return scorer.stats(items, scorer.prepare(Corpus([item.sample for item in items])))


# Words are the tuples of the stand-in; "nothing" is none.
PAIRS = [
    ("a cat", ["a cat", "a black cat"]),  # 2 of 2, of 3
    ("dog", ["cat", "bird"]),  # 0 of 1, of 2
    ("cat bird", ["cat", "bird"]),  # all
    ("nothing", ["cat"]),  # 0 of 0, of 1
    ("nothing", ["nothing"]),  # unknown
]


def test_scores_go_to_the_right_caption_and_unknown_ones_poison_nothing(java):
    scorer = split()
    stats = measure(scorer, *PAIRS)
    nan = np.nan
    np.testing.assert_allclose(
        scorer.finalize(stats.rows),
        [[0.8, 1, 2 / 3], [0, 0, 0], [1, 1, 1], [0, nan, 0], [nan, nan, nan]],
        rtol=0,
        atol=1e-12,
    )
    np.testing.assert_allclose(scorer.finalize(stats.rows.sum(0)), [1.8 / 4, 2 / 3, (2 / 3 + 1) / 4])
    assert stats.status == ("ok",) * 5
    # The original takes the order in the file for the order of the images; here it is reversed.
    backwards = measure(scorer, *PAIRS[::-1])
    np.testing.assert_array_equal(backwards.rows[::-1], stats.rows)
    assert fake_java.starts(java) == ["spice"]


def test_batches_are_kept_as_they_come(java, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 2)
    whole = measure(split(cache=False), *PAIRS)
    assert fake_java.starts(java) == ["spice"] * 3
    with pytest.raises(ScorerError, match=r"^spice: java ended with exit status 3; it said: java.lang.OutOfMemory"):
        measure(split(), *PAIRS[:4], ("crash", ["cat"]))
    monkeypatch.setenv("PATH", "")
    np.testing.assert_array_equal(measure(split(), *PAIRS[:4]).rows, whole.rows[:4])
    with pytest.raises(NotInstalledError, match="^spice: not installed: no Java that runs"):
        measure(split(), *PAIRS)


def test_a_run_that_hangs_is_stopped(java, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 2)
    pairs = [("a cat", ["a cat"]), ("a hang", ["a cat"]), ("a dog", ["a dog"])]
    scorer = split(timeout=2.5)
    with pytest.warns(RuntimeWarning, match=r"spice: java did not end in 2\.5 s.*; 2 captions are unknown"):
        stats = measure(scorer, *pairs)
    assert stats.status == ("timeout", "timeout", "ok")
    np.testing.assert_array_equal(scorer.finalize(stats.rows)[:, 0], [np.nan, np.nan, 1])


def test_captions_without_a_score(java):
    scorer = split()
    items = items_of(("", ["a cat"]), ("a cat", []), ("a cat", [" "]), ("a cat", ["a cat"]))
    items[3] = Item(items[3].sample, "a cat", "refusal")
    context = scorer.prepare(Corpus([item.sample for item in items]))
    stats = scorer.stats(items, context)
    assert stats.status == ("empty", "ok", "ok", "refusal")
    nan = np.nan
    np.testing.assert_array_equal(scorer.finalize(stats.rows), [[0, nan, 0], [nan] * 3, [nan] * 3, [nan] * 3])
    assert fake_java.starts(java) == []  # nothing to ask about
    with pytest.raises(DataError, match="spice: none of the 1 samples has a reference"):
        scorer.prepare(Corpus([Sample("a", NO_IMAGE)]))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("dropped", r"1 of 2 captions have no result \(first: number 1\)"),
        ("twice", "image 1 twice"),
        ("nonsense", "not written as expected"),
        ("silent", "wrote no results"),
        ("wrongf", r"image 1 has F1 1\.\d+, but its counts say"),
    ],
)
def test_results_that_can_not_be_right(java, word, message):
    with pytest.raises(ScorerError, match=f"^spice: .*{message}"):
        measure(split(), ("a cat", ["a cat"]), (f"a {word}", ["a dog"]))
    before = len(fake_java.starts(java))
    assert measure(split(), ("a cat", ["a cat"])).rows[0, 0] == 1
    assert len(fake_java.starts(java)) == before + 1  # not even the good one was kept


def entry(number, **scores):
    return {"image_id": number, "scores": {"All": {"tp": 1.0, "fp": 1.0, "fn": 3.0, **scores}}}


def test_results_as_the_program_writes_them():
    text = json.dumps([entry(1, f=None, pr=None), entry(0, f=1 / 3), entry(2, tp=0, fp=0, fn=0, f=float("nan"))])
    np.testing.assert_array_equal(read_counts(text, 3), [[1, 2, 4], [1, 2, 4], [0, 0, 0]])


@pytest.mark.parametrize(
    "entries",
    [
        {"image_id": 0},
        [entry(7)],
        [entry("x")],
        [entry(0, tp=-1)],
        [entry(0, fn=float("nan"))],
        [entry(0, fp=None)],
        [{"image_id": 0, "scores": {"Object": {}}}],
        [],
    ],
)
def test_results_of_another_form(entries):
    with pytest.raises(ScorerError, match="^spice: "):
        read_counts(json.dumps(entries), 1)


@pytest.mark.parametrize(
    ("version", "opens"), [("1.8.0_392", False), ("11.0.2", False), ("17.0.1", True), ("25", True)]
)
def test_newer_java_is_told_to_open_up(tmp_path, monkeypatch, version, opens):
    fake_java.install(tmp_path, monkeypatch, version=version)
    asked = []

    def run_once(who, command, folder, timeout):
        asked.append(command)
        (folder / "out.json").write_text(json.dumps([entry(0)]))

    monkeypatch.setattr(module, "run_once", run_once)
    measure(split(memory="1G"), ("a cat", ["a cat"]))
    (command,) = asked
    assert ("--add-opens=java.base/java.lang=ALL-UNNAMED" in command) == opens
    assert "-Xmx1G" in command
    assert re.fullmatch(r".*spice-1.0.jar in.json -out out.json -subset -silent", " ".join(command))


def test_signature_and_evidence(java):
    scorer = get_scorer("spice", tokenizer="split")
    items = items_of(*PAIRS[:1], ("", ["a cat"]), PAIRS[4])
    context = scorer.prepare(Corpus([item.sample for item in items]))
    assert scorer.signature(context) == "spice|jar:1.0|synsets:yes|tok:split|ws:collapse|refs:1..2|v:1"
    assert explain(scorer, items, context) == [
        {"matched": 2.0, "tuples": 2.0, "reference_tuples": 3.0},
        None,
        {"matched": 0.0, "tuples": 0.0, "reference_tuples": 0.0},
    ]


def test_bad_options():
    with pytest.raises(ScorerError, match="spice.timeout: must be"):
        split(timeout=-1)
    with pytest.raises(ScorerError, match="spice.memory: must be"):
        split(memory=8)
