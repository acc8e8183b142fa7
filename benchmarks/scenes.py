"""How many scenes a second are made: drawn alone, and written as a dataset on one and on two processes.

    python benchmarks/scenes.py [--quick] [--json FILE]

Prints one table; with --json writes the same rows as a result file. `speedup` is against one process doing the same.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from capwright.scenes import build, draw, sample_scene
from results_file import write_results

SIZE = 96


def measure(scenes: int) -> list[dict[str, object]]:
    """One row for drawing without files, one each for building with one and two processes."""
    draw(sample_scene(0, 0), SIZE)  # reads the drawings once
    start = time.perf_counter()
    for index in range(scenes):
        draw(sample_scene(1, index), SIZE)
    rows = [row("draw", 1, scenes, time.perf_counter() - start, None)]
    alone = None
    for processes in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            build(scenes, 1, Path(folder) / "scenes", size=SIZE, processes=processes)
            seconds = time.perf_counter() - start
        alone = alone or seconds
        rows.append(row("build", processes, scenes, seconds, alone / seconds))
    return rows


def row(task: str, processes: int, scenes: int, seconds: float, speedup: float | None) -> dict[str, object]:
    """A flat record of one measurement; `speedup` is None where there is nothing to compare with."""
    return {
        "benchmark": "scenes",
        "task": task,
        "processes": processes,
        "size": SIZE,
        "scenes": scenes,
        "seconds": round(seconds, 3),
        "scenes_per_second": round(scenes / seconds, 1),
        "speedup": None if speedup is None else round(speedup, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Scenes per second on one and two processes.")
    parser.add_argument("--quick", action="store_true", help="200 scenes instead of 2,000")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    arguments = parser.parse_args()
    rows = measure(200 if arguments.quick else 2000)
    print(f"{'task':8}{'processes':>10}{'scenes':>8}{'seconds':>10}{'per second':>12}{'speedup':>9}")
    for each in rows:
        speedup = "" if each["speedup"] is None else f"{each['speedup']:.2f}"
        print(
            f"{each['task']:8}{each['processes']:>10}{each['scenes']:>8}{each['seconds']:>10}"
            f"{each['scenes_per_second']:>12}{speedup:>9}"
        )
    if arguments.json:
        write_results(arguments.json, rows, seeds=[1])


if __name__ == "__main__":
    main()
