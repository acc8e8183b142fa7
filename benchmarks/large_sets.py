"""Data sets of the size of ECAC (256,121 images): how long commands take there, and how much memory.

    python benchmarks/large_sets.py [--quick] [--json FILE] [--keep FOLDER]

A set is made up: rows of 4.3 KB (three captions of experts, two casual ones, terms of a vocabulary of 400 names), and
a small image each, all different. `check` is `capwright data check`, `eval` is
`capwright eval` of captions of 88 % of the samples with tts and length, and `plan` is `capwright train --dry-run`, all
from the shell, imports included, with the peak memory of the process and its children. Each is measured on 25,000
samples as well: per sample, neither time nor memory should grow.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from results_file import print_rows, write_results

SIZES = (25_000, 256_121)
TEXT = """a the child plays with on table near red blue green small large wooden soft and puts holds carefully counts
sorts builds behind under beside bright corner window shelf teacher room floor mat hand two three pieces together"""
WORDS = TEXT.split()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="2,000 and 10,000 samples")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the sets here, and use those that are there")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for n in (2000, 10_000) if args.quick else SIZES:
            root = make_set(args.keep or Path(scratch), n)
            for job, command in commands(root).items():
                rows.append({"job": job, "samples": n, **measured(command)})
                print_rows(rows[-1:])
    if args.json is not None:
        write_results(args.json, rows, seeds=[0])


def commands(root: Path) -> dict[str, list[str]]:
    captions = str(root.with_suffix(".said.jsonl"))
    recipe = ["rsrs-scenes", f"data.path={root}", "data.eval_split=val", "model.name=nowhere/nothing"]
    return {
        "check": ["data", "check", str(root)],
        "eval": ["eval", str(root), captions, "--scorers", "tts,length"],
        "plan": ["train", *recipe, "--dry-run", "--out", str(root.with_suffix(".run"))],
    }


def measured(command: list[str]) -> dict[str, Any]:
    """Seconds and peak MB of a command; raises when it fails."""
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "capwright", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process.stderr as stderr:
        said = stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - start
    if process.returncode not in (0, 1) or "error" in said:
        raise SystemExit(f"{' '.join(command)}: {said[-2000:]}")
    busy = used.ru_utime + used.ru_stime
    return {
        "seconds": seconds,
        "cpu_seconds": busy,
        "peak_mb": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6,
    }


def make_set(folder: Path, n: int) -> Path:
    """A dataset of n samples, and beside it the captions of a captioner."""
    root = folder / f"set-{n}"
    if (root / "samples.jsonl").exists():
        return root
    (root / "images").mkdir(parents=True)
    draw, noise = random.Random(0), np.random.default_rng(0)
    names = [f"{a} {b}" for a in WORDS[10:30] for b in ("board", "puzzle", "drum", "ring", "cube") for _ in range(4)]
    names = [f"{name} {number}" for number, name in enumerate(names)]
    (root / "vocabulary.yaml").write_text("".join(f"{name}: {{category: toy, tier: rare}}\n" for name in names))
    said = root.with_suffix(".said.jsonl")
    with (root / "samples.draft").open("w") as samples, said.open("w") as captions:
        for number in range(n):
            split = "train" if number % 100 < 6 else "val" if number % 100 < 12 else "test"
            terms = draw.sample(names, 3)
            image = f"images/{number:06}.jpg"
            pixels = noise.integers(0, 255, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(root / image, quality=85)
            row = {"id": f"{number:06}", "image": image, "split": split, "terms": terms}
            row["references"] = [text(draw, terms, 900) for _ in range(3)]
            row["meta"] = {"casual": [text(draw, ["toy"], 700) for _ in range(2)], "source": "made up"}
            samples.write(json.dumps(row) + "\n")
            if split == "test":
                captions.write(json.dumps({"id": row["id"], "caption": text(draw, terms[:2], 400)}) + "\n")
    os.replace(root / "samples.draft", root / "samples.jsonl")
    return root


def text(draw: random.Random, names: list[str], characters: int) -> str:
    words = draw.choices(WORDS, k=characters // 6)
    for name in names:
        words.insert(draw.randrange(len(words)), name)
    return " ".join(words).capitalize() + "."


if __name__ == "__main__":
    main()
