"""Functions as scorers."""

from __future__ import annotations

import linecache
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from capwright.evaluation import evaluate
from capwright.judges.protocols import reason_of
from capwright.scorers import (
    Corpus,
    Item,
    ItemStats,
    RewardView,
    Scorer,
    ScorerSpec,
    as_scorer,
    get_scorer,
    register_scorer,
    registry,
)
from capwright.types import Caption, OutageError, Sample, ScorerError

SAMPLE = Sample("one", Path("1.png"), ("a red ball",))


def said(caption: str, sample: Sample, word: str = "red", twice: bool = False) -> float | None:
    """How often a word is said."""
    if caption == "?":
        return None
    return caption.split().count(word) * (2.0 if twice else 1.0)


def measure(scorer, *captions, status="ok"):
    context = scorer.prepare(Corpus([SAMPLE]))
    stats = scorer.stats([Item(SAMPLE, caption, status) for caption in captions], context)
    return stats, scorer.finalize(stats.rows)[:, 0]


def test_a_function_is_a_scorer_whose_score_is_a_mean():
    scorer = as_scorer(said)
    stats, each = measure(scorer, "red red ball", "blue ball", "")
    assert each.tolist() == [2, 0, 0]
    assert stats.status == ("ok", "ok", "empty")
    assert scorer.finalize(stats.rows.sum(0)).tolist() == [2 / 3]
    assert (scorer.spec.name, scorer.spec.outputs, scorer.spec.about) == ("said", ("said",), "How often a word is said")
    assert evaluate([SAMPLE], {"one": "red ball"}, [scorer]).estimate("said").value == 1


@pytest.mark.parametrize("value", [None, math.nan, np.float32("nan")])
def test_none_and_nan_are_unknown_with_a_reason(value):
    stats, each = measure(as_scorer(lambda caption, sample: value if caption else 1, "mine"), "x", "")
    assert stats.known.tolist() == [False, True]
    assert stats.status[0] == "unparseable"
    assert reason_of(stats.status[0]).endswith(f"gave {value}")
    np.testing.assert_array_equal(each, [np.nan, 1])


def test_unknown_captions_are_not_shown_to_it():
    stats, each = measure(as_scorer(lambda caption, sample: 1 / 0, "mine"), "x", status="refusal")
    assert stats.status == ("refusal",)
    assert np.isnan(each).all()


@pytest.mark.parametrize("value", [math.inf, "1", [1.0], np.ones(1)])
def test_what_is_no_number_is_an_error(value):
    with pytest.raises(ScorerError, match=r"^mine: sample 'one': tests.*<lambda> must return a finite number, or None"):
        measure(as_scorer(lambda caption, sample: value, "mine"), "x")


def test_a_failure_names_function_and_sample_and_an_outage_goes_through():
    def fails(caption, sample):
        raise KeyError(caption)

    with pytest.raises(ScorerError, match=r"^fails: sample 'one': .*fails failed: KeyError: 'x'"):
        measure(as_scorer(fails), "x")

    def is_out(caption, sample):
        raise OutageError("gone")

    with pytest.raises(OutageError):
        measure(as_scorer(is_out), "x")


def test_options_are_its_further_parameters_and_checked():
    assert measure(get_scorer(said, word="ball", twice=True), "a ball")[1].tolist() == [2]
    with pytest.raises(ScorerError, match=r"^said\.twice: must be true or false, not 'yes'"):
        get_scorer(said, twice="yes")
    with pytest.raises(ScorerError, match=r'^said\.wrod: unknown option; did you mean "word"\? It has: word, twice'):
        as_scorer(said, wrod="x")
    with pytest.raises(ScorerError, match=r"^needy\.least: must be given: a whole number"):
        as_scorer(needy)


def needy(caption: str, sample: Sample, *, least: int) -> float:
    return float(len(caption) >= least)


def test_the_signature_tells_options_and_sources_apart():
    def sign(scorer):
        return scorer.signature(scorer.prepare(Corpus([])))

    line = sign(as_scorer(said))
    name, function, word, twice, source, version = line.split("|")
    assert (name, word, twice, version) == ("said", "word:red", "twice:False", "v:1")
    assert function == f"function:{said.__module__}.said"
    assert re.fullmatch("source:[0-9a-f]{8}", source)
    assert sign(as_scorer(said)) == line
    assert len({line, sign(get_scorer(said, word="blue")), sign(as_scorer(said, "other"))}) == 3
    made = []
    for text in ("return 1", "return 2"):
        names: dict = {}
        exec(f"def f(caption, sample): {text}", names)  # nowhere to read its source
        made.append(sign(as_scorer(names["f"])))
    assert made[0] != made[1]


def test_another_source_is_another_signature(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    signatures = set()
    for text in ("LIMIT = 1", "LIMIT = 2"):  # what it looks at counts, too
        (tmp_path / "own_metric.py").write_text(
            f"{text}\ndef long(caption, sample):\n    return len(caption) > LIMIT\n"
        )
        linecache.clearcache()
        scorer = get_scorer("own_metric:long")
        signatures.add(scorer.signature(scorer.prepare(Corpus([]))))
        del sys.modules["own_metric"]
    assert len(signatures) == 2


def test_as_a_reward_it_needs_a_range():
    scorer = as_scorer(said, range=(0, 4))
    view = RewardView(scorer, scorer.prepare(Corpus([])))
    assert view([SAMPLE], [[Caption("red red"), Caption("?")]]).values[0, 0] == 0.5
    with pytest.raises(ScorerError, match="no finite range"):
        RewardView(as_scorer(said), scorer.prepare(Corpus([])))
    lower = as_scorer(said, range=(0, 4), higher_is_better=False)
    assert RewardView(lower, lower.prepare(Corpus([])))([SAMPLE], [[Caption("red")]]).values.tolist() == [[0.75]]


def test_it_goes_by_a_name_or_a_place():
    register_scorer("redness", said)
    register_scorer("calm", as_scorer(said, "calm", higher_is_better=False, word="!"))
    assert get_scorer("redness", twice=True).spec.name == "redness"
    assert measure(get_scorer("redness", twice=True), "red")[1].tolist() == [2]
    assert get_scorer("calm", twice=True).options == {"word": "!", "twice": True}
    assert get_scorer("calm").spec.higher_is_better is False
    assert registry.options_of("calm") == ("word", "twice")
    assert get_scorer("capwright.text.subsequence:common_words").spec.name == "common_words"


@pytest.mark.parametrize("wrong", [3, lambda caption: 1, lambda caption="", sample=None: 1])
def test_what_is_no_function_of_caption_and_sample(wrong):
    with pytest.raises(ScorerError, match="write it as a function of"):
        as_scorer(wrong)


def test_a_lambda_needs_a_name():
    with pytest.raises(ScorerError, match="cannot be called '<lambda>'"):
        as_scorer(lambda caption, sample: 1)


def test_a_file_is_a_place_and_its_name_does_not_depend_on_its_folder(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("def loud(caption, sample, by=2):\n    return by * caption.count('!')\n")
    scorer = get_scorer(f"{path}:loud")
    name, function, by, _, version = scorer.signature(scorer.prepare(Corpus([]))).split("|")
    assert (name, function, by, version) == ("loud", "function:own.loud", "by:2", "v:1")


def test_what_makes_no_scorer_is_refused():
    register_scorer("hollow", lambda: 3)
    with pytest.raises(ScorerError, match="hollow: makes int, which is no scorer; extend"):
        get_scorer("hollow")
    with pytest.raises(ScorerError, match="tts: a scorer with this name exists"):
        register_scorer("tts", said)


def test_what_measures_no_captions_is_told_how():
    def one(caption): ...

    with pytest.raises(ScorerError, match=r"^one\.caption: must be given: any value \(a function that scores"):
        get_scorer(one)
    with pytest.raises(ScorerError, match=r"sample 'one': .* failed: OverflowError: int too large to convert to float"):
        measure(as_scorer(lambda caption, sample: 10**400, "huge"), "x")


@pytest.mark.parametrize("gives", [None, [], [1.0], [ItemStats((1.0,))], [ItemStats((1.0, 2.0, 3.0))]])
def test_rows_of_a_class_have_its_columns(gives):
    """A row of one number was taken for all columns."""

    class Own(Scorer):
        spec = ScorerSpec("own", outputs=("rate",), ranges={"rate": (0.0, 1.0)}, higher_is_better=None)
        columns, ratios = ("a", "b"), (("a", "b"),)

        def measure(self, items, context):
            return gives

    with pytest.raises(ScorerError, match=r"own: measure\(\) must give an ItemStats for each caption, with a row of 2"):
        measure(Own(), "x")
