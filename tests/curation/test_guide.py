"""docs/guides/curation.md tells the truth: its step runs, its recipe parses, its table has every step and option."""

from __future__ import annotations

import re
import sys

import pytest
import yaml

from capwright.curation import load_curation, run_steps
from capwright.curation.registry import STEPS, find_step
from capwright.data import open_dataset
from capwright.scenes import build
from places import ROOT

PAGE = (ROOT / "docs/guides/curation.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))


def block(language, begin=""):
    return re.search(rf"^```{language}\n({begin}.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]


def test_the_step_of_ones_own_runs_by_its_place(tmp_path, monkeypatch):
    (tmp_path / "tidying.py").write_text(block("python", "# tidying.py"))
    monkeypatch.syspath_prepend(tmp_path)
    world = open_dataset(build(20, 0, tmp_path / "world", size=24))
    recipe = {"name": "mine", "data": {"path": str(world.root)}, "out": str(tmp_path / "out")}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe | {"steps": [{"name": "tidying:ShortCaptions"}]}))
    plan, steps = load_curation(tmp_path / "mine.yaml", ["steps.tidying:ShortCaptions.words=25"])
    try:
        run_steps(steps, world, plan.out, journal=plan.journal)
    finally:
        sys.modules.pop("tidying", None)
    made = open_dataset(plan.out)
    short = [each.id for each in world if any(len(text.split()) <= 25 for text in each.references)]
    assert [each.id for each in made] == short
    assert 0 < len(short) < 20
    assert steps[0].tally.dropped_samples == {"too long": 20 - len(short)}
    assert steps[0].signature == "short_captions|words:25|v:1"


def test_the_recipe_parses(tmp_path):
    (tmp_path / "tidy.yaml").write_text(block("yaml"))
    plan, steps = load_curation(tmp_path / "tidy.yaml", ["judge=lexical"])
    assert [step.name for step in steps] == ["deduplicate", "caption_filter", "sample", "questions"]
    assert (plan.data.split, steps[3].judge, steps[2].seed) == ("train", "lexical", 0)


def test_every_step_has_a_row():
    assert set(ROWS) == set(STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_every_option_is_described(name):
    step = find_step(name)
    assert step.name == name
    if "as `questions`" in ROWS[name]:
        assert set(step.model_fields) == set(find_step("questions").model_fields)
    else:
        assert set(step.model_fields) <= set(re.findall(r"`(\w+)`", ROWS[name]))
