"""Scorers as rewards: conditions, length, floors of an image's own, and what happens when a scorer fails."""

from __future__ import annotations

import copy
import math
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.recipes import parse_recipe
from capwright.recipes.rewards import OnlyIf, Overlong
from capwright.training.advantages import gdpo, route
from capwright.training.rewards import LengthReward, Rewards, make_rewards, measure, only_if, within
from capwright.types import Caption, ImageError, RecipeError, RunError, Sample
from toy_captioner import Values, toy_materials
from toy_trainer import constant, rl, trainer

NAN = math.nan


def table(*rows):
    """A view that always gives the same numbers."""
    return lambda samples, captions: Values([list(row) for row in rows])


def rewards(views, **options) -> Rewards:
    k = len(views)
    return Rewards(views, **{"weights": (1.0,) * k, "gates": (True,) * k, "floors": (0.0,) * k} | options)


def samples(n: int = 1, *references: str) -> list[Sample]:
    return [Sample(f"s{i}", Path(f"{i}.png"), references) for i in range(n)]


def group(*texts: str) -> list[Caption]:
    return [Caption(text, tuple(range(1, 2 + len(text.split())))) for text in texts]


# conditions ---------------------------------------------------------------------------------------------------------


def test_an_easy_reward_waits_for_a_hard_one():
    """GDPO eq. 8: r_easy where r_hard >= t, else 0; unknown where r_hard is. Then only the hard one tells who leads."""
    views = {"easy": table([1.0, 1.0, 0.8, 0.9]), "hard": table([0.2, 0.5, 0.7, NAN])}
    found = rewards(views, conditions={"easy": OnlyIf(of="hard", at_least=0.5)})(samples(), [group("a", "b", "c", "d")])
    torch.testing.assert_close(found.values[0, :, 0], torch.tensor([0.0, 1.0, 0.8, NAN]).double(), equal_nan=True)
    torch.testing.assert_close(found.values[0, :, 1], torch.tensor([0.2, 0.5, 0.7, NAN]).double(), equal_nan=True)
    first, second, third, fourth = gdpo(found.values)[0]
    assert first < min(second, third)
    assert fourth.isnan()


def test_language_counts_only_at_a_reasonable_length():
    """BalCapRL: between half and twice the length of the references, both ends included; nothing else is touched."""
    texts = ["one", "one two", "one two three four", "1 2 3 4 5 6 7 8", "1 2 3 4 5 6 7 8 9"]
    views = {"language": constant(0.7), "recall": constant(0.4)}
    rule = OnlyIf(of="length_ratio", at_least=0.5, at_most=2.0)
    found = rewards(views, conditions={"language": rule})(samples(1, "a b c d"), [group(*texts)]).values[0]
    assert found[:, 0].tolist() == [0.0, 0.7, 0.7, 0.7, 0.0]
    assert found[:, 1].tolist() == [0.4] * 5
    nobody_knows = rewards(views, conditions={"language": rule})(samples(), [group(*texts)]).values[0]
    assert nobody_knows[:, 0].isnan().all()
    assert not nobody_knows[:, 1].isnan().any()


@pytest.mark.parametrize("order", ["abc", "cba", "bac"])
def test_a_chain_of_conditions_reads_what_scorers_said(order):
    """a waits for b, b for c: a looks at b as it was measured, whether or not c let it count."""
    views = {"a": table([1.0, 1.0]), "b": table([0.9, 0.1]), "c": table([0.0, 1.0])}
    rules = {"a": OnlyIf(of="b", at_least=0.5), "b": OnlyIf(of="c", at_least=0.5)}
    found = rewards({name: views[name] for name in order}, conditions=rules)(samples(), [group("x", "y")]).values[0]
    values = dict(zip(order, found.T.tolist()))
    assert values == {"a": [1.0, 0.0], "b": [0.0, 0.1], "c": [0.0, 1.0]}


def test_a_condition_that_failed_is_unknown_not_zero():
    def broken(samples, captions):
        raise OSError("down")

    views = {"easy": constant(1.0), "hard": broken}
    found = rewards(views, conditions={"easy": OnlyIf(of="hard", at_least=0.5)})(samples(), [group("a", "b")])
    assert found.values.isnan().all()
    assert found.failures == {"hard": 2}
    assert route(found.values).unknown.tolist() == [True]


@given(seed=st.integers(0, 9999), low=st.none() | st.floats(-1, 1), high=st.none() | st.floats(-1, 1))
@settings(max_examples=30, deadline=None)
def test_bounds_are_inclusive(seed, low, high):
    generator = torch.Generator().manual_seed(seed)
    values, given_ = torch.rand(3, 4, generator=generator), torch.rand(3, 4, generator=generator) * 2 - 1
    if low is not None:
        given_[0, 0] = low
    rule = OnlyIf.model_construct(of="x", at_least=low, at_most=high)
    found = only_if(values, given_, rule)
    for value, x, out in zip(values.flatten().tolist(), given_.double().flatten().tolist(), found.flatten().tolist()):
        inside = (low is None or x >= torch.tensor(low)) and (high is None or x <= torch.tensor(high))
        assert out == (value if inside else 0.0)


# length -------------------------------------------------------------------------------------------------------------


@given(soft=st.integers(0, 6), width=st.integers(1, 6), words=st.integers(0, 15))
@settings(max_examples=40, deadline=None)
def test_overlong_falls_from_one_to_zero(soft, width, words):
    view = LengthReward(Overlong(of="words", soft=soft, hard=soft + width))
    (value,) = view(samples(), [group(" ".join(["word"] * words))]).values[0].tolist()
    if words <= soft:
        assert value == 1.0
    elif words >= soft + width:
        assert value == 0.0
    else:
        assert value == pytest.approx((soft + width - words) / width)


def test_tokens_of_captions_that_no_captioner_said_are_unknown():
    said, given_ = Caption("a b", (5, 6, 2)), Caption("a b")
    assert measure("tokens", samples(), [[said, said]]).tolist() == [[3.0, 3.0]]
    assert LengthReward(Overlong(soft=1, hard=9))(samples(), [[given_]]).values.isnan().all()
    assert measure("words", samples(), [[said, given_]]).tolist() == [[2.0, 2.0]]
    with pytest.raises(ValueError, match="'letters': use one of words, tokens, length_ratio"):
        measure("letters", samples(), [[said]])


def test_the_ratio_of_lengths_is_over_the_mean_of_the_references():
    said = [group("one two three", "1 2 3 4 5 6")]
    assert measure("length_ratio", samples(1, "a b", "a b c d"), said).tolist() == [[1.0, 2.0]]


# floors -------------------------------------------------------------------------------------------------------------


def spoken_length(samples, captions):
    """A continuous reward that is never 0."""
    return Values([[0.1 + len(caption.text.split()) / 20 for caption in row] for row in captions])


def test_the_floor_follows_the_best_reference():
    given_ = rewards({"r": spoken_length, "s": constant(0.5)}, floors=(0.2, 0.3), margins={"r": 0.05})
    with_them, without = samples(1, "a b", "a b c d")[0], Sample("t", Path("t.png"))
    floors = given_.floors_of([with_them, without])
    torch.testing.assert_close(floors, torch.tensor([[0.1 + 4 / 20 - 0.05, 0.3], [0.2, 0.3]]).double())
    assert given_.floors_of([]).shape == (0, 2)


def test_a_floor_that_can_not_be_measured_falls_back():
    view = table([NAN, NAN])
    assert rewards({"r": view}, floors=(0.2,), margins={"r": 0.05}).floors_of(samples(1, "a", "b")).tolist() == [[0.2]]


def test_references_are_measured_once():
    asked = []

    def view(samples, captions):
        asked.append([caption.text for row in captions for caption in row])
        return spoken_length(samples, captions)

    given_ = rewards({"r": view}, margins={"r": 0.0})
    for _ in range(3):
        given_.floors_of(samples(2, "a b"))
    assert asked == [["a b"], ["a b"]]  # one call for each of the two images


def test_an_outage_does_not_settle_the_floor():
    """What could not be measured once is asked for again."""
    down = [True]

    def view(samples, captions):
        if down[0]:
            raise OSError("down")
        return spoken_length(samples, captions)

    given_ = rewards({"r": view}, margins={"r": 0.0})
    assert given_.floors_of(samples(1, "a b")).tolist() == [[0.0]]
    down[0] = False
    assert given_.floors_of(samples(1, "a b")).tolist() == [[0.2]]


def test_captions_far_from_an_expert_fail_under_a_continuous_reward():
    """Nothing is ever 0 here, so a fixed floor of 0 sees no failure; a margin of the reference's own reward does."""
    found = {}
    for margins in ({}, {"r": 0.05}):
        materials = toy_materials()
        materials.data[:] = [
            Sample(s.id, s.image, ("a toy on a rug on a board on a rug",), meta=s.meta) for s in materials.data
        ]
        materials.rewards = rewards({"r": spoken_length}, margins=margins)
        it = trainer(rl(sampling={"max_tokens": 5}), materials)
        row = it.step()
        found[bool(margins)] = row["groups"]["failed"], row["imitated"]
    assert found == {False: (0, 0), True: (6, 4)}


# failures -----------------------------------------------------------------------------------------------------------


def fails_for(name: str):
    def view(samples, captions):
        if any(sample.id == name for sample in samples):
            raise OSError("broken file")
        return Values([[float(len(caption.text) % 3) for caption in row] for row in captions])

    return view


def test_an_image_that_breaks_a_scorer_is_lost_alone():
    found = rewards({"r": fails_for("s1"), "other": constant(1.0)})(samples(3), [group("a", "bb")] * 3)
    assert found.values[..., 0].isnan().any(1).tolist() == [False, True, False]
    assert not found.values[..., 1].isnan().any()
    assert found.failures == {"r": 2}
    assert found.why == {"r": "OSError: broken file"}


def test_a_scorer_that_answers_too_late_leaves_its_batch_unknown_and_the_run_goes_on():
    release, late = threading.Event(), [True]

    def view(samples, captions):
        if late[0]:
            release.wait(5)
        return Values([[float("blue" in caption.text) for caption in row] for row in captions])

    materials = toy_materials()
    materials.rewards = rewards({"r": view}, timeouts={"r": 0.05})
    said = []
    it = trainer(rl(max_failures=1.0), materials, say=said.append)
    row = it.step()
    release.set()
    assert row["groups"]["unknown"] == 6
    assert row["failures"] == {"r": 24}
    assert (row["reward"], row["loss"], len(it.buffer)) == ({"r": None}, None, 0)
    (warning,) = said
    assert "24 captions without a reward: {'r': 'TimeoutError: no answer within 0.05 s'}" in warning
    late[0] = False
    row = it.step()
    assert row["groups"]["unknown"] == 0
    assert "failures" not in row


def test_within():
    assert within(None, lambda: 1) == within(5.0, lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 / 0)


def test_too_many_failures_end_the_run():
    """The share counts from the beginning of the stage, and a resumed run remembers it."""
    materials = toy_materials(views={"judge": fails_for("s1"), "other": constant(0.5)})
    it = trainer(rl(images_per_step=12, max_failures=0.05, patience=9), materials)
    with pytest.raises(RunError, match=r"stage 'rl' step 1: reward 'judge' could not be measured for 8% .*broken file"):
        it.step()
    it = trainer(rl(images_per_step=12, max_failures=0.09, patience=9), materials)
    it.step()
    assert (it.counts["judged"], it.counts["failures"]) == (48, 4)
    state = copy.deepcopy(it.state_dict())
    it = trainer(rl(images_per_step=12, max_failures=0.5, patience=9), materials)
    it.load_state_dict(state)
    it.step()
    assert (it.counts["judged"], it.counts["failures"]) == (96, 8)


def test_wrong_numbers_of_rewards_say_so():
    materials = toy_materials(views={"r": lambda samples, captions: Values([[0.5]] * len(samples))})
    with pytest.raises(RunError, match=r"reward 'r' .*got \[1, 1\] rewards for \[1, 4\] captions"):
        trainer(rl(), materials).step()


def test_unknown_rewards_never_enter_the_buffer():
    """s1 has no reward, the others failed: all but s1 wait for an expert."""

    def view(samples, captions):
        return Values([[NAN if s.id == "s1" and g == 0 else 0.0 for g in range(len(row))] for s, row in
                       zip(samples, captions)])  # fmt: skip

    it = trainer(rl(images_per_step=12, imitation={"batch": 12}), toy_materials(views={"r": view}))
    row = it.step()
    assert row["groups"] == {"live": 0, "failed": 11, "saturated": 0, "unknown": 1}
    assert "s1" not in it.buffer
    assert len(it.buffer) == 11


def test_a_step_without_any_readable_image():
    """No caption, no reward, no share of failures: an idle step, and the reason is said."""
    said = []

    def gone(path):
        raise ImageError(f"{path}: does not exist")

    materials = toy_materials()
    materials.open_image = gone
    row = trainer(rl(), materials, say=said.append).step()
    assert (row["loss"], row["reward"], row["tokens"]) == (None, {"tts": None}, 0)
    assert len(said) == 6


# recipes ------------------------------------------------------------------------------------------------------------


def recipe(**given_):
    stages = [{"name": "rl", "kind": "grpo", "steps": 1}]
    return parse_recipe({"name": "t", "data": {"path": "x"}, "stages": stages, "rewards": given_})


def test_recipes_become_rewards():
    made = make_rewards(
        recipe(
            length={"output": "words", "range": [0, 10], "weight": 0.5, "timeout": 60, "margin": 0.1},
            short={"overlong": {"of": "words", "soft": 2, "hard": 4}, "only_if": {"of": "length", "at_least": 0.1}},
        ),
        samples(1, "a b c"),
        {},
    )
    assert (made.weights, made.gates, made.floors) == ((0.5, 1.0), (True, False), (0.0, 0.0))
    assert (made.timeouts, made.margins) == ({"length": 60.0}, {"length": 0.1})
    found = made(samples(1, "a b c"), [group("", "a b", "a b c", "a b c d e")]).values[0]
    torch.testing.assert_close(found[:, 0], torch.tensor([0.0, 0.2, 0.3, 0.5]).double())
    assert found[:, 1].tolist() == [0.0, 1.0, 0.5, 0.0]


def test_a_wrong_reward_is_named():
    with pytest.raises(RecipeError, match=r"rewards\.tsst: there is no scorer"):
        make_rewards(recipe(tsst={}), samples(1, "a"), {})
