"""Names mean one thing, and words that were retired do not come back; docs/glossary.md says which words there are."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict

import pytest

from places import ROOT, SOURCE

FILES = sorted(SOURCE.rglob("*.py"))
#: Names of classes, functions and variables that others took the place of.
RETIRED = {
    *("Looker", "Spoken", "Materials", "Team", "Credit", "Alarms", "Preparer", "Prefixes", "Groups", "Drawn"),
    *("keep_likely", "RoomyLayer", "_Reached", "_never_said", "_company", "heat", "dice", "hold_arena"),
    *("Asked", "Told", "SILENT", "Bank", "Talker", "Patience", "Pace", "Wire", "Account", "Rehearsal", "RehearsedChat"),
    *("assistant", "assistants", "open_assistant", "ChatAssistant", "LexicalAssistant", "picture", "pictures"),
}
#: Words that readers of the docs should not meet, but for the lines that say what was renamed.
RETIRED_WORDS = re.compile(r"\b(assistants?|pictures?)\b", re.IGNORECASE)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_retired_names_do_not_come_back(path):
    text = path.read_text(encoding="utf-8")
    found = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.string in RETIRED]
    assert [t.line for t in found if t.type == tokenize.NAME and "signature" not in t.line] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_retired_words_do_not_come_back(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if RETIRED_WORDS.search(line) and not re.search(r"before: `--|\|assistant:|`assistant`|called judges", line):
            raise AssertionError(f"{path}:{number}: {line}")


def test_no_two_public_classes_share_a_name():
    """Classes and aliases of types alike."""
    homes = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign):
                names = [t.id for t in node.targets if isinstance(t, ast.Name)]
            for name in names:
                if name[0].isupper() and not name.isupper():
                    homes[name].append(str(path.relative_to(SOURCE)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}
