"""Would the tests notice? One-line bugs, of the kind that people write, put into a copy of the source one at a time.

    python benchmarks/mutants.py [--only TEXT] [--jobs N] [--json FILE] [--quick]

Each bug names the test files of its room that should catch it; they run against the copy (pytest -x -q), and the bug is
"caught" when a test fails, "survived" when all pass. First they must all pass without any bug. The tree itself is never
edited. A witness inside pytest says which files were imported, so that no other installation of capwright is tested by
mistake. A list that no longer fits the source is refused: every fragment must be there exactly once (a test checks it).

The file keeps the rows of bugs that were left out by --only and are still on the list, so that it can be made in parts.
A survivor means that a test is missing, or that the bug is none; replace those that change no number.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from compileall import compile_dir
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode
from queue import Queue

from results_file import read_results, whole_rows, write_results

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".txt")
#: Seconds that the tests of one bug may take.
PATIENCE = 3600
#: Part of the copy: a plugin of pytest that writes down which files of capwright were imported.
WITNESS = """
import json, pathlib, sys
def pytest_sessionfinish():
    found = [getattr(m, "__file__", None) for n, m in list(sys.modules.items()) if n.split(".")[0] == "capwright"]
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps([file for file in found if file]))
"""


@dataclass(frozen=True)
class Bug:
    """One line of the source, changed.

    Attributes:
        file: below src/capwright. tests: files below tests/.
        what: the bug in words.
        old, new: a part of a line that is in the file exactly once, and what stands there instead.
    """

    file: str
    tests: tuple[str, ...]
    what: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def read_bugs(path: Path = LIST) -> list[Bug]:
    """The list. ValueError, naming the line, for one that is not of its form."""
    bugs: list[Bug] = []
    file = what = old = ""
    tests: tuple[str, ...] = ()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("== ") and ": " in line:
            file, _, rest = line.removeprefix("== ").partition(": ")
            tests, what, old = tuple(rest.split()), "", ""
        elif line.startswith("- ") and what and not old:
            old = line[2:]
        elif line.startswith("+ ") and old:
            bugs.append(Bug(file, tests, what, old, line[2:]))
            what = old = ""
        elif line and not line.startswith("#"):
            if what or line[0] in "-+=":
                raise ValueError(f"{path.name}: line {number} is out of place: {line}")
            what = line
    return bugs


def misfits(bugs: Iterable[Bug], root: Path = ROOT) -> list[str]:
    """What is wrong with a list: fragments that are not there exactly once, tests that are not there."""
    wrong = []
    for bug in bugs:
        path = root / "src" / "capwright" / bug.file
        times = path.read_text(encoding="utf-8").count(bug.old) if path.is_file() else 0
        if times != 1:
            wrong.append(f"{bug}: {bug.old!r} is there {times} times, not once")
        wrong += [f"{bug}: no tests/{test}" for test in bug.tests if not (root / "tests" / test).is_file()]
    return wrong


class Copy:
    """Source, recipes and tests in a folder of their own."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder, self.source = folder, folder / "src" / "capwright"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("src", "recipes", "tests"):
            if (root / name).is_dir():
                shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(root / "pyproject.toml", folder)
        (folder / "witness.py").write_text(WITNESS, encoding="utf-8")
        # Bytecode that is held to its source by content: by time, a file that is changed twice within a second could be
        # taken for the former one.
        compile_dir(folder / "src", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)

    def test(self, tests: Iterable[str], imported: Iterable[str] = ()) -> tuple[str, str]:
        """("survived" | "caught", the test that failed); RuntimeError for everything that says nothing about a bug.

        `imported`: files below src/capwright that the tests must have looked at.
        """
        witness = self.folder / "witness.json"
        witness.unlink(missing_ok=True)
        env = os.environ | {"PYTHONPATH": str(self.folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "witness"]
        command += ["-o", "timeout=0"]  # a slow machine is no caught bug
        command += [f"tests/{test}" for test in tests]
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"no end after {PATIENCE} s") from None
        said = done.stdout + done.stderr
        if done.returncode not in (0, 1) or not witness.is_file():
            raise RuntimeError(f"pytest gave up ({done.returncode}):\n{said[-3000:]}")
        files = {Path(file).resolve() for file in json.loads(witness.read_text(encoding="utf-8"))}
        if elsewhere := [file for file in files if not file.is_relative_to(self.folder.resolve())]:
            raise RuntimeError(f"another capwright was tested: {elsewhere[0]}")
        if unseen := [name for name in imported if (self.source / name).resolve() not in files]:
            raise RuntimeError(f"the tests do not import {unseen[0]}")
        failed = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(\S+)", said, re.MULTILINE)
        return ("survived", "") if done.returncode == 0 else ("caught", failed[1] if failed else "")

    def result(self, bug: Bug) -> tuple[str, str]:
        """What `test` says with the bug in place; the copy is whole again afterwards."""
        path = self.source / bug.file
        whole = path.read_text(encoding="utf-8")
        path.write_text(whole.replace(bug.old, bug.new), encoding="utf-8")
        try:
            return self.test(bug.tests, [bug.file])
        finally:
            path.write_text(whole, encoding="utf-8")


def hunt(bugs: Sequence[Bug], root: Path = ROOT, jobs: int = 1) -> list[dict[str, object]]:
    """A row for each bug: file, bug, result ("caught", "survived" or "error"), by (the test that failed, or why nothing
    can be said), old, new, tests.

    `jobs` bugs are hunted at a time, each in a copy of its own. Raises RuntimeError when the list does not fit, or a
    test fails without any bug.
    """
    if wrong := misfits(bugs, root):
        raise RuntimeError("the list does not fit the source:\n" + "\n".join(wrong))
    tests = sorted({test for bug in bugs for test in bug.tests})
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        free: Queue[Copy] = Queue()
        for number in range(jobs):
            free.put(Copy(Path(folder) / str(number), root))

        def in_a_copy(call: Callable[[Copy], tuple[str, str]]) -> tuple[str, str]:
            copy = free.get()
            try:
                return call(copy)
            finally:
                free.put(copy)

        def sound(tests: Sequence[str]) -> None:
            state, by = in_a_copy(lambda copy: copy.test(tests))
            if state != "survived":
                raise RuntimeError(f"a test fails without any bug: {by}")

        def row(bug: Bug) -> dict[str, object]:
            try:
                state, by = in_a_copy(lambda copy: copy.result(bug))
            except RuntimeError as error:  # the others can still be hunted
                state, by = "error", str(error)
            print(f"{state:8}  {bug}{f'  [{by}]' if by else ''}", flush=True)
            found = {"file": bug.file, "bug": bug.what, "result": state, "by": by or None}
            return found | {"old": bug.old, "new": bug.new, "tests": list(bug.tests)}

        list(pool.map(sound, [part for n in range(jobs) if (part := tests[n::jobs])]))
        return list(pool.map(row, bugs))


def keep(path: Path, rows: Sequence[dict[str, object]], bugs: Sequence[Bug] | None = None) -> None:
    """Write rows to a result file, in the order of the list, beside those of other bugs that it has."""
    listed = {(b.file, b.what, b.old, b.new): None for b in (read_bugs() if bugs is None else bugs)}
    former = whole_rows(read_results(path)) if path.exists() else []
    found = {(row["file"], row["bug"], row["old"], row["new"]): row for row in [*former, *rows]}
    whole = [found[bug] for bug in listed if bug in found]
    caught = sum(row["result"] == "caught" for row in whole)
    write_results(path, whole, bugs=len(whole), caught=caught, peers=["pytest"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="bugs whose file or description has this text")
    parser.add_argument("--jobs", type=int, default=1, help="bugs that are hunted at a time")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="five of them")
    args = parser.parse_args()
    bugs = [bug for bug in read_bugs() if args.only in str(bug)]
    if args.quick:
        bugs = [bug for bug in bugs if bug.file.startswith("scorers/")][:: max(1, len(bugs) // 6)][:5]
    if not bugs:
        sys.exit(f"no bug has {args.only!r} in its file or description")
    try:
        rows = hunt(bugs, jobs=max(1, args.jobs))
    except RuntimeError as error:
        sys.exit(str(error))
    counts = Counter(str(row["result"]) for row in rows)
    print(f"\n{counts['caught']} of {len(rows)} caught, {counts['survived']} survived, {counts['error']} went wrong")
    if args.json:
        keep(args.json, rows)
    sys.exit(0 if counts["caught"] == len(rows) else 1)


if __name__ == "__main__":
    main()
