"""Recipes: what is read, what is refused and with which words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from capwright.recipes import find_recipe, list_recipes, load_recipe, parse_recipe, save_recipe
from capwright.recipes.files import changed_keys
from capwright.recipes.rewards import JUDGE_SECONDS
from capwright.runs.plan import make_plan
from capwright.types import RecipeError
from places import ROOT

PLAIN = {
    "name": "plain",
    "data": {"scenes": {"n": 100}},
    "rewards": {"tts": None},
    "stages": [
        {"name": "warmup", "kind": "sft", "steps": 3, "target": "meta.casual"},
        {"name": "rsrs", "kind": "rsrs", "steps": 5},
    ],
}


@pytest.fixture
def plain(tmp_path) -> Path:
    path = tmp_path / "plain.yaml"
    path.write_text(yaml.safe_dump(PLAIN))
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(list_recipes()))
def test_every_recipe_that_comes_along_parses(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert make_plan(recipe, 3200)[-1].line()
    save_recipe(recipe, tmp_path / "again.yaml")
    assert load_recipe(tmp_path / "again.yaml") == recipe


def test_the_plan_of_a_stage_that_resamples():
    """A step looks at four batches of images at most."""
    (grpo, dapo) = (make_plan(load_recipe(name), 3200)[-1] for name in ("grpo-scenes", "dapo-scenes"))
    assert dapo.tokens_per_step == 4 * grpo.tokens_per_step
    assert ", at least 5,120 images in all (1.6 passes)" in dapo.line()
    assert ", 5,120 images in all (1.6 passes)" in grpo.line()
    assert "(160 passes)" in make_plan(load_recipe("grpo-scenes"), 30)[-1].line()


def test_stages_of_the_extended_recipe_by_name(tmp_path):
    path = tmp_path / "mine.yaml"
    more = "{name: more, kind: sft, steps: 2}"
    path.write_text(f"extends: rsrs-scenes\nname: mine\nstages: [warmup, {more}, rsrs]\nstages.rsrs.steps: 7\n")
    base, mine = load_recipe("rsrs-scenes"), load_recipe(path)
    assert [stage.name for stage in mine.stages] == ["warmup", "more", "rsrs"]
    assert mine.stages[0] == base.stages[0]
    assert mine.stages[2] == base.stages[1].model_copy(update={"steps": 7})
    path.write_text(f"extends: rsrs-scenes\nname: mine\nstages.rsrs.steps: 7\nstages: [warmup, {more}, rsrs]\n")
    assert load_recipe(path) == mine  # changes come after the list, wherever they stand
    path.write_text("extends: rsrs-scenes\nname: mine\nstages.rsrs.steps: 7\nstages: [warmup]\n")
    assert "stages.rsrs.steps: no 'rsrs' in stages; there are warmup." in refusal(path)
    path.write_text("extends: rsrs-scenes\nname: mine\nstages: [warm-up]\n")
    assert "no stage 'warm-up' to take over; there are warmup, rsrs" in refusal(path)
    path.write_text("name: mine\nstages: [warmup]\n")
    assert "it extends no recipe that has stages" in refusal(path)


def test_overrides(plain):
    overrides = ["stages.rsrs.steps=10", "model.lora.r=8", "stages.0.learning_rate=1e-4", "data.path=photos"]
    recipe = load_recipe(plain, overrides)
    assert recipe.stages[1].steps == 10
    assert recipe.model.lora.r == 8
    assert recipe.stages[0].learning_rate == 1e-4
    assert recipe.data.path == str(Path.cwd() / "photos")
    assert recipe.data.scenes is None  # one source: the other is taken away
    assert load_recipe(plain, ["stages.warmup.epochs=2"]).stages[0].steps is None
    assert load_recipe(plain, ["model.lora.r=8", "model.lora=null"]).model.lora is None


def test_kinds_are_presets(plain):
    assert load_recipe(plain).stages[1].on_failed == "imitate"
    assert load_recipe(plain, ["stages.rsrs.kind=grpo"]).stages[1].on_failed == "drop"
    assert load_recipe(plain, ["stages.rsrs.kind=rl"]).stages[1].on_failed == "drop"
    rl = load_recipe(plain, ["stages.rsrs.kind=rl", "stages.rsrs.on_failed=imitate"])
    assert rl.stages[1].on_failed == "imitate"
    assert "kind rsrs means on_failed: imitate" in refusal(plain, "stages.rsrs.on_failed=drop")
    for key in ("unit=term", "tokens=names"):
        said = refusal(plain, "stages.rsrs.kind=grpo", f"stages.rsrs.imitation.{key}")
        assert "does nothing with on_failed: drop" in said


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stages.rsrs.stpes=10", "stages.rsrs.stpes: unknown key; did you mean 'steps'?"),
        ("stages.rsr.steps=1", "no 'rsr' in stages; did you mean 'rsrs'?"),
        ("model.lora.rank=3", "model.lora.rank: unknown key"),
        ("modell.name=x", "modell: unknown key; did you mean 'model'?"),
        ("rewards.tts.wieght=1", "rewards.tts.wieght: unknown key; did you mean 'weight'?"),
        ("stages.rsrs.kl.bta=1", "stages.rsrs.kl.bta: unknown key; did you mean 'beta'?"),
        ("stages.warmup.advantage=grpo", "stages.warmup.advantage: unknown key"),
        ("stages.rsrs.steps=many", "stages.rsrs.steps: Input should be a valid integer"),
        ("stages.rsrs.steps=0", "stages.rsrs.steps: Input should be greater than or equal to 1 (got 0)"),
        ("model.dtype=float16", "model.dtype: weights cannot be trained in float16; use float32 or bfloat16"),
        ("model={lora: {r: 8}, train_vision: true}", "put modules of the vision tower into lora.targets"),
        ("stages.rsrs.steps", "write it as key=value"),
        ("model.name={a", "the value is not YAML"),
        ("name.x=3", "'name' is a value, it has no keys"),
    ],
)
def test_overrides_that_are_wrong_are_quoted(plain, override, words):
    message = refusal(plain, override)
    assert words in message
    assert override in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stages": []}, "stages: List should have at least 1 item"),
        ({"data": {}}, "data: give either data.path"),
        ({"rewards": {}}, "stage 'rsrs' learns from rewards"),
        ({"rewards": {"tts": {"gate": False}}}, "mark a reward with gate: true"),
        ({"sede": 3}, "sede: unknown key; did you mean 'seed'?"),
        ({"stages": [PLAIN["stages"][0], PLAIN["stages"][0]]}, "names must be unique"),
        ({"stages": [{"name": "a", "kind": "sft"}]}, "stages.a: give either steps or epochs"),
        ({"stages": [{"name": "a", "kind": "sfft", "steps": 1}]}, "'sfft'"),
        ({"stages": [{"name": "base", "kind": "sft", "steps": 1}]}, "the name 'base' is taken"),
        ({"stages": [{"kind": "sft", "steps": 1}]}, "stages.0.name: Field required"),
        ({"stages": [{"name": "a", "kind": "rl", "steps": 1, "sampling": {"temperature": 0}}]}, "temperature is 0"),
        ({"evaluation": {"sampling": {"guidance": -1}}}, "evaluation.sampling.guidance"),
    ],
)
def test_recipes_that_are_wrong_are_named(plain, change, words):
    plain.write_text(yaml.safe_dump(PLAIN | change))
    message = refusal(plain)
    assert words in message
    assert str(plain) in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rewards.tts.options={penalti: 1}", 'rewards.tts.options.penalti: unknown option; did you mean "penalty"?'),
        ("rewards.tts.options.penalty=-1", "rewards.tts.options.penalty: must be a number, 0 or more, not -1"),
        ("rewards.tts.options.penalty='3'", "rewards.tts.options.penalty: must be a number, 0 or more, not '3'"),
        ("rewards.tts.scorer=ttss", "rewards.tts.scorer: there is no scorer 'ttss'; did you mean 'tts'?"),
        ("rewards.ttss={weight: 1}", "rewards.ttss: there is no scorer 'ttss'; did you mean 'tts'?"),
        ("rewards.asks={scorer: caprl, options: {judge: {model: m}}}", "rewards.asks.options.judge: must be a name"),
        ("evaluation.scorers=[tts, lenght]", "evaluation.scorers: there is no scorer 'lenght'; did you mean 'length'?"),
        (
            "evaluation.options={ciderD: {sigma: high}}",
            "evaluation.options.ciderD.sigma: must be a number above 0, not",
        ),
    ],
)
def test_scorers_and_their_options_are_checked_when_a_recipe_is_read(plain, override, words):
    message = refusal(plain, override)
    assert f"override '{override}': {words}" in message
    key, _, value = override.partition("=")
    plain.write_text(yaml.safe_dump(PLAIN | {"name": "x"}) + f"{key}: {value}\n")
    assert f"{plain}: {words}" in refusal(plain)


def test_every_problem_with_scorers_is_told_at_once_and_old_names_of_options_are_fine(plain):
    message = refusal(plain, "rewards.tts.options={penalty: x, levels: 3}", "evaluation.scorers=[nothing]")
    keys = [line.partition("': ")[2].partition(":")[0] for line in message.splitlines()]
    assert keys == ["rewards.tts.options.penalty", "rewards.tts.options.levels", "evaluation.scorers"]
    load_recipe(plain, ["rewards.asks={scorer: caprl, options: {assistant: lexical}}"])


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [", "not valid YAML"), ("- 1", "a YAML mapping"), ("", "a YAML mapping"), (b"\xff\xfe", "")],
)
def test_files_that_are_no_recipes(tmp_path, text, words):
    path = tmp_path / "broken.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = refusal(path)
    assert words in message
    assert str(path) in message


def test_byte_order_mark_and_windows_lines(plain):
    plain.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes().replace(b"\n", b"\r\n"))
    assert load_recipe(plain).name == "plain"


def test_extends(plain, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("extends: plain.yaml\nname: other\nmodel: {dtype: bfloat16}\nstages.rsrs.steps: 7\n")
    recipe = load_recipe(other)
    assert (recipe.name, recipe.model.dtype, recipe.stages[1].steps) == ("other", "bfloat16", 7)
    other.write_text("extends: other.yaml\nname: other\n")
    assert "extends itself" in refusal(other)


def test_bare_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe("rsrs-scenes").is_file()
    assert find_recipe("rsrs-scenes.yaml").is_file()
    with pytest.raises(RecipeError, match="Did you mean 'rsrs-scenes'"):
        find_recipe("rsrs-scene")


def test_short_rewards():
    recipe = parse_recipe(PLAIN | {"rewards": {"tts": None, "length": 0.5}})
    assert (recipe.rewards["tts"].weight, recipe.rewards["length"].weight) == (1.0, 0.5)


def test_changed_keys_names_stages():
    before, after = load_recipe("rsrs-scenes"), load_recipe("rsrs-scenes", ["stages.rsrs.steps=9"])
    assert changed_keys(before.model_dump(), after.model_dump()) == ["stages.rsrs.steps: 160 -> 9"]


def test_reading_a_recipe_does_not_import_torch():
    code = "import sys; from capwright.recipes import load_recipe as l; l('rsrs-scenes'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_page_of_keys_is_up_to_date():
    """docs/recipes.md is written by docs/write_recipes_page.py from the descriptions in the code."""
    docs = ROOT / "docs"
    done = subprocess.run([sys.executable, docs / "write_recipes_page.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_saved_recipe_with_every_kind_of_reward_reads_back(tmp_path):
    """A run writes every key, also those left at their default, and is resumed from that."""
    recipe = load_recipe("dapo-scenes", ["rewards.tts.margin=0.2", "rewards.short.only_if={of: tts, at_least: 0.5}"])
    save_recipe(recipe, tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rewards.short={overlong: {soft: 5, hard: 4}}"], "soft .5. must be below hard .4."),
        (["rewards.short={overlong: {soft: 1, hard: 4}, scorer: tts}"], "leave scorer out"),
        (["rewards.short={overlong: {soft: 1, hard: 4}, gate: true}"], "leave gate out"),
        (
            ["rewards.caprl={timeout: 180, options: {judge: {name: 'http://judge:8000/v1', model: m}}}"],
            r"timeout 180 is no longer than the 180 s .* http://judge:8000/v1 .*patience 60 \+ call_seconds 120",
        ),
        (
            ["rewards.caprl={timeout: 20, options: {judge: {name: 'http://j/v1', patience: 15, call_seconds: 5}}}"],
            "no longer than the 20 s",
        ),
        (["rewards.tts.only_if={of: nothing, at_least: 1}"], "no other reward 'nothing'"),
        (["rewards.tts.only_if={of: words}"], "give at_least, at_most or both"),
        (["rewards.words={scorer: tts}"], "taken by a quantity"),
        (["stages.rsrs.captions_per_image=1"], "give 2 or more"),
        (["stages.rsrs.order=random"], "use 'shuffled', 'given' or 'meta.<key>'"),
        (["stages.rsrs.surrogate=reinforce", "stages.rsrs.inner_epochs=2"], "inner_epochs: 1"),
        (["stages.rsrs.advantage=gdpo", "stages.rsrs.kl={beta: 0.1, place: reward}"], "use kl.place: loss"),
    ],
)
def test_what_does_not_go_together(overrides, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe("rsrs-scenes", overrides)


def test_a_reward_whose_timeout_is_longer_than_an_outage():
    from capwright.judges.client import ChatOptions

    judge = "{name: 'http://judge/v1', model: m, patience: 15, call_seconds: 5}"
    recipe = load_recipe("rsrs-scenes", [f"rewards.caprl={{timeout: 21, options: {{judge: {judge}}}}}"])
    assert recipe.rewards["caprl"].timeout == 21
    assert {name: getattr(ChatOptions(), name) for name in JUDGE_SECONDS} == JUDGE_SECONDS
