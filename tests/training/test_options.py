"""What the options of a reinforcement stage do to a step: resampling, baselines, cuts, penalties, and what is told."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import capwright.training.trainer as module
from capwright.models import load_policy
from capwright.recipes.rewards import Overlong
from capwright.training.losses import kl
from capwright.training.monitors import STUCK
from capwright.training.rewards import LengthReward, Rewards
from capwright.training.rollout import TrainingSetup, by_budget
from capwright.types import Sample, SamplingParams
from tiny_models import write_llava
from toy_captioner import NAMES, ToyData, Values, says, toy_materials
from toy_trainer import constant, rl, trainer, unchanged, weights


def differs(*live: int, otherwise: float = 1.0):
    """Captions of some images are worth different things; of the others, all the same."""

    def view(samples, captions):
        return Values(
            [
                [g / len(row) for g in range(len(row))] if int(sample.image.stem) in live else [otherwise] * len(row)
                for sample, row in zip(samples, captions)
            ]
        )

    return view


# resampling ---------------------------------------------------------------------------------------------------------


def resampling(view, **options):
    stage = rl(**{"kind": "rl", "on_failed": "resample", "images_per_step": 3, "patience": 99} | options)
    return trainer(stage, toy_materials(views={"r": view}))


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_resampling_is_bounded_and_counts_every_image(rounds):
    it = resampling(constant(0.0), resample_rounds=rounds)
    row = it.step()
    assert row["seen"] == 3 * (rounds + 1)
    assert sum(row["groups"].values()) == row["groups"]["failed"] == row["seen"]
    assert it.counts["drawn"] == rounds + 1
    assert (row["imitated"], row["buffer"], row["loss"]) == (0, 0, None)


def test_resampling_stops_when_enough_groups_are_live():
    everything = resampling(differs(*range(12)))
    assert everything.step()["seen"] == 3
    some = resampling(differs(*range(0, 12, 2)), resample_rounds=9)
    for _ in range(5):
        row = some.step()
        assert row["groups"]["live"] >= 3
        assert row["seen"] <= 12  # half of the images are live: one pass is always enough
        assert row["loss"] is not None
    dropping = resampling(differs(*range(0, 12, 2)), on_failed="drop")
    assert [dropping.step()["seen"] for _ in range(4)] == [3] * 4


def test_resampling_goes_on_bit_for_bit():
    """Steps look at different numbers of images, so the place in the data is not the number of the step."""
    whole = resampling(differs(0, 3, 5, 6), resample_rounds=2)
    for _ in range(4):
        whole.step()
    assert whole.counts["drawn"] > whole.counts["done"] == 4
    half = resampling(differs(0, 3, 5, 6), resample_rounds=2)
    half.policy.model.load_state_dict(weights(whole))
    half.load_state_dict(copy.deepcopy(whole.state_dict()))
    for _ in range(4):
        assert whole.step() == half.step()
    assert unchanged(weights(whole), half)


# saturated and truncated --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_saturated_groups_that_are_kept_bear_the_penalty_alone(beta):
    """Compared with each other their captions teach nothing: kept or dropped is the same, but for a KL in the loss."""
    rows = {}
    for what in ("drop", "keep"):
        materials = toy_materials(views={"r": differs(0, 1, 2, 3, 4, 5)})
        materials.policy.freeze_reference()
        with torch.no_grad():
            materials.policy.model.see.bias[6:] += torch.linspace(-1, 1, 6)
        it = trainer(rl(kind="grpo", on_saturated=what, kl={"beta": beta}), materials)
        rows[what] = it.step()
        assert 0 < rows[what]["groups"]["live"] < 6
    assert (rows["keep"]["grad_norm"] == rows["drop"]["grad_norm"]) == (beta == 0)
    assert (rows["keep"]["loss"] == rows["drop"]["loss"]) == (beta == 0)


@pytest.mark.parametrize("advantage", ["grpo", "dr_grpo", "rloo", "gdpo", "scst", "mean_baseline"])
def test_only_a_baseline_from_outside_learns_from_saturated_groups(advantage):
    """All captions earn 1: more than the greedy caption, or than the steps before, but no more than each other."""
    step = [0]

    def view(samples, captions):
        greedy = len(captions[0]) == 1
        return Values([[0.5 if greedy or step[0] == 0 else 1.0] * len(row) for row in captions])

    it = trainer(rl(kind="rl", advantage=advantage), toy_materials(views={"r": view}))
    for step[0] in range(2):
        before = weights(it)
        row = it.step()
    assert row["groups"]["saturated"] == 6
    outside = advantage in ("scst", "mean_baseline")
    assert (row["loss"] is not None) == (not unchanged(before, it)) == outside


@pytest.mark.parametrize("masked", [True, False])
def test_captions_that_were_all_cut_off(masked):
    materials = toy_materials(views={"r": differs(*range(12))})
    materials.policy.model.see.bias.data[0] = -30.0  # the end is never said
    it = trainer(rl(kind="grpo", mask_truncated=masked, sampling={"max_tokens": 2}), materials)
    row = it.step()
    assert row["truncated"] == 1.0
    assert (row["loss"] is None) == masked


# micro-batches ------------------------------------------------------------------------------------------------------


@given(costs=st.lists(st.integers(1, 50), max_size=20), budget=st.integers(1, 120))
@settings(max_examples=60, deadline=None)
def test_micro_batches_by_tokens(costs, budget):
    batches = by_budget(costs, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(costs)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(costs[i] for i in batch) <= budget
    order = [costs[i] for batch in batches for i in batch]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("inner_epochs", [1, 2])
def test_a_token_budget_changes_the_cut_and_nothing_else(inner_epochs):
    found, cuts = {}, {}
    for budget in (None, 60, 30, 1):
        materials = toy_materials(views={"blue": says("blue"), "tts": says()})
        options = {"images_per_step": 12, "imitation": {"batch": 2}, "inner_epochs": inner_epochs}
        it = trainer(rl(micro_tokens=budget, **options), materials)
        honest, parts = it._backward, []
        it._backward = lambda given_, *more, parts=parts, honest=honest, **first: (
            parts.append(given_) or honest(given_, *more, **first)
        )
        row = it.step()
        assert row["groups"]["live"] > 3
        assert row["imitated"] == 2
        found[budget] = weights(it)
        live = [part for part in parts[0] if part.advantages is not None]
        cuts[budget] = [it.policy.row_tokens(part.groups) for part in live]
    for budget in (60, 30, 1):
        for name, value in found[budget].items():
            torch.testing.assert_close(value, found[None][name], rtol=1e-4, atol=1e-5)
        assert all(len(costs) == 1 or len(costs) * max(costs) <= budget for costs in cuts[budget])
        costs = [cost for cut in cuts[budget] for cost in cut]
        assert costs == sorted(costs, reverse=True)  # what may not fit into memory comes first
    assert len(cuts[None]) == 1 < len(cuts[60]) < len(cuts[30]) < len(cuts[1]) == len(costs)


# baselines ----------------------------------------------------------------------------------------------------------


def test_scst_compares_with_the_greedy_caption():
    """What the captioner says by itself is taken from a greedy pass on the same encoded images."""
    materials = toy_materials(views={"blue": says("blue"), "red": says("red")})
    heats = []
    honest = materials.policy.sample
    materials.policy.sample = lambda prefixes, n, sampling, *more: (
        heats.append((n, sampling.temperature)) or honest(prefixes, n, sampling, *more)
    )
    it = trainer(rl(kind="rl", advantage="scst", captions_per_image=1), materials)
    rollout, _, _ = it._rollout()
    assert heats == [(1, 1.0), (1, 0.0)]
    assert materials.policy.encoded == 6
    prefixes = it.worker.encode([materials.data.by_id(one.sample_id) for one in rollout.records])
    said = honest(prefixes, 1, SamplingParams(temperature=0.0, max_tokens=6))
    expected = it.rewards([request.sample for request in prefixes.requests], said.captions).values[:, 0]
    assert torch.equal(rollout.stacked("greedy"), expected)
    advantages = it.estimator.advantages(rollout, it.estimator.route(rollout))
    for place, row in advantages.items():
        torch.testing.assert_close(row, (rollout.records[place].values - expected[place]).sum(-1))


def test_scst_learns():
    materials = toy_materials(views={"blue": says("blue")})
    materials.rewards = Rewards(materials.rewards.views, (1.0,), (False,), (0.0,))
    it = trainer(rl(kind="rl", advantage="scst", captions_per_image=1, steps=80, learning_rate=0.1), materials)
    rows = [it.step() for _ in range(80)]
    early, late = (sum(row["reward"]["blue"] for row in some) / 10 for some in (rows[:10], rows[-10:]))
    assert late > early + 0.3


def test_the_running_mean_comes_from_earlier_steps_and_goes_on():
    def make():
        stage = rl(kind="rl", advantage="mean_baseline", captions_per_image=2, baseline_memory=0.75)
        materials = toy_materials(views={"blue": says("blue"), "red": says("red")})
        materials.rewards = Rewards(materials.rewards.views, (1.0, 0.5), (False, False), (0.0, 0.0))
        return trainer(stage, materials)

    whole = make()
    whole.step()
    mean = whole.estimator.mean.clone()
    rollout, _, _ = whole._rollout()
    advantages = whole.estimator.advantages(rollout, whole.estimator.route(rollout))
    values = rollout.values(2)
    assert len(advantages) == 6
    for place, row in advantages.items():
        torch.testing.assert_close(row, ((values[place] - mean) * torch.tensor([1.0, 0.5])).sum(-1))
    torch.testing.assert_close(whole.estimator.mean, 0.75 * mean + 0.25 * values.flatten(0, 1).mean(0))
    half = make()
    half.policy.model.load_state_dict(weights(whole))
    half.load_state_dict(copy.deepcopy(whole.state_dict()))
    assert torch.equal(half.estimator.mean, whole.estimator.mean)
    for _ in range(3):
        assert whole.step() == half.step()
    assert unchanged(weights(whole), half)


def test_the_running_mean_waits_for_rewards_that_are_unknown():
    it = trainer(rl(kind="rl", advantage="mean_baseline"), toy_materials(views={"r": constant(float("nan"))}))
    it.step()
    assert it.estimator.mean.isnan().all()
    it.rewards.views["r"] = constant(0.5)
    it.step()
    it.rewards.views["r"] = constant(float("nan"))
    it.step()
    assert it.estimator.mean.tolist() == [0.5]


# ratios and penalties -----------------------------------------------------------------------------------------------


def test_ratios_of_several_inner_epochs_are_true(monkeypatch):
    """The captions' probabilities before the first update stay the denominator; today's are the numerator."""
    seen = []
    honest = module.policy_loss

    def watched(logprobs, old, advantages, weights, low, high):
        seen.append((logprobs.detach().clone(), old.clone(), (low, high)))
        return honest(logprobs, old, advantages, weights, low, high)

    monkeypatch.setattr(module, "policy_loss", watched)
    materials = toy_materials(views={"blue": says("blue")})
    stage = rl(kind="grpo", inner_epochs=3, clip={"low": 0.1, "high": 0.3}, sampling={"max_tokens": 6})
    it = trainer(stage, materials)
    it.step()
    (first, old, clip), (second, same, _), (third, same_again, _) = seen
    assert torch.equal(old, same)
    assert torch.equal(old, same_again)
    assert clip == (0.1, 0.3)
    torch.testing.assert_close(first, old)
    assert not torch.allclose(second, old, atol=1e-3)
    assert not torch.allclose(third, second, atol=1e-3)
    assert it.counts["updates"] == 3


def said_with(at: dict[str, torch.Tensor], groups, temperature: float) -> torch.Tensor:
    """Log-probabilities [P, G, T] of captions under the toy captioner's weights `at`, written out."""
    seen = at["look.weight"][groups.prefixes.images] @ at["see.weight"].T + at["see.bias"]
    before = torch.cat([torch.ones_like(groups.tokens[..., :1]), groups.tokens[..., :-1]], -1)
    logits = seen[:, None, None] + at["follow.weight"][before]
    chances = torch.softmax(logits / temperature, -1).gather(-1, groups.tokens.unsqueeze(-1)).squeeze(-1)
    return torch.where(groups.mask, chances.log(), 0.0)


@pytest.mark.parametrize("surrogate", ["clip", "reinforce"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_all_probabilities_are_those_that_captions_were_drawn_with(monkeypatch, temperature, surrogate):
    """At a sampling temperature other than 1: today's, those before the first update and those of the reference. A
    caption that somebody else gave was not drawn, and is learned at 1."""
    reinforced, given_, penalized = [], [], []

    def watch(name, seen):
        honest = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *values: seen.append(values) or honest(*values))

    watch("policy_loss" if surrogate == "clip" else "reinforce_loss", reinforced)
    watch("imitation_loss", given_)
    watch("kl", penalized)
    materials = toy_materials(views={"blue": says("blue"), "tts": says()})
    materials.policy.freeze_reference()
    with torch.no_grad():
        materials.policy.model.see.bias[6:] += torch.linspace(-1, 1, 6)
    several = {"inner_epochs": 2} if surrogate == "clip" else {"surrogate": "reinforce"}
    sampling = {"max_tokens": 6, "temperature": temperature}
    options = {"images_per_step": 12, "imitation": {"batch": 2}, "kl": {"beta": 0.1}, "sampling": sampling}
    it = trainer(rl(**options, **several), materials)
    honest, parts, at = it._loss, [], []
    it._loss = lambda part, *more: parts.append(part) or at.append(weights(it)) or honest(part, *more)
    assert it.step()["imitated"] == 2

    live = [(part, now) for part, now in zip(parts, at) if part.advantages is not None]
    assert len(live) == len(reinforced) == len(penalized) == (2 if surrogate == "clip" else 1)
    reference = materials.policy.reference.state_dict()
    for (part, now), values, (logprobs, held, _) in zip(live, reinforced, penalized):
        assert part.mask.any(-1).all()
        today = said_with(now, part.groups, temperature)
        for said in (values[0], logprobs):
            torch.testing.assert_close(said.detach(), today, rtol=1e-5, atol=1e-5)
        if surrogate == "clip":
            torch.testing.assert_close(values[1], said_with(at[0], part.groups, temperature), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(held, said_with(reference, part.groups, temperature), rtol=1e-5, atol=1e-5)
    if surrogate == "clip":
        assert not torch.allclose(reinforced[1][0].detach(), reinforced[1][1], atol=1e-3)  # the second update moved
    (lesson,) = [(part, now) for part, now in zip(parts, at) if part.advantages is None]
    ((logprobs, *_),) = given_
    torch.testing.assert_close(logprobs.detach(), said_with(lesson[1], lesson[0].groups, 1.0), rtol=1e-5, atol=1e-5)


def test_the_weight_of_imitation_scales_that_term_and_nothing_else():
    """Loss and gradient are those of the captions of the step, plus `weight` times those of the experts."""

    def look(**options):
        materials = toy_materials(views={"blue": says("blue"), "tts": says()})
        materials.policy.freeze_reference()
        with torch.no_grad():
            materials.policy.model.see.bias[6:] += torch.linspace(-1, 1, 6)
        it = trainer(rl(images_per_step=12, kl={"beta": 0.1}, max_grad_norm=1e9, **options), materials)
        honest, gradient = it._update, []
        it._update = lambda: gradient.append([p.grad.clone() for p in it.parameters]) or honest()
        row = it.step()
        assert row["groups"]["live"] > 0
        return row, gradient[0]

    plain, without = look(kind="rl", on_failed="drop")
    half, with_half = look(imitation={"batch": 2, "weight": 0.5})
    experts = [2 * (b - a) for a, b in zip(without, with_half)]  # of the imitation term at a weight of 1
    assert max(float(term.abs().max()) for term in experts) > 0.01
    assert half["imitated"] == 2
    for weight in (0.25, 1.0, 3.0):
        row, found = look(imitation={"batch": 2, "weight": weight})
        for term in ("loss_policy", "kl"):
            assert row[term] == plain[term]
        assert row["loss_imitation"] == half["loss_imitation"] > 0
        assert row["loss"] == pytest.approx(plain["loss"] + weight * row["loss_imitation"], abs=3e-6)
        for gradient, live, expert in zip(found, without, experts):
            torch.testing.assert_close(gradient, live + weight * expert, rtol=1e-4, atol=1e-5)


def test_imitation_joins_the_first_of_several_updates():
    """One expert caption is one lesson, however often the captions of a step are reused."""
    materials = toy_materials(views={"blue": says("blue"), "tts": says()})
    it = trainer(rl(images_per_step=12, imitation={"batch": 2}, inner_epochs=3), materials)
    honest, kinds = it._backward, []
    it._backward = lambda parts, *more, **first: (
        kinds.append([part.advantages is None for part in parts]) or honest(parts, *more, **first)
    )
    assert it.step()["imitated"] == 2
    assert kinds == [[False, True], [False], [False]]


@pytest.mark.parametrize(("advantage", "estimator"), [("dr_grpo", "k1"), ("dr_grpo", "k3"), ("scst", "k1"),
                                                      ("mean_baseline", "k1")])  # fmt: skip
def test_kl_in_the_reward(advantage, estimator):
    """The penalty of a whole caption is taken off its summed reward, before captions are compared; a baseline from
    outside the group has none."""
    materials = toy_materials(views={"blue": says("blue")})
    materials.policy.freeze_reference()
    with torch.no_grad():
        materials.policy.model.see.bias[6:] += torch.linspace(-1, 1, 6)
    penalty = {"beta": 0.3, "place": "reward", "estimator": estimator}
    it = trainer(rl(kind="grpo", advantage=advantage, kl=penalty), materials)
    rollout, _, _ = it._rollout()
    states = it.estimator.route(rollout)
    advantages = it.estimator.advantages(rollout, states)
    picked = states.live | states.saturated if advantage != "dr_grpo" else states.live
    assert list(advantages) == picked.nonzero().flatten().tolist() != []
    ((chunk, places),) = rollout.by_chunk()
    gap = kl(it.policy.logprobs(chunk).detach(), it.policy.reference_logprobs(chunk), estimator)
    worth = rollout.values(1)[..., 0] - 0.3 * (gap * chunk.mask).sum(-1).double()
    for place, row in advantages.items():
        base = {"dr_grpo": worth[place].mean(), "mean_baseline": rollout.values(1).mean()}
        expected = worth[place] - (rollout.records[place].greedy if advantage == "scst" else base[advantage])
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-6)
    assert places == list(range(6))
    row = it.step()
    assert row["loss"] == row["loss_policy"]
    assert "kl" not in row  # it is in the reward, not in the loss


# what is told -------------------------------------------------------------------------------------------------------


def test_failures_are_told():
    def fails(samples, captions):
        if any(sample.id in ("s1", "s2") for sample in samples):
            raise OSError("no such judge")
        return says("blue")(samples, captions)

    said = []
    it = trainer(rl(images_per_step=12), toy_materials(views={"r": fails}), say=said.append)
    row = it.step()
    assert row["failures"] == {"r": 8}
    assert row["groups"]["unknown"] == 2
    assert said == ["warning: stage 'rl' step 1: 8 captions without a reward: {'r': 'OSError: no such judge'}"]
    it.step()
    assert len(said) == 1


def test_no_alarm_watches_a_reward_of_length():
    """It follows length by design, and where captions are short enough it is 1 for all of them."""
    short = LengthReward(Overlong(of="words", soft=90, hard=99))
    heard = []
    given = Rewards({"r": differs(*range(12)), "short": short}, (1.0, 1.0), (True, False), (0.0, 0.0))
    it = trainer(rl(kind="grpo"), dataclasses.replace(toy_materials(), rewards=given))
    for _ in range(STUCK + 1):
        row = it.step()
        heard += [text for text in row["alarms"] if "short" in text]
    assert heard == []
    assert list(row["length_correlation"]) == ["r"]


def test_entropy_of_a_real_model_is_told(tmp_path):
    """It cannot exceed the logarithm of the vocabulary, and a cold captioner is surer of itself."""
    data = ToyData()
    for i in range(2):
        Image.new("RGB", (40, 30), (100 * i, 50, 200)).save(tmp_path / f"{i}.png")
        data.append(Sample(f"s{i}", tmp_path / f"{i}.png", (f"a {NAMES[i]}",)))
    rewards = Rewards({"r": differs(0, 1)}, (1.0,), (True,), (0.0,))
    found = {}
    for temperature in (1.0, 0.05):
        policy = load_policy(write_llava(tmp_path / f"llava-{temperature}"), layout="packed")
        materials = TrainingSetup(policy, data, "two", rewards, lambda path: Image.open(path).convert("RGB"))
        stage = rl(kind="grpo", images_per_step=2, sampling={"max_tokens": 4, "temperature": temperature})
        found[temperature] = trainer(stage, materials).step()["entropy"]
        limit = float(torch.tensor(policy.inner.get_output_embeddings().out_features).log())
        assert 0 < found[temperature] < limit
    assert found[0.05] < found[1.0]


def test_the_final_whitening_of_gdpo_is_a_switch():
    """Two stages alike but for `whiten` learn from advantages that differ by one factor for the whole step."""
    views = {
        "a": says(),
        "b": lambda samples, captions: Values([[len(c.text) % 3 / 2 for c in row] for row in captions]),
    }
    found = []
    for whiten in (True, False):
        it = trainer(rl(kind="rl", on_failed="drop", advantage="gdpo", whiten=whiten), toy_materials(views=views))
        found.append(it.step())
    assert found[0]["groups"] == found[1]["groups"]
    assert found[0]["groups"]["live"]
    whitened, plain = (row["loss"] for row in found)
    assert abs(plain) > 1e-3
    assert abs(whitened / plain - 1) > 1e-3
