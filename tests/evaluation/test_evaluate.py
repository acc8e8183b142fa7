from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capwright.evaluation import MeasureConfig, compare, evaluate, prepare_scorers
from capwright.scorers import TTS, Context, Corpus, ScorerSpec, Stats
from capwright.types import Caption, DataError, Question, Sample, ScorerError, Term, Vocabulary

TERMS = [
    Term("geoboard", category="board", tier="never"),
    Term("pegboard", category="board", tier="frequent"),
    Term("abacus", category="bead toy", tier="frequent"),
]
VOCABULARY = Vocabulary({term.name: term for term in TERMS})
SAMPLES = [Sample(f"s{i}", Path("x.png"), terms=(TERMS[i % 3],)) for i in range(60)]
GOOD = {s.id: f"A child with a {s.terms[0].name}." for s in SAMPLES}
WEAK = {s.id: f"A child with a {s.terms[0].category if i % 2 else s.terms[0].name}." for i, s in enumerate(SAMPLES)}


def run(captions, **kwargs):
    return evaluate(SAMPLES, captions, vocabulary=VOCABULARY, replicates=200, **kwargs)


def test_summary_of_one_system():
    summary = run(WEAK).to_json()
    scores = summary["scores"]
    assert scores["tts.micro"]["value"] == pytest.approx(50)
    assert scores["tts.micro"]["low"] < 50 < scores["tts.micro"]["high"]
    assert [name for name in scores if "tier" in name] == ["tts.tier:frequent", "tts.tier:never"]
    assert scores["tts.weighted"]["value"] == pytest.approx(75)
    assert scores["length.words"]["value"] == pytest.approx(5 + 10 / 60)
    assert summary["images"] == 60
    assert summary["scored"] == {"tts": 60, "length": 60}
    assert summary["unknown"] == {}
    assert summary["warnings"] == []
    assert scores["tts.micro"]["signature"].endswith("|ci:jackknife|unit:image")
    assert scores["tts.micro"]["scorer"] == "tts"
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_the_same_seed_gives_the_same_numbers():
    assert run(WEAK).to_json() == run(WEAK).to_json() == run(WEAK, seed=1).to_json()
    drawn = [run(WEAK, seed=seed, method="percentile") for seed in (0, 0, 1)]
    assert drawn[0].to_json() == drawn[1].to_json()
    assert drawn[0].estimate("tts") != drawn[2].estimate("tts")
    assert drawn[2].scores["tts"].signature.endswith("|ci:boot200|unit:image|seed:1")
    bare = evaluate(SAMPLES, WEAK, vocabulary=VOCABULARY, replicates=0)
    assert (bare.estimate("tts").low, bare.estimate("tts").high) == (None, None)
    assert bare.scores["tts"].signature.endswith("|ci:none|unit:image")


def test_what_intervals_can_not_be_made_by():
    with pytest.raises(DataError, match="jackknife, percentile, bca, not by 'normal'"):
        run(WEAK, method="normal")


def test_a_score_at_the_end_of_its_range_has_an_interval_that_is_no_point():
    """20 of the 60 images show a geoboard. Nobody names one: Wilson's upper end for 0 of 20; or all do."""
    none = run({s.id: "A child with a toy." for s in SAMPLES}).estimate("tts", "tier:never")
    assert (none.value, none.low, none.high) == pytest.approx((0, 0, 100 * 3.841459 / (20 + 3.841459)), abs=1e-4)
    every = run(GOOD)
    for output, images in (("micro", 60), ("precision", 60), ("tier:frequent", 40)):
        found = every.estimate("tts", output)
        assert (found.value, found.high) == (100, 100)
        assert found.low == pytest.approx(100 * (1 - 3.841459 / (images + 3.841459)), abs=1e-4)


def test_missing_captions_are_unknown_and_loud():
    captions = {name: text for name, text in GOOD.items() if name not in ("s1", "s2")}
    evaluation = run(captions | {"other": "x"})
    assert evaluation.unknown == {"missing_caption": 2}
    assert evaluation.estimate("tts").value == 100
    assert evaluation.to_json()["scored"]["tts"] == 58
    assert evaluation.to_json()["unknown_by"]["tts"] == {"missing_caption": 2}
    assert evaluation.per_image[1].status == "missing_caption"
    assert evaluation.per_image[1].scores["tts"]["micro"] is None
    missing, extra = evaluation.warnings
    assert "2 of 60" in missing
    assert '"s1"' in missing
    assert '"other"' in extra


def test_statuses_other_than_ok_and_empty_are_unknown():
    rows = {name: {"id": name, "caption": text, "status": "ok", "finish": "stop"} for name, text in GOOD.items()}
    rows["s0"]["status"] = "timeout"
    rows["s1"] |= {"status": "missing_image", "caption": None}
    rows["s2"]["caption"] = " "
    rows["s3"]["finish"] = "length"
    evaluation = run(rows)
    assert evaluation.unknown == {"missing_image": 1, "timeout": 1}
    assert evaluation.per_image[2].status == "empty"
    assert evaluation.estimate("tts").value == pytest.approx(100 * 57 / 58)
    assert evaluation.estimate("length", "truncated").value == pytest.approx(1 / 58)


def test_captions_may_be_text_rows_or_records():
    rows = {s.id: Caption(GOOD[s.id]) for s in SAMPLES}
    assert run(rows).to_json() == run(GOOD).to_json()


def test_undefined_is_none():
    nothing = [Sample("a", Path("x")), Sample("b", Path("x"))]
    evaluation = evaluate(nothing, {"a": "a rug", "b": "a rug"}, vocabulary=VOCABULARY, replicates=20)
    estimate = evaluation.estimate("tts")
    assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
    assert evaluate(SAMPLES[:1], {"s0": "x"}, vocabulary=VOCABULARY).estimate("tts").low is None


def test_evidence_for_every_image():
    first = run(WEAK).per_image[1]
    assert first.caption == "A child with a board."
    assert first.evidence["tts"]["missed"] == ["pegboard"]
    assert [tuple(span) for span in first.evidence["tts"]["spans"]] == [(15, 20, "board", "generic")]


@pytest.mark.parametrize(
    ("samples", "captions", "message"),
    [
        ([], {}, "no samples"),
        ([SAMPLES[0], SAMPLES[0]], GOOD, "'s0'.*unique"),
        (SAMPLES, {"x": "y"}, 'none of the 1 caption ids.*"x".*"s0"'),
        (SAMPLES, GOOD | {"s4": {"status": "ok"}}, "'s4'.*must be a text"),
        (SAMPLES, GOOD | {"s4": {"caption": "x", "status": "good"}}, "'s4'.*'good'"),
    ],
)
def test_what_can_not_be_evaluated(samples, captions, message):
    with pytest.raises(DataError, match=message):
        evaluate(samples, captions, vocabulary=VOCABULARY)


def test_comparison_of_two_systems():
    ready = prepare_scorers(SAMPLES, vocabulary=VOCABULARY)
    a = evaluate(SAMPLES, WEAK, ready, name="warmup")
    b = evaluate(SAMPLES, {k: v for k, v in GOOD.items() if k != "s1"}, ready, name="rsrs")
    (row,) = compare(a, b, ["tts.micro"])
    assert (row.a, row.b, row.score, row.images) == ("warmup", "rsrs", "tts.micro", 59)
    assert row.difference == pytest.approx(100 * 29 / 59)
    assert 0 < row.low < row.difference < row.high
    assert row.p < 0.01
    assert {"a", "b", "score", "difference", "low", "high", "p", "images"} < set(row.to_json())
    assert "tts.tier:never" in [c.score for c in compare(a, b)]


def test_what_can_not_be_compared():
    a = run(WEAK)
    with pytest.raises(DataError, match="different samples"):
        compare(a, evaluate(SAMPLES[:9], GOOD, vocabulary=VOCABULARY, replicates=20))
    with pytest.raises(ScorerError, match=r"tts: cannot compare"):
        compare(a, run(GOOD, scorers=[TTS(levels=(1, 0, 0)), "length"]))
    with pytest.raises(ScorerError, match=r"tts\.mikro"):
        compare(a, run(GOOD), ["tts.mikro"])
    with pytest.raises(ScorerError, match="twice"):
        run(GOOD, scorers=["tts", "tts"])


class Questions:
    """A scorer with two rows an image, one of them unknown now and then."""

    spec = ScorerSpec("questions", "1", ("right",), {"right": (0, 1)})

    def prepare(self, corpus):
        return Context("questions", "0", ("right",))

    def stats(self, items, context):
        n = len(items)
        status = tuple("timeout" if i % 20 == 1 else "ok" for i in range(2 * n))
        return Stats(np.ones((2 * n, 2)), np.repeat(np.arange(n), 2), status, tuple({"row": i} for i in range(2 * n)))

    def finalize(self, summed):
        return summed[..., :1] / np.where(summed[..., 1:] > 0, summed[..., 1:], np.nan)

    def signature(self, context):
        return "questions|v:1"


def test_scorers_with_several_rows_an_image():
    evaluation = run(GOOD, scorers=["tts", Questions()])
    summary = evaluation.to_json()
    assert summary["scored"] == {"tts": 60, "questions": 54}
    assert summary["unknown_by"]["questions"] == {"timeout": 6}
    low = 1 - 3.841459 / (54 + 3.841459)
    right = summary["scores"]["questions.right"]
    assert (right["value"], right["low"], right["high"]) == (1, pytest.approx(low, abs=1e-6), 1)
    assert evaluation.per_image[0].scores["questions"]["right"] is None
    assert evaluation.per_image[1].evidence["questions"] == {"rows": [{"row": 2}, {"row": 3}]}


def test_progress_reaches_the_end():
    seen = []
    run(GOOD, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (120, 120)


def test_evaluation_imports_neither_torch_nor_training():
    code = (
        "import sys, capwright.evaluation.evaluate; "
        "print([m for m in sys.modules if m == 'torch' or m.startswith('capwright.training')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_interval_stays_in_the_range_of_its_score():
    captions = {s.id: "a b c d e f g h " * (40 if i == 0 else 1) for i, s in enumerate(SAMPLES[:4])}
    found = evaluate(SAMPLES[:4], captions, ["distinct"], vocabulary=VOCABULARY)
    for output in ("distinct1", "distinct2", "distinct3"):
        estimate = found.estimate("distinct", output)
        assert 0 <= estimate.low <= estimate.high <= 1


def test_a_seed_or_level_that_can_not_be_is_refused():
    for seed in (-1, "7"):
        with pytest.raises(DataError, match="seed must be a whole number, 0 or more"):
            run(GOOD, seed=seed)
        with pytest.raises(DataError, match="seed must be a whole number, 0 or more"):
            MeasureConfig(seed=seed)
    with pytest.raises(DataError, match="between 0 and 1"):
        run(GOOD, level=95)


def test_a_configuration_and_keywords_say_the_same():
    config = MeasureConfig(vocabulary=VOCABULARY, replicates=50, method="percentile", options={"tts": {"penalty": 0.5}})
    by_config = evaluate(SAMPLES, WEAK, config=config)
    by_name = evaluate(
        SAMPLES, WEAK, vocabulary=VOCABULARY, replicates=50, method="percentile", options={"tts": {"penalty": 0.5}}
    )
    assert by_config.to_json() == by_name.to_json()
    assert evaluate(SAMPLES, WEAK, config=config, seed=1).seed == 1, "a keyword is stronger"
    with pytest.raises(TypeError, match=r"no setting 'replicate' \(did you mean \"replicates\"\?\)"):
        evaluate(SAMPLES, WEAK, replicate=9)
    for wrong, says in (({"missing": "drop"}, "error, skip, empty"), ({"comparisons": "some"}, "all, headlines")):
        with pytest.raises(DataError, match=says):
            MeasureConfig(**wrong)


def test_one_tokenizer_and_one_judge_for_all_scorers_that_have_the_option():
    said = [replace(sample, references=("A child with a toy.",)) for sample in SAMPLES]
    names, own = ("bleu", "length", "rougeL"), {"bleu": {"tokenizer": "split"}}
    found = evaluate(said, WEAK, names, tokenizer="words", options=own, replicates=0)
    signatures = [found.scores[name].signature for name in names]
    assert ["tok:words" in text for text in signatures] == [False, False, True]
    assert "tok:split" in signatures[0], "its own option is stronger"

    class Fixed:
        signature = "fixed judge"

        def answer(self, asked, *, seed=0):
            return []

    (caprl, length) = MeasureConfig(scorers=("caprl", "length"), judge=Fixed()).make_scorers()
    asked = [replace(SAMPLES[0], questions=(Question("What is it?", ("a toy", "a rug"), "a toy"),))]
    assert "fixed judge" in caprl.signature(caprl.prepare(Corpus(asked)))
    assert length.spec.name == "length"
