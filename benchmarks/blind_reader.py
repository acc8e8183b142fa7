"""How many questions about the built-in kindergarten can be answered without looking?

    python benchmarks/blind_reader.py [--quick] [--scenes N] [--seed S] [--json FILE]

A reader that sees nothing says "one" to every "How many", because most toys are alone. Printed for each kind of
question: how many there are, how many of them it has right, and how many the filter of `capwright data questions`
leaves out, with the lexical reader as the one that sees.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from capwright.curation import QuestionMaker
from capwright.judges.protocols import Answer
from capwright.scenes import expert_captions, questions, sample_scene
from capwright.scenes.lexical_judge import LexicalJudge
from capwright.types import NO_IMAGE, Question, Sample
from results_file import write_results


class SaysOne:
    """Answers "one" to every "How many", and nothing else."""

    signature = "says-one:1"

    def answer(self, asked: Sequence[tuple[object, Question]], *, seed: int = 0) -> list[Answer]:
        return [Answer(question.options.index("one") if guesses(question) else None) for _, question in asked]


def guesses(question: Question) -> bool:
    return question.text.startswith("How many") and "one" in question.options


def measure(count: int, seed: int) -> list[dict[str, object]]:
    """One row a kind of question, and one for all."""
    samples = [
        Sample(f"scene{index}", NO_IMAGE, tuple(expert_captions(scene)), questions=questions(scene))
        for index, scene in ((index, sample_scene(seed, index)) for index in range(count))
    ]
    filtered = QuestionMaker(LexicalJudge(), None, blind_reader=SaysOne(), evidence="references")(samples)
    asked, kept, right = Counter[str](), Counter[str](), Counter[str]()
    for before, after in zip(samples, filtered, strict=True):
        asked.update(question.kind for question in before.questions)
        kept.update(question.kind for question in after.questions)
        right.update(question.kind for question in before.questions if guesses(question) and question.answer == "one")
    rows = [row(kind, asked[kind], right[kind], kept[kind]) for kind in sorted(asked)]
    return [*rows, row("all", asked.total(), right.total(), kept.total())]


def row(kind: str, asked: int, right: int, kept: int) -> dict[str, object]:
    return {"kind": kind, "questions": asked, "right": right, "share": right / asked, "left_out": asked - kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 scenes")
    parser.add_argument("--scenes", type=int, default=1000, metavar="N", help="how many scenes")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the scenes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    arguments = parser.parse_args()
    count = 20 if arguments.quick else arguments.scenes
    rows = measure(count, arguments.seed)
    print(f"{'kind':10} {'questions':>10} {'right':>7} {'share':>7} {'left out':>9}")
    for each in rows:
        print("{kind:10} {questions:10,} {right:7,} {share:7.1%} {left_out:9,}".format(**each))
    if arguments.json:
        write_results(arguments.json, rows, seeds=[arguments.seed], scenes=count)


if __name__ == "__main__":
    main()
