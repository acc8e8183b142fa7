"""What guidance by the image does to captions: names, their precision, and length, by scale.

    python benchmarks/guidance.py [--quick] [--model runs/demo/checkpoints/rsrs] [--json FILE]

The embedded captioner, which never saw an instruction without an image while it was trained, on test scenes of the
built-in kindergarten; greedy. With --json the rows of another captioner are added to the file. Nothing is timed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from capwright.captioning import load_captioner
from capwright.captioning.caption_files import caption_rows
from capwright.data import open_dataset
from capwright.evaluation import evaluate
from capwright.scenes import build
from capwright.scorers import Corpus, get_scorer
from capwright.types import SamplingParams
from results_file import append_rows, print_rows

SCALES = (0.0, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0)


def measure(model: str, scenes: int) -> list[dict[str, object]]:
    captioner = load_captioner(model, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        whole = open_dataset(build(scenes, 7, Path(folder) / "scenes"))
        samples = list(whole.split("test"))
        corpus = Corpus(samples, whole.vocabulary)
        rulers = [(scorer, scorer.prepare(corpus)) for scorer in map(get_scorer, ("tts", "length"))]
        rows: list[dict[str, object]] = []
        for scale in SCALES:
            sampling = SamplingParams(temperature=0.0, max_tokens=64, guidance=scale)
            captions = {row["id"]: row for row in caption_rows(captioner, samples, sampling, 32)}
            found = evaluate(samples, captions, rulers)
            micro = found.estimate("tts")
            values: dict[str, object] = {"tts": micro.value, "low": micro.low, "high": micro.high}
            values["precision"] = found.estimate("tts", "precision").value
            values["words"] = found.estimate("length").value
            values["cut"] = found.estimate("length", "truncated").value
            values["different"] = len({row["caption"] for row in captions.values()})
            rows.append({"guidance": scale, "model": Path(model).name, "images": len(samples), **values})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few scenes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    parser.add_argument("--model", default="embedded", help="a captioner; by default the embedded one")
    arguments = parser.parse_args()
    rows = measure(arguments.model, 100 if arguments.quick else 2000)
    print_rows(rows)
    if arguments.json:
        append_rows(arguments.json, rows, key=("model", "guidance"))


if __name__ == "__main__":
    main()
