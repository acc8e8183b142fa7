"""Write the tables of scorers in the pages, from what scorers say: `python docs/write_tables.py [--check]`.

A table stands between `<!-- scorers -->` and `<!-- end of scorers -->`. --check changes nothing, and fails where one is
not as it would be written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from capwright.scorers.base import ScorerSpec
from capwright.scorers.registry import built_in_scorers

ROOT = Path(__file__).resolve().parent.parent
_MARKED = re.compile(r"(?<=<!-- scorers -->\n).*?(?=<!-- end of scorers -->)", re.DOTALL)


def families() -> dict[str, list[ScorerSpec]]:
    """The scorers of each family."""
    found: dict[str, list[ScorerSpec]] = {}
    for one in built_in_scorers().values():
        found.setdefault(one.__module__.split(".")[2], []).append(one.spec)
    return found


def in_full() -> str:
    """A row a scorer, for docs/commands.md."""
    rows = [
        " | ".join((f"| [`{spec.name}`](methods/{spec.page}.md)", spec.about, _needs(spec), f"{_source(spec)} |"))
        for specs in families().values()
        for spec in specs
    ]
    return "\n".join(["| scorer | what it measures | needs | from |", "|---|---|---|---|", *rows, ""])


def by_family() -> str:
    """A row a family, for docs/architecture.md."""
    rows = [f"| `{family}` | {_names(specs)} |" for family, specs in families().items()]
    return "\n".join(["| family | scorers |", "|---|---|", *rows, ""])


def in_short() -> str:
    """A line a family with links, for README.md."""
    lines = [
        f"* {family}: " + ", ".join(f"[`{spec.name}`](docs/methods/{spec.page}.md)" for spec in specs)
        for family, specs in families().items()
    ]
    return "\n".join([*lines, ""])


TABLES: dict[str, Callable[[], str]] = {
    "README.md": in_short,
    "docs/architecture.md": by_family,
    "docs/commands.md": in_full,
}


def outdated(path: str) -> str | None:
    """The page as it should be; None where it is so already. Exits when the page has no place for the table."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if not _MARKED.search(text):
        sys.exit(f"{path}: has no <!-- scorers --> ... <!-- end of scorers -->")
    table = TABLES[path]()
    wanted = _MARKED.sub(lambda found: table, text)
    return wanted if wanted != text else None


def _names(specs: list[ScorerSpec]) -> str:
    return ", ".join(f"`{spec.name}`" for spec in specs)


def _needs(spec: ScorerSpec) -> str:
    return ", ".join(sorted(spec.needs))


def _source(spec: ScorerSpec) -> str:
    kind, _, number = spec.source.rpartition(" ")
    if not spec.source:
        return ""
    address = f"https://arxiv.org/abs/{number}" if kind == "arXiv" else f"https://aclanthology.org/{number}"
    return f"[{number}]({address})"


if __name__ == "__main__":
    changed = {path: text for path in TABLES if (text := outdated(path)) is not None}
    if "--check" in sys.argv and changed:
        sys.exit(f"{', '.join(changed)}: tables of scorers are out of date; run python docs/write_tables.py")
    for path, text in changed.items():
        (ROOT / path).write_text(text, encoding="utf-8")
