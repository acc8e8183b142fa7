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
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from capwright.types import NotInstalledError

METEOR_JAR = "meteor-1.5.jar"
SPICE_JAR = "spice-1.0.jar"
PTB_JAR = "stanford-corenlp-3.4.1.jar"
JARS = {"meteor": METEOR_JAR, "spice": SPICE_JAR, "ptb-java": PTB_JAR}

#: Where pycocoevalcap keeps them, and where else a folder of the user may.
_SUBFOLDERS = {METEOR_JAR: "meteor", SPICE_JAR: "spice", PTB_JAR: "tokenizer"}
#: What programs load from beside their jar: METEOR a table of its language, SPICE what pycocoevalcap does not bring.
PARAPHRASES = "data/paraphrase-{}.gz"
_BESIDE = {
    "meteor": [PARAPHRASES],
    "spice": ["lib/stanford-corenlp-3.6.0.jar", "lib/stanford-corenlp-3.6.0-models.jar"],
}

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
    found = (_java_at(name) for name in (*names, shutil.which("java")) if name)
    return next(filter(None, found), None)


@lru_cache(maxsize=8)
def _java_at(path: str) -> Java | None:
    """None when the program does not run or states no version, as the stand-in of macOS does not."""
    try:
        said = subprocess.run([path, "-version"], capture_output=True, timeout=_VERSION_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "([^"]*\d[^"]*)"', (said.stderr + said.stdout).decode("utf-8", "replace"))
    if found is None:
        return None
    first, *others = re.findall(r"\d+", found[1])
    return Java(Path(path), found[1], int(others[0] if first == "1" and others else first))


def find_jar(name: str) -> Path | None:
    """The jar with this file name, absolute; None when it is nowhere."""
    places = (place / name for folder in _folders() for place in (folder, folder / _SUBFOLDERS[name]))
    return next((place.resolve() for place in places if place.is_file()), None)


def _folders() -> list[Path]:
    own = os.environ.get("CAPWRIGHT_JARS")
    folders = [Path(own).expanduser()] if own else []
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec("pycocoevalcap")
        if spec is not None:
            folders += [Path(place) for place in spec.submodule_search_locations or ()]
    return folders


def require(who: str, language: str = "en") -> tuple[Java, Path]:
    """Java and the jar of one of `JARS`, or NotInstalledError that names everything that is missing."""
    java, jar = find_java(), find_jar(JARS[who])
    missing = [] if java else [f"no Java that runs ({_GET_JAVA})"]
    if jar is None:
        own = os.environ.get("CAPWRIGHT_JARS")
        where = f" in {own} or pycocoevalcap" if own else ""
        missing.append(f"no {JARS[who]}{where} ({_GET_JARS})")
    else:
        beside = [jar.parent / name.format(language) for name in _BESIDE.get(who, ())]
        if absent := [path for path in beside if not path.is_file()]:
            get = f" ({_GET_MODELS})" if who == "spice" else ""
            missing.append(f"no {' and no '.join(path.name for path in absent)} in {absent[0].parent}{get}")
    if missing or java is None or jar is None:
        raise NotInstalledError(f"{who}: not installed: {'; '.join(missing)}")
    return java, jar
