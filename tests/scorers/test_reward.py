from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.scorers import TTS, Context, Corpus, Item, Length, RewardView, Scorer, ScorerSpec, Stats
from capwright.types import Caption, Sample, ScorerError, Term, Vocabulary

VOCABULARY = Vocabulary({name: Term(name) for name in ("geoboard", "abacus", "tricycle", "maraca")})
TWO = Sample("two", Path("x"), terms=(VOCABULARY["geoboard"], VOCABULARY["abacus"]))
NONE = Sample("none", Path("x"))
SCORER = TTS()
CONTEXT = SCORER.prepare(Corpus([TWO, NONE], VOCABULARY))
VIEW = RewardView(SCORER, CONTEXT)


def captions(*texts: str) -> list[Caption]:
    return [Caption(text) for text in texts]


def test_the_default_reward_is_recall_that_pays_for_wrong_names():
    reward = VIEW([TWO], [captions("a geoboard, an abacus", "a geoboard", "geoboard, maraca", "maraca", "")])
    np.testing.assert_allclose(reward.values, [[1, 1 / 2, 1 / 3, 0, 0]])
    np.testing.assert_allclose(reward.parts["micro"], [[1, 0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(reward.parts["precision"], [[1, 1, 0.5, 0, np.nan]])
    assert reward.known.all()


@pytest.mark.parametrize(
    ("penalty", "expected"),
    # hits / (2 terms + penalty * wrong): none, one and two wrong names beside one hit; both, with one and two wrong.
    [
        (0.0, [1 / 2, 1 / 2, 1 / 2, 1, 1, 0]),
        (0.5, [1 / 2, 1 / 2.5, 1 / 3, 2 / 2.5, 2 / 3, 0]),
        (1.0, [1 / 2, 1 / 3, 1 / 4, 2 / 3, 2 / 4, 0]),
        (2.0, [1 / 2, 1 / 4, 1 / 6, 2 / 4, 2 / 6, 0]),
        (0.3, [1 / 2, 1 / 2.3, 1 / 2.6, 2 / 2.3, 2 / 2.6, 0]),
    ],
)
def test_what_a_wrong_name_costs(penalty, expected):
    said = ["geoboard", "geoboard, maraca", "geoboard, maraca, tricycle"]
    said += ["abacus, geoboard, maraca", "abacus, geoboard, maraca, tricycle", "maraca, tricycle"]
    found = RewardView(TTS(penalty=penalty), CONTEXT)([TWO], [captions(*said)]).values
    np.testing.assert_allclose(found, [expected], rtol=1e-12)


def test_naming_everything_does_not_pay():
    everything = ", ".join(VOCABULARY)
    reward = VIEW([TWO], [captions(everything, "a geoboard and an abacus")])
    assert reward.values[0, 0] < reward.values[0, 1] == 1


def test_an_image_without_terms_is_unknown_and_not_failed():
    reward = VIEW([TWO, NONE], [captions("a rug", "a geoboard"), captions("a rug", "a geoboard")])
    assert reward.known.tolist() == [[True, True], [False, False]]
    assert np.isnan(reward.values[1]).all()
    assert reward.values[0].tolist() == [0, 0.5]


def test_micro_as_the_reward():
    view = RewardView(SCORER, CONTEXT, "micro")
    assert view([TWO], [captions("geoboard, maraca")]).values.tolist() == [[0.5]]
    assert view.signature.endswith("|reward:micro|truncated:score")


def test_what_changes_the_reward_stands_in_its_signature_and_only_there():
    half = TTS(penalty=0.5)
    assert RewardView(half, CONTEXT).signature.endswith("|reward:penalized|penalty:.5|truncated:score")
    assert VIEW.signature.endswith("|reward:penalized|penalty:1|truncated:score")
    assert RewardView(half, CONTEXT, "micro").signature == RewardView(SCORER, CONTEXT, "micro").signature
    assert half.signature(CONTEXT) == SCORER.signature(CONTEXT)


def test_cut_off_captions_are_scored_or_unknown():
    cut = [[Caption("a geoboard", finish="length"), Caption("a geoboard")]]
    assert VIEW([TWO], cut).known.all()
    assert RewardView(SCORER, CONTEXT, truncated="unknown")([TWO], cut).known.tolist() == [[False, True]]


def test_no_images():
    assert VIEW([], []).values.shape == (0, 0)


def test_lengths_need_a_scale():
    scorer = Length()
    context = scorer.prepare(Corpus([]))
    with pytest.raises(ScorerError, match="scale"):
        RewardView(scorer, context)
    view = RewardView(scorer, context, scale=(2, 6))
    assert view.signature.endswith("|truncated:score|scale:2..6")
    np.testing.assert_allclose(view([TWO], [captions("one", "one two three four", "a " * 9)]).values, [[0, 0.5, 1]])
    assert RewardView(scorer, context, "truncated")([TWO], [[Caption("a", finish="length")]]).values == 1
    with pytest.raises(ScorerError, match="low < high"):
        RewardView(scorer, context, scale=(1, 1))


@dataclass
class Fake(Scorer):
    """A scorer with one output that gives what it is told, in two rows a caption."""

    value: float = 0.5
    unit: str = "item"
    higher_is_better: bool | None = True
    status: str = "ok"
    fail: bool = False

    @property
    def spec(self) -> ScorerSpec:
        return ScorerSpec("fake", "1", ("x",), {"x": (0, 1)}, unit=self.unit, higher_is_better=self.higher_is_better)

    def prepare(self, corpus: Corpus) -> Context:
        return Context("fake", "0", ("x",))

    def stats(self, items, context) -> Stats:
        if self.fail:
            raise KeyError("boom")
        rows = np.tile([self.value, 1.0], (2 * len(items), 1))
        status = tuple("ok" if i % 2 else self.status for i in range(len(rows)))
        return Stats(rows, np.repeat(np.arange(len(items)), 2), status, (None,) * len(rows))

    def finalize(self, summed):
        return summed[..., :1] / summed[..., 1:]

    def signature(self, context: Context) -> str:
        return "fake"


def view_of(fake: Fake) -> RewardView:
    return RewardView(fake, fake.prepare(Corpus([])))


class Vowels(Scorer):
    """All that a scorer needs: what it is, and rows of (value, 1)."""

    spec = ScorerSpec("vowels", "1", ("vowels",), {"vowels": (0, 9)})

    def stats(self, items, context) -> Stats:
        rows = np.array([[sum(c in "aeiou" for c in item.caption), 1.0] for item in items])
        return Stats(rows, np.arange(len(items)), ("ok",) * len(items), (None,) * len(items))


def test_a_scorer_of_ones_own_has_defaults():
    scorer = Vowels()
    context = scorer.prepare(Corpus([]))
    rows = scorer.stats([Item(TWO, "a toy"), Item(TWO, "geoboard")], context).rows
    assert scorer.finalize(rows.sum(0)).tolist() == [3.0]
    assert np.isnan(scorer.finalize(np.zeros(2))).all()
    assert scorer.signature(context) == "vowels|v:1"
    with pytest.raises(ScorerError, match=r"vowels: needs a context made by its own prepare\(\)"):
        scorer.signature(Context("other", "0", ("x",)))
    assert RewardView(scorer, context, scale=(0, 10))([TWO], [captions("a", "toys")]).values.tolist() == [[0.1, 0.1]]


def test_an_object_with_the_three_steps_is_measured_too():
    class Duck:
        spec, prepare, stats, finalize, signature = (
            Fake().spec,
            *(getattr(Fake(), n) for n in ("prepare", "stats", "finalize", "signature")),
        )

    duck = Duck()
    assert RewardView(duck, duck.prepare(Corpus([])))([TWO], [captions("a", "b")]).values.tolist() == [[0.5, 0.5]]


def test_lower_is_better_is_turned_around():
    assert view_of(Fake(0.2, higher_is_better=False))([TWO], [captions("a")]).values.tolist() == [[0.8]]


def test_one_unknown_row_makes_the_caption_unknown():
    assert not view_of(Fake(status="judge_error"))([TWO], [captions("a")]).known.any()


def test_a_set_scorer_is_no_reward():
    with pytest.raises(ScorerError, match=r"fake.*no single caption"):
        view_of(Fake(unit="set"))


def test_a_value_outside_its_range_and_a_failure_name_the_scorer():
    with pytest.raises(ScorerError, match=r"fake.*1\.5.*0\.\.1"):
        view_of(Fake(1.5))([TWO], [captions("a")])
    with pytest.raises(ScorerError, match=r"fake.*boom"):
        view_of(Fake(fail=True))([TWO], [captions("a")])


def test_what_can_not_be_a_reward():
    with pytest.raises(ScorerError, match=r"tts.*frozen context.*prepare"):
        RewardView(SCORER, None)
    with pytest.raises(ScorerError, match="'fake'"):
        RewardView(SCORER, Context("fake", "0", ("x",)))
    with pytest.raises(ScorerError, match=r"'recall'.*penalized.*micro"):
        RewardView(SCORER, CONTEXT, "recall")
    with pytest.raises(ScorerError, match="truncated"):
        RewardView(SCORER, CONTEXT, truncated="drop")
    with pytest.raises(ScorerError, match="penalty"):
        TTS(penalty=-1)


@pytest.mark.parametrize(
    ("samples", "groups"), [([TWO], []), ([TWO, TWO], [captions("a"), captions("a", "b")]), ([], [captions("a")])]
)
def test_groups_must_fit(samples, groups):
    with pytest.raises(ScorerError, match="as many captions"):
        VIEW(samples, groups)


@given(
    st.lists(st.sampled_from(list(VOCABULARY)), unique=True),
    st.lists(st.sampled_from([*VOCABULARY, "rug"])).map(" and ".join),
    st.floats(0, 4),
)
def test_zero_means_that_nothing_was_named_right(names, caption, penalty):
    sample = Sample("s", Path("x"), terms=tuple(VOCABULARY[name] for name in names))
    reward = RewardView(TTS(penalty=penalty), CONTEXT)([sample], [captions(caption)])
    assert reward.known.item() is bool(names)
    if names:
        hit = any(name in caption for name in names)
        assert (reward.values.item() > 0) is hit
        assert 0 <= reward.values.item() <= reward.parts["micro"].item() + 1e-12 <= 1 + 1e-12
