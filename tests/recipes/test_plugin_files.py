"""A recipe says which files it needs, and remembers what they were."""

from __future__ import annotations

import json

import pytest
import yaml

from capwright import plugins
from capwright.recipes import load_plugins, load_recipe, parse_recipe, save_recipe
from capwright.recipes.plugin_files import changed_plugins
from capwright.runs.changes import fixed_changes
from capwright.types import PluginError, RecipeError

SCORER = """from capwright.plugins import register

@register('scorer', {!r})
def own(caption, sample):
    return 1
"""


TTS = {"rewards": {"tts": None}}


def recipe(**keys):
    stage = {"name": "rl", "kind": "grpo", "steps": 1, "advantage": keys.pop("advantage", "grpo")}
    return {"name": "t", "data": {"path": "x"}, "rewards": {"mine": None}, "stages": [stage], **keys}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """recipes/r.yaml names plugins/own.py beside it; the working directory is another one."""
    (tmp_path / "recipes" / "plugins").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "recipes/plugins/own.py").write_text(SCORER.format("mine"))
    return tmp_path / "recipes"


def write(folder, **keys):
    (folder / "r.yaml").write_text(yaml.safe_dump(recipe(**keys)))
    return folder / "r.yaml"


def test_files_are_relative_to_the_recipe_and_have_a_digest(folder):
    own = folder / "plugins/own.py"
    loaded = load_recipe(write(folder, plugins=["plugins/own.py"]))
    assert [(one.path, one.sha256) for one in loaded.plugins] == [(str(own), plugins.digest(own))]
    assert plugins.names("scorer") == (), "reading a recipe executes nothing"
    load_plugins(loaded)
    assert plugins.names("scorer") == ("mine",)


def test_references_name_plugins_too(folder):
    rewards = {"x": {"scorer": "plugins/own.py:own"}}
    keys = {"rewards": rewards, "advantage": "plugins/own.py:own"}
    evaluation = {"scorers": ["plugins/own.py:own", "length"], "options": {"plugins/own.py:own": {}}}
    loaded = load_recipe(write(folder, **keys, evaluation=evaluation))
    reference = f"{folder}/plugins/own.py:own"
    assert [one.path for one in loaded.plugins] == [str(folder / "plugins/own.py")]
    assert loaded.rewards["x"].scorer == loaded.stages[0].advantage == reference
    assert loaded.evaluation.scorers == [reference, "length"]
    assert set(loaded.evaluation.options) == {reference}


def test_extended_recipes_keep_their_plugins(folder, tmp_path):
    write(folder, plugins=["plugins/own.py"])
    (folder / "more").mkdir()
    (folder / "more/other.py").write_text(SCORER.format("other"))
    (folder / "more/child.yaml").write_text("extends: ../r.yaml\nplugins: [other.py]\n")
    loaded = load_recipe(folder / "more/child.yaml")
    assert [one.path for one in loaded.plugins] == [str(folder / "plugins/own.py"), str(folder / "more/other.py")]


def test_the_command_line_adds(folder):
    """Relative to the working directory; a file that is there already is taken as it is now."""
    path = write(folder, plugins=[{"path": "plugins/own.py", "sha256": "0" * 64}])
    assert load_recipe(path).plugins[0].sha256 == "0" * 64
    own = folder / "plugins/own.py"
    assert load_recipe(path, plugins=["../recipes/plugins/own.py"]).plugins[0].sha256 == plugins.digest(own)
    moved = own.rename(folder / "moved.py")
    kept = write(folder, plugins=[{"path": str(own), "sha256": plugins.digest(moved)}])
    assert [one.path for one in load_recipe(kept, plugins=[moved]).plugins] == [str(moved)]


def test_saved_and_read_again(folder):
    loaded = load_recipe(write(folder, plugins=["plugins/own.py"]))
    save_recipe(loaded, folder / "run.yaml")
    (folder / "plugins/own.py").write_text(SCORER.format("mine") + "# changed\n")
    again = load_recipe(folder / "run.yaml")
    assert again == loaded
    (line,) = changed_plugins(again)
    assert line.startswith(f"{folder}/plugins/own.py: has changed ({again.plugins[0].sha256[:8]} -> ")
    with pytest.raises(PluginError, match=r"own.py: the plugin has changed .*bring the old file back, or"):
        load_plugins(again)
    assert plugins.names("scorer") == ()
    (folder / "plugins/own.py").unlink()
    assert changed_plugins(load_recipe(folder / "run.yaml")) == []
    with pytest.raises(PluginError, match=r"cannot be read .*; say where it is with --plugin FILE"):
        load_plugins(again)


def test_what_is_wrong_is_named(folder):
    with pytest.raises(RecipeError, match=r"r.yaml: plugins: .*gone.py: the plugin cannot be read"):
        load_recipe(write(folder, plugins=["gone.py"]))
    with pytest.raises(RecipeError, match="plugins: Input should be a valid list"):
        load_recipe(write(folder, plugins="own.py"))
    with pytest.raises(RecipeError, match="plugins.0.file: unknown key; did you mean|plugins.0"):
        load_recipe(write(folder, plugins=[{"file": "own.py"}]))


def test_an_advantage_must_be_known_unless_a_plugin_may_bring_it(folder):
    with pytest.raises(RecipeError, match=r"stages.rl.advantage: there is no advantage 'grop'; did you mean 'grpo'\?"):
        parse_recipe(recipe(advantage="grop"))
    with pytest.raises(RecipeError, match=r"override 'stages.rl.advantage=grop': stages.rl.advantage: there is no"):
        load_recipe(write(folder), ["stages.rl.advantage=grop"])
    plugins.register("advantage", "mine")(lambda rewards, weights: rewards)
    assert parse_recipe(recipe(advantage="mine", **TTS)).stages[0].advantage == "mine"
    assert load_recipe(write(folder, plugins=["plugins/own.py"], advantage="later")).stages[0].advantage == "later"
    assert parse_recipe(recipe(advantage="my_module:mine", **TTS)).stages[0].advantage == "my_module:mine"


def dumped(recipe):
    return json.loads(json.dumps(recipe.model_dump(mode="json")))


def test_only_what_is_learned_from_must_stay_as_it_was(folder):
    own = folder / "plugins/own.py"

    def now(text, **keys):
        own.write_text(text)
        plugins.forget()
        loaded = load_recipe(write(folder, plugins=["plugins/own.py"], **keys))
        load_plugins(loaded)
        return loaded

    before = now(SCORER.format("mine"))
    digest = before.plugins[0].sha256[:8]
    assert fixed_changes(dumped(before), before) == []
    changed = now(SCORER.format("mine") + "# changed\n")
    (line,) = fixed_changes(dumped(before), changed)
    assert line == f"plugins: {own}: {digest} -> {changed.plugins[0].sha256[:8]}"
    plugins.forget()  # not loaded: it may be one that is learned from
    assert fixed_changes(dumped(before), changed) == [line]
    assert fixed_changes(dumped(now(SCORER.format("mine"), **TTS)), now(SCORER.format("mine") + "#\n", **TTS)) == []
    without = dumped(parse_recipe(recipe(**TTS) | {"data": {"path": "../elsewhere/x"}}))
    del without["plugins"]  # a run from before there were plugins
    assert fixed_changes(without, now(SCORER.format("mine"), **TTS)) == []
    (line,) = fixed_changes(without | {"rewards": dumped(before)["rewards"]}, now(SCORER.format("mine")))
    assert line == f"plugins: {own}: None -> {digest}"
    by_path = {"rewards": {"mine": {"scorer": "plugins/own.py:own"}}}
    old = dumped(now(SCORER.format("other"), **by_path))
    assert fixed_changes(old, now(SCORER.format("other") + "#\n", **by_path)) != []
    decoding = SCORER.format("other").replace("'scorer'", "'decoding'")
    assert fixed_changes(dumped(now(decoding, **TTS)), now(decoding + "#\n", **TTS)) != []
    drawn = {"evaluation": {"sampling": {"strategy": f"{own}:own"}}}
    assert fixed_changes(dumped(now(SCORER.format("other"), **TTS, **drawn)), now(SCORER.format("m"), **TTS, **drawn))


def test_keys_that_are_newer_than_a_run_had_their_default():
    before = dumped(parse_recipe(recipe(**TTS)))
    del before["stages"][0]["sampling"]["strategy"], before["plugins"]
    assert fixed_changes(before, parse_recipe(recipe(**TTS))) == []
    plugins.register("decoding", "mine")(object)
    keys = recipe(**TTS)
    keys["stages"][0]["sampling"] = {"strategy": "mine"}
    changed = parse_recipe(keys)
    assert fixed_changes(before, changed) == ["stages.rl.sampling.strategy:  -> mine"]
    assert fixed_changes({**before, "retired": 1}, changed) != []
