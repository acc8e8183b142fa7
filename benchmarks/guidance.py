"""What guidance by the image does to captions: names, their precision, and length, by scale.

    python benchmarks/guidance.py [--quick] [--json FILE]

The embedded captioner, which never saw an instruction without an image while it was trained, on test scenes of the
built-in kindergarten; greedy. Nothing is timed.
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
from results_file import print_rows, write_results

SCALES = (0.0, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0)


def measure(scenes: int) -> list[dict[str, object]]:
    captioner = load_captioner("embedded", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        whole = open_dataset(build(scenes, 7, Path(folder) / "scenes"))
        samples = list(whole.split("test"))
        corpus = Corpus(samples, whole.vocabulary)
        rulers = [(scorer, scorer.prepare(corpus)) for scorer in map(get_scorer, ("tts", "length"))]
        rows: list[dict[str, object]] = []
        for scale in SCALES:
            sampling = SamplingParams(temperature=0.0, max_tokens=64, guidance=scale)
            captions = {row["id"]: row for row in caption_rows(captioner, samples, sampling, 32)}
            found = evaluate(samples, captions, rulers).to_json()
            tts, length = found["tts"], found["length"]
            micro = tts["micro"]
            values = {"tts": micro["value"], "low": micro["low"], "high": micro["high"]}
            values |= {"precision": tts["precision"]["value"], "words": length["words"]["value"]}
            values |= {
                "cut": length["truncated"]["value"],
                "different": len({row["caption"] for row in captions.values()}),
            }
            rows.append({"guidance": scale, "images": len(samples), **values})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few scenes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    arguments = parser.parse_args()
    rows = measure(100 if arguments.quick else 2000)
    print_rows(rows)
    if arguments.json:
        write_results(arguments.json, rows)


if __name__ == "__main__":
    main()
