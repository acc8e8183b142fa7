"""Idf tables: counted, written, read, and refused by line."""

from __future__ import annotations

import gzip
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.scorers import Corpus
from capwright.scorers.ngram.idf import build_idf, coco_val2014, read_idf
from capwright.scorers.ngram.idf_table import IdfTable, count_samples
from capwright.text.tokenizers import get_tokenizer
from capwright.types import NO_IMAGE, DataError, Sample

SPLIT = get_tokenizer("split")
TEXT = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=7).map(" ".join)
HEADER = '#{"idf":1,"n":4,"samples":9,"tokenizer":"split"}\n'


def sample(*references: str) -> Sample:
    return Sample("s", NO_IMAGE, references)


def rows(table: IdfTable) -> dict[str, int]:
    """A table as n-gram -> samples."""
    words = list(table.words)
    found: dict[str, int] = {}
    ngrams = [""]
    for keys, counts in zip(table.keys, table.counts, strict=True):
        ngrams = [f"{ngrams[key // len(words)]} {words[key % len(words)]}".strip() for key in keys.tolist()]
        found |= dict(zip(ngrams, counts.tolist(), strict=True))
    return found


def slow(samples: list[Sample], n: int = 4) -> dict[str, int]:
    counts: Counter = Counter()
    for one in samples:
        split = [text.split() for text in one.references]
        counts.update({" ".join(w[i : i + k]) for w in split for k in range(1, n + 1) for i in range(len(w) - k + 1)})
    return {ngram: count for ngram, count in counts.items() if count >= 2}


@given(st.lists(st.lists(TEXT, max_size=3), max_size=6), st.integers(1, 5))
@settings(deadline=None)
def test_counts_are_of_samples(samples, n):
    samples = [sample(*references) for references in samples]
    table = count_samples(Corpus(samples), SPLIT, n)
    assert rows(table) == slow(samples, n)
    assert table.samples == sum(any(one.references) for one in samples)
    assert table.n == n
    assert all((np.diff(keys) > 0).all() for keys in table.keys)


@pytest.mark.parametrize("name", ["table.tsv", "table.tsv.gz"])
def test_a_file_gives_the_table_back(tmp_path, name):
    samples = [sample("a red ball", "ball \ud800"), sample("a red ball \ud800"), sample("# a"), sample("# b"), sample()]
    made = build_idf(samples, tmp_path / name, tokenizer="split")
    read = read_idf(tmp_path / name)
    assert rows(read) == rows(made) == slow(samples)
    assert (read.samples, read.tokenizer, read.n, read.digest) == (4, "split", 4, made.digest)
    first = (tmp_path / name).read_bytes()
    build_idf(reversed(samples), tmp_path / name, tokenizer="split")
    assert (tmp_path / name).read_bytes() == first


def test_a_table_without_rows(tmp_path):
    build_idf([sample("a"), sample("b")], tmp_path / "t", tokenizer="split")
    assert (tmp_path / "t").read_text() == '#{"idf":1,"n":4,"samples":2,"tokenizer":"split"}\n'
    assert rows(read_idf(tmp_path / "t")) == {}


def test_lines_have_no_order_and_a_count_of_1_says_nothing(tmp_path):
    (tmp_path / "t").write_text(HEADER + "a b\t2\nc\t1\nb\t3\na\t4")
    table = read_idf(tmp_path / "t")
    assert rows(table) == {"a": 4, "b": 3, "a b": 2}
    np.testing.assert_allclose(table.weights(1, table.numbers(["a", "c", "?"])), np.log([9 / 4, 9, 9]))


def test_the_built_in_table():
    table = coco_val2014()
    assert (table.samples, table.n, table.tokenizer) == (40_504, 4, "ptb-java-3.4.1")
    assert sum(map(len, table.keys)) == 349_296
    words = table.numbers(["a", "man", "riding", "a", "wave", "unheard-of"])
    number = words[:1]
    for n, word in enumerate(words[1:4], 2):
        number = table.find(n, number, np.array([word]))
    found = table.counts[3][number[0]]
    assert rows(table)["a man riding a"] == found > 100
    assert words[-1] == -1
    assert table.find(2, words[:1], words[-1:]).tolist() == [-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 is not the header"),
        ("a\t2\n", "line 1 is not the header"),
        ("#{]\n", "line 1 is not the header"),
        ('#{"idf":1,"n":4,"samples":"9","tokenizer":"split"}\n', "line 1 is not the header"),
        ('#{"idf":2,"n":4,"samples":9,"tokenizer":"split"}\n', "version 2 of idf tables is not known"),
        ('#{"idf":1,"n":4,"samples":1,"tokenizer":"split"}\n', "samples must be 2 or more"),
        (HEADER + "a\t2\n\nb\t2\n", "line 3 must be an n-gram, a tab, and a whole number of samples from 1 to 9"),
        (HEADER + "a 2\n", "line 2 must be an n-gram, a tab"),
        (HEADER + "\t2\n", "line 2 must be an n-gram, a tab"),
        (HEADER + "a\t-2\n", "line 2 must be"),
        (HEADER + "a\t10\n", "line 2 must be"),
        (HEADER + "a\t2\na\t3\n", "line 3: 'a' is there twice"),
        (HEADER + "a\t2\na a\t2\na a\t2\n", "line 4: 'a a' is there twice"),
        (HEADER + "a\t2\nc\t1\na b\t2\n", "line 4: 'a b' is there without its parts"),
        (HEADER + "a\t2\na a a\t2\n", "line 3: 'a a a' is there without its parts"),
        (HEADER + "a\t2\na a a a a\t2\n", "line 3: 'a a a a a' has more than 4 words"),
    ],
)
def test_broken_files_are_refused_by_line(tmp_path, text, message):
    path = tmp_path / "table.tsv"
    path.write_text(text)
    with pytest.raises(DataError, match=f"table.tsv: .*{message}"):
        read_idf(path)


def test_files_that_can_not_be_read_or_written(tmp_path):
    with pytest.raises(DataError, match='no such idf table; idf is "refs", "coco-val2014", or a file'):
        read_idf(tmp_path / "none.tsv")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(HEADER.encode() * 50)[:40])
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "cut.gz", tmp_path / "binary", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_idf(path)
    with pytest.raises(DataError, match="cannot be written"):
        build_idf([sample("a"), sample("a")], tmp_path / "no" / "folder", tokenizer="split")
    with pytest.raises(DataError, match="references of two samples or more, not of 1"):
        build_idf([sample("a"), sample()], tmp_path / "one", tokenizer="split")
