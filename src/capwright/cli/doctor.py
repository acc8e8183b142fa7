"""capwright doctor: what is installed, what is missing and what it would give."""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path

import typer

from capwright.cli._display import program
from capwright.console import show

#: Free space below which a run may fail to write its checkpoints.
LOW_SPACE = 2 * 2**30


def doctor() -> None:
    """Say what is installed and what is missing.

    Also the device in use, what missing extras would give, and whether all is well.
    """
    from capwright import __version__

    troubles = []
    show(f"capwright {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    troubles += _packages()
    troubles += _device()
    _extras()
    _java()
    troubles += _embedded()
    free = shutil.disk_usage(".").free
    show(f"disk: {free / 2**30:.1f} GiB free in {Path.cwd()}")
    if free < LOW_SPACE:
        troubles.append("little disk space is left")
    if troubles:
        show(f"verdict: {'; '.join(troubles)}")
        raise typer.Exit(1)
    show(f"verdict: all is well; try `{program()} demo`")


def requirements() -> dict[str, list[str]]:
    """Names of required packages by extra; "" holds those that are always needed."""
    from importlib.metadata import requires

    found: dict[str, list[str]] = {"": []}
    for line in requires("capwright") or []:
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        name = re.match(r"[\w.-]+", line)
        if name:
            found.setdefault(extra[1] if extra else "", []).append(name[0])
    return found


def _packages() -> list[str]:
    found = {name: _version(name) for name in requirements()[""]}
    show(f"packages: {', '.join(f'{name} {number}' for name, number in found.items() if number)}")
    missing = [name for name, number in found.items() if not number]
    return [f"missing packages: {', '.join(missing)} (pip install capwright)"] if missing else []


def _device() -> list[str]:
    try:
        import torch
    except (ImportError, OSError) as error:
        show(f"device: unknown, torch cannot be imported ({error})")
        return ["torch cannot be imported: install it again"]
    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        memory = properties.total_memory / 2**30
        count = torch.cuda.device_count()
        show(f"device: cuda, {count} x {properties.name} with {memory:.0f} GiB ({threads})")
    else:
        show(f"device: cpu, {threads} (no GPU that torch {torch.__version__} can use)")
    return []


def _extras() -> None:
    from capwright.text.tables import read_tables

    uses = read_tables("capwright.cli", "extras.yaml")
    for extra, names in sorted(requirements().items()):
        if not extra:
            continue
        gives = f"gives {uses.get(extra, ', '.join(names))}"
        if all(map(_version, names)):
            show(f"extra {extra}: installed; {gives}")
        else:
            show(f"extra {extra}: not installed; {gives}: pip install 'capwright[{extra}]'")


def _java() -> None:
    """Which Java there is, and what it was seen to do. Java is optional: nothing here is trouble."""
    from capwright.data.cache_dir import cache_folder
    from capwright.text.java import locate
    from capwright.types import ScorerError

    java = locate.find_java()
    show(f"java: {java.version} in {java.path}" if java else "java: none that runs, on PATH or in JAVA_HOME")
    for (name, jar), works in zip(locate.JARS.items(), (_try_meteor, _look_for_spice, _try_tokenizer)):
        try:
            show(f"  {name}: {works()}, {locate.find_jar(jar)}")
        except ScorerError as error:
            show(f"  {name}: {str(error).removeprefix(f'{name}: ')}")
    show(f"  kept statistics: {cache_folder() or 'off'}")


def _try_meteor() -> str:
    from capwright.scorers import Corpus, Item
    from capwright.scorers.ngram.meteor import METEOR
    from capwright.types import NO_IMAGE, Sample

    sample = Sample("doctor", NO_IMAGE, ("a geoboard on the table",))
    scorer = METEOR(tokenizer="split", cache=False)
    stats = scorer.stats([Item(sample, sample.references[0])], scorer.prepare(Corpus([sample])))
    score = float(scorer.finalize(stats.rows)[0, 0])
    return "works" if score == 1 else f"does not work: the same caption twice scores {score:g}, not 1"


def _look_for_spice() -> str:
    from capwright.text.java.locate import require

    java, _ = require("spice")
    return "is there (not tried, it takes a minute)" + (
        "; made for Java 8 or 11, started with --add-opens" if java.major >= 16 else ""
    )


def _try_tokenizer() -> str:
    from capwright.text.java import ptb

    tokens = ptb.tokenize(["The child's geoboard."])
    return "works" if tokens == [["the", "child", "'s", "geoboard"]] else f"does not work: it gave {tokens}"


def _version(package: str) -> str:
    """Of an installed package; "" of one that is not."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _embedded() -> list[str]:
    folder = Path(__file__).parents[1] / "models" / "embedded"
    size = sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0
    if not (folder / "config.json").is_file():
        show("embedded captioner: missing")
        return ["the embedded captioner is missing: install capwright again, or train it with `make base`"]
    show(f"embedded captioner: there, {size / 1e6:.1f} MB")
    return []
