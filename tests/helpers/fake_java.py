"""A `java` for tests: it speaks like METEOR, SPICE and the PTB tokenizer, and breaks when a caption tells it to.

METEOR here counts equal words, SPICE takes words for tuples, and the tokenizer cuts off punctuation. Words in a caption
that make it misbehave: hang, drip, endless, garbage, few, infinite, crash, crashonce; for SPICE also dropped, twice,
nonsense, wrongf, silent; for the tokenizer also extraline, joined.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

LOG = "FAKE_JAVA_LOG"


def install(folder: Path, monkeypatch, *, version: str = "17.0.1", jars: bool = True) -> Path:
    """Put it on PATH as `java`, with empty jars in CAPWRIGHT_JARS; gives back the log, one line for each start."""
    programs, log = folder / "the programs", folder / "starts.log"
    programs.mkdir(parents=True)
    java = programs / "java"
    java.write_text(f'#!/bin/sh\nFAKE_JAVA_VERSION="{version}" exec "{sys.executable}" -S "{__file__}" "$@"\n')
    java.chmod(0o755)
    kept = folder / "the jars"
    kept.mkdir()
    if jars:
        (kept / "data").mkdir()
        (kept / "lib").mkdir()
        for name in (
            "meteor-1.5.jar",
            "data/paraphrase-en.gz",
            "spice-1.0.jar",
            "lib/stanford-corenlp-3.6.0.jar",
            "lib/stanford-corenlp-3.6.0-models.jar",
            "stanford-corenlp-3.4.1.jar",
        ):
            (kept / name).write_bytes(b"")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("CAPWRIGHT_JARS", str(kept))
    monkeypatch.setenv("CAPWRIGHT_CACHE", str(folder / "cache"))
    monkeypatch.setenv(LOG, str(log))
    return log


def starts(log: Path) -> list[str]:
    """What was started: "meteor", "spice", "ptb"."""
    return log.read_text().split() if log.exists() else []


def begin(what: str) -> None:
    with open(os.environ[LOG], "a") as log:
        log.write(f"{what}\n")


def misbehave(words: list[str]) -> None:
    if "hang" in words:
        time.sleep(60)
    if "crash" in words or ("crashonce" in words and not Path(os.environ[LOG] + ".crashed").exists()):
        Path(os.environ[LOG] + ".crashed").touch()
        print("java.lang.OutOfMemoryError: Java heap space", file=sys.stderr)
        sys.exit(3)
    if "drip" in words:
        for _ in range(600):
            print("1", end=" ", flush=True)
            time.sleep(0.1)
    if "endless" in words:
        while True:
            sys.stdout.write("x" * 65536)


def meteor() -> None:
    if not {"meteor-1.5.jar", "paraphrase-en.gz"} <= set(os.listdir()):
        sys.exit("the files that the command names are not here")
    for line in sys.stdin.buffer:
        head, *references, said = line.decode().rstrip("\n").split("|||")
        assert head.strip() == "SCORE"
        words = said.split()
        misbehave(words)
        if "garbage" in words:
            print("Exception?", flush=True)
            continue
        overlaps = [len(set(words) & set(reference.split())) for reference in references]
        matched = max(overlaps)
        reference = references[overlaps.index(matched)].split()
        row = [len(words), len(reference), 0, 0, matched, matched, *[0] * 14, min(1, matched), matched, matched]
        if "few" in words:
            row = row[:5]
        if "infinite" in words:
            row[0] = float("inf")
        print(*map(float, row), flush=True)


def spice() -> None:
    entries = json.loads(Path("in.json").read_text(encoding="utf-8"))
    results = []
    for entry in entries:
        words = entry["test"].split()
        misbehave(words)
        if "silent" in words:
            return
        if "nonsense" in words:
            Path("out.json").write_text("[{]")
            return
        told = set(words) - {"dropped", "twice", "wrongf"}
        meant = {word for reference in entry["refs"] for word in reference.split()} - {"nothing"}
        told -= {"nothing"}
        tp = len(told & meant)
        f = 2 * tp / (len(told) + len(meant)) if told or meant else float("nan")
        scores = {"tp": tp, "fp": len(told) - tp, "fn": len(meant) - tp, "f": f + ("wrongf" in words), "numImages": 1.0}
        result = {"image_id": entry["image_id"], "scores": {"Object": {}, "All": scores}}
        results += [result] * (("dropped" not in words) + ("twice" in words))
    # Never in the order in which it was asked.
    Path("out.json").write_text(json.dumps(results[::-1]))


def ptb() -> None:
    for line in Path(sys.argv[-1]).read_text(encoding="utf-8").split("\n")[:-1]:
        words = re.findall(r"\w+|[^\w\s]", line.lower())
        misbehave(words)
        if "extraline" in words:
            print()
        end = " " if "joined" in words else "\n"
        print(*("-lrb-" if word == "(" else word for word in words), end=end)


def main() -> None:
    if "-version" in sys.argv:
        print(f'openjdk version "{os.environ["FAKE_JAVA_VERSION"]}" 2024-01-01', file=sys.stderr)
    elif "-stdio" in sys.argv:
        begin("meteor")
        meteor()
    elif "-out" in sys.argv:
        begin("spice")
        spice()
    else:
        begin("ptb")
        ptb()


if __name__ == "__main__":
    main()
