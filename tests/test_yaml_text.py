"""YAML within limits."""

from __future__ import annotations

import pytest
import yaml

from capwright.data.vocabulary import read_vocabulary
from capwright.recipes import load_recipe
from capwright.types import DataError, RecipeError
from capwright.yaml_text import DEEPEST, MOST_ALIASED, compose_yaml, load_yaml


def bomb(levels: int, width: int = 10) -> str:
    """`width ** levels` values in a few lines."""
    rows = ["a0: &a0 [" + ", ".join("x" * width) + "]"]
    rows += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * width) + "]" for n in range(1, levels)]
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("read", [load_yaml, compose_yaml])
def test_what_is_beyond_the_limits_is_refused_with_its_line(read):
    with pytest.raises(yaml.MarkedYAMLError, match="nests deeper than 100 levels") as found:
        read("a:\n  " + "[" * 100_000)
    assert found.value.problem_mark.line == 1
    with pytest.raises(yaml.MarkedYAMLError, match="stand for more than 100,000 values; write them out") as found:
        read(bomb(9))
    assert found.value.problem_mark.line == 4  # 10 lists of 11,111 values


def test_many_aliases_of_one_value_count_too():
    text = "a: &a [1, 2, 3]\nb: [" + "*a, " * (MOST_ALIASED // 4 + 1) + "]"
    with pytest.raises(yaml.MarkedYAMLError, match="aliases"):
        load_yaml(text)


def test_what_is_within_them_is_read():
    assert load_yaml("[" * DEEPEST + "]" * DEEPEST)
    assert load_yaml("a: &a {b: 1}\nc: [*a, *a]\nd: {<<: *a}") == {
        "a": {"b": 1}, "c": [{"b": 1}, {"b": 1}], "d": {"b": 1},
    }  # fmt: skip
    assert len(load_yaml(bomb(4))["a3"]) == 10
    assert load_yaml("") is None
    assert compose_yaml("") is None
    with pytest.raises(yaml.YAMLError):
        load_yaml("a: [1,")
    for own in ("a: &a [*a]", "a: &a {b: {c: *a}}", "- &a 1\n- &a [*a]"):
        with pytest.raises(yaml.MarkedYAMLError, match=r"alias \*a stands for what it is a part of"):
            load_yaml(own)
    with pytest.raises(yaml.YAMLError, match="undefined alias"):
        load_yaml("a: *b")


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000 + "a", bomb(12)])
def test_recipes_and_vocabularies_are_refused_briefly(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(f"name: {text}" if text[0] in "[{" else text)
    for read, error in ((load_recipe, RecipeError), (read_vocabulary, DataError)):
        with pytest.raises(error, match=r"r\.yaml") as found:
            read(path)
        assert len(str(found.value)) < 1000


@pytest.mark.parametrize("value", ["9" * 10_000, "2001-99-99"])
def test_values_that_cannot_be_are_errors_that_name_the_file(value, tmp_path):
    with pytest.raises(yaml.YAMLError, match="a value cannot be read"):
        load_yaml(f"a: {value}")
    (tmp_path / "recipe.yaml").write_text(f"extends: sft-scenes\nseed: {value}\n")
    with pytest.raises(RecipeError, match=r"recipe\.yaml: not valid YAML \(a value cannot be read"):
        load_recipe(str(tmp_path / "recipe.yaml"))
