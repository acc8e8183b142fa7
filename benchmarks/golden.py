"""What a tree makes, to the last bit: to be made before a rebuilding and after it, and compared.

    python benchmarks/golden.py make FOLDER [--tree CHECKOUT] [--parts score eval run pages]
    python benchmarks/golden.py compare FOLDER FOLDER

  score    `score --json` on three sets of COCO captions, by every scorer that needs nothing else to be installed
  run      45 steps of a small kindergarten: journal, captions, and a digest of the final weights
  eval     `eval --json` of the run's captions by the lexical judge and the scorers that need none
  pages    the report of the run, and that of captions against references

Everything is made through the command line, so trees of different layouts can be compared. Times, versions and
folders are left out. `compare` looks at what is said, not at the shape it is said in: for JSON at each value with the
names that lead to it, whatever order they have, and under the names that files of scores have now.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SETS = {"fakecap1000": "fakecap1000", "val2017_nn": "val2017", "val2017_human4": "val2017"}
NO_EXTRAS = (
    *("bleu", "rougeL", "cider", "ciderD", "chrf", "distinct", "repetition", "readability", "length", "language"),
    "chair",
)
JUDGED = (
    *("caprl", "captionqa", "cccaption", "dcscore", "balcap", "claimdiff", "dnli", "openchair"),
    *("tts-extracted", "language", "tts", "ciderD", "chair"),
)
#: Keys of JSON whose values change from run to run.
VOLATILE = re.compile(
    r"seconds|elapsed|time|versions|date|fingerprint|^data$|tokens_per|memory|peak|created|^root$|^path$|^file$|cpu"
)
SMALL = ["data.scenes.n=400", "data.scenes.size=64", "stages.warmup.steps=5", "stages.warmup.images_per_step=16"]
SMALL += ["stages.rsrs.steps=40", "stages.rsrs.images_per_step=8"]
#: recipe -> what is changed beside its size; the second is the one whose buffer fills.
RUNS = {"rsrs-scenes": [], "rsrs-paper-scenes": ["stages.rsrs.imitation.batch=4"]}


class Maker:
    """Runs the command line of a tree and keeps what it made in a folder."""

    def __init__(self, out: Path, tree: Path) -> None:
        self.out, self.tree = out, tree
        self.work = out / "work"
        self.work.mkdir(parents=True, exist_ok=True)

    def run(self, *words: str | Path) -> None:
        paths = {"PYTHONPATH": str(self.tree / "src"), "OMP_NUM_THREADS": "1"}
        line = [sys.executable, "-m", "capwright", *map(str, words)]
        print("capwright", *map(str, words), flush=True)
        subprocess.run(line, check=True, env=os.environ | paths, stdout=subprocess.DEVNULL)

    def keep(self, name: str, value: Any) -> None:
        text = value if isinstance(value, str) else "".join(f"{line}\n" for line in sorted(flat(value)))
        (self.out / name).write_text(text, encoding="utf-8")

    def coco(self, name: str) -> tuple[Path, Path]:
        """Files of captions and references."""
        found = []
        for kind in (f"{name}_results", f"{SETS[name]}_references"):
            path = self.work / f"{kind}.json"
            path.write_bytes(gzip.decompress((ROOT / "tests" / "captions" / f"{kind}.json.gz").read_bytes()))
            found.append(path)
        return found[0], found[1]

    def score(self) -> None:
        for name in SETS:
            captions, references = self.coco(name)
            path = self.work / f"score-{name}.json"
            self.run(
                "score", captions, references, "--scorers", ",".join(NO_EXTRAS), "--missing", "skip", "--json", path
            )
            self.keep(f"score-{name}.txt", json.loads(path.read_text(encoding="utf-8")))

    def train(self, recipe: str = "rsrs-scenes") -> Path:
        folder = self.work / recipe
        if not (folder / "report.html").exists():
            self.run("train", recipe, *SMALL, *RUNS[recipe], "--out", folder)
        return folder

    def training(self) -> None:
        for recipe in RUNS:
            folder = self.train(recipe)
            self.keep(f"{recipe}-metrics.txt", lines_of(folder / "metrics.jsonl"))
            for path in sorted((folder / "captions").glob("*.jsonl")):
                self.keep(f"{recipe}-captions-{path.stem}.txt", lines_of(path))
            weights = sorted((folder / "checkpoints" / "rsrs").glob("*.safetensors"))
            digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in weights}
            self.keep(f"{recipe}-weights.txt", digests)
            self.keep(f"{recipe}-summary.txt", json.loads((folder / "summary.json").read_text(encoding="utf-8")))

    def evaluating(self) -> None:
        folder, path = self.train(), self.work / "eval.json"
        captions = [folder / "captions" / f"{name}.jsonl" for name in ("base", "warmup", "rsrs")]
        for number, scorers in enumerate((JUDGED[:5], JUDGED[5:9], JUDGED[9:])):
            self.run("eval", *folder.glob("scenes*"), *captions, "--scorers", ",".join(scorers), "--json", path)
            self.keep(f"eval-{number}.txt", json.loads(path.read_text(encoding="utf-8")))

    def pages(self) -> None:
        folder = self.train()
        self.keep("page-run.html", plain((folder / "report.html").read_text(encoding="utf-8"), self.work))
        captions, references = self.coco("fakecap1000")
        page = self.work / "score.html"
        scorers = "bleu,rougeL,ciderD,length"
        self.run("report", captions, references, "--missing", "skip", "--scorers", scorers, "--out", page)
        self.keep("page-score.html", plain(page.read_text(encoding="utf-8"), self.work))


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


PARTS: dict[str, Callable[[Maker], None]] = {
    "score": Maker.score,
    "run": Maker.training,
    "eval": Maker.evaluating,
    "pages": Maker.pages,
}


def flat(value: Any, names: tuple[str, ...] = ()) -> Iterator[str]:
    """A line a value: the names that lead to it, and the value with all its digits."""
    if isinstance(value, dict):
        for name, each in value.items():
            if not VOLATILE.search(name):
                yield from flat(each, (*names, name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            own = each.get("id") or each.get("name") if isinstance(each, dict) else None
            yield from flat(each, (*names, str(own or number)))
    else:
        yield f"{'/'.join(names)} = {value!r}"


def plain(page: str, work: Path) -> str:
    """A page without images (which are in it as text), folders and times."""
    page = re.sub(r"data:[a-z/+-]+;base64,[A-Za-z0-9+/=]+", "DATA", page).replace(str(work), "WORK")
    page = re.sub(r"\d[\d,.]* (?:ms|s|seconds?|minutes?|min|h|hours?)\b", "TIME", page)
    return re.sub(r">\s*<", ">\n<", page)


def present(file: str, line: str) -> str | None:
    """A line of any version with the names that scores have now; None where it says again what another one says.

    Before, runs and `eval` had a key a system, in it a block a scorer, and families of scores under "by_tier".
    """
    path, _, value = line.partition(" = ")
    names = path.split("/")
    runs = file.startswith("eval-") or file.endswith("-summary.txt")
    if runs and names[0] not in _TOP:
        names = ["systems", *names]
        if names[2] not in _OF_SYSTEMS:
            names[2:] = ["scores", *_key(names[2:-1]), names[-1]]
    elif file.endswith("-metrics.txt") and names[1:2] == ["scores"] and len(names) > 3:
        names[2:] = _key(names[2:])
    if names[0] == "systems":
        if names[2] == "signatures" or names[-1] == "signature":
            names = ["systems", names[1], "signatures", value.strip("'").partition("|")[0]]
        names = ["images" if name == "samples" and place == 2 else name for place, name in enumerate(names)]
    if (runs and names[0] in _NEW) or names[0] == "signatures" or (names[-1] in ("scorer", "name") and len(names) > 2):
        return None
    if names[0] == "comparisons" and names[-1] == "score":
        value = repr(_key(value.strip("'").split("."))[0])
    return f"{'/'.join(names)} = {value}"


#: Keys of a file of scores that are no systems; those that runs and `eval` did not have; keys that are no scorers.
_NEW = {"images", "interval", "seed", "replicates", "level"}
_TOP = {"systems", "comparisons", "signatures", "run", "injection", "not_installed", *_NEW}
_OF_SYSTEMS = {
    "samples",
    "scored",
    "unknown",
    "unknown_by",
    "unknown_why",
    "signatures",
    "warnings",
    "scores",
    "images",
}


def _key(names: list[str]) -> list[str]:
    """["tts", "by_tier", "rare"] is ["tts.tier:rare"], ["bleu", "bleu4"] is ["bleu4"]."""
    scorer, *rest = names
    if not rest:
        return names
    output = f"{rest[0].removeprefix('by_')}:{rest[1]}" if len(rest) > 1 else rest[0]
    return [output if output.startswith(scorer) else f"{scorer}.{output}"]


def compare(one: Path, other: Path) -> int:
    """Print what differs; 1 if anything does."""
    names = sorted({path.name for folder in (one, other) for path in folder.iterdir() if path.is_file()})
    bad = 0
    for name in names:
        texts = [
            path.read_text(encoding="utf-8").splitlines() if (path := f / name).exists() else [] for f in (one, other)
        ]
        if name.endswith(".txt"):
            texts = [[now for line in lines if (now := present(name, line)) is not None] for lines in texts]
        missing, new = (sorted(set(a) - set(b)) for a, b in (texts, texts[::-1]))
        bad += bool(missing or new or not all(texts))
        print(f"{name}: {len(texts[0]):,} and {len(texts[1]):,} lines, {len(missing):,} gone, {len(new):,} new")
        for sign, lines in (("-", missing), ("+", new)):
            for line in lines[:10]:
                print(f"  {sign} {line[:200]}")
    print("something differs" if bad else "all the same")
    return int(bad > 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("make", help="make everything into a folder")
    make.add_argument("folder", type=Path)
    make.add_argument("--tree", type=Path, default=ROOT, help="the checkout whose code is run")
    make.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    against = verbs.add_parser("compare", help="what two folders say differently")
    against.add_argument("folders", type=Path, nargs=2)
    arguments = parser.parse_args()
    if arguments.verb == "compare":
        raise SystemExit(compare(*arguments.folders))
    maker = Maker(arguments.folder.resolve(), arguments.tree.resolve())
    for part in arguments.parts:
        PARTS[part](maker)


if __name__ == "__main__":
    main()
