"""`advantage` of a plugin: a function, or a class that extends ours."""

from __future__ import annotations

import pytest
import torch

from capwright.plugins import register
from capwright.recipes.stages import ADVANTAGES
from capwright.training import advantages
from capwright.training.advantage_estimator import AdvantageEstimator, try_advantage
from capwright.types import RecipeError, RunError
from toy_captioner import says, toy_materials
from toy_trainer import rl, trainer, unchanged, weights


def materials():
    return toy_materials(views={"tts": says("blue", name=True)})


def learned(advantage, steps=4):
    it = trainer(rl(kind="grpo", advantage=advantage), materials())
    rows = [it.step() for _ in range(steps)]
    return it, rows


def test_all_built_in_advantages_are_there():
    for name, place in ADVANTAGES.items():
        assert place == f"{advantages.__name__}:{name}"
        assert callable(getattr(advantages, name))


def test_a_function_trains_as_the_built_in_one_does():
    shapes = []

    @register("advantage", "centered")
    def centered(rewards, weights):
        shapes.append((tuple(rewards.shape), tuple(weights.shape), rewards.dtype))
        return advantages.dr_grpo(rewards, weights)

    own, rows = learned("centered")
    ours, expected = learned("dr_grpo")
    assert not unchanged(weights(trainer(rl(kind="grpo"), materials())), own)
    assert unchanged(weights(ours), own)
    assert [row["loss"] for row in rows] == [row["loss"] for row in expected]
    assert all(shape[1:] == (4, 1) and known == (1,) and dtype == torch.float64 for shape, known, dtype in shapes)


def test_a_class_takes_the_place_of_the_estimator():
    @register("advantage", "reversed")
    class Reversed(AdvantageEstimator):
        def from_rewards(self, values, weights, options):
            return -advantages.grpo(values, weights)

    own, _ = learned("reversed", 1)
    ours, _ = learned("grpo", 1)
    start = weights(trainer(rl(kind="grpo"), materials()))
    for name, before in start.items():
        torch.testing.assert_close(weights(own)[name] - before, before - weights(ours)[name], atol=1e-6, rtol=1e-3)


def test_one_caption_is_enough_where_the_function_says_so():
    register("advantage", "plain")(lambda rewards, weights: rewards.sum(-1))
    assert rl(kind="rl", advantage="plain", captions_per_image=1).captions_per_image == 1


def test_functions_that_fail_are_named():
    register("advantage", "failing")(lambda rewards, weights: rewards.no_such_thing)
    register("advantage", "flat")(lambda rewards, weights: rewards.sum())
    with pytest.raises(RunError, match=r"advantage failing: failed: AttributeError: .*\(test_own_adv.*py, line \d+\)"):
        learned("failing")
    with pytest.raises(RunError, match=r"advantage flat: must give a number for each caption, \[\d, 4\]; it gave \[\]"):
        learned("flat")


def test_a_plugin_that_does_not_bring_it():
    stage = rl(kind="grpo").model_copy(update={"advantage": "later"})
    with pytest.raises(RecipeError, match="there is no advantage 'later'"):
        trainer(stage, materials())


def test_what_is_no_advantage_is_refused_before_anything_is_trained():
    """A run calls its advantage once beforehand: a warm-up of hours would be lost."""
    register("advantage", "number")(3)
    register("advantage", "neither")(type("Neither", (), {}))
    register("advantage", "wide")(lambda rewards, weights: rewards)
    for name, error, problem in (
        ("number", RecipeError, "advantage number: must be a function, or a class that extends AdvantageEstimator"),
        ("neither", RecipeError, "advantage neither: must be a function, or a class that extends"),
        ("wide", RunError, r"must give a number for each caption, \[1, 4\]; it gave \[1, 4, 2\]"),
    ):
        with pytest.raises(error, match=problem):
            try_advantage(rl(kind="grpo", advantage=name), 2)
    for name in ADVANTAGES:
        try_advantage(rl(kind="grpo", advantage=name), 2)
