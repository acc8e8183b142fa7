"""Scoring 5,000 COCO captions against five references each, beside pycocoevalcap.

    python benchmarks/caption_metrics.py [--quick] [--json FILE] [--peer PYTHON]

The captions are those of COCO val2017 with the nearest-neighbor candidates in tests/captions. Each side runs in
processes of its own that take turns; the fastest of several rounds counts, because what else runs on the machine only
ever makes one slower. `cold` is the first time in a fresh process, without imports; `again` is the second time in that
process: what was cut into tokens, or measured by METEOR, is remembered there, and pycocoevalcap remembers nothing.
`core` is tokenization, BLEU, ROUGE-L and CIDEr-D together. `command` is a whole `capwright score` from the shell,
imports, reading of files and intervals included, with its peak memory.

The peer needs Java and pycocoevalcap (`pip install 'capwright[java]'`), in this environment or in that of --peer;
without them only our side is measured, and the table says so. Both sides must agree: the benchmark stops when BLEU,
ROUGE-L or CIDEr-D differ by more than 5e-4.

The second table is the growth of `capwright score` to 100,000 captions (the same ones again under other ids).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results_file import write_results

CAPTIONS = Path(__file__).parent.parent / "tests" / "captions"
CORE = ("tokens", "bleu", "rougeL", "ciderD")
KEYS = {"Bleu_4": "bleu4", "ROUGE_L": "rougeL", "CIDEr": "ciderD", "METEOR": "meteor"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="1,000 captions, one round, growth to 5,000")
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON", help="one that has pycocoevalcap")
    parser.add_argument("--worker", choices=("peer", "own"), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        print(json.dumps({"peer": measure_peer, "own": measure_own}[args.worker](args.data)))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = compare(Path(folder), args.peer, quick=args.quick)
        result["growth"] = growth(Path(folder), [1000, 5000] if args.quick else [5000, 20_000, 50_000, 100_000])
    rows = flat(result)
    show(rows)
    if args.json is not None:
        peers = {"pycocoevalcap": _version(args.peer), "java": _java()} if result["peer"] else {}
        write_results(args.json, rows, peers=peers)


def compare(folder: Path, peer: str, *, quick: bool) -> dict[str, Any]:
    """Both sides on the same files, in turns."""
    write_data(folder, 1000 if quick else 5000)
    has_peer = _has_peer(peer)
    own: list[dict[str, Any]] = []
    other: list[dict[str, Any]] = []
    commands: list[dict[str, Any]] = []
    for _ in range(1 if quick else 3):
        own.append(_work(sys.executable, "own", folder))
        if has_peer:
            other.append(_work(peer, "peer", folder))
        commands.append(command(folder, "bleu,rougeL,ciderD,length"))
    if other:
        for key in ("bleu4", "rougeL", "ciderD"):
            apart = abs(own[0]["scores"][key] - other[0]["scores"][key])
            if apart > 5e-4:
                sys.exit(f"{key} differs from pycocoevalcap's by {apart:g}; timings of other numbers mean nothing")
    best = {"own": _best(own), "peer": _best(other) if other else None}
    return best | {"captions": own[0]["captions"], "command": min(commands, key=lambda c: c["seconds"])}


def measure_own(folder: Path) -> dict[str, Any]:
    """Our side: each part by itself, cold and warm; METEOR where Java and its jar are."""
    from capwright.data.predictions import read_predictions
    from capwright.data.references import read_references
    from capwright.evaluation import evaluate
    from capwright.scorers import Corpus, Item, get_scorer
    from capwright.text.tokenizers import get_tokenizer
    from capwright.types import NotInstalledError

    os.environ["CAPWRIGHT_CACHE"] = str(folder / f"cache-{os.getpid()}")
    samples = read_references(folder / "references.json")
    said = read_predictions(folder / "predictions.json")
    items = [Item(sample, said[sample.id]["caption"]) for sample in samples]
    texts = [text for sample in samples for text in sample.references] + [item.caption for item in items]
    scores: dict[str, float] = {}
    seconds: dict[str, dict[str, float]] = {"cold": {}, "warm": {}}

    def run(name: str) -> None:
        scorer = get_scorer(name)
        context = scorer.prepare(Corpus(samples))
        rows = scorer.stats(items, context).rows
        scores.update(zip(context.outputs, scorer.finalize(rows.sum(0)).tolist()))

    for when in ("cold", "warm"):
        seconds[when]["tokens"] = _seconds(lambda: get_tokenizer("ptb")(texts))
        for name in ("bleu", "rougeL", "ciderD", "meteor"):
            try:
                seconds[when][name] = _seconds(lambda name=name: run(name))
            except NotInstalledError:
                continue
    names = ("bleu", "rougeL", "ciderD")
    whole = _seconds(lambda: evaluate(samples, said, names, method="percentile"))
    bare = _seconds(lambda: evaluate(samples, said, names, replicates=0))
    return {"captions": len(items), "seconds": seconds, "scores": scores, "intervals": whole - bare, "peak_mb": _peak()}


def measure_peer(folder: Path) -> dict[str, Any]:
    """pycocoevalcap, its parts as its COCOEvalCap calls them. Runs without capwright."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    references: dict[str, list[dict[str, str]]] = {}
    for note in json.loads((folder / "references.json").read_text(encoding="utf-8"))["annotations"]:
        references.setdefault(str(note["image_id"]), []).append({"caption": note["caption"]})
    results = {
        str(row["image_id"]): [{"caption": row["caption"]}]
        for row in json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    }
    seconds: dict[str, dict[str, float]] = {"cold": {}, "warm": {}}
    scores: dict[str, float] = {}
    quiet = open(os.devnull, "w")  # noqa: SIM115
    for when in ("cold", "warm"):
        tokens: list[Any] = []

        def tokenize(tokens: list[Any] = tokens) -> None:
            tokens += [PTBTokenizer().tokenize(references), PTBTokenizer().tokenize(results)]

        seconds[when]["tokens"] = _seconds(tokenize)
        stdout, sys.stdout = sys.stdout, quiet
        try:
            for name, make in (("bleu", lambda: Bleu(4)), ("rougeL", Rouge), ("ciderD", Cider), ("meteor", Meteor)):

                def run(make: Callable[[], Any] = make, name: str = name, tokens: list[Any] = tokens) -> None:
                    value, _ = make().compute_score(*tokens)
                    scores[{"bleu": "bleu4"}.get(name, name)] = float(value[3] if name == "bleu" else value)

                seconds[when][name] = _seconds(run)
        finally:
            sys.stdout = stdout
    return {"captions": len(results), "seconds": seconds, "scores": scores, "peak_mb": _peak()}


def growth(folder: Path, sizes: list[int]) -> list[dict[str, Any]]:
    """`capwright score` from the shell on more and more captions."""
    rows = []
    for size in sizes:
        write_data(folder, size)
        rows.append({"captions": size, **command(folder, "bleu,rougeL,ciderD,length")})
    return rows


def command(folder: Path, scorers: str) -> dict[str, Any]:
    """Wall time and peak memory of a whole command in a fresh process."""
    line = [sys.executable, "-m", "capwright", "score", "predictions.json", "references.json", "--scorers", scorers]
    start = time.perf_counter()
    process = subprocess.Popen(line, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{' '.join(line)}: failed with status {status}")
    return {"seconds": seconds, "peak_mb": usage.ru_maxrss / 1024}


def write_data(folder: Path, count: int) -> None:
    """The first `count` images as COCO files; the same captions again under new ids when there are not so many."""
    with gzip.open(CAPTIONS / "val2017_references.json.gz", "rt", encoding="utf-8") as file:
        document = json.load(file)
    with gzip.open(CAPTIONS / "val2017_nn_results.json.gz", "rt", encoding="utf-8") as file:
        results = {row["image_id"]: row["caption"] for row in json.load(file)}
    notes: dict[int, list[str]] = {}
    for note in document["annotations"]:
        notes.setdefault(note["image_id"], []).append(note["caption"])
    ids = list(results)
    images, annotations, predictions = [], [], []
    for number in range(count):
        source = ids[number % len(ids)]
        own = source + 10_000_000 * (number // len(ids))
        images.append({"id": own, "file_name": f"{own:012d}.jpg"})
        annotations += [
            {"image_id": own, "id": len(annotations) + i, "caption": c} for i, c in enumerate(notes[source])
        ]
        predictions.append({"image_id": own, "caption": results[source]})
    content = {"images": images, "annotations": annotations, "type": "captions", "info": {}, "licenses": []}
    (folder / "references.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "predictions.json").write_text(json.dumps(predictions), encoding="utf-8")


def flat(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the result file: one a part, then `intervals`, `memory` and `command`, then one a size of the growth."""
    own, peer = result["own"], result["peer"]
    rows: list[dict[str, Any]] = []
    for part in (*CORE, "core", "meteor"):
        if (cold := own["seconds"]["cold"].get(part)) is None:
            continue
        warm = own["seconds"]["warm"][part]
        row = {"part": part, "captions": result["captions"], "seconds": cold, "seconds_again": warm}
        if peer is not None:
            theirs, again = (peer["seconds"][when][part] for when in ("cold", "warm"))
            again = min(theirs, again)  # it remembers nothing, so the difference is chance
            row |= {"peer_seconds": theirs, "speedup": theirs / cold, "speedup_again": again / warm}
        rows.append(row)
    rows.append({"part": "intervals", "captions": result["captions"], "seconds": own["intervals"]})
    memory = {"part": "memory", "captions": result["captions"], "peak_mb": own["peak_mb"]}
    rows.append(memory | ({"peer_peak_mb": peer["peak_mb"]} if peer is not None else {}))
    rows.append({"part": "command", "captions": result["captions"], **result["command"]})
    return rows + [{"part": "growth", **row} for row in result["growth"]]


def show(rows: list[dict[str, Any]]) -> None:
    of = {row["part"]: row for row in rows if row["part"] != "growth"}
    print(f"{of['core']['captions']:,} captions, about five references each; seconds")
    print(f"{'':10} {'capwright':>10} {'again':>8} {'pycocoevalcap':>14} {'times faster':>13} {'again':>8}")
    for part in (*CORE, "core", "meteor"):
        row = of.get(part, {"seconds": None, "seconds_again": None})
        line = f"{part:10} {_text(row['seconds']):>10} {_text(row['seconds_again']):>8}"
        if "speedup" in row:
            line += f" {row['peer_seconds']:14.3f} {row['speedup']:12.1f}x {row['speedup_again']:7.1f}x"
        print(line)
    print(f"intervals: 1,000 replicates of all of them in {of['intervals']['seconds']:.2f} s")
    if "peer_peak_mb" in (memory := of["memory"]):
        own, peer = (f"{memory[key]:.0f} MB" for key in ("peak_mb", "peer_peak_mb"))
        print(f"peak memory: capwright {own}, pycocoevalcap {peer} (Java included)")
    else:
        print("pycocoevalcap or Java is not installed: nothing to compare with (pip install 'capwright[java]')")
    print(f"command: {of['command']['seconds']:.2f} s, {of['command']['peak_mb']:.0f} MB")
    print(f"\n{'captions':>9} {'seconds':>8} {'peak MB':>8}")
    for row in (row for row in rows if row["part"] == "growth"):
        print(f"{row['captions']:9,} {row['seconds']:8.2f} {row['peak_mb']:8.0f}")


def _best(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The fastest of each part, and `core`, the sum of its parts."""
    best = dict(rounds[0])
    best["intervals"] = min(r.get("intervals", 0.0) for r in rounds)
    best["peak_mb"] = max(r["peak_mb"] for r in rounds)
    best["seconds"] = {}
    for when in ("cold", "warm"):
        parts = {name: min(r["seconds"][when][name] for r in rounds) for name in rounds[0]["seconds"][when]}
        best["seconds"][when] = parts | {"core": sum(parts[name] for name in CORE)}
    return best


def _work(python: str, side: str, folder: Path) -> dict[str, Any]:
    line = [python, __file__, "--worker", side, "--data", str(folder)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the side {side!r} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _has_peer(python: str) -> bool:
    if shutil.which("java") is None:
        return False
    return subprocess.run([python, "-c", "import pycocoevalcap"], capture_output=True, check=False).returncode == 0


def _version(python: str) -> str | None:
    line = [python, "-c", "from importlib.metadata import version; print(version('pycocoevalcap'))"]
    return subprocess.run(line, capture_output=True, text=True, check=False).stdout.strip() or None


def _java() -> str | None:
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    return said.split('"')[1] if said.count('"') >= 2 else None


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _peak() -> float:
    """MB that this process and the largest of its children held at most."""
    import resource

    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + children) / 1024


def _text(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3f}"


if __name__ == "__main__":
    main()
