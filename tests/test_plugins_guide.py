"""What docs/guides/plugins.md shows is a plugin, and does what the page says of it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
import yaml

from capwright import plugins
from capwright.captioning import load_captioner
from capwright.curation import make_step
from capwright.data import open_dataset
from capwright.evaluation import score
from capwright.models.decoding.strategies import strategy_of
from capwright.plugins import KINDS, load, provided_by, resolve
from capwright.scorers import Corpus, RewardView, get_scorer
from capwright.types import NO_IMAGE, Caption, Request, Sample, SamplingParams, Term
from places import ROOT

PAGE = (ROOT / "docs/guides/plugins.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLES = {"own_scorer.py": "shared-words", "own_advantage.py": "ranks"}


@pytest.fixture
def page(tmp_path):
    """Every example of the page, loaded as a file of its own; what they provide."""
    found = set()
    for number, text in enumerate(BLOCKS):
        path = tmp_path / f"block{number}.py"
        path.write_text(text, encoding="utf-8")
        found |= provided_by(load(path))
    return found


def test_every_kind_has_an_example(page):
    assert {kind for kind, _ in page} == set(KINDS)
    for kind in KINDS:
        assert re.search(rf"`{kind}`", PAGE), kind


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_shows_the_files_of_the_repository(name):
    text = (ROOT / "examples" / name).read_text(encoding="utf-8")
    code = text.partition('"""\n\n')[2]  # without the docstring of the file
    assert any(block == code for block in BLOCKS)
    assert len(text.splitlines()) <= 20, "an example is short"
    assert {(kind, called) for kind, called in provided_by(load(ROOT / "examples" / name)) if called == EXAMPLES[name]}


def test_scorers_of_the_page(page):
    references = {"1": ["a red drum"], "2": ["a drum, a bead, and a bell"]}
    said = {"1": "A red DRUM", "2": "a drum, a car"}
    found = score(said, references, ["shared-words", "commas", "shouted"]).scores
    values = {name: one.estimates[one.scorer.spec.headline].value for name, one in found.items()}
    assert values == pytest.approx({"shared-words": (1 + 2 / 3) / 2, "commas": 1 / 7, "shouted": 2.5})
    assert get_scorer("shouted").spec.higher_is_better is False
    scorer = get_scorer("shared-words")
    samples = [Sample("1", NO_IMAGE, ("a red drum",)), Sample("2", NO_IMAGE)]
    view = RewardView(scorer, scorer.prepare(Corpus(samples)), scale=(0, 1))
    reward = view(samples, [[Caption("a red drum")], [Caption("a drum")]])
    np.testing.assert_array_equal(reward.values, [[1.0], [np.nan]])


def test_the_advantage_of_the_page(page):
    ranks = resolve("advantage", "ranks")
    rewards = torch.tensor([[[0.1], [0.5], [0.9]], [[0.2], [0.2], [0.2]], [[0.0], [torch.nan], [1.0]]])
    found = ranks(rewards, torch.tensor([1.0]))
    torch.testing.assert_close(found[:2], torch.tensor([[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))
    assert found[2].isnan().tolist() == [False, True, False]


def test_the_format_of_the_page(page, tmp_path):
    (tmp_path / "toys.pipes").write_text("1 | a.png | a drum\n2 | b.png | a bead\n")
    assert [sample.references for sample in open_dataset(tmp_path / "toys.pipes")] == [("a drum",), ("a bead",)]


SAMPLE = Sample("1", NO_IMAGE, ("a drum", "word " * 40), (Term("drum"), Term("bead")))


def test_the_captioner_of_the_page(page):
    captioner = load_captioner("template", device="cpu", prompt="Say it.")
    ((first, second),) = captioner.caption([Request(SAMPLE)], SamplingParams(), 2)
    assert first.text == second.text == "There is a drum and a bead."
    assert json.dumps(dict(captioner.description)) == '{"model": "template"}'


def test_the_step_of_the_page(page):
    step = make_step("short-references", {})
    kept = list(step([SAMPLE, Sample("2", NO_IMAGE)]))
    assert [one.references for one in kept] == [("a drum",)]
    assert step.tally.dropped_samples == {"every reference is long": 1}
    recipe = yaml.safe_load(re.search(r"^```yaml\n(plugins: \[own.py\]\nsteps:.*?)^```", PAGE, re.M | re.S)[1])
    (entry,) = recipe["steps"]
    assert make_step(entry.pop("name"), entry).signature == "short-references|words:12|v:1"


def test_the_strategy_of_the_page(page):
    calm = strategy_of(SamplingParams(strategy="calm"))
    assert calm.prompts("prompts", None) == ["prompts"]
    logits = torch.tensor([[2.0, -torch.inf]])
    torch.testing.assert_close(calm.combine([logits], 0), torch.tensor([[1.0, -torch.inf]]))
    assert calm.combine([logits], 5) is logits
    assert calm.policy_logprobs is False


def test_the_page_says_how_a_package_names_its_things():
    (text,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert f'[project.entry-points."{plugins.GROUP}"]' in text
    names = re.findall(r'^"(\w+)\.([\w-]+)" = "[\w.]+:\w+"$', text, re.MULTILINE)
    assert names == [("scorer", "shared-words"), ("advantage", "ranks")]
