"""Frozen idf tables, that of COCO built in, or files of one's own: a score does not depend on other captions.

A file is UTF-8 text, compressed when its name ends in .gz: a header, then one n-gram a line, a tab, and the number of
samples that have it among their references. N-grams of one sample need not be there, because they weigh as much as
those of none.

    #{"idf":1,"n":4,"samples":5000,"tokenizer":"ptb-py.1"}
    a<TAB>4871
    a red ball<TAB>17
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from capwright.scorers.base import Corpus
from capwright.scorers.ngram.idf_table import IdfTable, count_samples, find_keys, make_table
from capwright.text.tokenizers import get_tokenizer
from capwright.types import DataError, Sample

#: Name of the built-in table: references of the 40,504 images of COCO val2014, cut by the Java PTB tokenizer.
COCO_VAL2014 = "coco-val2014"
_COCO_FILE, _COCO_IMAGES, _COCO_TOKENIZER = "coco_val2014_df.tsv.gz", 40_504, "ptb-java-3.4.1"


def build_idf(samples: Iterable[Sample], path: str | Path, tokenizer: str = "ptb", n: int = 4) -> IdfTable:
    """Write the table of the references of samples to a file, for `idf=path`. Equal input gives equal bytes.

    Args:
        samples: those without references are not counted.
        path: ends in .gz to be compressed.
        tokenizer: name of the tokenizer; scorers that use the table must cut alike.
        n: words in the longest n-grams.

    Raises DataError when fewer than two samples have references, or the file cannot be written.
    """
    table = count_samples(Corpus(tuple(samples)), get_tokenizer(tokenizer), n)
    if table.samples < 2:
        raise DataError(f"{path}: an idf table needs references of two samples or more, not of {table.samples}")
    header = {"idf": 1, "n": table.n, "samples": table.samples, "tokenizer": table.tokenizer}
    lines = ["#" + json.dumps(header, sort_keys=True, separators=(",", ":"))]
    words = list(table.words)
    ngrams: list[str] = words
    for level, (keys, counts) in enumerate(zip(table.keys, table.counts)):
        if level:
            parent, last = np.divmod(keys, max(1, len(words)))
            ngrams = [f"{ngrams[first]} {words[word]}" for first, word in zip(parent.tolist(), last.tolist())]
        lines += [f"{ngram}\t{count}" for ngram, count in zip(ngrams, counts.tolist())]
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    try:
        Path(path).write_bytes(gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)
    except OSError as error:
        raise DataError(f"{path}: the idf table cannot be written: {error.strerror or error}") from error
    return table


def read_idf(path: str | Path) -> IdfTable:
    """Read a table that `build_idf` wrote, or one with such lines in any order.

    Raises DataError, naming the line, when there is no header, a line is not `n-gram TAB count`, an n-gram is there
    twice or without its parts, or a count is not a whole number from 1 to N.
    """
    name = str(path)
    try:
        data = Path(path).read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8", "surrogatepass")
    except FileNotFoundError:
        raise DataError(
            f'{name}: there is no such idf table; idf is "refs", "{COCO_VAL2014}", or a file that build_idf wrote'
        ) from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{name}: the idf table cannot be read: {error}") from error
    first, _, rest = text.partition("\n")
    header = _read_header(first, name)
    return _Lines(rest, header["samples"], header["n"], name, 2).table(header["tokenizer"])


@lru_cache(maxsize=1)
def coco_val2014() -> IdfTable:
    """The built-in table `COCO_VAL2014`, read once a process."""
    text = gzip.decompress(files("capwright.scorers.ngram").joinpath(_COCO_FILE).read_bytes()).decode("utf-8")
    return _Lines(text, _COCO_IMAGES, 4, _COCO_FILE, 1).table(_COCO_TOKENIZER)


def _read_header(line: str, name: str) -> dict[str, Any]:
    try:
        header = json.loads(line[1:]) if line.startswith("#") else None
    except ValueError:
        header = None
    wanted = {"idf": int, "n": int, "samples": int, "tokenizer": str}
    if not isinstance(header, dict) or any(type(header.get(key)) is not kind for key, kind in wanted.items()):
        raise DataError(f"{name}: line 1 is not the header of an idf table; write one with build_idf")
    if header["idf"] != 1:
        raise DataError(f"{name}: line 1: version {header['idf']} of idf tables is not known; build the table again")
    if header["samples"] < 2 or header["n"] < 1:
        raise DataError(f"{name}: line 1: samples must be 2 or more, n 1 or more; build the table again")
    return dict(header)


class _Lines:
    """Lines `n-gram TAB count` on their way to a table; those with a count of 1 say nothing and are left out."""

    def __init__(self, text: str, samples: int, n: int, name: str, first_line: int) -> None:
        self._name, self._first, self._samples = name, first_line, samples
        lines = text.removesuffix("\n").split("\n") if text else []
        pairs = [line.rpartition("\t") for line in lines]
        counts = [self._read_count(row, ngram, count) for row, (ngram, _, count) in enumerate(pairs)]
        kept = [row for row, count in enumerate(counts) if count > 1]
        self._rows = np.array(kept, dtype=np.int64)
        self._counts = np.array(counts, dtype=np.int64)[self._rows]
        self._ngrams = [pairs[row][0] for row in kept]
        self._lengths = np.array([ngram.count(" ") + 1 for ngram in self._ngrams], dtype=np.int64)
        self._n = n
        if (self._lengths > n).any():
            self._refuse(int(np.argmax(self._lengths > n)), f"has more than {n} words")

    def table(self, tokenizer: str) -> IdfTable:
        """Number n-grams level by level: those of n words by those of their first n - 1 words."""
        singles = sorted((self._ngrams[at], at) for at in np.flatnonzero(self._lengths == 1).tolist())
        words = {word: number for number, (word, _) in enumerate(singles)}
        all_words = " ".join(self._ngrams).split(" ") if self._ngrams else []
        word = np.fromiter((words.get(w, -1) for w in all_words), dtype=np.int64, count=len(all_words))
        start = np.cumsum(self._lengths) - self._lengths
        number = np.zeros(len(start), dtype=np.int64)  # of the words before, for all n-grams at once
        keys, counts = [], []
        for length in range(1, self._n + 1):
            last = np.where(self._lengths >= length, word[np.minimum(start + length - 1, len(word) - 1)], -1)
            here = np.flatnonzero(self._lengths == length)
            lost = here[(number[here] < 0) | (last[here] < 0)]
            if len(lost):
                self._refuse(int(lost[0]), "is there without its parts, which are in as many samples")
            key = number[here] * len(words) + last[here]
            order = np.argsort(key, kind="stable")
            twice = np.flatnonzero(np.diff(key[order]) == 0)
            if len(twice):
                self._refuse(int(here[order[twice[0] + 1]]), "is there twice")
            keys.append(key[order])
            counts.append(self._counts[here[order]])
            number = find_keys(keys[-1], len(words), number, last)
        return make_table(self._samples, tokenizer, words, keys, counts)

    def _read_count(self, row: int, ngram: str, count: str) -> int:
        if ngram and count.isdecimal() and count.isascii() and 1 <= int(count) <= self._samples:
            return int(count)
        raise DataError(
            f"{self._name}: line {row + self._first} must be an n-gram, a tab, and a whole number of samples from 1 to "
            f"{self._samples}; build the table again"
        )

    def _refuse(self, at: int, why: str) -> NoReturn:
        line = int(self._rows[at]) + self._first
        raise DataError(f"{self._name}: line {line}: {self._ngrams[at]!r} {why}; build the table again")
