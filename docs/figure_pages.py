"""Pages as figures are looked for in them: without line ends and bold type, with sections and all numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NUMBER = r"[+−-]?\d+(?:,\d{3})*(?:\.\d+)?"
#: A number that says something: not a part of a name ("Qwen2.5-VL-3B", "BLEU-4"), not the number of a paper.
FIGURE = re.compile(rf"(?<![\w.,/])(?<![A-Za-z]-)(?:{NUMBER}(?:e[−-]?\d+)?)(?!B\b|\d|\.\d{{5}})")
#: Code, links, comments, numbers of papers and of list items say nothing that was measured.
OTHER = re.compile(
    r"`[^`\n]*`|\]\([^)\s]*\)|<!--.*?-->|\b\d{4}\.\d{5}\b|^ *\d+\. |https?://\S+", re.MULTILINE | re.DOTALL
)
Span = tuple[int, int]


@dataclass(frozen=True)
class Section:
    """A heading with everything down to the next one of its level; `above` are the headings that it belongs to."""

    title: str
    span: Span
    above: tuple[str, ...]


class Page:
    """A page of Markdown. Places are offsets in its text."""

    def __init__(self, root: Path, name: str) -> None:
        self.name, self.path = name, root / name
        self.text = self.path.read_text(encoding="utf-8")
        self.fences = [m.span() for m in re.finditer(r"^```.*?^```$|^    \S.*?$", self.text, re.MULTILINE | re.DOTALL)]
        self.folded, self._places = _fold(self.text)

    def line(self, place: int) -> int:
        return self.text.count("\n", 0, place) + 1

    def sections(self) -> list[Section]:
        """In order; the page as a whole is none."""
        found: list[tuple[int, str, int]] = [
            (len(m[1]), m[2].strip(), m.start())
            for m in re.finditer(r"^(#+) (.*)$", self.text, re.MULTILINE)
            if not _inside(m.start(), self.fences)
        ]
        sections: list[Section] = []
        above: list[tuple[int, str]] = []
        for i, (level, title, start) in enumerate(found):
            end = next((s for other, _, s in found[i + 1 :] if other <= level), len(self.text))
            above = [(other, name) for other, name in above if other < level]
            sections.append(Section(title, (start, end), tuple(name for _, name in above)))
            above.append((level, title))
        return sections

    def section(self, title: str) -> Section | None:
        return next((section for section in self.sections() if section.title == title), None)

    def find(self, pattern: re.Pattern[str], within: Span | None = None) -> list[list[Span]]:
        """Where a pattern stands in the folded text: for each match the places of the whole and of its groups."""
        low, high = within or (0, len(self.text))
        matches = [
            [self._span(m.span(group)) for group in range(pattern.groups + 1)] for m in pattern.finditer(self.folded)
        ]
        return [spans for spans in matches if low <= spans[0][0] and spans[0][1] <= high]

    def figures(self, within: Span) -> Iterator[Span]:
        """The numbers of a part of the page that stand in its sentences and tables."""
        text = OTHER.sub(lambda m: " " * len(m[0]), self.text)
        for match in FIGURE.finditer(text, *within):
            line = text.rfind("\n", 0, match.start()) + 1
            if text[line] != "#" and not _inside(match.start(), self.fences):
                yield match.span()

    def nearest(self, words: str, within: Span | None = None) -> int:
        """The line that has most of the words."""
        low, high = within or (0, len(self.text))
        wanted, first = set(words.split()), self.line(low)
        lines = self.text[low:high].splitlines() or [""]
        shared = [len(wanted & set(line.replace("**", "").split())) for line in lines]
        return first + shared.index(max(shared))

    def _span(self, folded: Span) -> Span:
        start, end = folded
        return self._places[start], self._places[end - 1] + 1 if end > start else self._places[start]


def fold(text: str) -> str:
    """Without bold type, one space for any white space."""
    return _fold(text)[0].strip()


def _fold(text: str) -> tuple[str, list[int]]:
    """The folded text, and where each of its characters stands in the text."""
    found, places = [], []
    for match in re.finditer(r"\s+|\*\*|.", text):
        if match[0] != "**":
            found.append(" " if match[0].isspace() else match[0])
            places.append(match.start())
    return "".join(found), [*places, len(text)]


def _inside(place: int, spans: list[Span]) -> bool:
    return any(start <= place < end for start, end in spans)
