"""Which images a step looks at: shuffled, as given, as a curriculum, or as a function of your own says."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.runs.plan import make_plan
from capwright.training.schedule import Order, learning_rate, make_order, stage_steps
from capwright.types import RecipeError, Sample
from toy_captioner import toy_materials
from toy_trainer import rl, sft, trainer


def with_meta(values, key: str = "difficulty") -> list[Sample]:
    return [Sample(f"s{i}", f"{i}.png", meta={key: value}) for i, value in enumerate(values)]


def passes(order: Order, number: int) -> list[int]:
    return [
        i for step in range(number * order.steps_per_pass, (number + 1) * order.steps_per_pass) for i in order[step]
    ]


@given(n=st.integers(1, 30), size=st.integers(1, 8), seed=st.integers(0, 99), step=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_step_is_a_pure_function(n, size, seed, step):
    order = Order(n, size, seed)
    assert order[step] == Order(n, size, seed)[step]
    assert len(order[step]) == len(set(order[step])) == min(n, size)
    assert set(order[step]) <= set(range(n))
    seen = passes(order, step % 3)
    assert len(seen) == len(set(seen)) == n - n % min(n, size)


def test_every_pass_has_an_order_of_its_own():
    order = Order(20, 4, seed=3)
    found = [passes(order, number) for number in range(4)]
    assert all(sorted(one) == list(range(20)) for one in found)
    assert len(set(map(tuple, found))) == 4
    assert passes(order, 0) == found[0]


def test_the_order_given_is_kept_in_every_pass():
    order = make_order(with_meta(range(6)), sft(order="given", images_per_step=2), seed=0)
    for number in range(3):
        assert passes(order, number) == [0, 1, 2, 3, 4, 5]


@given(values=st.lists(st.integers(-9, 9) | st.floats(-9, 9), min_size=4, max_size=12), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_curriculum_begins_with_the_easiest(values, seed):
    data = with_meta(values)
    order = make_order(data, sft(order="meta.difficulty", images_per_step=2), seed)
    first = passes(order, 0)
    assert [values[i] for i in first] == sorted(values)[: len(first)]
    plain = make_order(data, sft(images_per_step=2), seed)
    assert passes(order, 1) == passes(plain, 1)  # later passes are shuffled, as without a curriculum
    assert order[0] == first[:2]  # and going back works


@pytest.mark.parametrize("value", [None, "3", True, [1], math.nan, math.inf])
def test_a_sample_without_a_number_is_named(value):
    data = with_meta([1, 2.5, value])
    with pytest.raises(RecipeError, match=r"stages.sft.order: sample 's2' has no number meta.difficulty"):
        make_order(data, sft(order="meta.difficulty"), 0)
    with pytest.raises(RecipeError, match="sample 's0' has no number meta.age"):
        make_order(data, sft(order="meta.age"), 0)


def test_an_order_of_your_own():
    """`TrainingSetup.order` is asked instead, with data, stage and seed; whatever it gives is indexed by step."""
    asked, seen = [], []

    class Hardest:
        def __getitem__(self, step):
            return [11 - step % 3, 0]

    def hook(data, stage, seed):
        asked.append((len(data), stage.name, seed))
        return Hardest()

    materials = toy_materials(order=hook)
    it = trainer(rl(imitation={"batch": 12}), materials)
    honest = it.worker.rollout
    it.worker.rollout = lambda samples, *more: seen.append([s.id for s in samples]) or honest(samples, *more)
    rows = [it.step() for _ in range(4)]
    assert asked == [(12, "rl", 0)]
    assert seen == [["s11", "s0"], ["s10", "s0"], ["s9", "s0"], ["s11", "s0"]]
    assert [row["seen"] for row in rows] == [2, 2, 2, 2]


def test_the_trainer_follows_a_curriculum():
    materials = toy_materials()
    materials.data[:] = [Sample(s.id, s.image, s.references, meta={"age": -i}) for i, s in enumerate(materials.data)]
    it = trainer(sft(order="meta.age", images_per_step=4, target="references"), materials)
    assert [s.id for _ in range(3) for s in it._next_images()] == [f"s{i}" for i in reversed(range(12))]


def test_steps_of_a_stage():
    assert stage_steps(sft(steps=7), 100) == 7
    assert stage_steps(sft(steps=None, epochs=2, images_per_step=4), 10) == 4
    assert stage_steps(sft(steps=None, epochs=0.01, images_per_step=4), 10) == 1
    assert stage_steps(sft(steps=None, epochs=3, images_per_step=16), 5) == 3


def test_epochs_count_what_can_be_imitated():
    materials = toy_materials()
    materials.data[:] = [Sample(s.id, s.image, s.references if i < 4 else ()) for i, s in enumerate(materials.data)]
    stage = sft(steps=None, epochs=3, images_per_step=2, target="references")
    it = trainer(stage, materials)
    assert (len(it.data), it.steps) == (4, 6)
    recipe = SimpleNamespace(stages=[stage])
    assert [make_plan(recipe, data)[0].steps for data in (materials.data, 12, None)] == [6, 18, None]


@given(steps=st.integers(2, 40), warm=st.integers(0, 10), kind=st.sampled_from(["constant", "cosine", "linear"]))
@settings(max_examples=40, deadline=None)
def test_learning_rates_rise_then_never_rise_again(steps, warm, kind):
    stage = sft(learning_rate=0.5, warmup_steps=warm, schedule=kind)
    rates = [learning_rate(stage, step, steps) for step in range(1, steps + 1)]
    assert all(0 < rate <= 0.5 for rate in rates)
    top = max(warm - 1, 0)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == (0.5 if steps >= warm else rates[-1])
