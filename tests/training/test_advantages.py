"""Properties that the advantages of widely used libraries lack, and the published examples."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.training import advantages
from capwright.training.advantages import dr_grpo, gdpo, grpo, mean_baseline, rloo, scst

ALL = [grpo, dr_grpo, rloo, gdpo]
ROOT = math.sqrt(0.5)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("group", range(2, 18))
@pytest.mark.parametrize("k", range(1, 6))
def test_constant_groups_give_exactly_zero(method, group, k):
    generator = torch.Generator().manual_seed(100 * group + k)
    for dtype in (torch.float32, torch.float64):
        constant = torch.rand(16, 1, k, generator=generator, dtype=dtype) * 3 - 1
        assert (method(constant.expand(16, group, k), torch.rand(k, generator=generator)) == 0).all()


@given(value=st.floats(-1e6, 1e6), group=st.integers(2, 17), k=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_constant_at_any_value(value, group, k):
    for method in ALL:
        assert (method(torch.full((3, group, k), value)) == 0).all()


@given(
    seed=st.integers(0, 10_000),
    live=st.integers(1, 5),
    dead=st.integers(1, 12),
    group=st.integers(2, 9),
    k=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_dead_groups_change_nothing(seed, live, dead, group, k):
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.rand(live, group, k, generator=generator)
    constants = torch.rand(dead, 1, k, generator=generator).expand(dead, group, k)
    weights = torch.rand(k, generator=generator) + 0.1
    for method in ALL:
        alone, together = method(rewards, weights), method(torch.cat([constants, rewards]), weights)
        assert (together[:dead] == 0).all()
        torch.testing.assert_close(together[dead:], alone, rtol=1e-12, atol=1e-12)


@given(seed=st.integers(0, 10_000), group=st.integers(2, 9), k=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_groups_sum_to_zero_and_unknown_stays_unknown(seed, group, k):
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.rand(4, group, k, generator=generator)
    for method in ALL:
        torch.testing.assert_close(method(rewards).sum(1), torch.zeros(4, dtype=torch.float64), atol=1e-9, rtol=0)
    rewards[0, 0, 0] = torch.nan
    for method in ALL:
        found = method(rewards)
        assert found[0, 0].isnan()
        assert not found[0, 1:].isnan().any()
        assert not found[1:].isnan().any()


def test_unknown_captions_do_not_enter_the_mean():
    rewards = torch.tensor([[0.0, 1.0, torch.nan, 0.5]])
    for method in (grpo, dr_grpo, rloo):
        torch.testing.assert_close(method(rewards)[:, [0, 1, 3]], method(rewards[:, [0, 1, 3]]))


def test_a_group_of_unknowns_is_all_unknown():
    for method in ALL:
        assert method(torch.full((2, 4), torch.nan)).isnan().all()


def test_gdpo_two_by_two_example_of_the_paper():
    """Two rollouts, two binary rewards: totals (0, 1) and (0, 2) are told apart; GRPO on the sum cannot."""
    one = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    two = torch.tensor([[[0.0, 0.0], [1.0, 1.0]]])
    near = {"atol": 1e-3, "rtol": 0, "check_dtype": False}
    torch.testing.assert_close(gdpo(one, whiten=False), torch.tensor([[-ROOT, ROOT]]), **near)
    torch.testing.assert_close(gdpo(two, whiten=False), torch.tensor([[-2 * ROOT, 2 * ROOT]]), **near)
    for rewards in (one, two):
        torch.testing.assert_close(grpo(rewards), torch.tensor([[-ROOT, ROOT]]), **near)


def test_gdpo_is_the_plain_formula_where_that_is_sound():
    rewards = torch.rand(6, 8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    plain = (((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)) * weights).sum(2)
    torch.testing.assert_close(gdpo(rewards, weights), plain / (plain.std() + 1e-4))


def test_gdpo_ignores_rewards_without_weight():
    rewards = torch.rand(2, 4, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(gdpo(rewards, torch.tensor([1.0, 0.0])), gdpo(rewards[..., :1]))
    assert (gdpo(rewards, torch.zeros(2)) == 0).all()


@pytest.mark.parametrize("method", ALL)
def test_rewards_without_weight_may_be_unknown(method):
    rewards = torch.rand(2, 4, 2, generator=torch.Generator().manual_seed(1))
    rewards[..., 1] = torch.nan
    torch.testing.assert_close(method(rewards, torch.tensor([1.0, 0.0])), method(rewards[..., :1]))


@pytest.mark.parametrize("name", ["scst", "mean_baseline", "rloo", "grpo", "dr_grpo", "gdpo"])
def test_public_names(name):
    """All on [P, G] and [P, G, K] alike; float64 [P, G] comes back, and the rewards are left as they were."""
    method = getattr(advantages, name)
    rewards = torch.rand(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    options = {"scst": {"greedy": torch.zeros(3)}, "mean_baseline": {"mean": torch.tensor(0.5)}}.get(name, {})
    flat, deep = method(rewards, **options), method(rewards.unsqueeze(-1), **options)
    assert (flat.shape, flat.dtype, flat.requires_grad) == ((3, 4), torch.float64, False)
    assert torch.equal(flat, deep)


def test_scst_is_the_distance_from_the_greedy_caption():
    rewards = torch.tensor([[0.2, 0.9], [0.5, 0.5]])
    found = scst(rewards, greedy=torch.tensor([0.5, 0.25]))
    torch.testing.assert_close(found, torch.tensor([[-0.3, 0.4], [0.25, 0.25]]), check_dtype=False)
    alone = scst(rewards[:, :1], greedy=torch.tensor([[0.5], [0.25]]))  # one caption is enough
    assert torch.equal(found[:, :1], alone)


def test_mean_baseline_is_the_distance_from_the_mean():
    rewards, scale = torch.tensor([[[0.2, 1.0]], [[0.6, 0.0]]]), torch.tensor([1.0, 0.5])
    found = mean_baseline(rewards, scale, mean=torch.tensor([0.4, 0.5]))
    torch.testing.assert_close(found, torch.tensor([[0.05], [-0.05]]), check_dtype=False)


@given(seed=st.integers(0, 9999), group=st.integers(1, 5), k=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_a_baseline_from_outside_is_taken_off_reward_by_reward(seed, group, k):
    generator = torch.Generator().manual_seed(seed)
    rewards, scale = torch.rand(3, group, k, generator=generator), torch.rand(k, generator=generator)
    base = torch.rand(3, k, generator=generator)
    expected = ((rewards - base.unsqueeze(1)) * scale).sum(2)
    torch.testing.assert_close(scst(rewards, scale, greedy=base), expected, check_dtype=False)
    expected = ((rewards - base[0]) * scale).sum(2)
    torch.testing.assert_close(mean_baseline(rewards, scale, mean=base[0]), expected, check_dtype=False)


def test_an_unknown_baseline_leaves_only_its_own_image_unknown():
    rewards = torch.ones(2, 3, 2)
    greedy = torch.tensor([[0.5, torch.nan], [0.5, 0.5]])
    assert scst(rewards, greedy=greedy)[0].isnan().all()
    assert not scst(rewards, greedy=greedy)[1].isnan().any()
    assert not scst(rewards, torch.tensor([1.0, 0.0]), greedy=greedy).isnan().any()  # nothing needs to know it
    assert mean_baseline(rewards, mean=torch.tensor([0.5, torch.nan])).isnan().all()


def test_wrong_numbers_of_rewards():
    rewards = torch.ones(2, 3, 2)
    for call in (
        lambda: scst(rewards, greedy=torch.zeros(2)),
        lambda: scst(rewards, greedy=torch.zeros(2, 3)),
        lambda: mean_baseline(rewards, mean=torch.zeros(3)),
    ):
        with pytest.raises(ValueError, match="the baseline has [13] rewards, the captions have 2"):
            call()
    for method in ALL:
        with pytest.raises(ValueError, match="there are 3 weights for 2 rewards"):
            method(rewards, torch.ones(3))


@given(seed=st.integers(0, 9999), group=st.integers(2, 9), unknown=st.booleans())
@settings(max_examples=25, deadline=None)
def test_rloo_leaves_each_caption_out_of_its_own_baseline(seed, group, unknown):
    rewards = torch.rand(2, group + unknown, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if unknown:
        rewards[:, -1] = torch.nan
    found, known = rloo(rewards)[:, :group], rewards[:, :group]
    for i in range(group):
        others = torch.cat([known[:, :i], known[:, i + 1 :]], 1)
        torch.testing.assert_close(found[:, i], known[:, i] - others.mean(1))
    torch.testing.assert_close(found, dr_grpo(rewards)[:, :group] * group / (group - 1))  # the identity


def test_rloo_is_the_mean_of_the_others():
    rewards = torch.tensor([[0.0, 1.0, 0.5]])
    torch.testing.assert_close(rloo(rewards), torch.tensor([[-0.75, 0.75, 0.0]], dtype=torch.float64))


def test_dr_grpo_keeps_the_scale():
    torch.testing.assert_close(dr_grpo(torch.tensor([[0.0, 0.2]])), torch.tensor([[-0.1, 0.1]], dtype=torch.float64))


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"\[P, G\]"):
        advantages.grpo(torch.zeros(3))
