"""Where TRL's GRPO, Dr.GRPO, DAPO and GDPO are sound, ours are the same numbers; where they are not, ours differ.

TRL's side is always TRL's own code, given completions, rewards and log-probabilities.
"""

from __future__ import annotations

import random

import pytest
import torch
from trl import GRPOTrainer

import tiny_models
import trl_toys
from capwright.recipes.stages import Imitation
from capwright.training import advantages
from capwright.training.advantages import route
from capwright.training.losses import loss_denominator, policy_loss, token_weights
from capwright.training.trl import RSRSTrainer

CLOSE = dict(rtol=1e-5, atol=1e-5)
GDPO = dict(multi_objective_aggregation="normalize_then_sum")
#: name: what TRL is told, our advantages, our normalizer
FAMILY = {
    "grpo": (dict(loss_type="grpo"), advantages.grpo, "sequence"),
    "dr_grpo": (dict(loss_type="dr_grpo", scale_rewards="none"), advantages.dr_grpo, "constant"),
    "dapo": (dict(loss_type="dapo", epsilon_high=0.28), advantages.grpo, "token"),
    "gdpo": (dict(loss_type="dapo", **GDPO), advantages.gdpo, "token"),
}
LONGEST = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_models.write_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def given(model, tmp_path):
    """A TRL trainer, and the rows of one generation, for rewards [P, G, K]; completions are fixed by the seed."""

    def make(rewards, kind=RSRSTrainer, weights=None, seed=0, **options):
        images, captions, k = rewards.shape
        table = {}
        views = [lambda samples, said, k=k: trl_toys.Values([[table[said[i][0].tokens][k]] for i in range(len(said))])
                 for k in range(k)]  # fmt: skip
        size = dict(per_device_train_batch_size=images * captions, num_generations=captions)
        it = trl_toys.trainer(
            model, tmp_path, trl_toys.rewards(*views, weights=weights), Imitation(batch=50), kind,
            max_completion_length=LONGEST, **(size | options),
        )  # fmt: skip
        if weights is not None:
            it.reward_weights = torch.tensor(weights)
        chance = random.Random(seed)
        rows = [it.train_dataset[i % 6] for i in range(images) for _ in range(captions)]
        ids = [[10 + i // 200, 10 + i % 200, *chance.choices(range(10, 250), k=chance.randint(0, LONGEST - 2))]
               for i in range(len(rows))]  # fmt: skip
        table.update({tuple(said): row.tolist() for said, row in zip(ids, rewards.flatten(0, 1))})
        texts = [[{"role": "assistant", "content": ""}] for _ in rows]

        def generate(prompts):
            asked, seen, _ = it._tokenize_prompts(prompts)
            return asked, ids, None, texts, None, {}, seen, []

        it._generate = generate
        it.model.train()
        return it, rows

    return make


def draw(images, captions, k=1, seed=0):
    return torch.rand(images, captions, k, generator=torch.Generator().manual_seed(seed)).round(decimals=2)


def trl_advantages(given, rewards, **options):
    it, rows = given(rewards, GRPOTrainer, **options)
    return it._generate_and_score_completions(rows)["advantages"].double().view(rewards.shape[:2])


# where they agree ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize(("captions", "k"), [(2, 1), (8, 1), (4, 2), (8, 4), (5, 3)])
def test_the_same_advantages(given, name, captions, k):
    told, method, _ = FAMILY[name]
    rewards, weights = draw(3, captions, k), [1.0, 0.25, 2.0, 0.5][:k]
    theirs = trl_advantages(given, rewards, weights=weights, **told)
    assert theirs.abs().max() > 0.1
    torch.testing.assert_close(method(rewards, torch.tensor(weights)), theirs, **CLOSE)


@pytest.mark.parametrize("name", FAMILY)
def test_the_same_loss_and_gradient_when_the_policy_has_moved(given, name):
    """Ratios from 0.5 to 2, on both sides of both clips, and signs of the advantage with each."""
    told, _, normalizer = FAMILY[name]
    it, rows = given(draw(3, 4, 2), GRPOTrainer, **told)
    batch = it._generate_and_score_completions(rows)
    shape = batch["completion_mask"].shape
    generator = torch.Generator().manual_seed(1)
    old = -3 * torch.rand(shape, generator=generator)
    new = (old + 1.4 * torch.rand(shape, generator=generator) - 0.7).requires_grad_()
    it._get_per_token_logps_and_entropies = lambda *args, **named: (new, torch.zeros(shape), None)
    it.current_gradient_accumulation_steps = 1
    theirs = it._compute_loss(it.model, batch | {"old_per_token_logps": old})
    ours = our_loss(new, old, batch["advantages"], batch["completion_mask"], normalizer, told.get("epsilon_high", 0.2))
    torch.testing.assert_close(ours, theirs, **CLOSE)
    torch.testing.assert_close(*(torch.autograd.grad(loss, new)[0] for loss in (ours, theirs)), **CLOSE)
    assert theirs.abs() > 1e-3


def our_loss(new, old, signal, mask, normalizer, high=0.2, captions=4):
    groups = (-1, captions, mask.shape[1])
    mask = mask.bool().view(groups)
    weights = token_weights(mask, normalizer, loss_denominator(mask, normalizer, LONGEST))
    return policy_loss(new.view(groups), old.view(groups), signal.view(-1, captions), weights, 0.2, high)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("per_generation", [1, 2, 4])
@pytest.mark.parametrize("iterations", [1, 2])
def test_the_adapter_has_our_loss_however_the_step_is_cut(given, name, accumulation, per_generation, iterations):
    """RSRSTrainer on live, failed, saturated and unknown groups; ours on the live ones alone, in one piece."""
    told, method, normalizer = FAMILY[name]
    rewards = draw(4, 8, 2)
    rewards[1], rewards[2] = 0.0, 0.7
    rewards[3, 5, 1] = torch.nan
    it, rows = given(
        rewards, per_device_train_batch_size=32 // per_generation, gradient_accumulation_steps=accumulation,
        steps_per_generation=per_generation, num_iterations=iterations, **told,
    )  # fmt: skip
    states = route(rewards)
    assert states.counts() == {"live": 1, "failed": 1, "saturated": 1, "unknown": 1}
    it.current_gradient_accumulation_steps = accumulation
    total, signal, tokens, seen = 0.0, [], [], []
    for _ in range(per_generation):
        inputs = it._prepare_inputs(rows)
        it._step += 1
        seen.append(it._get_per_token_logps_and_entropies(it.model, *model_inputs(inputs))[0])
        signal.append(inputs["advantages"])
        tokens.append(inputs["completion_mask"])
        total = total + it.compute_loss(it.model, inputs) * accumulation / per_generation
    assert it.buffer.take(9) == ["s1"]
    seen, signal, tokens = torch.cat(seen), torch.cat(signal), torch.cat(tokens).bool()
    live = tokens.any(1)
    assert int(live.sum()) == 8
    torch.testing.assert_close(signal[live].double().sort()[0], method(rewards[:1]).flatten().sort()[0], **CLOSE)
    own = our_loss(seen[live], seen[live].detach(), signal[live], tokens[live], normalizer, captions=8)
    torch.testing.assert_close(own, total, **CLOSE)
    found = [torch.autograd.grad(loss, it.model.lm_head.weight, retain_graph=True)[0] for loss in (own, total)]
    torch.testing.assert_close(*found, **CLOSE)
    assert found[0].abs().max() > 1e-4


def model_inputs(inputs):
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    seen = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    rest = (None, False, False, inputs["pixel_values"], None, inputs["num_images"])
    return ids, seen, inputs["completion_ids"].shape[1], *rest


# where they differ, and why -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("captions", "k"), [(8, 1), (8, 4), (8, 5), (7, 2), (16, 4)])
def test_constant_groups_are_noise_to_trl_and_nothing_to_us(given, captions, k):
    """Each image has constants of its own, no group says anything: whitening divides rounding errors by themselves."""
    rewards = draw(4, 1, k, seed=1).expand(4, captions, k)
    theirs = trl_advantages(given, rewards, loss_type="dapo", **GDPO)
    assert theirs.abs().max() > 0.3  # as large as real advantages
    assert (advantages.gdpo(rewards) == 0).all()
    it, rows = given(rewards, RSRSTrainer, loss_type="dapo", **GDPO)
    batch = it._generate_and_score_completions(rows)
    assert (batch["advantages"] == 0).all()
    assert batch["num_items_in_batch"] == 0


@pytest.mark.parametrize("dead", [4, 12])
def test_dead_groups_scale_live_advantages_in_trl_only(given, dead):
    """TRL whitens over all rows: live advantages grow with the square root of the share of dead ones."""
    live = draw(4, 8, 2)
    rewards = torch.cat([live, torch.zeros(dead, 8, 2)])
    alone = trl_advantages(given, live, **GDPO)
    theirs = trl_advantages(given, rewards, **GDPO)[:4]
    growth = (4 + dead) / 4
    torch.testing.assert_close(
        theirs.square().mean() / alone.square().mean(), torch.tensor(growth).double(), rtol=0.05, atol=0
    )
    torch.testing.assert_close(advantages.gdpo(rewards)[:4], alone, **CLOSE)


@pytest.mark.parametrize("name", FAMILY)
def test_dead_groups_shrink_the_loss_in_trl_only(given, name):
    """Their captions stay in TRL's denominator. Compared at the same advantages, so that whitening plays no part."""
    told, _, _ = FAMILY[name]
    live, dead = draw(2, 4, 1, seed=3), torch.zeros(2, 4, 1)
    found = {}
    for kind in (GRPOTrainer, RSRSTrainer):
        for rewards in (live, torch.cat([live, dead])):
            it, rows = given(rewards, kind, **told)
            batch = it._generate_and_score_completions(rows)
            batch["advantages"][:8] = advantages.grpo(live).flatten().float()
            it.current_gradient_accumulation_steps = 1
            torch.manual_seed(0)
            loss = it.compute_loss(it.model, batch)
            found[kind, len(rewards)] = torch.autograd.grad(loss, it.model.lm_head.weight)[0]
    torch.testing.assert_close(found[RSRSTrainer, 4], found[RSRSTrainer, 2], **CLOSE)
    torch.testing.assert_close(found[RSRSTrainer, 2], found[GRPOTrainer, 2], **CLOSE)
    shrunk = found[GRPOTrainer, 4].norm() / found[GRPOTrainer, 2].norm()
    assert 0.3 < shrunk < 0.7


def test_an_unknown_reward_is_a_zero_to_trl_and_unknown_to_us(given):
    """A judge that did not answer for one caption: TRL sums what is left, as if the judge had said 0."""
    rewards = torch.tensor([[[1.0, 1.0], [1.0, 1.0], [1.0, torch.nan], [1.0, 1.0]], [[0.0, 0.0]] * 3 + [[1.0, 1.0]]])
    theirs = trl_advantages(given, rewards)
    assert theirs[0, 2] < -1.4  # punished for it
    torch.testing.assert_close(theirs[0], advantages.grpo(rewards.nan_to_num(0.0))[0], **CLOSE)
    ours = advantages.grpo(rewards)
    assert ours[0, 2].isnan()
    assert (ours[0, [0, 1, 3]] == 0).all()  # the others are equally good
    it, rows = given(rewards)
    batch = it._generate_and_score_completions(rows)
    assert (batch["advantages"].view(2, 4)[0] == 0).all()
    torch.testing.assert_close(batch["advantages"].view(2, 4)[1].double(), theirs[1], **CLOSE)
    assert len(it.buffer) == 0


def test_a_judge_that_is_down_fails_nothing(given):
    """All rewards unknown beside a reward of form that is 0: TRL and a plain all-zero rule would call it a failure."""
    rewards = torch.stack([torch.full((3, 4), torch.nan), torch.zeros(3, 4)], -1)
    it, rows = given(rewards)
    batch = it._generate_and_score_completions(rows)
    assert len(it.buffer) == 0
    assert batch["num_items_in_batch"] == 0
    assert it._metrics["train"]["rsrs/unknown"] == [3]
