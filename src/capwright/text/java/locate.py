"""Find Java, and the jars that METEOR, SPICE and the PTB tokenizer are.

Jars are taken from the folder that the environment variable CAPWRIGHT_JARS names, or else from an installed
pycocoevalcap, which is found without being imported.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from capwright.types import NotInstalledError

METEOR_JAR = "meteor-1.5.jar"
SPICE_JAR = "spice-1.0.jar"
PTB_JAR = "stanford-corenlp-3.4.1.jar"

#: Where pycocoevalcap keeps them, and where else a folder of the user may.
_SUBFOLDERS = {METEOR_JAR: "meteor", SPICE_JAR: "spice", PTB_JAR: "tokenizer"}
#: What SPICE loads from `lib/` beside its jar and pycocoevalcap does not bring.
_SPICE_MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")

_GET_JAVA = "install a Java runtime, version 8 or newer, and put it on PATH or name it in JAVA_HOME"
_GET_JARS = "pip install 'capwright[java]', or name the folder that has it in CAPWRIGHT_JARS"
_GET_MODELS = (
    "download CoreNLP 3.6.0 (385 MB, https://stanfordnlp.github.io/CoreNLP/history.html) and put both jars there, "
    "or run `python -c 'from pycocoevalcap.spice import get_stanford_models as g; g.get_stanford_models()'`"
)
_VERSION_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime: its program, its version as it states it ("17.0.15"), and the major one (8 for "1.8.0_392")."""

    path: Path
    version: str
    major: int


def find_java() -> Java | None:
    """The Java of JAVA_HOME, or else of PATH, that can be run; None when there is none."""
    home = os.environ.get("JAVA_HOME")
    names = [shutil.which("java", path=str(Path(home) / "bin"))] if home else []
    for name in (*names, shutil.which("java")):
        java = _java_at(name) if name else None
        if java is not None:
            return java
    return None


@lru_cache(maxsize=8)
def _java_at(path: str) -> Java | None:
    """None when the program does not run or states no version, as the stand-in of macOS does not."""
    try:
        said = subprocess.run([path, "-version"], capture_output=True, timeout=_VERSION_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "([^"]+)"', (said.stderr + said.stdout).decode("utf-8", "replace"))
    if found is None:
        return None
    numbers = re.findall(r"\d+", found[1])
    if not numbers:
        return None
    old_style = numbers[0] == "1" and len(numbers) > 1
    return Java(Path(path), found[1], int(numbers[1] if old_style else numbers[0]))


def find_jar(name: str) -> Path | None:
    """The jar with this file name, absolute; None when it is nowhere."""
    for folder in _folders():
        for place in (folder, folder / _SUBFOLDERS[name]):
            if (place / name).is_file():
                return (place / name).resolve()
    return None


def _folders() -> list[Path]:
    own = os.environ.get("CAPWRIGHT_JARS")
    folders = [Path(own).expanduser()] if own else []
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec("pycocoevalcap")
        if spec is not None:
            folders += [Path(place) for place in spec.submodule_search_locations or ()]
    return folders


def require_meteor(language: str) -> tuple[Java, Path, Path]:
    """(Java, jar, paraphrase table of the language), or NotInstalledError that names everything that is missing."""
    java, jar, tables = _require("meteor", METEOR_JAR, [f"data/paraphrase-{language}.gz"])
    return java, jar, tables[0]


def require_spice() -> tuple[Java, Path]:
    """(Java, jar), or NotInstalledError that names everything that is missing."""
    java, jar, _ = _require("spice", SPICE_JAR, [f"lib/{name}" for name in _SPICE_MODELS])
    return java, jar


def require_ptb() -> tuple[Java, Path]:
    """(Java, jar), or NotInstalledError that names everything that is missing."""
    java, jar, _ = _require("ptb-java", PTB_JAR, [])
    return java, jar


def _require(who: str, jar_name: str, beside: Sequence[str]) -> tuple[Java, Path, list[Path]]:
    missing = []
    java = find_java()
    if java is None:
        missing.append(f"no Java that runs ({_GET_JAVA})")
    jar = find_jar(jar_name)
    found = []
    if jar is None:
        own = os.environ.get("CAPWRIGHT_JARS")
        where = f" in {own} or pycocoevalcap" if own else ""
        missing.append(f"no {jar_name}{where} ({_GET_JARS})")
    else:
        found = [jar.parent / name for name in beside]
        absent = [path.name for path in found if not path.is_file()]
        if absent:
            folder = (jar.parent / beside[0]).parent
            get = f" ({_GET_MODELS})" if who == "spice" else ""
            missing.append(f"no {' and no '.join(absent)} in {folder}{get}")
    if missing or java is None or jar is None:
        raise NotInstalledError(f"{who}: not installed: {'; '.join(missing)}")
    return java, jar, found
