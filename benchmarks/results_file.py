"""The file that a benchmark leaves behind: its rows, and all that one has to know to make them again.

    write_results(path, rows, seeds=[0, 1, 2], peers=["trl"])    all rows at once
    append_row(path, row, key=("arm", "seed"))                   one row, as soon as it is known; append_rows: several
    find_row(path, arm="RSRS", seed=0)                           was it measured already? None if not
    print_rows(rows)                                             a line a row, for scripts without a table of their own

A result file is one JSON object:

    command    the command line, relative to the repository, with environment variables that change numbers
    commit     of the code when the program started; `dirty`: were src/, recipes/ or benchmarks/ modified then
    date       the day (UTC)
    versions   of Python, torch, transformers, numpy, and of the peers that were measured
    cpu        the model; `cores` that this process may use, `threads` that torch takes
    seeds      or null
    ...        whatever else the script says
    rows       flat records: numbers, texts, or lists of them; unknown is null, never NaN

What holds for most rows is said once at the top. A row that came from elsewhere (another commit, day, command or
machine) carries what differs; `whole_rows` gives every row with all of it. Numbers keep six digits. A file is replaced
in one step, so it is never half written; two programs must not append to one file at the same time.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: Facts about where rows come from, in the order in which a file says them. A row may carry its own.
ORIGIN = ("command", "commit", "dirty", "date", "versions", "cpu", "cores", "threads")
PACKAGES = ("torch", "transformers", "numpy")
#: Environment variables that change what is computed, or how fast.
VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE"),
)
WIDTH = 200  # a row that fits stands on one line

Row = dict[str, Any]
Peers = Sequence[str] | Mapping[str, str | None]


def write_results(
    path: Path | str,
    rows: Iterable[Mapping[str, Any]],
    *,
    seeds: Sequence[int] | None = None,
    peers: Peers = (),
    **more: Any,
) -> None:
    """Write all rows. `peers` are packages whose versions matter, or versions by name; `more` goes to the top."""
    facts = origin(peers) | {key: more.pop(key) for key in ORIGIN if key in more}
    _write(Path(path), facts, {"seeds": _seeds(seeds), **more}, [{**facts, **row} for row in rows])


def append_row(path: Path | str, row: Mapping[str, Any], key: Sequence[str], **more: Any) -> None:
    """Add one row to a file, or begin the file. A row with the same values of `key` is replaced where it stands."""
    append_rows(path, [row], key, **more)


def append_rows(
    path: Path | str,
    rows: Iterable[Mapping[str, Any]],
    key: Sequence[str],
    *,
    seeds: Sequence[int] | None = None,
    peers: Peers = (),
    **more: Any,
) -> None:
    """Several rows at once; seeds are added to those that the file has."""
    path = Path(path)
    facts = origin(peers) | {name: more.pop(name) for name in ORIGIN if name in more}
    old: dict[str, Any] = read_results(path) if path.exists() else {"rows": []}
    found = {_key(row, key): row for row in whole_rows(old)}
    for row in rows:
        if missing := [name for name in key if name not in row]:
            raise KeyError(f"{path.name}: a row has no {', '.join(missing)}, which tells it from others")
        found[_key(row, key)] = {**facts, **row}
    kept = {name: value for name, value in old.items() if name not in (*ORIGIN, "rows")}
    both = sorted({*(kept.get("seeds") or ()), *(seeds or ())})
    _write(path, facts, {**kept, "seeds": both or None, **more}, list(found.values()))


def read_results(path: Path | str) -> dict[str, Any]:
    """The file as it stands."""
    path = Path(path)
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not isinstance(found.get("rows"), list):
        raise ValueError(f"{path}: not a result file, which is an object with a list of rows")
    return found


def whole_rows(results: Mapping[str, Any]) -> list[Row]:
    """Every row with what the top of the file says about where it comes from."""
    facts = {key: results[key] for key in ORIGIN if key in results}
    return [{**facts, **row} for row in results["rows"]]


def find_row(path: Path | str, **values: Any) -> Row | None:
    """The first row with these values, for programs that do not repeat what they know; None without one."""
    rows = whole_rows(read_results(path)) if Path(path).exists() else []
    return next((row for row in rows if all(row.get(key) == value for key, value in values.items())), None)


def print_rows(rows: Iterable[Mapping[str, Any]]) -> None:
    """A line a row: every name with its value."""
    for row in rows:
        print(
            "  ".join(f"{name} {f'{value:,.4g}' if isinstance(value, float) else value}" for name, value in row.items())
        )


def origin(peers: Peers = ()) -> Row:
    """Where rows that are measured now come from."""
    known = dict(peers) if isinstance(peers, Mapping) else {name: _version(name) for name in peers}
    versions = {**{name: _version(name) for name in PACKAGES}, **known}
    versions = {name: version for name, version in versions.items() if version is not None}
    return {
        "command": COMMAND,
        "commit": COMMIT,
        "dirty": DIRTY,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": dict(sorted({**versions, "python": platform.python_version()}.items())),
        "cpu": _cpu(),
        "cores": CORES,
        "threads": int(os.environ.get("OMP_NUM_THREADS") or CORES),
    }


def keep_origin(folder: Path) -> None:
    """Note in the folder of a run which code began it, for rows made of it later; a note that is there stays."""
    note = folder / "origin.json"
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"commit": COMMIT, "dirty": DIRTY, "date": origin()["date"]}), encoding="utf-8")


def origin_of(folders: Iterable[Path]) -> Row:
    """Commit and day of the runs that a row is made of; several commits are all named, of several days the last."""
    paths = [folder / "origin.json" for folder in folders]
    notes = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    if not notes:
        return {}
    commits = sorted({str(note["commit"]) for note in notes})
    return {
        "commit": " and ".join(commits),
        "dirty": any(note["dirty"] for note in notes),
        "date": max(note["date"] for note in notes),
    }


def command_line(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """A command to be run in the repository's root. Of a path elsewhere only the name is said."""
    words = [f"{name}={environment[name]}" for name in VARIABLES if name in environment]
    return shlex.join([*words, "python", *(_relative(word) for word in arguments)])


def _key(row: Mapping[str, Any], key: Sequence[str]) -> str:
    return json.dumps([_plain(row.get(name)) for name in key])


def _relative(word: str) -> str:
    option, equals, value = word.rpartition("=") if word.startswith("-") else ("", "", word)
    if value.startswith("~") or ".." in Path(value).parts or Path(value).is_absolute():
        path = Path(value).expanduser().resolve()
        value = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return option + equals + value


def _write(path: Path, facts: Row, top: Row, rows: list[Row]) -> None:
    """What most rows share is said once; without rows, what holds now."""
    for key in ORIGIN:
        said = Counter(json.dumps(row.get(key)) for row in reversed(rows))  # among equals the newest wins
        common = json.loads(said.most_common(1)[0][0]) if said else facts[key]
        top[key] = common
        rows = [{name: value for name, value in row.items() if name != key or value != common} for row in rows]
    first = {key: top[key] for key in (*ORIGIN, "seeds")}
    more = {key: top[key] for key in sorted(top) if key not in first}
    lines = [f" {json.dumps(key)}: {_json(value)}," for key, value in {**first, **more}.items()]
    body = ",\n".join(_row(row, path) for row in rows)
    text = "{\n" + "\n".join(lines) + '\n "rows": [\n' + body + "\n ]\n}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def _row(row: Row, path: Path) -> str:
    """Facts about the origin last. On one line, or else a line for each value."""
    for key, value in row.items():
        if isinstance(value, dict) and key not in ORIGIN:
            raise TypeError(f"{path.name}: {key} is a record; rows are flat, so say {key}_... for each of its values")
    order = [key for key in row if key not in ORIGIN] + [key for key in ORIGIN if key in row]
    words = [f"{json.dumps(key)}: {_json(row[key])}" for key in order]
    line = "  {" + ", ".join(words) + "}"
    return line if len(line) <= WIDTH else "  {\n   " + ",\n   ".join(words) + "\n  }"


def _json(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """Numbers of six digits, unknown as null, numpy's numbers as Python's."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _seeds(seeds: Sequence[int] | None) -> list[int] | None:
    return None if seeds is None else list(seeds)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return None if done.returncode else done.stdout.strip()


# Looked up when the program starts: code may change, and scripts set OMP_NUM_THREADS for the processes they begin.
COMMAND = command_line(sys.argv, os.environ)
COMMIT = _git("rev-parse", "HEAD")
_CHANGED = _git("status", "--porcelain", "--", "src", "recipes", "benchmarks", ":!benchmarks/results")
DIRTY = None if _CHANGED is None else bool(_CHANGED)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
