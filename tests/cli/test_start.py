"""Starting is quick: no torch until a command needs it; and the public API is what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from importlib import import_module

import pytest

import capwright
from places import SOURCE

HEAVY = ("torch", "transformers", "accelerate", "peft", "matplotlib")


def python(code: str, **more) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **more)
    return done.stdout


def test_importing_the_package_is_light():
    loaded = python("import sys, capwright; print(' '.join(sys.modules))").split()
    assert not {*HEAVY, "numpy", "PIL"} & set(loaded)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["data", "check", "{photos}"],
        ["scenes", "build", "--n", "10", "--out", "{tmp}/scenes"],
        ["scenes", "show", "--n", "2", "--size", "64", "--out", "{tmp}/sheet.png"],
        ["eval", "{photos}", "{tmp}/said.jsonl", "--split", "test", "--out", "{tmp}/run"],
        ["report", "{tmp}/run"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_commands_that_do_not_need_torch(arguments, photo_dataset, tmp_path):
    rows = [f'{{"id": "{s.id}", "caption": "A dog."}}\n' for s in capwright.open_dataset(photo_dataset, "test")]
    (tmp_path / "said.jsonl").write_text("".join(rows))
    filled = [each.format(photos=photo_dataset, tmp=tmp_path) for each in arguments]
    if arguments[0] == "report":
        run(["eval", photo_dataset, tmp_path / "said.jsonl", "--split", "test", "--out", tmp_path / "run"])
    loaded = run(filled)
    assert not set(HEAVY) & loaded


def run(arguments) -> set[str]:
    """Run a command in a fresh interpreter; the names of all modules it loaded."""
    code = (
        "import sys\nfrom capwright.cli import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('LOADED', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_help_and_version_load_nothing(arguments):
    assert not {*HEAVY, "numpy", "PIL", "pydantic", "rich", "yaml", "jinja2"} & run(arguments)


def test_the_version_is_said():
    done = subprocess.run([sys.executable, "-m", "capwright", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"capwright {capwright.__version__}\n"


def test_help_is_quick():
    best = 9.0
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "capwright", "--help"], capture_output=True, check=True)
        best = min(best, time.monotonic() - began)
    assert best < 1.0


def test_public_names():
    for name in capwright.__all__:
        assert getattr(capwright, name) is not None
        assert name in dir(capwright)
    stub = (SOURCE / "__init__.pyi").read_text(encoding="utf-8")
    homes = re.findall(r"^from (\S+) import (\S+) as \2$", stub, re.MULTILINE)
    assert sorted(name for _, name in homes) == capwright.__all__
    for module, name in homes:
        assert getattr(capwright, name) is getattr(import_module(module), name)
        assert getattr(capwright, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        capwright.nothing  # noqa: B018


def test_a_reader_that_leaves_early_is_no_error(photo_dataset):
    os.environ.setdefault("COLUMNS", "80")
    command = f"{sys.executable} -m capwright data check {photo_dataset} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
