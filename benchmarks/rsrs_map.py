"""What the rows of benchmarks/rsrs_ablation.py say: seeds pooled, intervals, paired differences, and the image.

    python benchmarks/rsrs_map.py [--from FILE] [--json FILE] [--image FILE.svg]

Trains nothing. An arm's score is that of all its seeds together; its interval is a 95 % interval over images, all seeds
of an image together, and beside it stand the lowest and the highest seed. Differences between two arms are paired by
image. CIDEr-D and language are means over seeds.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from capwright.evaluation import estimate
from capwright.scorers.base import ratio
from results_file import read_results, whole_rows, write_results
from rsrs_ablation import CELLS, IMAGES, OPTIONS, RESULTS, WORLDS, possible

#: Score -> (digits of what is counted, what it is divided by).
SHARES = {"tts": "terms", "never": "never_terms", "rarest": "rarest_terms", "precision": "named"}
#: What is compared, as (better, than): for each world and warm-up in which both are.
PAIRS = (
    ("RSRS", "imitation"),
    ("RSRS", "GRPO"),
    ("RSRS", "RSRS-paper"),
    ("RSRS", "corrected"),
    ("RSRS corrected", "corrected"),
    ("RSRS corrected", "imitation"),
    ("RSRS-paper", "imitation"),
    ("RSRS-paper", "GRPO"),
    ("RSRS relabeled", "GRPO"),
    *((option, "RSRS") for option in OPTIONS),
    ("imitation, faster", "imitation"),
    ("corrected, faster", "corrected"),
    ("RSRS", "imitation, faster"),
    ("RSRS corrected", "corrected, faster"),
    ("imitation, RSRS", "imitation"),
    ("imitation, RSRS gently", "imitation"),
)
Key = tuple[str, str, str, int]  # world, warm-up, arm, steps


@lru_cache
def truth(tail: float) -> dict[str, np.ndarray]:
    """How many names there are in each measured image: all, never said, and of the rarest third."""
    from capwright.scenes import ranked_names, sample_scene, split_of, vocabulary

    words, rarest = vocabulary(), set(ranked_names()[-15:])
    tests = [index for index in range(10 * IMAGES) if split_of(index) == "test"][:IMAGES]
    names = [[toy.name for toy in sample_scene(1, index, tail).toys] for index in tests]
    return {
        "terms": np.array([len(row) for row in names]),
        "never_terms": np.array([sum(words[name].tier == "never" for name in row) for row in names]),
        "rarest_terms": np.array([sum(name in rarest for name in row) for row in names]),
    }


def counts(row: dict[str, Any]) -> dict[str, np.ndarray]:
    """What was counted an image, each an array [images]."""
    digits = {
        name: np.array([int(digit) for digit in row[f"{name}_by_image"]])
        for name in ("hits", "wrong", "never", "rarest")
    }
    known = truth(WORLDS[row["world"]].get("tail", 0.0))
    return {
        "tts": digits["hits"],
        "never": digits["never"],
        "rarest": digits["rarest"],
        "precision": digits["hits"],
        "named": digits["hits"] + digits["wrong"],
        **known,
    }


class Arm:
    """The rows of one arm, one a seed.

    Attributes:
        rows_by_image: [images, 2 K], for each of the K shares what was counted and what there is, all seeds together.
        seeds: the K shares of each seed.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = sorted(rows, key=lambda row: row["seed"])
        each = [counts(row) for row in self.rows]
        tables = [np.stack([c[key] for pair in SHARES.items() for key in pair], 1).astype(float) for c in each]
        self.seeds = [shares(table.sum(0)) for table in tables]
        self.rows_by_image = np.sum(tables, 0)

    def mean(self, name: str) -> float:
        return float(np.mean([row[name] for row in self.rows]))


def shares(sums: np.ndarray) -> np.ndarray:
    """Rows [..., 2 K] as K percentages."""
    return 100 * ratio(sums[..., ::2], sums[..., 1::2])


def gaps(sums: np.ndarray) -> np.ndarray:
    """Rows [..., 4 K] of two arms side by side as K differences of percentages."""
    half = sums.shape[-1] // 2
    return shares(sums[..., :half]) - shares(sums[..., half:])


def arms_of(path: Path) -> dict[Key, Arm]:
    """Every arm that was measured image by image, by world and warm-up, in the order of the file."""
    found: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in whole_rows(read_results(path)):
        if "hits_by_image" in row and len(row["hits_by_image"]) == IMAGES:
            found[row["world"], row["warmup"], row["arm"], row["steps"]].append(row)
    places = list(dict.fromkeys(key[:2] for key in found))
    return {key: Arm(found[key]) for key in sorted(found, key=lambda key: places.index(key[:2]))}


def table(arms: dict[Key, Arm]) -> list[dict[str, Any]]:
    """A row an arm."""
    rows = []
    for (world, warmup, name, steps), arm in arms.items():
        row: dict[str, Any] = {"kind": "arm", "world": world, "warmup": warmup, "arm": name, "steps": steps}
        row["seeds"] = len(arm.rows)
        found = estimate(arm.rows_by_image, shares, np.array([[0.0, 100.0]] * len(SHARES)))
        for k, share in enumerate(SHARES):
            row |= {share: found.value[k], f"{share}_low": found.low[k], f"{share}_high": found.high[k]}
            each = [float(values[k]) for values in arm.seeds]
            row |= {f"{share}_seed_low": min(each), f"{share}_seed_high": max(each)}
        rows.append(row | {other: arm.mean(other) for other in ("ciderD", "language", "seconds", "experts")})
    return rows


def differences(arms: dict[Key, Arm]) -> list[dict[str, Any]]:
    """A row a comparison, over the seeds that both have."""
    rows = []
    for world, warmup in dict.fromkeys((key[0], key[1]) for key in arms):
        for better, other in PAIRS:
            pair = [arms.get((world, warmup, name, 160)) for name in (better, other)]
            if pair[0] is None or pair[1] is None:
                continue
            common = {row["seed"] for row in pair[0].rows} & {row["seed"] for row in pair[1].rows}
            if not common:
                continue
            both = [Arm([row for row in arm.rows if row["seed"] in common]).rows_by_image for arm in pair if arm]
            found = estimate(np.hstack(both), gaps, np.array([[-100.0, 100.0]] * len(SHARES)))
            row: dict[str, Any] = {"kind": "difference", "world": world, "warmup": warmup, "arm": better, "than": other}
            row["seeds"] = len(common)
            for k, share in enumerate(SHARES):
                row |= {share: found.value[k], f"{share}_low": found.low[k], f"{share}_high": found.high[k]}
            rows.append(row)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    place = None
    for row in rows:
        if row["kind"] == "arm":
            if place != (row["world"], row["warmup"]):
                place = (row["world"], row["warmup"])
                print(f"\n{row['world']}; warmed up on {row['warmup']} captions")
            shares = "  ".join(f"{n} {row[n]:5.1f} [{row[n + '_low']:5.1f}, {row[n + '_high']:5.1f}]" for n in SHARES)
            others = f"ciderD {row['ciderD']:.2f}  language {row['language']:.3f}  {row['seconds']:.0f} s"
            print(f"  {row['arm']:18} {row['steps']:4d} x{row['seeds']}  {shares}  {others}")
    print("\ndifferences at 160 steps, paired")
    for row in rows:
        if row["kind"] == "difference":
            shares = "  ".join(
                f"{n} {row[n]:+5.1f} [{row[n + '_low']:+5.1f}, {row[n + '_high']:+5.1f}]" for n in SHARES
            )
            print(f"  {row['world']}, {row['warmup']}: {row['arm']} - {row['than']} x{row['seeds']}  {shares}")


# the image ----------------------------------------------------------------------------------------------------------

LINES = {
    "imitation": ("imitation", "#c2410c"),
    "corrected": ("of corrected captions", "#d97706"),
    "GRPO": ("GRPO", "#78716c"),
    "RSRS-paper": ("RSRS as in the paper", "#2563eb"),
    "RSRS": ("RSRS", "#047857"),
}
PANELS = (
    (
        "all toys equally frequent",
        "expert",
        {"1": "plain", "0.8": "naming 0.8", "0.6": "naming 0.6", "0.3": "naming 0.3"},
    ),
    (
        "frequencies with a tail",
        "expert",
        {"1": "tail", "0.8": "tail, naming 0.8", "0.6": "tail, naming 0.6", "0.3": "tail, naming 0.3"},
    ),
)
WIDE, HIGH, LEFT, TOP = 330, 240, 46, 50


def image(rows: list[dict[str, Any]]) -> str:
    """TTS by the share of toys that experts name, a panel for each kind of frequencies, as SVG."""
    found = {(r["world"], r["warmup"], r["arm"]): r for r in rows if r["kind"] == "arm" and r["steps"] == 160}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * (WIDE + 60) + 20} {HIGH + 120}" role="img" '
        'aria-label="TTS of imitation, GRPO and RSRS by the share of toys that expert captions name" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<style>text{fill:#1c1917}.thin{stroke:#d6d3d1}@media(prefers-color-scheme:dark)"
        "{text{fill:#e7e5e4}.thin{stroke:#57534e}}</style>",
    ]
    for number, (title, warmup, worlds) in enumerate(PANELS):
        parts.append(f'<g transform="translate({LEFT + number * (WIDE + 60)},{TOP})">')
        parts.append(f'<text x="0" y="-14" font-weight="600">{title}</text>')
        for value in range(0, 101, 25):
            y = HIGH * (1 - value / 100)
            parts.append(f'<line class="thin" x1="0" x2="{WIDE}" y1="{y}" y2="{y}"/>')
            parts.append(f'<text x="-8" y="{y + 4}" text-anchor="end">{value}</text>')
        xs = {label: 30 + (1 - float(label)) / 0.7 * (WIDE - 60) for label in worlds}
        for label, x in xs.items():
            parts.append(f'<text x="{x}" y="{HIGH + 18}" text-anchor="middle">{label}</text>')
        parts.append(
            f'<text x="{WIDE / 2}" y="{HIGH + 38}" text-anchor="middle">share of toys that experts name</text>'
        )
        for arm, (_, color) in LINES.items():
            points = []
            for label, world in worlds.items():
                if (row := found.get((world, warmup, arm))) is None:
                    continue
                x, y = xs[label], HIGH * (1 - row["tts"] / 100)
                ends = [HIGH * (1 - row[end] / 100) for end in ("tts_low", "tts_high")]
                points.append(f"{x:.1f},{y:.1f}")
                parts.append(f'<line x1="{x}" x2="{x}" y1="{ends[0]:.1f}" y2="{ends[1]:.1f}" stroke="{color}"/>')
                parts.append(f'<circle cx="{x}" cy="{y:.1f}" r="3.5" fill="{color}"/>')
            parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append("</g>")
    for i, (said, color) in enumerate(LINES.values()):
        x = LEFT + i * 155
        parts.append(f'<circle cx="{x + 5}" cy="{HIGH + 108}" r="5" fill="{color}"/>')
        parts.append(f'<text x="{x + 16}" y="{HIGH + 112}">{said}</text>')
    parts.append(f'<text x="{LEFT}" y="20">TTS after 160 steps; bars are 95 % intervals over images</text></svg>')
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, default=RESULTS, help="rows of rsrs_ablation.py")
    parser.add_argument("--json", type=Path, help="also write the rows of these tables")
    parser.add_argument("--image", type=Path, help="also draw the border between imitation and RSRS")
    parser.add_argument("--quick", action="store_true", help="the same: nothing here takes long")
    arguments = parser.parse_args()
    arms = arms_of(arguments.source)
    rows = table(arms) + differences(arms)
    show(rows)
    measured = {(*key[:3], row["seed"]) for key, arm in arms.items() for row in arm.rows}
    wanted = {name: {place for place in product(*cell) if possible(place[0], place[2])} for name, cell in CELLS.items()}
    for name, places in wanted.items():
        print(f"{name}: {len(places & measured)} of {len(places)} arms measured")
    made_of = [row for arm in arms.values() for row in arm.rows]
    uncommitted = sum(bool(row["dirty"]) for row in made_of)
    print(f"of {len(made_of)} arms {uncommitted} were run with code that was not committed")
    if arguments.json:
        commits = sorted({commit for row in made_of for commit in str(row["commit"]).split(" and ")})
        seeds = sorted({row["seed"] for row in made_of})
        write_results(arguments.json, rows, seeds=seeds, arms=len(made_of), uncommitted=uncommitted, commits=commits)
    if arguments.image:
        arguments.image.write_text(image(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
