"""With Java and the jars: `make test-java`."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from capwright.scorers import Corpus, Item, get_scorer
from capwright.scorers.ngram.meteor import without_whole_chunks
from capwright.text.java import process, ptb
from capwright.text.java.locate import find_jar
from capwright.text.tokenizers import collapse
from capwright.types import NO_IMAGE, Sample
from places import CAPTIONS

pytestmark = pytest.mark.java


def read(name):
    return json.loads(gzip.decompress((CAPTIONS / f"{name}.json.gz").read_bytes()))


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPWRIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def captions():
    tokens, rows = read("fakecap1000_tokens"), read("fakecap1000_meteor_rows")
    ids = list(map(str, rows["image_ids"]))
    samples = [Sample(id, NO_IMAGE, tuple(tokens["gts"][id])) for id in ids]
    return [Item(sample, tokens["res"][sample.id][0]) for sample in samples], np.array(rows["stats"], dtype=np.float64)


@pytest.mark.parametrize("place", ["as installed", "in a folder with an ü"])
def test_meteor_gives_the_saved_rows(captions, place, tmp_path, monkeypatch):
    items, expected = captions[0][:400], captions[1][:400]
    if place != "as installed":
        jar = find_jar("meteor-1.5.jar")
        (tmp_path / place / "data").mkdir(parents=True)
        (tmp_path / place / "meteor-1.5.jar").write_bytes(jar.read_bytes())
        (tmp_path / place / "data" / "paraphrase-en.gz").symlink_to(jar.parent / "data" / "paraphrase-en.gz")
        monkeypatch.setenv("CAPWRIGHT_JARS", str(tmp_path / place))
        monkeypatch.setenv("LC_ALL", "C")
    scorer = get_scorer("meteor", tokenizer="split")
    context = scorer.prepare(Corpus([item.sample for item in items]))
    expected = without_whole_chunks(expected)
    np.testing.assert_array_equal(scorer.stats(items, context).rows, expected)
    process.close_all()
    monkeypatch.setenv("PATH", "")
    np.testing.assert_array_equal(scorer.stats(items[::-1], context).rows, expected[::-1])


@pytest.mark.parametrize("name", ["val2017_nn", "val2017_human4"])
def test_meteor_of_large_sets_is_that_of_the_coco_tools(name):
    """Both have captions that are a reference word for word."""
    tokens, expected = read(f"{name}_tokens"), read(f"{name}_expected")
    ids = list(map(str, expected["image_ids"]))
    items = [Item(Sample(id, NO_IMAGE, tuple(tokens["gts"][id])), tokens["res"][id][0]) for id in ids]
    scorer = get_scorer("meteor", tokenizer="split")
    context = scorer.prepare(Corpus([item.sample for item in items]))
    rows = scorer.stats(items, context).rows
    np.testing.assert_allclose(scorer.finalize(rows)[:, 0], expected["per_caption"]["METEOR"], rtol=0, atol=1e-9)
    assert scorer.finalize(rows.sum(0))[0] == pytest.approx(expected["scores"]["METEOR"], abs=1e-9)


def test_meteor_of_odd_captions():
    pairs = [
        ("", "a cat sits"),
        ("|||", "a cat"),
        ("a ||| cat", "a cat"),
        ("a\u2028cat", "a\r\ncat"),
        ("猫 😀 ü", "猫 😀 ü"),
    ]
    items = [Item(Sample(str(n), NO_IMAGE, (reference,)), said) for n, (said, reference) in enumerate(pairs)]
    scorer = get_scorer("meteor", tokenizer="split")
    context = scorer.prepare(Corpus([item.sample for item in items]))
    stats = scorer.stats(items, context)
    assert stats.status == ("empty", *["ok"] * 4)
    np.testing.assert_allclose(scorer.finalize(stats.rows)[:, 0], [0, 0, 1, 1, 1], rtol=0, atol=1e-12)


def test_the_tokenizer_gives_the_saved_tokens():
    lines = gzip.decompress((CAPTIONS / "ptb_oracle.jsonl.gz").read_bytes()).decode().splitlines()
    lines += gzip.decompress((CAPTIONS / "ptb_oracle_long.jsonl.gz").read_bytes()).decode().splitlines()
    rows = [json.loads(line) for line in lines]
    found = ptb.tokenize([collapse(row["text"]) for row in rows])
    expected = [[token for token in row["ptb"].split(" ") if token and token not in ptb.PUNCTUATION] for row in rows]
    assert found == expected


def test_scores_with_the_original_tokenizer_are_those_of_the_coco_tools():
    references, results = read("fakecap1000_references"), read("fakecap1000_results")
    said = {str(row["image_id"]): row["caption"] for row in results}
    meant = {}
    for row in references["annotations"]:
        meant.setdefault(str(row["image_id"]), []).append(row["caption"])
    items = [Item(Sample(id, NO_IMAGE, tuple(meant[id])), said[id]) for id in meant]
    scorer = get_scorer("meteor", tokenizer="ptb-java")
    context = scorer.prepare(Corpus([item.sample for item in items]))
    stats = scorer.stats(items, context)
    expected = read("fakecap1000_expected")["scores"]["METEOR"]
    assert scorer.finalize(stats.rows.sum(0))[0] == pytest.approx(expected, abs=1e-9)
    assert "tok:ptb-java-3.4.1" in scorer.signature(context)
