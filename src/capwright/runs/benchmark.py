"""A benchmark carried out: its images, how it measures, and whether captions were made as it says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capwright.data import open_dataset
from capwright.data.cache_dir import cache_folder
from capwright.data.files import writing
from capwright.evaluation import MeasureConfig
from capwright.recipes.benchmark import Benchmark
from capwright.runs.drawn_scenes import draw_scenes, scenes_folder
from capwright.types import DataError

if TYPE_CHECKING:
    from capwright.data import Dataset


def open_benchmark(
    benchmark: Benchmark, data: str | Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Dataset:
    """The samples of a benchmark.

    Args:
        benchmark: see `capwright.recipes.benchmark.load_benchmark`.
        data: its dataset, where it is already on disk. Otherwise scenes are drawn into the user's cache folder, once.
        progress: called with (done, total) scenes that are drawn.

    Raises:
        DataError: the dataset cannot be opened or has no such split, or there is no cache folder to draw into.
    """
    scenes = benchmark.data.scenes
    place = Path(data or benchmark.data.path or _scenes_folder(benchmark))
    if scenes is not None and data is None and not place.is_dir():
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        draw_scenes(scenes, draft, progress)
        try:
            draft.replace(place)
        except OSError:  # another process was faster
            shutil.rmtree(draft, ignore_errors=True)
    return open_dataset(place, benchmark.split)[: benchmark.limit]


def benchmark_config(benchmark: Benchmark, config: MeasureConfig | None = None) -> MeasureConfig:
    """How a benchmark measures, to be given to `score_systems`.

    Intervals, tests, and options of scorers beside those of the benchmark are as in `config`.
    """
    config = config or MeasureConfig(comparisons="headlines")
    options: dict[str, Any] = {name: {**own, **config.options.get(name, {})} for name, own in benchmark.scorers.items()}
    options |= {name: own for name, own in config.options.items() if name not in options}  # refused when measuring
    return replace(config, scorers=tuple(benchmark.scorers), options=options, missing=benchmark.missing)


def describe(benchmark: Benchmark, samples: Dataset, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What files say of a benchmark: which one it is, on which data, and which `options` of scorers are not its own."""
    changed = [f"{name}.{option}" for name, own in options.items() for option in own]
    found: dict[str, Any] = {"name": benchmark.name, "version": benchmark.version, "digest": benchmark.digest}
    found |= {"fingerprint": samples.fingerprint, "images": len(samples), "source": benchmark.source}
    return found | ({"changed": changed} if changed else {})


def departures(benchmark: Benchmark, rows: Mapping[str, Any]) -> list[str]:
    """How captions (id -> row) were made in another way than the benchmark says, as far as they tell."""
    wanted = {"prompt": benchmark.prompt or None, "max_tokens": benchmark.decoding.max_tokens}
    told = []
    for key, value in wanted.items():
        other = [row[key] for row in rows.values() if isinstance(row, Mapping) and row.get(key) not in (None, value)]
        if other and value is not None:
            told.append(
                f"{len(other):,} captions were made with {key} {other[0]!r}, the benchmark {benchmark.name} says "
                f"{value!r}; the numbers are not those of the benchmark"
            )
    return told


def _scenes_folder(benchmark: Benchmark) -> Path:
    scenes = benchmark.data.scenes
    assert scenes is not None
    cache = cache_folder()
    if cache is None:
        raise DataError(f"the benchmark {benchmark.name} has to be drawn, and CAPWRIGHT_CACHE is off; name its dataset")
    return scenes_folder(scenes, cache / "benchmarks")
