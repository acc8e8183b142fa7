"""CIDEr-D and CIDEr against the reference values, against a slow and plain count, and against chance."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.scorers import Corpus, Item, RewardView, explain, get_scorer
from capwright.scorers.ngram.idf import build_idf
from capwright.text.tokenizers import get_tokenizer
from capwright.types import NO_IMAGE, Caption, DataError, Sample, ScorerError
from coco_sets import SETS, expected, measure, raw_items, tokenized_items

CIDER = get_scorer("ciderD", tokenizer="split")
PLAIN = get_scorer("cider", tokenizer="split")
TEXT = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=8).map(" ".join)
PAIRS = st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=3)), min_size=1, max_size=6)


def sample(*references: str, name: str = "s") -> Sample:
    return Sample(name, NO_IMAGE, references)


WORLD = [sample("a red ball on the grass", "the red ball"), sample("a dog"), sample("a cat on the grass")]


def slow(caption: str, references: tuple[str, ...], world: list[Sample], plain: bool = False) -> float:
    """The definition, with dictionaries."""

    def grams(text: str) -> Counter:
        words = text.split()
        return Counter(tuple(words[i : i + n]) for n in range(1, 5) for i in range(len(words) - n + 1))

    world = [one for one in world if one.references]
    said_in = Counter(gram for one in world for gram in set().union(*map(grams, one.references)))

    def vector(text: str) -> dict:
        return {g: c * (math.log(len(world)) - math.log(max(1, said_in[g]))) for g, c in grams(text).items()}

    total = 0.0
    own = vector(caption)
    for reference in references:
        other = vector(reference)
        difference = max(0, len(caption.split()) - 1) - max(0, len(reference.split()) - 1)
        for n in range(1, 5):
            norms = [math.sqrt(sum(w * w for g, w in v.items() if len(g) == n)) for v in (own, other)]
            if not all(norms):
                continue
            common = [g for g in own if len(g) == n and g in other]
            dot = sum((own[g] if plain else min(own[g], other[g])) * other[g] for g in common)
            total += dot / norms[0] / norms[1] * (1 if plain else math.exp(-(difference**2) / 72))
    return 10 * total / 4 / len(references)


@pytest.mark.parametrize("name", SETS)
def test_equals_the_reference_values(name):
    total, each = measure(CIDER, tokenized_items(name))
    of_set, of_captions = expected(name, "CIDEr")
    assert total[0] == pytest.approx(of_set, abs=1e-9)
    np.testing.assert_allclose(each[:, 0], of_captions, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_is_near_them_from_raw_text(name):
    total, _ = measure(get_scorer("ciderD"), raw_items(name))
    assert total[0] == pytest.approx(expected(name, "CIDEr")[0], abs=5e-4)


@given(PAIRS)
@settings(deadline=None)
def test_equals_the_definition(pairs):
    items = [Item(sample(*references), caption) for caption, references in pairs]
    known = [tuple(filter(None, references)) for _, references in pairs]
    world = [*WORLD, *(sample(*references) for references in known)]
    for scorer in (CIDER, PLAIN):
        each = scorer.finalize(scorer.stats(items, scorer.prepare(Corpus(world))).rows)[:, 0]
        wanted = [
            slow(item.caption, references, world, scorer is PLAIN) if references else np.nan
            for item, references in zip(items, known)
        ]
        np.testing.assert_allclose(each, wanted, rtol=0, atol=1e-12)


@given(PAIRS, st.randoms())
@settings(deadline=None)
def test_captions_do_not_touch_each_other(pairs, random):
    items = [Item(WORLD[0], "the ball"), *(Item(sample(*references), caption) for caption, references in pairs)]
    context = CIDER.prepare(Corpus([*WORLD, *(item.sample for item in items)]))
    rows = CIDER.stats(items, context).rows
    alone = np.concatenate([CIDER.stats([item], context).rows for item in items])
    np.testing.assert_array_equal(rows, alone)  # to the last bit: a reward must not depend on its batch
    order = list(range(len(items)))
    random.shuffle(order)
    np.testing.assert_array_equal(CIDER.stats([items[i] for i in order], context).rows, rows[order])
    assert CIDER.finalize(rows.sum(0))[0] == pytest.approx(np.nanmean(CIDER.finalize(rows)))
    assert ((rows >= 0) & (rows <= 10 + 1e-9)).all()


@given(PAIRS, st.randoms())
@settings(deadline=None)
def test_samples_have_no_order(pairs, random):
    world = [*WORLD, *(sample(*references) for _, references in pairs)]
    item = Item(WORLD[0], "a red ball on a dog")
    before = CIDER.prepare(Corpus(world))
    random.shuffle(world)
    after = CIDER.prepare(Corpus(world))
    assert after.fingerprint == before.fingerprint
    np.testing.assert_array_equal(CIDER.stats([item], after).rows, CIDER.stats([item], before).rows)


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=5))
@settings(deadline=None)
def test_no_character_moves_a_score_to_another_image(pairs):
    for scorer in (get_scorer(name, tokenizer="words") for name in ("bleu", "rougeL", "ciderD")):
        items = [Item(sample(reference), caption) for caption, reference in pairs]
        world = Corpus([*WORLD, *(item.sample for item in items)])
        context = scorer.prepare(world)
        rows = scorer.stats(items, context).rows
        for item, row in zip(items, rows, strict=True):
            np.testing.assert_array_equal(scorer.stats([item], context).rows[0], row)


def test_a_stray_line_end_changes_nothing():
    items = list(tokenized_items("fakecap1000")[:200])
    for scorer in (get_scorer(name, tokenizer="split") for name in ("bleu", "rougeL", "ciderD")):
        _, before = measure(scorer, items)
        for end in "\r\v\f\x1c\x85\u2028\u2029":
            broken = list(items)
            words = broken[10].caption.split()
            broken[10] = Item(broken[10].sample, f"{end}{words[0]}{end}{' '.join(words[1:])}\r\n")
            np.testing.assert_array_equal(measure(scorer, broken)[1], before)


def test_mixed_numbers_are_two_words_as_in_the_reference_implementation():
    items = [Item(sample("a 1\xa01/2 inch ball"), "a 1 1/2 inch ball"), Item(sample("a dog"), "a dog")]
    assert measure(CIDER, items)[1][0, 0] == pytest.approx(10)
    assert measure(get_scorer("rougeL", tokenizer="split"), items)[1][0, 0] < 1  # there it is one


def test_one_sample_is_an_error_and_not_zero():
    with pytest.raises(DataError, match=r"every score is 0.*log 1 = 0.*coco-val2014"):
        CIDER.prepare(Corpus([WORLD[0], sample()]))
    with pytest.raises(DataError, match="none of the 1 samples has a reference"):
        CIDER.prepare(Corpus([sample()]))
    frozen = get_scorer("ciderD", tokenizer="split", idf="coco-val2014")
    total, _ = measure(frozen, [Item(WORLD[0], "the red ball")])
    assert 0 < total[0] < 10


def test_unknown_is_not_zero():
    items = [Item(WORLD[0], "the red ball"), Item(sample(), "a"), Item(WORLD[1], "", "timeout"), Item(WORLD[1], "")]
    stats = CIDER.stats(items, CIDER.prepare(Corpus(WORLD)))
    assert stats.status == ("ok", "ok", "timeout", "empty")
    scores = CIDER.finalize(stats.rows)[:, 0]
    assert scores[0] > 0
    np.testing.assert_array_equal(scores[1:], [np.nan, np.nan, 0])


def test_the_reward_is_frozen_and_scaled_by_its_range():
    context = CIDER.prepare(Corpus(WORLD))
    view = RewardView(CIDER, context)
    group = [Caption("the red ball"), Caption("a dog"), Caption(""), Caption("a red ball on the grass")]
    both = view([WORLD[0], WORLD[1]], [group, group])
    for place, one in enumerate(WORLD[:2]):
        np.testing.assert_array_equal(view([one], [group]).values[0], both.values[place])
        np.testing.assert_array_equal([view([one], [[caption]]).values[0, 0] for caption in group], both.values[place])
    rows = CIDER.stats([Item(WORLD[0], caption.text) for caption in group], context).rows
    np.testing.assert_allclose(both.values[0], rows[:, 0] / 10)
    with pytest.raises(ScorerError, match="needs a frozen context"):
        RewardView(CIDER, None)
    with pytest.raises(ScorerError, match="the context is of 'ciderD'"):
        RewardView(PLAIN, context)


def test_a_reward_does_not_depend_on_what_was_tokenized_before():
    said = "the grass on a red red ball"
    before = CIDER.stats([Item(WORLD[0], said)], CIDER.prepare(Corpus(WORLD))).rows
    get_tokenizer(CIDER.tokenizer)._forget()
    get_tokenizer(CIDER.tokenizer)(["zebra ball grass on red the a"])  # other codes for the same words
    after = CIDER.stats([Item(WORLD[0], said)], CIDER.prepare(Corpus(WORLD))).rows  # another item: nothing is kept
    np.testing.assert_array_equal(after, before)


def test_plain_cider_pays_for_saying_it_again():
    again = Item(WORLD[0], "ball ball ball ball red red red ball")
    once = Item(WORLD[0], "red ball")
    context, plain = CIDER.prepare(Corpus(WORLD)), PLAIN.prepare(Corpus(WORLD))
    clipped = [row[0] for row in CIDER.stats([again, once], context).rows]
    cosine = [row[0] for row in PLAIN.stats([again, once], plain).rows]
    assert clipped[0] / clipped[1] < cosine[0] / cosine[1]


def test_the_figures_of_the_page():
    items = tokenized_items("val2017_nn")
    twice = [Item(item.sample, f"{item.caption} {item.caption}") for item in items]
    half = [Item(item.sample, " ".join(item.caption.split()[: len(item.caption.split()) // 2])) for item in items]
    for scorer, wanted in ((CIDER, (0.206, 0.484)), (PLAIN, (1.151, 0.751))):
        context = scorer.prepare(Corpus([item.sample for item in items]))
        for changed, value in zip((twice, half), wanted, strict=True):
            total = scorer.finalize(scorer.stats(changed, context).rows.sum(0))[0]
            assert total == pytest.approx(value, abs=6e-4)


def test_options(tmp_path):
    build_idf(WORLD, tmp_path / "two.tsv", tokenizer="split", n=2)
    with pytest.raises(DataError, match="has n-grams of 1 to 2 words, not 4; build it with n=4, or set n=2"):
        get_scorer("ciderD", tokenizer="split", idf=tmp_path / "two.tsv").prepare(Corpus(WORLD))
    with pytest.raises(DataError, match="cut by 'ptb-java-3.4.1', captions would be cut by 'words'"):
        get_scorer("ciderD", tokenizer="words", idf="coco-val2014").prepare(Corpus(WORLD))
    with pytest.raises(ScorerError, match="n: must be a whole number from 1 to 100"):
        get_scorer("ciderD", tokenizer="split", n=0)
    with pytest.raises(ScorerError, match="sigma: must be a number above 0"):
        get_scorer("ciderD", tokenizer="split", sigma=0)
    with pytest.raises(ScorerError, match=r"cider\.sigma: unknown option"):
        get_scorer("cider", tokenizer="split", sigma=6)
    two = get_scorer("ciderD", tokenizer="split", n=2, idf=str(tmp_path / "two.tsv"))
    refs = get_scorer("ciderD", tokenizer="split", n=2)
    item = Item(WORLD[0], "the red ball on a dog")
    both = [scorer.stats([item], scorer.prepare(Corpus(WORLD))).rows for scorer in (two, refs)]
    np.testing.assert_array_equal(*both)


def test_signature(tmp_path):
    context = CIDER.prepare(Corpus([*WORLD, sample()]))
    digest = context.table.digest[:8]
    assert CIDER.signature(context) == f"ciderD|n:4|sigma:6|idf:refs@3#{digest}|tok:split|ws:collapse|refs:1..2|v:1"
    plain = PLAIN.prepare(Corpus(WORLD))
    assert PLAIN.signature(plain) == f"cider|n:4|idf:refs@3#{digest}|tok:split|ws:collapse|refs:1..2|v:1"
    build_idf(WORLD, tmp_path / "x.tsv.gz", tokenizer="split")
    table = get_scorer("ciderD", tokenizer="split", idf=tmp_path / "x.tsv.gz")
    assert f"idf:table@3#{digest}" in table.signature(table.prepare(Corpus(WORLD)))
    coco = get_scorer("ciderD", tokenizer="split", idf="coco-val2014")
    assert "idf:coco-val2014@40504#7851364f" in coco.signature(coco.prepare(Corpus(WORLD)))
    with pytest.raises(ScorerError, match="own prepare"):
        CIDER.stats([], plain)


def test_evidence_sums_to_the_score():
    items = [Item(WORLD[0], "the red ball ball"), Item(sample(), "a"), Item(WORLD[1], "")]
    context = CIDER.prepare(Corpus(WORLD))
    found, nothing, empty = explain(CIDER, items, context)
    assert nothing is None
    assert empty == {"ngrams": []}
    assert sum(row["points"] for row in found["ngrams"]) == pytest.approx(CIDER.stats(items, context).rows[0, 0])
    assert [row["points"] for row in found["ngrams"]] == sorted((r["points"] for r in found["ngrams"]), reverse=True)
    ball = next(row for row in found["ngrams"] if row["ngram"] == "ball")
    assert (ball["count"], ball["references"], ball["samples"]) == (2, 1.0, 1)
    the = next(row for row in found["ngrams"] if row["ngram"] == "the")
    assert (the["count"], the["references"], the["samples"]) == (1, 1.0, 2)
    assert "the red ball" in {row["ngram"] for row in found["ngrams"]}
