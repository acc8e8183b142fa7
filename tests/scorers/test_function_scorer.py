"""A plain function as a scorer."""

from __future__ import annotations

import numpy as np
import pytest

from capwright import plugins
from capwright.evaluation import evaluate
from capwright.scorers import Corpus, Item, RewardView, get_scorer, register_scorer
from capwright.scorers.function_scorer import as_scorer
from capwright.scorers.registry import options_of
from capwright.types import NO_IMAGE, Caption, Sample, ScorerError

SAMPLES = [Sample("a", NO_IMAGE, ("a red drum",)), Sample("b", NO_IMAGE)]


def longest(caption: str, sample: Sample, *, least: int = 0, most: float = 10.0):
    """Letters of the longest word; unknown without references."""
    if not sample.references:
        return None
    return min(most, max([least, *map(len, caption.split())]))


def failing(caption, sample):
    return caption + 1


def measure(scorer, captions, samples=None, statuses=None):
    samples = samples or [SAMPLES[0]] * len(captions)
    context = scorer.prepare(Corpus(SAMPLES))
    items = [Item(s, c, t) for s, c, t in zip(samples, captions, statuses or ["ok"] * len(captions))]
    return scorer.stats(items, context), context


def test_rows_are_means():
    scorer = as_scorer(longest)()
    stats, context = measure(scorer, ["a bead", "drum stick", ""])
    np.testing.assert_array_equal(stats.rows, [[4, 1], [5, 1], [0, 1]])
    assert stats.status == ("ok", "ok", "empty")
    assert context.outputs == ("value",)
    np.testing.assert_array_equal(scorer.finalize(stats.rows), [[4], [5], [0]])
    np.testing.assert_array_equal(scorer.finalize(stats.rows.sum(0)), [3])


def test_unknown_is_never_zero():
    stats, _ = measure(as_scorer(longest)(), ["drum", "drum", ""], [*SAMPLES, SAMPLES[1]])
    np.testing.assert_array_equal(stats.rows, [[4, 1], [0, 0], [0, 0]])
    assert stats.status == ("ok", "unparseable", "unparseable")
    stats, _ = measure(as_scorer(lambda caption, sample: float("nan"), "odd")(), ["drum"])
    assert not stats.known.any()
    stats, _ = measure(as_scorer(failing)(), ["drum"], statuses=["refusal"])  # the function is not asked
    assert stats.status == ("refusal",)


def test_failures_name_function_and_sample():
    for function, why in (
        (failing, r"failing: .*failing of sample 'a': TypeError: .* \(test_function_scorer.py, line \d+\)"),
        (lambda caption, sample: float("inf"), "sample 'a': gave inf; give a finite number, or None"),
        (lambda caption, sample: "much", "sample 'a': ValueError: could not convert"),
    ):
        with pytest.raises(ScorerError, match=why):
            measure(as_scorer(function)(), ["drum"])


def test_options_are_keyword_only_parameters():
    register_scorer("longest", longest)
    assert options_of("longest") == ("least", "most")
    stats, _ = measure(get_scorer("longest", least=7), ["drum"])
    assert stats.rows[0, 0] == 7
    with pytest.raises(ScorerError, match="longest: has no option 'leest'; did you mean 'least'"):
        get_scorer("longest", leest=7)

    def needs(caption, sample, *, limit: int):
        return limit

    register_scorer("needs", needs)
    with pytest.raises(ScorerError, match="needs: cannot be made with {}: missing a required .*'limit'"):
        get_scorer("needs")
    assert measure(get_scorer("needs", limit=3), ["drum"])[0].rows[0, 0] == 3
    with pytest.raises(ScorerError, match="needs: limit must be a whole number, not 'x'"):
        get_scorer("needs", limit="x")


def test_the_signature_says_which_function_it_was(tmp_path):
    path = tmp_path / "own.py"
    text = "def loud(caption, sample, *, by=2):\n    return by * caption.count('!')\n"
    path.write_text(text)
    scorer = get_scorer(f"{path}:loud")
    assert scorer.spec.name == "loud"
    _, context = measure(scorer, ["a"])
    name, function, by, source, version = scorer.signature(context).split("|")
    assert (name, function, by, version) == ("loud", "function:own.loud", "by:2", "v:1")
    path.write_text(text + "# changed\n")
    plugins.forget()
    other = get_scorer(f"{path}:loud")
    assert source not in other.signature(other.prepare(Corpus(SAMPLES)))


def test_it_is_a_reward_and_a_metric():
    scorer = as_scorer(longest, higher_is_better=False)()
    context = scorer.prepare(Corpus(SAMPLES))
    view = RewardView(scorer, context, scale=(0, 10))
    reward = view(SAMPLES, [[Caption("drum"), Caption("")], [Caption("drum"), Caption("x")]])
    np.testing.assert_allclose(reward.values, [[0.6, 1.0], [np.nan, np.nan]])
    with pytest.raises(ScorerError, match="no finite range"):
        RewardView(scorer, context)
    rows = {id: {"id": id, "caption": "a drum", "status": "ok"} for id in "ab"}
    found = evaluate(SAMPLES, rows, [scorer]).scores["longest"]
    assert found.known.tolist() == [True, False]


def test_a_factory_is_not_taken_for_a_function():
    register_scorer("factory", as_scorer(longest, "inner"))
    assert get_scorer("factory").spec.name == "inner"
    assert get_scorer("factory").spec.higher_is_better is True
