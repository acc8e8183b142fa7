"""How close is the tokenizer `ptb` to the Java program that it imitates? The recorded answers in tests/captions.

    python benchmarks/tokenizer_check.py [--quick] [--parts close again speed] [--json FILE]

    close   texts whose tokens differ from Java's, and tokens to replace, add or remove (difflib, longer side of each
            change); after punctuation was left out
    again   hard captions whose tokens change when they are cut once more
    speed   captions a second for the first time and when their words are known; long captions; the milliseconds of the
            import and the first text in a new process. Only this part is a matter of the machine

In FILE rows of other parts stay as they were.
"""

from __future__ import annotations

import argparse
import difflib
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from caption_sets import CAPTIONS, human, images, long_captions, read
from capwright.text.java.ptb import PUNCTUATION
from capwright.text.ptb import cut_piece, tokenize
from results_file import append_rows, print_rows

Row = dict[str, object]
Words = list[str]
#: A text and its tokens in Java.
Pair = tuple[str, Words]
ORACLES = {
    "hard captions of COCO": "ptb_oracle",
    "long captions of ImageInWords": "ptb_oracle_long",
    "in the manner of models": "ptb_oracle_vlm",
}
FIRST = """
import time
start = time.perf_counter()
from capwright.text.ptb import tokenize
tokenize("A man isn't riding (left).")
print(1000 * (time.perf_counter() - start))
"""


def oracle(name: str) -> Iterator[Pair]:
    for line in gzip.decompress((CAPTIONS / f"{name}.jsonl.gz").read_bytes()).decode().splitlines():
        row = json.loads(line)
        yield row["text"], [token for token in row["ptb"].split(" ") if token and token not in PUNCTUATION]


def captions(name: str) -> Iterator[Pair]:
    """All human captions of a set, and the captions that are scored against them."""
    said, tokens = human("fakecap1000" if name == "fakecap1000" else "val2017"), read(f"{name}_tokens")
    for sample, text in zip(*images(name, len(said))):
        for each, cut in zip(said[int(sample.id)], tokens["gts"][sample.id]):
            yield each, cut.split(" ")
        yield text, tokens["res"][sample.id][0].split(" ")


def close(count: int) -> list[Row]:
    sets: dict[str, Iterator[Pair]] = {
        "COCO val2017": captions("val2017_nn"),
        "captions of coco-caption": captions("fakecap1000"),
        **{name: oracle(file) for name, file in ORACLES.items()},
    }
    rows = []
    for name, pairs in sets.items():
        some = list(pairs)[:count]
        apart = [changed(expected, tokenize(text)) for text, expected in some]
        total = sum(len(expected) for _, expected in some)
        row: Row = {"part": "close", "data": name, "texts": len(some), "differ": sum(n > 0 for n in apart)}
        rows.append({**row, "tokens": total, "tokens_differ": sum(apart)})
    return rows


def changed(expected: Words, found: Words) -> int:
    """Tokens to replace, add or remove to come from one list to the other."""
    if [*filter(None, expected)] == found:
        return 0
    matcher = difflib.SequenceMatcher(None, expected, found, autojunk=False)
    return sum(max(i2 - i1, j2 - j1) for kind, i1, i2, j1, j2 in matcher.get_opcodes() if kind != "equal")


def again(count: int) -> list[Row]:
    once = [tokenize(text) for text, _ in oracle("ptb_oracle")][:count]
    differ = sum(tokenize(" ".join(tokens)) != tokens for tokens in once)
    return [{"part": "again", "data": "hard captions of COCO", "texts": len(once), "differ": differ}]


def speed(count: int) -> list[Row]:
    said = [text for texts in human("val2017").values() for text in texts][:count]
    cut_piece.cache_clear()
    rates = {"COCO val2017": [rate(said), rate(said)], "ImageInWords": [rate(long_captions(count))]}
    first = float(subprocess.run([sys.executable, "-c", FIRST], capture_output=True, check=True).stdout)
    rows: list[Row] = [
        {"part": "speed", "data": name, "first_per_second": found[0], "again_per_second": found[-1]}
        for name, found in rates.items()
    ]
    return [*rows, {"part": "speed", "data": "import and first text", "milliseconds": first}]


def rate(texts: Sequence[str]) -> float:
    start = time.perf_counter()
    for text in texts:
        tokenize(text)
    return len(texts) / (time.perf_counter() - start)


PARTS: dict[str, Callable[[int], list[Row]]] = {"close": close, "again": again, "speed": speed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 texts of each set")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, metavar="PART", help="which of these")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    arguments = parser.parse_args()
    rows = [row for part in arguments.parts for row in PARTS[part](200 if arguments.quick else 10**6)]
    print_rows(rows)
    if arguments.json:
        append_rows(arguments.json, rows, ("part", "data"))


if __name__ == "__main__":
    main()
