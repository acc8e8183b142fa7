"""Links, commands and recipes that the docs name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from capwright.cli import app
from places import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.md")])
RECIPES = {path.stem for path in (ROOT / "recipes").glob("*.yaml")}


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http", "mailto:")):
            continue
        place, _, anchor = target.partition("#")
        path = (page.parent / place).resolve() if place else page
        assert path.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(path), f"{page.name}: no heading for {target}"


def commands(page: Path) -> list[str]:
    """Lines that begin with "capwright" in code: fenced blocks and inline code."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    lines = [line.split(" #")[0].strip() for code in [*blocks, *inline] for line in code.splitlines()]
    return [line for line in lines if re.match(r"capwright [a-z]", line) and "|" not in line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page):
    root = typer.main.get_command(app)
    for line in commands(page):
        words, command, name = line.split()[1:], root, ""
        while words and hasattr(command, "commands"):
            if words[0] not in command.commands and name == "score":  # file names: the command without a name
                words.insert(0, "files")
            assert words[0] in command.commands, f"{page.name}: {line}"
            name = words.pop(0)
            command = command.commands[name]
        known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0].strip("].,") in known | {"--help"}, f"{page.name}: {line}"
        if name == "train" and words and re.fullmatch(r"[a-z][\w.-]*-[\w.-]+", words[0]):
            assert words[0] in RECIPES, f"{page.name}: {line}"


def test_benchmarks_named_in_the_docs_exist():
    for page in PAGES:
        for name in re.findall(r"benchmarks/(\w+\.py)", page.read_text(encoding="utf-8")):
            assert (ROOT / "benchmarks" / name).exists(), f"{page.name}: benchmarks/{name}"
