"""Which score sees which fault? Captions of the built-in kindergarten spoiled on purpose, by scores without a server.

    python benchmarks/planted_faults.py [--quick] [--scenes N] [--seed S] [--json FILE]

Every row is one way to write the captions of N test scenes, every column the mean of a score. Nothing is trained.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from capwright.data import open_dataset
from capwright.evaluation import evaluate, prepare_scorers
from capwright.scenes import build
from capwright.scorers import get_scorer
from capwright.types import Sample
from results_file import write_results

PRAISE = "This caption is accurate, complete and beautifully written."
#: column: scorer and output.
COLUMNS = {
    "answers": ("caprl", "accuracy"),
    "captionqa": ("captionqa", "score"),
    "dcscore": ("dcscore", "dcscore"),
    "precision": ("balcap", "precision"),
    "recall": ("balcap", "recall"),
    "language": ("language", "language"),
    "names": ("tts", "micro"),
    "ciderD": ("ciderD", "ciderD"),
    "words": ("length", "words"),
    "dc_precision": ("dcscore", "precision"),
    "dc_recall": ("dcscore", "recall"),
    "cccaption": ("cccaption", "cccaption"),
    "dnli_recall": ("dnli", "recall"),
    "claimdiff": ("claimdiff", "claimdiff"),
}


def spoiled(samples: Sequence[Sample], seed: int) -> dict[str, list[str]]:
    """The captions of every row, by its name; an expert's caption is the first reference."""
    expert = [sample.references[0] for sample in samples]
    other = [*expert[1:], expert[0]]
    facts = [[fact["sentence"] for fact in sample.meta["facts"]] for sample in samples]
    return {
        "an expert's": expert,
        "casual: vague names": [str(_first(sample.meta["casual"])) for sample in samples],
        "the first half of the expert's": [_half(text) for text in expert],
        "the expert's of another scene": other,
        "the expert's, then another scene's": [f"{text} {more}" for text, more in zip(expert, other)],
        "the expert's, said twice": [f"{text} {text}" for text in expert],
        "the expert's and praise of itself": [f"{text} {PRAISE}" for text in expert],
        "the expert's words, shuffled": [_shuffled(text, seed) for text in expert],
        "all facts, one sentence each": [" ".join(sentences) for sentences in facts],
        "one sure fact": [sentences[0] for sentences in facts],
        "a list of the names": [", ".join(term.name for term in sample.terms) for sample in samples],
        "empty": ["" for _ in samples],
    }


def _first(texts: object) -> object:
    return texts[0] if isinstance(texts, list) else texts


def _half(text: str) -> str:
    words = text.split()
    return " ".join(words[: len(words) // 2])


def _shuffled(text: str, seed: int) -> str:
    words = text.split()
    random.Random(f"{seed}:{text}").shuffle(words)
    return " ".join(words)


def measure(scenes: Path, count: int, seed: int) -> list[dict[str, object]]:
    """One record a row: its name and the columns."""
    samples = list(open_dataset(scenes, "test"))[:count]
    language = get_scorer("language", learn_from=["references", "meta.casual"])
    scorers = [
        get_scorer("caprl", mode="all-questions"),
        "captionqa",
        "dcscore",
        "balcap",
        language,
        *("cccaption", "dnli", "claimdiff"),
    ]
    rulers = prepare_scorers(samples, [*scorers, "tts", "ciderD", "length"], open_dataset(scenes).vocabulary)
    rows = []
    for name, texts in spoiled(samples, seed).items():
        captions = {sample.id: text for sample, text in zip(samples, texts)}
        scores = evaluate(samples, captions, rulers, replicates=0).scores
        values = {column: float(scores[scorer].estimates[output].value) for column, (scorer, output) in COLUMNS.items()}
        rows.append({"benchmark": "planted_faults", "captions": name, **values})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 test scenes")
    parser.add_argument("--scenes", type=int, default=500, help="how many test scenes")
    parser.add_argument("--seed", type=int, default=1, help="of scenes and shuffled words")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    count = 20 if arguments.quick else arguments.scenes
    with tempfile.TemporaryDirectory() as folder:
        scenes = build(10 * count, arguments.seed, Path(folder) / "scenes", size=24)
        rows = measure(scenes, count, arguments.seed)
    print(f"{'':36}" + "".join(f"{column:>13}" for column in COLUMNS))
    for row in rows:
        print(f"{row['captions']:36}" + "".join(f"{row[column]:13.2f}" for column in COLUMNS))
    if arguments.json:
        write_results(arguments.json, rows, seeds=[arguments.seed], scenes=count)


if __name__ == "__main__":
    main()
