from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.scorers import TTS, Corpus, Item, get_scorer
from capwright.types import DataError, Sample, ScorerError, Term, Vocabulary

TERMS = [
    Term("geoboard", ("geo board",), category="board", tier="never"),
    Term("pegboard", category="board", tier="frequent"),
    Term("pattern blocks", plurals=("pattern blocks",), category="blocks", tier="never"),
    Term("tricycle", category="ride-on toy", tier="frequent"),
    Term("board", level="generic"),
    Term("toy", level="vague"),
]
VOCABULARY = Vocabulary({term.name: term for term in TERMS})
NAMES = list(VOCABULARY)


def sample(name: str, *terms: str | Term) -> Sample:
    return Sample(name, Path("x.png"), terms=tuple(VOCABULARY[t] if isinstance(t, str) else t for t in terms))


BOARDS = sample("boards", "geoboard", "pegboard")
BLOCKS = sample("blocks", "pattern blocks")
EMPTY = sample("empty")
SCORER = TTS()
CONTEXT = SCORER.prepare(Corpus([BOARDS, BLOCKS, EMPTY], VOCABULARY))


def score(*pairs: tuple[Sample, str]) -> dict[str, float]:
    stats = SCORER.stats([Item(s, caption) for s, caption in pairs], CONTEXT)
    return dict(zip(CONTEXT.outputs, SCORER.finalize(stats.rows.sum(0)).tolist()))


def test_outputs_are_headline_first_and_tiers_in_order_of_use():
    assert CONTEXT.outputs == ("micro", "macro", "weighted", "precision", "f1", "tier:frequent", "tier:never")


def test_a_worked_example():
    """Three images: 1 of 2 names right and one wrong; 1 of 1 right; none to name, one wrong."""
    found = score(
        (BOARDS, "Geo-boards, a geoboard and a tricycle. Another tricycle!"),
        (BLOCKS, "pattern blocks"),
        (EMPTY, "a pegboard"),
    )
    assert found["micro"] == pytest.approx(100 * 2 / 3)
    assert found["macro"] == pytest.approx(100 * (1 / 2 + 1) / 2)
    assert found["precision"] == pytest.approx(100 * 2 / 4)
    assert found["f1"] == pytest.approx(100 * 2 * 2 / (3 + 4))
    assert found["weighted"] == pytest.approx(100 * 2 / 3)
    assert found["tier:never"] == 100
    assert found["tier:frequent"] == 0


@pytest.mark.parametrize(
    ("caption", "weighted"),
    [
        ("a geoboard and a pegboard", 100),
        ("a geoboard and a board", 75),
        ("two boards", 50),
        ("toys", 25),
        ("toys on a board", 50),
        ("a geoboard among toys", 62.5),
        ("an image", 0),
        ("a tricycle", 0),
    ],
)
def test_levels_give_partial_credit(caption, weighted):
    assert score((BOARDS, caption))["weighted"] == pytest.approx(weighted)


def test_what_is_said_again_counts_once():
    assert score((BOARDS, "geoboard")) == score((BOARDS, "geoboard, geo-boards and one more geo board"))


def test_undefined_is_nan_and_not_zero():
    assert all(math.isnan(value) for value in score((EMPTY, "a rug")).values())
    silent = score((BLOCKS, ""))
    assert silent["micro"] == silent["f1"] == silent["tier:never"] == 0
    assert math.isnan(silent["precision"])
    assert math.isnan(silent["tier:frequent"])
    only_wrong = score((EMPTY, "a geoboard"))
    assert only_wrong["precision"] == 0
    assert math.isnan(only_wrong["micro"])


def test_a_term_annotated_at_a_lower_level_is_neither_asked_for_nor_wrong():
    lower = sample("lower", replace(VOCABULARY["geoboard"], level="generic"))
    found = score((lower, "a geoboard"))
    assert math.isnan(found["micro"])
    assert math.isnan(found["precision"])
    assert found["weighted"] == 100
    assert score((lower, "a board"))["weighted"] == 100
    assert score((lower, "a toy"))["weighted"] == 50


def test_evidence_points_into_the_caption():
    caption = "The ＧＥＯ-boards’ pegs, a board, toys and tricycles."
    (evidence,) = SCORER.stats([Item(BOARDS, caption)], CONTEXT).evidence
    assert [(caption[s.start : s.end], s.term, s.status) for s in evidence["spans"]] == [
        ("ＧＥＯ-boards", "geoboard", "right"),
        ("board", "board", "generic"),
        ("toys", "toy", "vague"),
        ("tricycles", "tricycle", "wrong"),
    ]
    assert evidence["missed"] == ["pegboard"]
    assert (evidence["hits"], evidence["terms"], evidence["wrong"]) == (1, 2, 1)


def test_unknown_captions_have_zero_rows_and_no_evidence():
    stats = SCORER.stats([Item(BOARDS, "geoboard", "timeout"), Item(BOARDS, "  ")], CONTEXT)
    assert stats.status == ("timeout", "empty")
    assert stats.evidence[0] is None
    assert not stats.rows[0].any()
    assert stats.known.tolist() == [False, True]


def test_terms_outside_the_vocabulary_join_when_prepared_and_are_an_error_later():
    stranger = sample("s", Term("abacus", tier="rare"))
    context = SCORER.prepare(Corpus([stranger], VOCABULARY))
    assert "tier:rare" in context.outputs
    assert SCORER.stats([Item(stranger, "an abacus")], context).rows[0, 0] == 1
    with pytest.raises(DataError, match=r"'s'.*'abacus'.*vocabulary"):
        SCORER.stats([Item(stranger, "an abacus")], CONTEXT)


def test_without_any_term_there_is_nothing_to_measure():
    with pytest.raises(DataError, match="vocabulary"):
        SCORER.prepare(Corpus([EMPTY]))


def test_terms_of_samples_are_enough():
    context = SCORER.prepare(Corpus([BOARDS]))
    assert SCORER.stats([Item(BOARDS, "a geo board")], context).rows[0, :3].tolist() == [1, 2, 0]


def test_unknown_levels_and_statuses_are_errors():
    with pytest.raises(DataError, match="'s'.*'exact'"):
        SCORER.stats([Item(sample("s", replace(VOCABULARY["geoboard"], level="exact")), "")], CONTEXT)
    with pytest.raises(ScorerError, match="'boards'.*'fine'"):
        SCORER.stats([Item(BOARDS, "", "fine")], CONTEXT)


def test_signature_says_what_can_change_the_number():
    signature = SCORER.signature(CONTEXT)
    assert signature.startswith("tts|v:1|terms:4|vocab:")
    assert signature.endswith("|levels:1/.5/.25|match:longest,plural")
    assert TTS(levels=(1, 0.4, 0)).signature(CONTEXT).endswith("|levels:1/.4/0|match:longest,plural")


@pytest.mark.parametrize("levels", [(1, 0.5), (0.2, 0.5, 0.1), (2, 1, 0), (0, 0, 0), {"exact": 1}, {"vague": 0.9}])
def test_bad_levels_are_refused(levels):
    with pytest.raises(ScorerError, match="levels"):
        TTS(levels=levels)


def test_levels_as_a_mapping():
    assert get_scorer("tts", levels={"vague": 0}).signature(CONTEXT).split("|")[4] == "levels:1/.5/0"


PAIRS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(NAMES), unique=True, max_size=4),
        st.lists(st.sampled_from([*NAMES, "blocks", "a", "geo-board", "patterns", ", "]), max_size=8).map(" ".join),
        st.sampled_from(["ok", "ok", "ok", "timeout"]),
    ),
    min_size=1,
    max_size=12,
)


@given(PAIRS, st.randoms(use_true_random=False))
def test_rows_add_up_and_order_does_not_matter(pairs, rng):
    items = [Item(sample(str(i), *names), caption, status) for i, (names, caption, status) in enumerate(pairs)]
    stats = SCORER.stats(items, CONTEXT)
    corpus = SCORER.finalize(stats.rows.sum(0))
    shuffled = list(items)
    rng.shuffle(shuffled)
    np.testing.assert_allclose(SCORER.finalize(SCORER.stats(shuffled, CONTEXT).rows.sum(0)), corpus)
    halves = [SCORER.stats(items[i::2], CONTEXT).rows.sum(0) for i in (0, 1)]
    np.testing.assert_allclose(SCORER.finalize(halves[0] + halves[1]), corpus)
    one_by_one = np.stack([SCORER.finalize(row) for row in stats.rows])
    np.testing.assert_array_equal(SCORER.finalize(stats.rows), one_by_one)
    defined = one_by_one[np.isfinite(one_by_one)]
    assert ((defined >= 0) & (defined <= 100)).all()


@given(PAIRS)
def test_equals_the_definition(pairs):
    """Micro recall, precision and macro counted with sets, from the evidence of what was named."""
    hits = terms = wrong = 0
    shares = []
    for names, caption, _ in pairs:
        (evidence,) = SCORER.stats([Item(sample("x", *names), caption)], CONTEXT).evidence
        asked = {name for name in names if VOCABULARY[name].level == "professional"}
        said = {s.term for s in evidence["spans"] if s.term in VOCABULARY}
        said = {name for name in said if VOCABULARY[name].level == "professional"}
        hits, terms, wrong = hits + len(asked & said), terms + len(asked), wrong + len(said - asked)
        shares += [len(asked & said) / len(asked)] if asked else []
    found = score(*((sample("x", *names), caption) for names, caption, _ in pairs))
    expected = {
        "micro": 100 * hits / terms if terms else math.nan,
        "macro": 100 * sum(shares) / len(shares) if shares else math.nan,
        "precision": 100 * hits / (hits + wrong) if hits + wrong else math.nan,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)
