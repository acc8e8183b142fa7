from __future__ import annotations

import gzip
import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.scorers import Corpus, Item, RewardView, get_scorer
from capwright.scorers.ngram.diversity import Diversity, spread
from capwright.types import NO_IMAGE, DataError, Sample, ScorerError
from places import CAPTIONS


def sample(name: str, *references: str) -> Sample:
    return Sample(name, NO_IMAGE, references)


#: Words x and y are in every sample, so they weigh nothing; a, b, c, d weigh log 3 each.
SAMPLES = [sample("1", "x y a"), sample("2", "x y b c"), sample("3", "x y d")]
SCORER = Diversity(tokenizer="split")
CONTEXT = SCORER.prepare(Corpus(SAMPLES))


def items(name: str, *captions: str) -> list[Item]:
    return [Item(sample(name), caption) for caption in captions]


def measure(*captions: str) -> list[float]:
    return SCORER.finalize(SCORER.stats(items("1", *captions), CONTEXT).rows.sum(0)).tolist()


def test_the_ends_of_the_scale():
    same = measure("a b c d", "a b c d", "a b c d")
    assert same == pytest.approx([0, 1, 1 / 3], abs=1e-12)
    assert measure("a b a b", "c d c d")[0] == pytest.approx(1)
    assert measure("a b a b", "c d c d")[2] == 1


def test_self_cider_by_hand():
    """Captions "a b" and "a c" share a of two words, no pair: CIDEr (1/2 + 0 + 0 + 0) / 4; each with itself 2 / 4."""
    large, small = 0.5 + 0.125, 0.5 - 0.125
    r = math.sqrt(large) / (math.sqrt(large) + math.sqrt(small))
    assert measure("a b", "a c")[0] == pytest.approx(-math.log(r) / math.log(2), abs=1e-12)


def test_self_bleu_by_hand():
    """ "a b" against "a c": 1 of 2 words; pairs (0 + 1) / (1 + 1); longer ones (0 + 1) / (0 + 1), no brevity."""
    assert measure("a b", "a c")[1] == pytest.approx((1 / 2 * 1 / 2) ** 0.25)
    # Of three, each is compared with both others: "a b" has a and b, in one of them each.
    three = measure("a b", "a c", "c b")[1]
    assert three == pytest.approx(((2 / 2) * (1 / 2)) ** 0.25)


def test_words_that_tell_nothing_apart_do_not_count():
    assert measure("x", "y")[0] == 0
    alone, beside = measure("a", "a"), measure("x", "a")
    assert alone[0] == pytest.approx(0, abs=1e-12)
    assert beside[0] == pytest.approx(0, abs=1e-12)


def test_an_empty_caption_is_a_copy():
    np.testing.assert_allclose(measure(" ", "a b", "c d"), measure("a b", "a b", "c d"))
    np.testing.assert_allclose(measure("", "", ""), [0, 1, 1 / 3])
    np.testing.assert_allclose(measure("c d", "", "a b"), measure("a b", "a b", "c d"))
    assert measure("a b", "")[0] == pytest.approx(0, abs=1e-12)


def test_means_over_images_that_have_several_captions():
    batch = [*items("1", "a b", "a c"), *items("2", "a b"), *items("3", "a b", "a b"), *items("1", "a b")]
    stats = SCORER.stats(batch, CONTEXT)
    assert stats.owner.tolist() == [0, 2, 3]
    assert stats.status == ("ok", "ok", "ok")
    assert stats.evidence == ({"captions": 3, "different": 2}, None, {"captions": 2, "different": 1})
    each = SCORER.finalize(stats.rows)
    assert np.isnan(each[1]).all()
    np.testing.assert_allclose(SCORER.finalize(stats.rows.sum(0)), each[[0, 2]].mean(0))
    np.testing.assert_allclose(each[0], measure("a b", "a c", "a b"))


def test_an_unknown_caption_makes_its_image_unknown():
    batch = [Item(sample("1"), "a"), Item(sample("1"), "", "timeout"), *items("2", "a b", "c"), *items("3", "", "b")]
    stats = SCORER.stats(batch, CONTEXT)
    assert stats.status == ("timeout", "ok", "empty")
    assert not stats.rows[0].any()
    assert SCORER.stats([], CONTEXT).rows.shape == (0, 4)
    assert np.isnan(SCORER.finalize(np.zeros(4))).all()


captions = st.lists(st.text(alphabet="abcxy \u2028\r", max_size=10), min_size=2, max_size=5)


@settings(deadline=None, max_examples=60)
@given(st.lists(captions, min_size=1, max_size=4), st.randoms())
def test_order_and_company_do_not_matter(groups, random):
    whole = SCORER.stats([item for n, group in enumerate(groups) for item in items(str(n), *group)], CONTEXT)
    assert (SCORER.finalize(whole.rows) >= 0).all()
    assert (SCORER.finalize(whole.rows) <= 1 + 1e-12).all()
    for number, group in enumerate(groups):
        mixed = random.sample(group, len(group))
        np.testing.assert_allclose(measure(*mixed), SCORER.finalize(whole.rows[number]), atol=1e-9)


def test_equals_a_plain_count_on_coco():
    """The formula written out with dictionaries, on captions by people; and in portions as all at once."""
    with gzip.open(CAPTIONS / "fakecap1000_tokens.json.gz", "rt") as file:
        texts = dict(list(json.load(file)["gts"].items())[:40])
    corpus = Corpus([sample(name, *group) for name, group in texts.items()])
    scorer = Diversity(tokenizer="split")
    stats = scorer.stats([i for n, g in texts.items() for i in items(n, *g)], scorer.prepare(corpus))
    documents = Counter(gram for group in texts.values() for gram in {g for text in group for g in grams(text)})
    expected = [direct(group, documents, len(texts)) for group in texts.values()]
    np.testing.assert_allclose(scorer.finalize(stats.rows)[:, 0], expected, atol=1e-9)


def test_many_captions_go_in_portions(monkeypatch):
    batch = [item for n in range(6) for item in items(str(n), "a b", "b c", f"d {'a' * n}")]
    whole = SCORER.stats(batch, CONTEXT).rows
    monkeypatch.setattr("capwright.scorers.ngram.diversity._PAIRS", 10)
    np.testing.assert_array_equal(SCORER.stats(batch, CONTEXT).rows, whole)


def grams(text: str) -> Counter[tuple[str, ...]]:
    words = text.split()
    return Counter(tuple(words[i : i + n]) for n in range(1, 5) for i in range(len(words) - n + 1))


def direct(group: list[str], documents: Counter[tuple[str, ...]], images: int) -> float:
    kernel = np.zeros((len(group), len(group)))
    for n in range(1, 5):
        vectors = []
        for text in group:
            weight = {g: c * math.log(images / max(1, documents[g])) for g, c in grams(text).items() if len(g) == n}
            norm = math.sqrt(sum(w * w for w in weight.values()))
            vectors.append({g: w / norm for g, w in weight.items()} if norm else {})
        kernel += [[sum(w * b.get(g, 0) for g, w in a.items()) for b in vectors] for a in vectors]
    roots = np.sqrt(np.clip(np.linalg.eigvalsh(kernel), 0, None))
    return -math.log(roots.max() / roots.sum()) / math.log(len(group))


def test_spread_of_a_kernel():
    assert spread(np.eye(4)) == pytest.approx(1)
    assert spread(np.ones((7, 7)) * 0.3) == 0
    assert spread(np.zeros((2, 2))) == 0
    two_and_two = np.kron(np.eye(2), np.ones((2, 2)))
    assert spread(two_and_two) == pytest.approx(0.5)


def test_the_frozen_table_needs_no_references():
    scorer = get_scorer("diversity", idf="coco-val2014")
    context = scorer.prepare(Corpus([sample("1")]))
    stats = scorer.stats(items("1", "A dog on a sofa.", "A dog on a bench."), context)
    value = scorer.finalize(stats.rows)[0, 0]
    assert 0.3 < value < 0.95
    assert scorer.signature(context).startswith("diversity|n:4|idf:coco-val2014@40504#")
    assert scorer.spec.needs == {"several captions"}
    with pytest.raises(DataError, match=r'diversity: .* \(idf="coco-val2014" needs no references\)'):
        Diversity().prepare(Corpus([sample("1")]))


def test_signature_and_context():
    digest = CONTEXT.cider.table.digest[:8]
    assert SCORER.signature(CONTEXT) == f"diversity|n:4|idf:refs@3#{digest}|smooth:add1|tok:split|ws:collapse|v:1"
    with pytest.raises(ScorerError, match=r"made by its own prepare"):
        SCORER.stats([], CONTEXT.cider)


def test_it_is_no_reward():
    with pytest.raises(
        ScorerError, match="diversity: cannot be a reward, because it measures the captions of an image"
    ):
        RewardView(SCORER, CONTEXT)
