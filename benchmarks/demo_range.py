"""How much do the demo's numbers depend on the machine and on the seed?

    python benchmarks/demo_range.py [--quick] [--seeds 0 1 2 3 4] [--threads 1 2 4] [--kernels native avx2 sse]
                                    [--json FILE] [--runs DIR]

Every run is `capwright demo` in a process of its own: the base, its warm-up, imitation of experts, and RSRS on as many
images from the same warm-up. Two things are varied, each while the other stands still:

  machine  threads, and the kernels that the libraries may choose: `native` is all that this CPU can do, `avx2` and
           `sse` are what they would choose on an older one. Both change the order in which numbers are added up, and so
           the last digits of a sum. All with the first seed.
  seed     of the recipe, on two threads with native kernels.

On one machine, with the same threads and kernels, a run repeats itself bit for bit. On another one it does not: a last
digit tips a word that is drawn, other words earn another reward, and from there on the two runs learn from different
captions. The last table shows where: the first step at which loss or gradient of two runs with the same seed differ (in
the six digits of metrics.jsonl), and the first one at which the captions do.

Finished runs in --runs are not repeated, and interrupted ones go on. FILE gets the rows of a run as soon as it ends.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from capwright.evaluation import read_scoring
from results_file import VARIABLES, append_rows, keep_origin, origin_of

SYSTEMS = ("base", "warmup", "imitation", "rsrs")
TIERS = ("frequent", "common", "occasional", "rare", "never")
#: What the libraries beneath torch may use. oneDNN has no name for less than SSE 4.1.
KERNELS: dict[str, dict[str, str]] = {
    "native": {},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    | {"OPENBLAS_CORETYPE": "Haswell"},
    "sse": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    | {"OPENBLAS_CORETYPE": "Nehalem"},
}
QUICK = [
    *("data.scenes.n=100", "stages.warmup.steps=2", "stages.warmup.images_per_step=4"),
    *(f"stages.{name}.{key}" for name in ("imitation", "rsrs") for key in ("steps=3", "eval_every=null")),
    *(f"stages.{name}.images_per_step=4" for name in ("imitation", "rsrs")),
]
#: What the journal says of a step: numbers with six digits, and what changes only when a caption does.
CAPTIONS = ("tokens", "caption_words", "repetition", "reward")
NUMBERS = (*CAPTIONS, "loss", "grad_norm")
Setting = tuple[int, int, str]  # seed, threads, kernels


def settings(seeds: list[int], threads: list[int], kernels: list[str]) -> list[Setting]:
    """The usual run first, then other threads, other kernels, other seeds."""
    first = seeds[0]
    machines = [*((first, n, "native") for n in threads), *((first, 2, name) for name in kernels)]
    return list(dict.fromkeys([(first, 2, "native"), *machines, *((seed, 2, "native") for seed in seeds)]))


def run(setting: Setting, out: Path, quick: bool) -> Path:
    """`capwright demo` with one setting, or find that it ran."""
    seed, threads, kernels = setting
    folder = out / f"seed{seed}-threads{threads}-{kernels}"
    if (folder / "summary.json").exists():
        return folder
    keep_origin(Path(f"{folder}.about"))  # beside the run: the demo wants a folder of its own
    print(f"{folder.name} ...", flush=True)
    with Path(f"{folder}.log").open("w", encoding="utf-8") as log:
        line = [sys.executable, "-m", "capwright", "demo", f"seed={seed}", "--out", str(folder)]
        line += QUICK if quick else []
        done = subprocess.run(line, env=environment(threads, kernels), stdout=log, stderr=log, check=False)
    if done.returncode:
        sys.exit(f"{folder.name}: ended with status {done.returncode}; see {log.name}")
    return folder


def environment(threads: int, kernels: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return kept | KERNELS[kernels] | {"OMP_NUM_THREADS": str(threads), "CAPWRIGHT_CACHE": "off"}


def capability(threads: int, kernels: str) -> str:
    """What torch says that it uses."""
    code = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    line = [sys.executable, "-c", code]
    return subprocess.run(
        line, env=environment(threads, kernels), capture_output=True, text=True, check=True
    ).stdout.strip()


def rows_of(setting: Setting, folder: Path) -> list[dict[str, Any]]:
    """A row for each system of a run."""
    seed, threads, kernels = setting
    systems = read_scoring(json.loads((folder / "summary.json").read_text(encoding="utf-8")))["systems"]
    about = {"part": "run", "seed": seed, "threads": threads, "kernels": kernels}
    about |= {"capability": capability(threads, kernels), "weights": digest(folder / "checkpoints" / "rsrs")}
    rows = []
    for system in SYSTEMS:
        scores = systems[system]["scores"]
        micro, precision = scores["tts.micro"], scores["tts.precision"]
        row = {**about, "system": system, "tts": micro["value"], "precision": precision["value"]}
        row |= {f"tts_{end}": micro[end] for end in ("low", "high")}
        row |= {tier: number(scores.get(f"tts.tier:{tier}")) for tier in TIERS}
        rows.append(row | {"seconds": systems[system]["seconds"]} | origin_of([Path(f"{folder}.about")]))
    return rows


def number(value: Any) -> Any:
    return value.get("value") if isinstance(value, dict) else value


def digest(folder: Path) -> str:
    """Of the weights: equal digests are equal captioners, bit for bit."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def steps(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == "step"]


def first_difference(one: list[dict[str, Any]], other: list[dict[str, Any]], keys: Iterable[str]) -> dict[str, Any]:
    """The first step at which two journals differ in one of the numbers; all None where they never do."""
    for a, b in zip(one, other):
        for key in keys:
            if a.get(key) != b.get(key):
                return {"stage": a["stage"], "step": a["step"], "key": key, "here": flat(a[key]), "there": flat(b[key])}
    return dict.fromkeys(("stage", "step", "key", "here", "there"))


def flat(value: Any) -> Any:
    """A number, also of a reward that is told by its name."""
    return next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else value


def apart(setting: Setting, folder: Path, usual: Setting, usual_folder: Path) -> dict[str, Any]:
    """Where a run leaves the usual one of its seed."""
    here, there = steps(usual_folder), steps(folder)
    row: dict[str, Any] = {"part": "first difference", "seed": setting[0], "threads": setting[1], "kernels": setting[2]}
    row |= {"system": "rsrs", "usual_threads": usual[1], "usual_kernels": usual[2]}
    for name, keys in (("number", NUMBERS), ("caption", CAPTIONS)):
        row |= {f"{name}_{key}": value for key, value in first_difference(here, there, keys).items()}
    row["same_weights"] = digest(folder / "checkpoints" / "rsrs") == digest(usual_folder / "checkpoints" / "rsrs")
    return row


def show(rows: list[dict[str, Any]], seed: int) -> None:
    runs = [row for row in rows if row["part"] == "run" and row["system"] == "rsrs"]
    rivals = [row["tts"] for row in rows if row["part"] == "run" and row["system"] == "imitation"]
    heads = [f"{'seed':>4} {'threads':>7} {'kernels':>7} {'torch uses':>11} {'TTS':>6} {'precision':>9}"]
    print("\nafter rsrs\n" + "".join([*heads, *(f"{tier:>11}" for tier in TIERS), "  weights"]))
    for row in runs:
        cells = [f"{row['seed']:>4} {row['threads']:>7} {row['kernels']:>7} {row['capability']:>11}"]
        cells += [f" {row['tts']:>6.1f} {row['precision']:>9.1f}"]
        print("".join([*cells, *(f"{written(row[tier]):>11}" for tier in TIERS), f"  {row['weights']}"]))
    machines = [row["tts"] for row in runs if row["seed"] == seed]
    seeds = [row["tts"] for row in runs if (row["threads"], row["kernels"]) == (runs[0]["threads"], runs[0]["kernels"])]
    print(f"\nTTS of {len(machines)} machines, one seed:  {min(machines):.1f} to {max(machines):.1f}")
    print(f"TTS of {len(seeds)} seeds, one machine:  {min(seeds):.1f} to {max(seeds):.1f}")
    print(f"TTS of imitation instead, all of these runs:  {min(rivals):.1f} to {max(rivals):.1f}")
    print("\nwhere runs with the same seed leave the usual one")
    for row in (row for row in rows if row["part"] == "first difference"):
        where = f"{row['threads']} threads, {row['kernels']}:"
        if row["number_step"] is None:
            print(
                where, "nowhere" if row["same_weights"] else "in digits of the weights that the journal does not show"
            )
            continue
        for name, what in (("number", "first other number"), ("caption", "first other caption")):
            place = "none" if row[f"{name}_step"] is None else f"step {row[f'{name}_step']} of {row[f'{name}_stage']}"
            values = f", {row[f'{name}_key']} {row[f'{name}_there']} in place of {row[f'{name}_here']}"
            print(f"{where:18}{what}: {place}{'' if place == 'none' else values}")


def written(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="two machines, one seed, a handful of steps: does it run?")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="the first one on all machines")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--kernels", nargs="+", default=list(KERNELS), choices=list(KERNELS))
    parser.add_argument("--runs", type=Path, default=Path("runs/demo-range"))
    arguments = parser.parse_args()
    out = arguments.runs / "quick" if arguments.quick else arguments.runs
    out.mkdir(parents=True, exist_ok=True)
    if arguments.quick:
        wanted: list[Setting] = [(0, 1, "native"), (0, 1, "avx2")]
    else:
        wanted = settings(arguments.seeds, arguments.threads, arguments.kernels)
    rows: list[dict[str, Any]] = []
    first: tuple[Setting, Path] | None = None
    for setting in wanted:
        folder = run(setting, out, arguments.quick)
        found = rows_of(setting, folder)
        first = first or (setting, folder)
        if setting[0] == first[0][0] and setting != first[0]:
            found.append(apart(setting, folder, *first) | origin_of([Path(f"{folder}.about")]))
        rows += found
        if arguments.json:
            key = ("part", "seed", "threads", "kernels", "system")
            append_rows(arguments.json, found, key, seeds=sorted({seed for seed, _, _ in wanted}))
    show(rows, wanted[0][0])


if __name__ == "__main__":
    main()
