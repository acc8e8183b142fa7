"""Figures in the pages are those of the result files, and the check of it misses nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import write_figures
from figure_values import FigureError, Results, Rows, rendered, value
from places import ROOT

PAGE = """# A page

## Measured

With G = 8 the arm **RSRS** has **77.3**
[74.4, 80.2], five times `0.99`
as many as 1,280 (arXiv 1234.56789); it loses −1.5.

| arm | score |
|---|---|
| SFT | 15.8 |
| RSRS | **77.3** |

## Else

Nobody asks where 12.5 comes from.
"""
ROWS = [
    {"arm": "SFT", "over": None, "score": 15.84, "low": 13.4, "high": 18.2, "images": 1280, "seeds": [1, 2]},
    {"arm": "RSRS", "over": None, "score": 77.31, "low": 74.4, "high": 80.2, "images": 1280, "seeds": [3, 4]},
    {"arm": "SFT", "over": "RSRS", "score": -1.5},
]
ABOUT = {
    "page": "docs/page.md",
    "results": "some",
    "claims": [
        {
            "text": "has {rsrs.score:.1f} [{rsrs.low:.1f}, {rsrs.high:.1f}], five times `0.99` as many as "
            "{sft.images:,} (arXiv 1234.56789); it loses {less.score:.1f}",
            "rows": {
                "rsrs": {"arm": "RSRS"},
                "sft": {"arm": "SFT", "over": None},
                "less": {"arm": "SFT", "over": "RSRS"},
            },
        },
        {"row": "| {label} | {score:.1f} |", "where": {"over": None}, "each": [{"arm": "SFT"}, {"arm": "RSRS"}]},
    ],
    "constants": {"G = 8": "the size of a group"},
}
PLAN = {"headings": ["measured"], "measured": {}, "constants": {}, "untraced": []}


class Repository:
    """A small one, whose pages and files can be changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "docs" / "figures").mkdir(parents=True)
        (root / "benchmarks" / "results").mkdir(parents=True)
        (root / "benchmarks" / "some.py").touch()
        (root / "README.md").write_text("# Nothing measured here: 5\n", encoding="utf-8")
        self.page, self.about, self.plan = PAGE, json.loads(json.dumps(ABOUT)), json.loads(json.dumps(PLAN))
        self.file: dict | None = {"command": "python benchmarks/some.py", "dirty": False, "rows": ROWS}

    def check(self) -> write_figures.Report:
        (self.root / "docs" / "page.md").write_text(self.page, encoding="utf-8")
        (self.root / "docs" / "figures.yaml").write_text(yaml.safe_dump(self.plan), encoding="utf-8")
        (self.root / "docs" / "figures" / "page.yaml").write_text(yaml.safe_dump(self.about), encoding="utf-8")
        if self.file is not None:
            (self.root / "benchmarks" / "results" / "some.json").write_text(json.dumps(self.file), encoding="utf-8")
        return write_figures.check(self.root)

    def error(self) -> str:
        """The one thing that is wrong."""
        errors = self.check().errors
        assert len(errors) == 1, errors
        return errors[0]


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_the_pages_agree_with_the_result_files():
    report = write_figures.check(ROOT)
    assert not report.errors, "\n".join(report.errors)
    assert report.traced > 100


def test_a_page_that_agrees(repository):
    report = repository.check()
    assert not report.errors
    assert report.traced == 7


def test_a_changed_digit_in_the_page_fails_and_is_put_right(repository):
    repository.page = PAGE.replace("**77.3**\n", "**77.4**\n")
    found = repository.error()
    assert found.startswith("docs/page.md:5: says 77.4, should say 77.3: rsrs.score of benchmarks/results/some.json")
    assert "row arm=RSRS" in found
    assert "expected: has 77.3 [74.4, 80.2], five times" in found
    write_figures.write(repository.root, repository.check())
    assert (repository.root / "docs" / "page.md").read_text(encoding="utf-8") == PAGE


def test_a_changed_digit_in_the_result_file_fails(repository):
    repository.file["rows"] = [{**ROWS[0], "score": 15.96}, *ROWS[1:]]
    assert "docs/page.md:11: says 15.8, should say 16.0" in repository.error()
    write_figures.write(repository.root, repository.check())
    assert "| SFT | 16.0 |" in (repository.root / "docs" / "page.md").read_text(encoding="utf-8")


def test_a_missing_file_fails(repository):
    repository.file = None
    errors = repository.check().errors
    assert len(errors) == 3
    assert all("there is no benchmarks/results/some.json; make it, or list it under untraced" in e for e in errors)


def test_a_file_that_is_waited_for_does_not_fail_but_its_words_are_looked_for(repository):
    repository.file = None
    repository.plan["untraced"] = [{"results": "some", "command": "python benchmarks/some.py"}]
    report = repository.check()
    assert not report.errors
    assert report.traced == 0
    assert "1 result files, sections and texts are untraced" in report.notes
    repository.page = PAGE.replace("it loses", "it lost")
    assert "the text of a claim is not there" in repository.check().errors[0]


def test_an_unclaimed_number_fails(repository):
    repository.page = PAGE.replace("## Else", "It takes 3.5 s.\n\n## Else")
    assert repository.error().startswith("docs/page.md:14: 3.5 comes from nowhere")
    repository.plan["untraced"] = [{"texts": {"docs/page.md": ["It takes 3.5 s"]}, "needs": "a clock"}]
    assert not repository.check().errors
    repository.plan["untraced"] = [{"sections": {"docs/page.md": ["Measured"]}, "needs": "a clock"}]
    assert not repository.check().errors


def test_a_section_can_be_named(repository):
    repository.plan["measured"] = {"docs/page.md": ["Else"]}
    assert "12.5 comes from nowhere" in repository.error()
    repository.plan["measured"] = {"docs/page.md": ["Elsewhere"]}
    assert "has no section 'Elsewhere'" in repository.error()


def test_a_constant_that_is_gone_fails(repository):
    repository.about["constants"]["G = 16"] = "another size"
    assert "'G = 16' is not there" in repository.error()


def test_changed_words_name_the_line_that_is_nearest(repository):
    repository.page = PAGE.replace("| RSRS | **77.3** |", "| our RSRS | **77.3** |")
    errors = repository.check().errors
    assert errors[0].startswith("docs/page.md:12: the text of a claim is not there: '| RSRS | 77.3 |'")
    assert "77.3 comes from nowhere" in errors[1]


def test_words_that_stand_twice_are_not_guessed(repository):
    repository.page = PAGE.replace("| SFT | 15.8 |\n", "| SFT | 15.8 |\n| SFT | 15.8 |\n")
    assert "stands 2 times" in repository.check().errors[0]
    repository.about["claims"][1]["section"] = "No such"
    assert "has no section 'No such'" in repository.check().errors[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"command": "python benchmarks/some.py --quick"}, "was made with --quick"),
        ({"command": "python benchmarks/gone.py"}, "was made by benchmarks/gone.py, which is not there"),
        ({"rows": ROWS[1:]}, "no such row: benchmarks/results/some.json, row arm=SFT, over=null"),
        ({"rows": "none"}, "not a result file"),
    ],
)
def test_a_file_that_can_not_be_used_fails(repository, change, message):
    repository.file.update(change)
    assert message in "\n".join(repository.check().errors)


def test_a_file_from_modified_code_is_noted(repository):
    repository.file["dirty"] = True
    assert any("from code that is in no commit" in note for note in repository.check().notes)


@pytest.fixture
def rows(repository):
    repository.check()
    results = Results(repository.root)
    return {
        "rsrs": Rows(results, "some", {"arm": "RSRS"}),
        "both": Rows(results, "some", {"over": None}),
        "all": Rows(results, "some", {}),
    }


@pytest.mark.parametrize(
    ("expression", "form", "text"),
    [
        ("rsrs.score", ".1f", "77.3"),
        ("(rsrs.high - rsrs.low) / 2", ".2f", "2.90"),
        ("min(both.score)", ".1f", "15.8"),
        ("max(both.score) / min(both.score)", ".0f", "5"),
        ("mean(both.low)", ".1f", "43.9"),
        ("len(both.arm)", "", "2"),
        ("-rsrs.score", "+.1f", "−77.3"),
        ("rsrs.seeds[1]", "", "4"),
        ("round(rsrs.images, -2)", ",", "1,300"),
        ("rsrs.over", ".1f", "unknown"),
        ("rsrs.score - rsrs.over", ".1f", "unknown"),
    ],
)
def test_expressions(rows, expression, form, text):
    assert rendered(expression, form, rows, None) == text


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("rsrs.nothing", "no column nothing; there are command, dirty, arm"),
        ("nobody", "neither one of the rows"),
        ("__import__('os')", "no such function"),
        ("rsrs.score.real", "not subscriptable"),
        ("rsrs.score ** 2", "not allowed"),
        ("[1, 2]", "not allowed"),
        ("lambda: 1", "not allowed"),
        ("rsrs.score /", "not an expression"),
        ("rsrs.score / 0", "division by zero"),
        ("both.score + 1", "can only concatenate"),
    ],
)
def test_expressions_that_mean_nothing_are_errors(rows, expression, message):
    with pytest.raises(FigureError, match=message.replace("(", r"\(")):
        value(expression, rows, None)
