"""How often do intervals hold the truth, and how often do tests find what is not there? In simulated experiments.

    python benchmarks/interval_coverage.py [--json FILE] [--quick] [--parts coverage tests speed] [--repetitions 10000]

coverage  For each kind of data and number of images, experiments whose truth is known: the share of nominal 95 %
          intervals that hold it, and of those that lie wholly below and above it, for the jackknife (the default) and
          for the percentile bootstrap with 1,000 replicates, which was the default before; and their mean widths. Of
          shares near 0 few counts are possible, so what can be reached jumps: with p = 0.02 and 20 images 94.0 % of
          the experiments have no hit or one.
tests     Two equal systems, the same difficulty of each image for both: the share of experiments whose p-value is at
          most 0.05, for the randomization test (the default) and the bootstrap test.
speed     Seconds of one core for intervals of 20 scores (40 columns) of many images, and for a comparison: intervals of
          differences and 10,000 random swaps. The best of several times.

`error` is the standard error of a share over experiments. Experiments stand side by side as outputs of one scorer, so
a thousand of them are one call; those of one call share draws and swaps, which does not bias a share. The seed fixes
all of it.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by numpy; speeds are those of one core

import numpy as np

from capwright.evaluation import paired_differences
from capwright.evaluation.stats.intervals import How, estimate
from capwright.scorers.base import ratio
from results_file import write_results

PARTS = ("coverage", "tests", "speed")
IMAGES = (20, 60, 300)
#: Experiments in one call: as many outputs at a time keep memory small.
AT_ONCE = 250

Array = np.ndarray
#: Numerators and denominators [images, experiments].
Rows = tuple[Array, Array]
NONE, UNIT = (-math.inf, math.inf), (0.0, 1.0)


def ones(values: Array) -> Rows:
    """Rows of means of values."""
    return values.astype(float), np.ones(values.shape)


def spread(rng: np.random.Generator, p: float, alike: float, shape: tuple[int, ...]) -> Array:
    """Chances of images with mean p; two captions (or names) of an image correlate by `alike`."""
    return rng.beta(p * (1 / alike - 1), (1 - p) * (1 / alike - 1), shape)


def recall(rng: np.random.Generator, p: float, shape: tuple[int, ...]) -> Rows:
    """Of 1 to 5 names that an image has, how many are said; images differ in difficulty."""
    names = rng.integers(1, 6, shape)
    return rng.binomial(names, spread(rng, p, 0.2, shape)).astype(float), names.astype(float)


def precision(rng: np.random.Generator, p: float, shape: tuple[int, ...]) -> Rows:
    """Of the names that a caption says, how many are right; captions that say more say more that is wrong."""
    names = 1 + rng.poisson(2, shape)
    return names - rng.binomial(names, np.minimum((1 - p) * names / 3, 1)), names.astype(float)


def true_precision(p: float) -> float:
    names = np.arange(1, 80)
    chance = np.exp(-2 + (names - 1) * math.log(2) - np.array([math.lgamma(n) for n in names]))
    return float(1 - (chance * names * np.minimum((1 - p) * names / 3, 1)).sum() / (chance * names).sum())


def clustered_share(rng: np.random.Generator, p: float, shape: tuple[int, ...]) -> Rows:
    """Five captions of each image, right or wrong; half of their variance is the image's."""
    return rng.binomial(5, spread(rng, p, 0.5, shape)).astype(float), np.full(shape, 5.0)


def clustered_mean(rng: np.random.Generator, shape: tuple[int, ...]) -> Rows:
    """1 to 5 captions of each image, normal; half of their variance is the image's."""
    captions = rng.integers(1, 6, shape)
    image, own = rng.normal(0, 1, shape), rng.normal(0, 1, shape)
    return captions * image + np.sqrt(captions) * own, captions.astype(float)


def gain(rng: np.random.Generator, shape: tuple[int, ...], share: bool) -> Rows:
    """What a system that is better by 0.1 gains: of shares (an image is right or wrong), or of skewed scores."""
    if share:
        hard = rng.beta(2, 2, shape) * 0.8 + 0.05
        return ones((rng.random(shape) < hard + 0.1).astype(float) - (rng.random(shape) < hard))
    easy = rng.gamma(1.5, 1 / 1.5, shape)
    return ones(easy * rng.gamma(4, 1.1 / 4, shape) - easy * rng.gamma(4, 1 / 4, shape))


def weighted(rng: np.random.Generator, shape: tuple[int, ...], scores: bool) -> Rows:
    """A ratio whose denominator varies as much as its numerator: of independent ones, or of scores with weights."""
    weights = rng.exponential(1, shape) + 0.2 * scores
    return rng.exponential(1, shape) * (weights if scores else 1), weights


Draw = Callable[[np.random.Generator, tuple[int, ...]], Rows]


def coverage_cells() -> Iterator[tuple[str, str, float, tuple[float, float], Draw]]:
    """(kind, data, truth, range, draw)."""
    yield "mean", "normal", 0.0, NONE, lambda rng, shape: ones(rng.normal(0, 1, shape))
    yield "mean", "exponential", 1.0, (0.0, math.inf), lambda rng, shape: ones(rng.exponential(1, shape))
    yield "mean", "lognormal", math.exp(0.5), (0.0, math.inf), lambda rng, shape: ones(rng.lognormal(0, 1, shape))
    # The mean of a gamma variable cut off at 10 is 1 to seven digits.
    cider = lambda rng, shape: ones(np.minimum(rng.gamma(1.5, 1 / 1.5, shape), 10))  # noqa: E731
    yield "mean", "from 0 to 10, like CIDEr-D", 1.0, (0.0, 10.0), cider
    for p in (0.5, 0.1, 0.05, 0.02):
        yield "share", f"{p:g}", p, UNIT, lambda rng, shape, p=p: ones(rng.random(shape) < p)
    for p in (0.5, 0.1, 0.02):
        yield "recall", f"{p:g}", p, UNIT, lambda rng, shape, p=p: recall(rng, p, shape)
    for p in (0.5, 0.9, 0.98):
        yield "precision", f"{p:g}", true_precision(p), UNIT, lambda rng, shape, p=p: precision(rng, p, shape)
    yield "clusters", "means", 0.0, NONE, clustered_mean
    for p in (0.5, 0.1, 0.02):
        yield "clusters", f"share {p:g}", p, UNIT, lambda rng, shape, p=p: clustered_share(rng, p, shape)
    yield "difference", "of shares", 0.1, (-1.0, 1.0), lambda rng, shape: gain(rng, shape, True)
    yield "difference", "of skewed scores", 0.1, NONE, lambda rng, shape: gain(rng, shape, False)
    yield "ratio", "of exponentials", 1.0, (0.0, math.inf), lambda rng, shape: weighted(rng, shape, False)
    yield "ratio", "of skewed scores, weighed unequally", 1.0, (0.0, math.inf), lambda rng, s: weighted(rng, s, True)


def alike(rng: np.random.Generator, data: str, shape: tuple[int, ...]) -> tuple[Rows, Rows]:
    """Two systems that are equally good on every image."""
    if data == "normal":
        hard = rng.normal(0, 1, shape)
        return ones(hard + rng.normal(0, 1, shape)), ones(hard + rng.normal(0, 1, shape))
    if data == "lognormal":
        hard = rng.lognormal(0, 0.7, shape)
        return ones(hard * rng.lognormal(0, 0.7, shape)), ones(hard * rng.lognormal(0, 0.7, shape))
    if data == "recall":
        names = rng.integers(5, 20, shape)
        hard = rng.beta(2, 3, shape)
        return tuple((rng.binomial(names, hard).astype(float), names.astype(float)) for _ in "ab")
    if data == "precision":
        hard = rng.beta(6, 2, shape)
        said = [1 + rng.poisson(2, shape) for _ in "ab"]
        return tuple((rng.binomial(names, hard).astype(float), names.astype(float)) for names in said)
    hard = rng.beta(2, 2, shape)
    return ones(rng.random(shape) < hard), ones(rng.random(shape) < hard)


TESTED = ("normal", "lognormal", "recall", "precision", "share")


def finalize(sums: Array) -> Array:
    """Numerators over denominators."""
    half = sums.shape[-1] // 2
    return ratio(sums[..., :half], sums[..., half:])


def chunks(count: int) -> Iterator[tuple[int, int]]:
    """(seed, experiments) of each call."""
    return ((start // AT_ONCE, min(AT_ONCE, count - start)) for start in range(0, count, AT_ONCE))


def error(share: float, count: int) -> float:
    return math.sqrt(share * (1 - share) / count)


def measure_coverage(images: int, count: int) -> Iterator[dict[str, Any]]:
    for place, (kind, data, truth, limits, draw) in enumerate(coverage_cells()):
        row: dict[str, Any] = {"part": "coverage", "kind": kind, "data": data, "images": images, "truth": truth}
        missed: dict[str, list[float]] = {"jackknife": [0, 0, 0], "percentile": [0, 0, 0]}
        for seed, size in chunks(count):
            rng = np.random.default_rng([images, place, seed])
            rows = np.concatenate(draw(rng, (images, size)), axis=1)
            for method, found in missed.items():
                ends = estimate(rows, finalize, np.tile(limits, (size, 1)), How(method, 1000, seed))
                found[0] += int((ends.high < truth).sum())
                found[1] += int((ends.low > truth).sum())
                found[2] += float((ends.high - ends.low).sum())
                unknown = int((~np.isfinite(ends.low)).sum())
                assert not unknown, f"{kind} {data}: {unknown} unknown intervals"
        for method, (below, above, width) in missed.items():
            held = 1 - (below + above) / count
            row |= {
                method: held,
                f"{method}_error": error(held, count),
                f"{method}_below": below / count,
                f"{method}_above": above / count,
                f"{method}_width": width / count,
            }
        yield row | {"wider": row["jackknife_width"] / row["percentile_width"], "repetitions": count}


def measure_tests(images: int, count: int) -> Iterator[dict[str, Any]]:
    for place, data in enumerate(TESTED):
        row: dict[str, Any] = {"part": "tests", "data": data, "images": images}
        found = {"randomization": 0, "bootstrap": 0}
        for seed, size in chunks(count):
            rng = np.random.default_rng([images, 100 + place, seed])
            a, b = (np.concatenate(rows, axis=1) for rows in alike(rng, data, (images, size)))
            for test in found:
                tested = paired_differences(a, b, finalize, seed=seed, test=test)
                found[test] += sum(one.p is not None and one.p <= 0.05 for one in tested)
        for test, number in found.items():
            row |= {test: number / count, f"{test}_error": error(number / count, count)}
        yield row | {"repetitions": count}


def measure_speed(quick: bool) -> Iterator[dict[str, Any]]:
    """CPU seconds, so that what else runs on the machine counts for little."""
    limits = np.tile((0.0, 10.0), (20, 1))
    for images in (5_000,) if quick else (5_000, 100_000):
        rows = np.random.default_rng(0).random((images, 40))
        other = rows + np.random.default_rng(1).normal(0, 0.01, rows.shape)
        for what in ("jackknife", "percentile", "bca", "comparison"):
            times = []
            for _ in range(1 if quick else 5):
                start = time.process_time()
                if what == "comparison":
                    paired_differences(rows, other, finalize, ranges=limits)
                else:
                    estimate(rows, finalize, limits, How(what))
                times.append(time.process_time() - start)
            yield {"part": "speed", "what": what, "images": images, "scores": 20, "seconds": min(times)}


def show(rows: list[dict[str, Any]]) -> None:
    """A line a row; shares in percent."""
    for row in rows:
        percent = {key: f"{100 * value:.1f}" for key, value in row.items() if isinstance(value, float)}
        name = " ".join(str(row[key]) for key in ("part", "kind", "data", "what") if key in row)
        line = f"{name:42}{row['images']:8,}"
        if row["part"] == "coverage":
            line += f"  width {row['jackknife_width']:.3g}, {row['wider']:.2f} times"
            for method in ("jackknife", "percentile"):
                sides = f"({percent[f'{method}_below']}, {percent[f'{method}_above']})"
                line += f"  {method} {percent[method]} ± {percent[f'{method}_error']} {sides}"
        elif row["part"] == "tests":
            for test in ("randomization", "bootstrap"):
                line += f"  {test} {percent[test]} ± {percent[f'{test}_error']}"
        else:
            line += f"  {row['seconds']:.3f} s"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="200 experiments with 20 images: does it run?")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--repetitions", type=int, default=10_000, help="experiments of each kind of data")
    arguments = parser.parse_args()
    count = 200 if arguments.quick else arguments.repetitions
    rows: list[dict[str, Any]] = []
    for images in IMAGES[:1] if arguments.quick else IMAGES:
        for part, measured in (("coverage", measure_coverage), ("tests", measure_tests)):
            if part in arguments.parts:
                rows += measured(images, count)
    if "speed" in arguments.parts:
        rows += measure_speed(arguments.quick)
    show(rows)
    if arguments.json:
        write_results(arguments.json, rows)


if __name__ == "__main__":
    main()
