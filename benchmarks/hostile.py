"""A random walk of hostile inputs: what files, servers and folders hold on a bad day, and what attackers put there.

    python benchmarks/hostile.py [--n 300] [--seed 0] [--kinds images ids ...] [--quick] [--json FILE]
    python benchmarks/hostile.py --only captions:17

Each attempt damages something valid (new seeds damage it in other ways) and runs a command on it, in this process. It
fails when there is a traceback, when the command does not end within `SECONDS` or takes more than `GIGABYTES`, when the
status is none of 0, 1 and 2, when what is said is longer than `LONGEST`, holds control characters or, on an error, does
not name the file, key or server at fault; and when a number is wrong: what was not damaged must have the scores that it
has alone, and what could not be measured must be unknown, never 0. Inputs are large enough that work which grows with
their square does not end in time. --quick makes 30 attempts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from typer.testing import CliRunner

from results_file import print_rows, write_results

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "helpers"))
from capwright.cli import app
from capwright.scenes import build
from chat_server import ChatServer
from lexical_server import lexical_reply
from tiny_models import write_llava

SECONDS, GIGABYTES, LONGEST = 30, 1.5, 6000
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
TEXT = {"1": "a geoboard on a table", "2": "a child with a drum", "3": "two wooden blocks", "4": "a red puzzle"}
#: Pieces that texts, ids and values are damaged with.
NASTY = [
    "\x1b]52;c;aGVsbG8=\x07", "\x1b[2J", "\u202e\u2066", "\x00", "\ud800", "\u2028", "\ufeff", "A\u0301" * 50, "\u200b",
    "../" * 20, "C:\\con", "%s%n{0}{x.__class__}", "<script>alert(1)</script>", "|" * 100, "\\" * 99, "'\"`", "NaN",
    "-0", "1e999", "<think>", "<|im_end|>", "[THINK]" * 40, "\U0001f469\u200d\U0001f467", "\u0130\u0131\ufb01",
    "=cmd|' /C calc'!A0",
]  # fmt: skip


@dataclass
class Attempt:
    """A command, and what is right.

    Attributes:
        names: of which an error must name one.
        scores: id of an image -> its score where it was not damaged; of `scorer` in `out`, the file of --json.
    """

    command: list[Any]
    names: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    scorer: str = "rougeL"
    out: Path | None = None


class World:
    """What is valid: files in a folder that attempts copy from, a server, and a model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scenes = build(6, 0, folder / "scenes", size=32)
        self.rows = [json.loads(line) for line in (self.scenes / "samples.jsonl").read_text().splitlines()]
        self.server = ChatServer(lambda body: lexical_reply(body["messages"]))
        self.model: Path | None = None
        self.asked: dict[str, float] = {}

    def tiny_model(self) -> Path:
        if self.model is None:
            self.model = write_llava(self.folder / "model")
        return self.model

    def answers(self) -> dict[str, float]:
        """The scores of the captions by a server without faults."""
        if not self.asked:
            out = self.folder / "asked.json"
            said = run(Attempt([*self.judged(self.folder), "--json", out]))
            assert said is None, said
            self.asked = scores_of(out, "caprl.accuracy")
        return self.asked

    def judged(self, folder: Path) -> list[Any]:
        said = folder / "judged.json"
        said.write_text(json.dumps({row["id"]: row["references"][0] for row in self.rows}))
        judge = {
            "name": self.server.address,
            "model": "toy",
            "cache": None,
            "call_seconds": 2,
            "retries": 0,
            "patience": 4,
        }
        own = ["--set", f"caprl.judge={json.dumps(judge)}", "--set", "caprl.mode=all-questions", "--bootstrap", 0]
        return ["score", said, self.scenes, "--scorers", "caprl", *own]


def images(draw: random.Random, folder: Path, world: World) -> Attempt:
    """A broken, strange or huge image beside good ones."""
    dataset = copied(world, folder)
    path = dataset / world.rows[draw.randrange(6)]["image"]
    good = Image.open(path).convert("RGB")
    data = bytearray(path.read_bytes())

    def saved(image: Image.Image, **how: Any) -> None:
        image.save(path, **how)

    def jpeg(scans: int) -> bytes:
        buffer = io.BytesIO()
        good.resize((512, 512)).save(buffer, "JPEG", progressive=True)
        raw = buffer.getvalue()
        last = raw.rindex(b"\xff\xda")
        return raw[:-2] + raw[last:-2] * scans + raw[-2:]

    def huge() -> bytes:
        side = draw.choice([30_000, 2**31 - 1])
        head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        chunk = b"IHDR" + head
        return bytes(data[:8]) + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + bytes(data[33:])

    ways: list[Callable[[], Any]] = [
        lambda: path.write_bytes(data[: draw.randrange(len(data))]),
        lambda: path.write_bytes(bytes(draw.randrange(256) if draw.random() < 0.02 else byte for byte in data)),
        lambda: path.write_bytes(draw.randbytes(draw.choice([1, 100, 100_000]))),
        lambda: path.write_bytes(jpeg(draw.choice([3, 400, 3000]))),
        lambda: path.write_bytes(huge()),
        lambda: path.write_bytes(draw.choice([b"<svg/>", b"%PDF-1.7", b"<!doctype html>", b"\0\0\0\x18ftypheic"])),
        lambda: saved(good.convert("CMYK"), format="JPEG"),
        lambda: saved(good.convert("I;16" if draw.random() < 0.5 else "P"), format="PNG"),
        lambda: saved(good, format="GIF", save_all=True, append_images=[good] * 5),
        lambda: saved(good.resize((draw.choice([1, 40_000]), 1)), format="PNG"),
        lambda: (path.unlink(), path.symlink_to(path)),
        lambda: (path.unlink(), os.mkfifo(path)),
        lambda: (path.unlink(), path.mkdir()),
    ]
    draw.choice(ways)()
    return Attempt(["data", "check", dataset], (path.name, "samples.jsonl"))


def rows(draw: random.Random, folder: Path, world: World) -> Attempt:
    """samples.jsonl with damaged lines."""
    dataset = copied(world, folder)
    lines = [json.dumps(row) for row in world.rows]
    place = draw.randrange(len(lines))
    row = json.loads(lines[place])
    key = draw.choice(list(row))
    row[key] = draw.choice([None, 7, 1e400, [], {}, [[[]]], {"a": {}}, True, draw.choice(NASTY), [draw.choice(NASTY)]])
    ways: list[Callable[[], str]] = [
        lambda: json.dumps(row),
        lambda: lines[place][: draw.randrange(len(lines[place]))],
        lambda: "[" * 100_000,
        lambda: '{"id": ' + "{" * draw.choice([900, 50_000]),
        lambda: lines[place] + lines[place],
        lambda: lines[place].replace(": ", ": NaN, ", 1),
        lambda: json.dumps(row | {"meta": {"x": "y" * 3_000_000}}),
        lambda: json.dumps(row | {"references": ["a b " * 300_000]}),
        lambda: draw.choice(NASTY),
        lambda: "9" * 5000,
    ]
    lines[place] = draw.choice(ways)()
    ends = draw.choice(["\n", "\r\n", "\n\n", "\n\ufeff"])
    text = draw.choice(["", "\ufeff"]) + ends.join(lines) + draw.choice(["", ends])
    (dataset / "samples.jsonl").write_text(text, errors="surrogatepass", newline="")
    said = write(folder / "said.json", {row["id"]: row["references"][0] for row in world.rows})
    command = draw.choice([["data", "check", dataset], ["eval", dataset, said, "--bootstrap", 0]])
    return Attempt(command, ("samples.jsonl", "said"))


def yaml(draw: random.Random, folder: Path, world: World) -> Attempt:
    """A damaged recipe or vocabulary."""
    bombs = "\n".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(draw.choice([4, 9]))
    )
    value = draw.choice(
        [*NASTY, "[" * 5000, "{" * 100_000, "&a [*a]", "!!python/object:os.system x", "9" * 10_000, bombs]
    )
    if draw.random() < 0.5:
        dataset = copied(world, folder)
        path = dataset / "vocabulary.yaml"
        text = path.read_text()
        add = draw.choice(
            [f"\n{value}", f"\nname: {{category: {value}}}", f"\nname: {{aliases: [{value}]}}\nname: x", "\n<<: *a"]
        )
        path.write_text(add + "\n" + text if draw.random() < 0.3 else text + add, errors="surrogatepass")
        return Attempt(["data", "check", dataset], ("vocabulary.yaml", "samples.jsonl"))
    path = folder / "recipe.yaml"
    key = draw.choice(["name", "model", "stages", "rewards", "data", "seed", "stages.rsrs.kl", "evaluation", "extends"])
    path.write_text(f"extends: rsrs-scenes\n{key}: {value}\n", errors="surrogatepass")
    return Attempt(
        ["train", path, "--dry-run", "--out", folder / "run", "data.scenes.n=12"], ("recipe.yaml", key, "data", "seed")
    )


def captions(draw: random.Random, folder: Path, world: World) -> Attempt:
    """Captions that are no captions beside good ones, in any file format; the good ones keep their scores."""
    bad = draw.choice(
        [
            *NASTY, "", " \t\n", "[" * 100_000, "<think>" * 30_000, "a" * 1_000_000, "a b " * 100_000,
            "\u4e00" * 200_000, "(" * 50_000 + ")" * 50_000, " ".join(map(str, range(100_000))), "\U0001f600" * 50_000,
            "." * 200_000,
        ]
    )  # fmt: skip
    bad = bad if draw.random() < 0.5 else f"a drum {bad} on a table"
    victim = draw.choice(list(TEXT))
    told = TEXT | {victim: bad}
    form = draw.choice(["json", "jsonl", "csv"])
    path = folder / f"said.{form}"
    if form == "json":
        write(path, told)
    elif form == "jsonl":
        path.write_text("".join(json.dumps({"id": id, "caption": text}) + "\n" for id, text in told.items()))
    else:
        cell = '"' + bad.replace('"', '""') + '"' if draw.random() < 0.7 else bad
        table = [f"{id},{cell if id == victim else text}" for id, text in told.items()]
        path.write_text("id,caption\n" + "\n".join(table) + "\n", errors="surrogatepass")
    references = write(folder / "references.json", {id: [text, "a room"] for id, text in TEXT.items()})
    out = folder / "scores.json"
    scorers = draw.choice(["rougeL,length", "rougeL,bleu,ciderD,chair", "rougeL,language,repetition,readability"])
    command = ["score", path, references, "--scorers", scorers, "--json", out, "--bootstrap", 0]
    command += draw.choice([[], ["--strip"], ["--tokenizer", "words"]])
    good = {id: 1.0 for id in TEXT if id != victim}
    return Attempt(command, ("said", "references", victim), good, out=out)


def ids(draw: random.Random, folder: Path, world: World) -> Attempt:
    """Ids that are paths, orders or near twins of each other."""
    strange = draw.choice(
        [*NASTY, "x" * 100_000, "1.0", "01", " 1", "1\n2", "\u0031\ufe0f", "e\u0301", "\u00e9", "id", "res"]
    )
    names = {id: strange if id == "4" else id for id in TEXT}
    path = write(folder / "said.json", {names[id]: text for id, text in TEXT.items()})
    references = write(folder / "references.json", {names[id]: [text, "a room"] for id, text in TEXT.items()})
    out = folder / "scores.json"
    command = ["score", path, references, "--scorers", "rougeL", "--json", out, "--bootstrap", 0]
    return Attempt(command, ("said", "references"), {id: 1.0 for id in TEXT if id != "4"}, out=out)


def judges(draw: random.Random, folder: Path, world: World) -> Attempt:
    """A server that answers wrongly, too much, or nothing; what it said right counts, all else is unknown."""
    known = world.answers()
    server, out = world.server, folder / "scores.json"
    whole = json.dumps(
        {"choices": [{"message": {"role": "assistant", "content": draw.choice(NASTY)}, "finish_reason": "stop"}]}
    )
    bodies: list[Any] = [
        b"", b"null", b"[]", b"{}", b'{"choices": null}', b'{"choices": [null]}', b'{"choices": [{}]}', b"[" * 100_000,
        b"<html>" + b"x" * 9_000_000, whole[: draw.randrange(len(whole))].encode(errors="replace"), b"\xff\xfe\x00",
        {"choices": [{"message": {"content": draw.choice([7, [], {}, "<think>" * 30_000, None, *NASTY])}}]},
        {"choices": [{"message": {"content": "?"}, "logprobs": {"content": [{"token": 1, "top_logprobs": "x"}]}}]},
        {"error": {"message": draw.choice(NASTY) * 1000}}, {"error": draw.choice([None, 7, [], "x" * 100_000])},
    ]  # fmt: skip
    body, times = draw.choice(bodies), draw.choice([1, 3, 400])
    kind = draw.choice(
        ["wrong", "400", "401", "404", "422", "429", "500", "503", "200", "307", "cut", "empty", "none", "hang"]
    )
    headers = draw.choice(
        [{}, {"Retry-After": draw.choice(["-1", "nan", "1e99", "Wed", "9" * 99])}, {"Location": "http://x.test/"}]
    )
    if kind == "429":
        server.fault(kind, min(times, 3), wait=headers.get("Retry-After", "0")[:3])
    elif kind == "wrong" or kind.isdigit():
        server.fault(kind, times, body=body, headers=headers)
    else:
        server.fault(kind, 1 if kind == "hang" else times)
    return Attempt([*world.judged(folder), "--json", out], ("127.0.0.1", "caprl", "said"), known, "caprl.accuracy", out)


def models(draw: random.Random, folder: Path, world: World) -> Attempt:
    """A folder of a model that lacks something, lies, or brings code."""
    model = folder / "model"
    shutil.copytree(world.tiny_model(), model)
    path = draw.choice(sorted(each for each in model.iterdir() if each.is_file()))
    data = path.read_bytes()
    settings = json.loads((model / "config.json").read_text())

    def lie() -> None:
        key = draw.choice(list(settings))
        write(model / "config.json", settings | {key: draw.choice([None, -1, "x", [], {}, 10**9, "../../etc"])})

    ways: list[Callable[[], Any]] = [
        path.unlink,
        lambda: path.write_bytes(data[: draw.randrange(len(data))]),
        lambda: path.write_bytes(b""),
        lambda: path.write_text("[" * 50_000),
        lambda: write(
            model / "config.json", settings | {"auto_map": {"AutoConfig": "evil.Config"}, "model_type": "evil"}
        ),
        lie,
    ]
    draw.choice(ways)()
    (model / "evil.py").write_text(f"open({str(folder / 'owned')!r}, 'w')")
    command = ["caption", world.scenes, "--model", model, "--out", folder / "said.jsonl", "--n", 2, "--max-tokens", 4]
    return Attempt(command, ("model", path.name))


KINDS = {kind.__name__: kind for kind in (images, rows, yaml, captions, ids, judges, models)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=300, help="attempts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--only", metavar="KIND:SEED", help="one attempt, with all that was said")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="30 attempts")
    args = parser.parse_args()
    count = 30 if args.quick else args.n
    plan = [(args.kinds[number % len(args.kinds)], args.seed + number) for number in range(count)]
    if args.only:
        plan = [(args.only.partition(":")[0], int(args.only.partition(":")[2]))]
    found = list(walk(plan, show=bool(args.only)))
    counts = [{"kind": kind, "attempts": 0, "faults": 0} for kind in dict.fromkeys(kind for kind, _ in plan)]
    for row in counts:
        faults = [fault for (kind, _), fault in zip(plan, found) if kind == row["kind"]]
        row |= {"attempts": len(faults), "faults": sum(map(bool, faults))}
    for (kind, seed), fault in zip(plan, found):
        if fault:
            print(f"--only {kind}:{seed}\n    {fault}")
    print_rows(counts)
    if args.json is not None:
        write_results(args.json, counts, seeds=[args.seed])
    sys.exit(any(found))


def walk(plan: list[tuple[str, int]], show: bool = False) -> Iterator[str | None]:
    """What is wrong with each attempt; None where nothing is."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["CAPWRIGHT_CACHE"] = str(Path(scratch) / "cache")
        world = World(Path(scratch))
        for kind, seed in plan:
            folder = Path(tempfile.mkdtemp(dir=scratch))
            world.server.heal()
            attempt = KINDS[kind](random.Random(f"{kind} {seed}"), folder, world)
            fault = run(attempt, show) or wrong_number(attempt)
            yield "the code of a model folder was run" if (folder / "owned").exists() else fault
            shutil.rmtree(folder, ignore_errors=True)
        world.server.close()


def run(attempt: Attempt, show: bool = False) -> str | None:
    """Run the command; what is wrong with how it ended and what it said."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"did not end within {SECONDS} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    before = peak()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            result = CliRunner().invoke(app, [str(word) for word in attempt.command])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    said = result.stdout + result.stderr
    if show:
        print(f"status {result.exit_code}\n{said[:5000]}")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        where = traceback.extract_tb(result.exception.__traceback__)[-1]
        return f"{type(result.exception).__name__}: {str(result.exception)[:200]} ({where.filename}:{where.lineno})"
    if result.exit_code not in (0, 1, 2):
        return f"status {result.exit_code}"
    if "Traceback" in said:
        return f"a traceback: {said[-300:]!r}"
    if len(said) > LONGEST:
        return f"{len(said):,} characters were said: {said[:200]!r}"
    if odd := CONTROL.search(said.replace("\r", "")):
        return f"{odd[0]!r} reached the terminal: {said[max(0, odd.start() - 80) : odd.end() + 20]!r}"
    if result.exit_code and attempt.names and not any(name in said for name in attempt.names):
        return f"the error names none of {', '.join(attempt.names)}: {said[-300:]!r}"
    if peak() - before > GIGABYTES:
        return f"took {peak() - before:.1f} GB"
    return None


def wrong_number(attempt: Attempt) -> str | None:
    """A score of something undamaged that is neither what it is alone nor unknown."""
    if attempt.out is None or not attempt.out.exists():
        return None
    found = scores_of(attempt.out, attempt.scorer)
    for id, right in attempt.scores.items():
        if found.get(id) is not None and abs(found[id] - right) > 1e-9:
            return f"the score of {id!r} is {found[id]}, must be {right} or unknown"
    return None


def scores_of(path: Path, scorer: str) -> dict[str, float]:
    (system,) = json.loads(path.read_text())["systems"].values()
    return {row["id"]: row["scores"].get(scorer) for row in system["per_image"]}


def copied(world: World, folder: Path) -> Path:
    return Path(shutil.copytree(world.scenes, folder / "toys"))


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
