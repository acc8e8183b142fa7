"""Put measured figures into the pages, or check those that stand there: `python docs/write_figures.py [--check]`.

A figure comes from a result file in benchmarks/results. docs/figures/*.yaml says for each page which sentence or table
row shows which value, docs/figures.yaml which sections have nothing but such figures and what is not traced yet; both
are explained in CONTRIBUTING.md. --check changes nothing and fails when

  * a figure in a page is not the value in the result file, or the sentence that shows it is no longer there;
  * a result file is missing, has no such row or column, or was made with --quick;
  * a number in a section of measurements comes from nowhere and is not listed as a constant.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

from figure_pages import NUMBER, Page, Span, fold  # noqa: E402
from figure_values import FigureError, Results, Rows, rendered  # noqa: E402

SHOWN = re.compile(r"\{([^{}]+)\}")
NAMES = ("label", "results")  # of an item of `each`; its other keys choose rows


@dataclass(frozen=True)
class Claim:
    """One sentence or table row: its words with expressions in braces, and the rows that these are about."""

    text: str
    section: str | None
    rows: Mapping[str, Rows]
    own: Rows | None

    def parts(self) -> list[str]:
        """Words and expressions in turns."""
        return SHOWN.split(fold(self.text))

    def shown(self) -> list[tuple[str, str]]:
        """The expressions, each with its format."""
        cut = (shown.rpartition(":") for shown in self.parts()[1::2])
        return [(expression, form) if colon else (form, "") for expression, colon, form in cut]

    def pattern(self) -> re.Pattern[str]:
        """The words as they stand, with any number in place of an expression, but for what chooses the row."""
        words, found = [re.escape(part) for part in self.parts()[::2]], ""
        for word, (expression, form) in zip(words, self.shown()):
            key = self.key(expression, form)
            found += rf"{word}(?<![\d.,])({NUMBER + '|unknown' if key is None else re.escape(key)})"
        return re.compile(found + words[-1] + r"(?!\d)")

    def key(self, expression: str, form: str) -> str | None:
        """The value of a column that is the same in all rows, because it chooses them."""
        name, _, column = expression.rpartition(".")
        rows = self.rows.get(name) if name else self.own
        return format(rows.where[column], form) if rows is not None and column in rows.where else None

    def values(self) -> list[str]:
        """What the expressions come to, as it is written."""
        return [self.key(*one) or rendered(*one, self.rows, self.own) for one in self.shown()]

    def files(self) -> set[str]:
        return {rows.file for rows in (*self.rows.values(), *filter(None, [self.own]))}

    def whole(self, values: list[str]) -> str:
        parts = self.parts()
        return "".join(part + value for part, value in zip(parts[::2], [*values, ""]))

    def source(self, place: int) -> str:
        """Where the value of an expression comes from."""
        shown = self.shown()[place][0]
        named = [rows for name, rows in self.rows.items() if re.search(rf"\b{re.escape(name)}\b", shown)]
        return f"{shown} of {'; '.join(map(str, named or filter(None, [self.own])))}"


@dataclass
class Report:
    """What a check found; `edits` are the right values of a page, by place."""

    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    edits: dict[str, list[tuple[Span, str]]] = field(default_factory=dict)
    traced: int = 0


def claims_of(about: Mapping[str, Any], results: Results) -> Iterator[Claim]:
    """All claims of a page; a table is one for each of its rows."""

    def make(text: str, claim: Mapping[str, Any], where: Mapping[str, Any]) -> Claim:
        named = {  # rows of the same file share what the whole claim says of its rows
            name: rows(own if "results" in own else {**where, **own}) for name, own in claim.get("rows", {}).items()
        }
        return Claim(text, claim.get("section"), named, rows(where) if where else None)

    def rows(where: Mapping[str, Any]) -> Rows:
        chosen = {key: value for key, value in where.items() if key not in NAMES}
        return Rows(results, where.get("results", about.get("results", "")), chosen)

    for claim in about.get("claims", []):
        common = claim.get("where", {})
        if "text" in claim:
            yield make(claim["text"], claim, common)
        for item in claim.get("each", []):
            label = str(item.get("label", next(iter(item.values()))))
            yield make(claim["row"].replace("{label}", label), claim, {**common, **item})


def check(root: Path) -> Report:
    """Hold all pages against the result files."""
    report, results = Report(), Results(root)
    plan = _yaml(root / "docs" / "figures.yaml")
    abouts = {about["page"]: about for about in map(_yaml, sorted((root / "docs" / "figures").glob("*.yaml")))}
    waiting = {item["results"] for item in plan["untraced"] if "results" in item}
    names = [path.relative_to(root).as_posix() for path in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]]
    planned = [item.get(kind, {}) for item in plan["untraced"] for kind in ("sections", "texts")]
    for name in sorted({*abouts, *plan["measured"], *(page for pages in planned for page in pages)} - {*names}):
        report.errors.append(f"docs/figures: there is no page {name}")
    for name in names:
        page, about = Page(root, name), abouts.get(name, {})
        known = check_claims(page, list(claims_of(about, results)), waiting, report)
        check_numbers(page, about, plan, known, report)
    notes(plan, results, report)
    return report


def check_claims(page: Page, claims: list[Claim], waiting: set[str], report: Report) -> list[Span]:
    """Compare each claim with the page; the places of the figures."""
    known: list[Span] = []
    for claim in claims:
        section = page.section(claim.section) if claim.section else None
        if claim.section and section is None:
            report.errors.append(f"{page.name}: has no section '{claim.section}', where a claim should be")
            continue
        within = section.span if section else None
        values = None
        if not claim.files() & waiting:
            try:
                values = claim.values()
            except FigureError as error:
                report.errors.append(f"{page.name}:{page.nearest(claim.parts()[0], within)}: {error}")
        found = page.find(claim.pattern(), within)
        if len(found) != 1:
            line = page.nearest(" ".join(claim.parts()[::2]), within)
            wanted = claim.whole(values) if values else fold(claim.text)
            why = "is not there" if not found else f"stands {len(found)} times; add its section or more of its words"
            report.errors.append(f"{page.name}:{line}: the text of a claim {why}: {wanted!r}")
            continue
        known += found[0][1:]
        if values is None:
            continue
        report.traced += len(values)
        for place, (span, value) in enumerate(zip(found[0][1:], values)):
            said = page.text[slice(*span)].replace("-", "−")
            if said != value:
                report.edits.setdefault(page.name, []).append((span, value))
                report.errors.append(
                    f"{page.name}:{page.line(span[0])}: says {said}, should say {value}: {claim.source(place)}\n"
                    f"    expected: {claim.whole(values)}"
                )
    return known


def check_numbers(
    page: Page, about: Mapping[str, Any], plan: Mapping[str, Any], known: list[Span], report: Report
) -> None:
    """Report the numbers in sections of measurements that nothing accounts for."""

    def of(kind: str) -> list[str]:
        return [each for item in plan["untraced"] for each in item.get(kind, {}).get(page.name, [])]

    untraced, named = of("sections"), plan["measured"].get(page.name, [])
    found = {section.title: section for section in page.sections()}
    for title in {*untraced, *named} - {*found}:
        report.errors.append(f"{page.name}: has no section '{title}', which docs/figures.yaml names")
    known = known + [found[title].span for title in untraced if title in found]
    known += [span for phrase in plan["constants"] for span in _places(page, phrase)]
    for phrase in [*about.get("constants", {}), *of("texts")]:
        if not (places := _places(page, phrase)):
            report.errors.append(f"{page.name}: {phrase!r} is not there; take it out of docs/figures*")
        known += places
    heading = re.compile("|".join(plan["headings"]), re.IGNORECASE)
    seen: set[Span] = set()
    for section in found.values():
        if not heading.search(section.title) and not {section.title, *section.above} & {*named}:
            continue
        for span in page.figures(section.span):
            if span not in seen and not any(low <= span[0] and span[1] <= high for low, high in known):
                seen.add(span)
                report.errors.append(
                    f"{page.name}:{page.line(span[0])}: {page.text[slice(*span)]} comes from nowhere: claim it in "
                    f"docs/figures, or list it there under constants with the reason"
                )


def notes(plan: Mapping[str, Any], results: Results, report: Report) -> None:
    """What is left to do, and which result files need a look."""
    files = results.used()
    report.notes.append(f"{report.traced} figures come from {len(files)} result files")
    for name, file in files.items():
        if any(row.get("dirty") for row in [file, *file["rows"]]):
            report.notes.append(f"{name}.json was made, at least in part, from code that is in no commit")
    lines, left = [], 0
    for item in plan["untraced"]:
        places = [f"{item['results']}.json"] if "results" in item else []
        for kind in ("sections", "texts"):
            places += [f"{page}: {each}" for page, several in item.get(kind, {}).items() for each in several]
        left += len(places)
        lines.append(f"  {'; '.join(places)}\n    {item.get('command') or 'no command yet: ' + item['needs']}")
        scripts = re.findall(r"benchmarks/\w+\.py", item.get("command", ""))
        lines += [f"    {script} is not there yet" for script in scripts if not (results.root / script).exists()]
        if "results" in item and results.path(item["results"]).exists():
            lines.append("    the file is there: take it out of untraced, and run docs/write_figures.py")
    report.notes += [f"{left} result files, sections and texts are untraced", *lines]


def write(root: Path, report: Report) -> None:
    """Put the right values into the pages."""
    for name, edits in report.edits.items():
        path = root / name
        text = path.read_text(encoding="utf-8")
        for (start, end), value in sorted(edits, reverse=True):
            text = text[:start] + value + text[end:]
        path.write_text(text, encoding="utf-8")


def _places(page: Page, phrase: str) -> list[Span]:
    pattern = re.compile(rf"(?<![\d.]){re.escape(fold(phrase))}(?![\d]|\.\d)")
    return [spans[0] for spans in page.find(pattern)]


def _yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail when pages and results differ")
    arguments = parser.parse_args()
    report = check(ROOT)
    if report.edits and not arguments.check:
        write(ROOT, report)
        print(f"wrote {sum(map(len, report.edits.values()))} figures into {', '.join(report.edits)}")
        report = check(ROOT)
    print("\n".join(report.notes))
    if report.errors:
        print(f"\n{len(report.errors)} problems:\n" + "\n".join(report.errors), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
