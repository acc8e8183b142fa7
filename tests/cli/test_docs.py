"""docs/commands.md leaves nothing out: every command, every option, with a heading for each group."""

from __future__ import annotations

import re

import pytest
import typer

from capwright.cli import app
from capwright.scorers import list_scorers
from places import ROOT

DOCS = ROOT / "docs"
PAGE = (DOCS / "commands.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## capwright (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
ROOT = typer.main.get_command(app)


def test_a_section_for_each_command():
    assert set(SECTIONS) == set(ROOT.commands)


@pytest.mark.parametrize("name", ROOT.commands)
def test_every_option_is_described(name):
    command = ROOT.commands[name]
    below = getattr(command, "commands", {})
    for word in below.keys() - {"files"}:  # `capwright score` with file names has no name of its own
        assert re.search(rf"\b{word}\b", SECTIONS[name]), word
    for each in below.values() or [command]:
        assert each.help
        for parameter in each.params:
            options = [option for option in parameter.opts if option.startswith("--") and option != "--help"]
            for option in options:
                assert option in SECTIONS[name], f"{name}: {option}"


@pytest.mark.parametrize("name", list_scorers())
def test_a_page_for_each_scorer(name):
    link = re.search(rf"\[[^]]*`{name}`[^]]*\]\((methods/[\w-]+\.md)\)", SECTIONS["score"])
    assert link, f"the table of scorers has no {name}"
    page = (DOCS / link[1]).read_text(encoding="utf-8")
    assert re.search(rf"\b{name}\b", page), "the scorer by its name"
    assert re.search(rf"^    {name}D?\|.*\bv:", page, re.MULTILINE), "an example of its signature"
    assert "fooled" in page, "how it is fooled"
