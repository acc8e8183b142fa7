"""What is an arena's rating worth? The built-in kindergarten, and judges whose habits are known.

    python benchmarks/arenas.py [--quick] [--seed S] [--json FILE]

    kindergarten  captions of 200 scenes, judged by the lexical reader, every pair in both orders, asked twice
    opponents     the score of expert captions against one opponent each
    intervals     simulated arenas of three systems, whose judge leans to the first place: does the interval of 95 % of
                  each rating hold the planted one?
    places        the score of captions that are as good as those they meet, over draws: its standard deviation when
                  each pair is shown in one order or in both, by a fair judge and by one that likes the first place

Nothing is timed.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from capwright.evaluation import make_leaderboard, run_arena
from capwright.evaluation.arena.judgements import Judgement
from capwright.evaluation.arena.leaderboard import Leaderboard
from capwright.judges.protocols import Grade, Preference
from capwright.scenes import casual_captions, expert_captions, sample_scene
from capwright.scorers import Corpus, Item, get_scorer
from capwright.types import NO_IMAGE, ModelError, Sample
from results_file import write_results

STRENGTHS = {"good": 0.6, "fair": 0.0, "poor": -0.6}
LEAN = 1.0  # log-odds for the caption shown first, in the simulated arenas
ODDS = 20  # for the caption shown first, by the judge that likes the first place

Row = dict[str, object]


class Leaning:
    """A judge that sees no difference, and gives the caption shown first these odds."""

    def __init__(self, odds: float) -> None:
        self.odds = odds
        self.signature = f"leaning:{odds:g}"

    def compare(self, asked: Sequence[tuple[object, str, str, str]], *, seed: int = 0) -> list[Preference]:
        rng = random.Random(seed)
        share = self.odds / (1 + self.odds)
        return [Preference("first" if rng.random() < share else "second") for _ in asked]

    def grade(self, axes: Sequence[str], texts: Sequence[str], *, seed: int = 0) -> list[Grade]:
        raise ModelError("this judge only compares")


def half(text: str) -> str:
    words = text.split()
    return " ".join(words[: len(words) // 2])


def kindergarten(count: int, seed: int) -> list[Row]:
    """Ratings of three ways to write captions, then the score of the first against each other one."""
    scenes = [sample_scene(seed, index) for index in range(count)]
    samples = [Sample(str(i), NO_IMAGE, tuple(expert_captions(scene))) for i, scene in enumerate(scenes)]
    expert = {sample.id: sample.references[0] for sample in samples}
    casual = {sample.id: casual_captions(scene)[0] for sample, scene in zip(samples, scenes)}
    first = {name: text.split(". ")[0].rstrip(".") + "." for name, text in expert.items()}
    references = {sample.id: list(sample.references) for sample in samples}
    systems = {"expert": expert, "first sentence": first, "casual": casual}
    rows: list[Row] = []
    for part, asked in {"kindergarten": {"repeats": 2}, "asked once, in one order": {"orders": "paper"}}.items():
        verdicts = run_arena(systems, references, seed=seed, **asked)
        rows += standings(part, make_leaderboard(verdicts, seed=seed))
    halves = {name: half(text) for name, text in expert.items()}
    for name, said in {"casual": casual, "the first half": halves, "first sentence": first}.items():
        scorer = get_scorer("caparena", opponents={"it": said}, seed=seed)
        rows.append({"part": "opponents", "system": "expert", "against": name, "score": score(scorer, samples, expert)})
    return rows


def standings(part: str, table: Leaderboard) -> list[Row]:
    """One row a system, from the highest rating to the lowest."""
    return [
        {
            "part": part,
            "system": one.name,
            "rating": one.rating.value,
            "rating_low": one.rating.low,
            "rating_high": one.rating.high,
            "elo": one.elo.value,
            "won": one.win_rate.value,
            "words": one.words,
            "judge_noise": one.judge_noise,
            "verdicts": table.verdicts,
            "agreement": table.agreement.value,
        }
        for one in table.standings
    ]


def score(scorer: object, samples: Sequence[Sample], captions: dict[str, str]) -> float:
    context = scorer.prepare(Corpus(samples))
    items = [Item(sample, captions[sample.id]) for sample in samples]
    return float(scorer.finalize(scorer.stats(items, context).rows.sum(0))[0])


def intervals(arenas: int, images: int, seed: int) -> list[Row]:
    """How many intervals hold the planted rating."""
    mean = sum(STRENGTHS.values()) / len(STRENGTHS)
    planted = {name: 1000 + 400 / math.log(10) * (strength - mean) for name, strength in STRENGTHS.items()}
    held = 0
    for arena in range(arenas):
        rng = random.Random(f"{seed}:{arena}")
        verdicts = [
            Judgement(str(image), a, b, better="first" if rng.random() < first_wins(a, b) else "second")
            for image in range(images)
            for a, b in permutations(STRENGTHS, 2)
        ]
        table = make_leaderboard(verdicts, seed=arena)
        held += sum(one.rating.low <= planted[one.name] <= one.rating.high for one in table.standings)
    return [
        {"part": "intervals", "arenas": arenas, "images": images, "intervals": arenas * len(STRENGTHS), "held": held}
    ]


def first_wins(a: str, b: str) -> float:
    return 1 / (1 + math.exp(STRENGTHS[b] - STRENGTHS[a] - LEAN))


def places(runs: int, images: int) -> list[Row]:
    """Standard deviations of a score that should be 0."""
    samples = [Sample(str(i), NO_IMAGE, ("a toy",)) for i in range(images)]
    mine, other = ({sample.id: text for sample in samples} for text in ("a toy here", "a toy there"))
    rows: list[Row] = []
    for odds in (ODDS, 1):
        for orders in ("paper", "both"):
            scores = [
                score(get_scorer("caparena", opponents={"it": other}, judge=Leaning(odds), orders=orders, seed=run),
                      samples, mine)
                for run in range(runs)
            ]  # fmt: skip
            spread = float(np.std(scores, ddof=1))
            rows.append(
                {"part": "places", "odds": odds, "orders": orders, "images": images, "runs": runs, "sd": spread}
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 scenes, 3 arenas, 5 runs")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of scenes and simulated verdicts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    arguments = parser.parse_args()
    scenes, arenas, runs = (20, 3, 5) if arguments.quick else (200, 100, 200)
    rows = kindergarten(scenes, arguments.seed)
    rows += intervals(arenas, 100, arguments.seed) + places(runs, 600)
    for row in rows:
        print(
            "  ".join(
                f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
            )
        )
    if arguments.json:
        write_results(arguments.json, rows, seeds=[arguments.seed], scenes=scenes)


if __name__ == "__main__":
    main()
