"""Group states, the buffer, losses, the order of images and the learning rate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.recipes.stages import SftStage
from capwright.training.advantages import STATES, route
from capwright.training.buffer import Buffer
from capwright.training.losses import imitation_loss, kl, loss_denominator, policy_loss, reinforce_loss, token_weights
from capwright.training.schedule import Order, learning_rate
from capwright.types import Sample

NAN = float("nan")


def state(rewards, **options) -> str:
    found = route(torch.tensor([rewards]), **options)
    (only,) = [name for name in STATES if getattr(found, name)[0]]
    return only


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([0.0, 0.5], "live"),
        ([0.0, 0.0], "failed"),
        ([1.0, 1.0], "saturated"),
        ([0.5, 0.5 + 1e-9], "saturated"),
        ([-0.2, -0.1], "failed"),
        ([NAN, NAN], "unknown"),
        ([0.0, NAN], "unknown"),
        ([1.0, NAN], "unknown"),
    ],
)
def test_one_reward(rewards, expected):
    assert state(rewards) == expected


@pytest.mark.parametrize(
    ("rewards", "options", "expected"),
    [
        ([[0.0, 0.9], [0.0, 0.1]], {"gates": [True, False]}, "failed"),  # good form does not save a wrong name
        ([[0.0, 0.9], [0.0, 0.1]], {}, "live"),  # both are gates: one is passed
        ([[0.5, 0.9], [0.5, 0.1]], {"gates": [True, False]}, "live"),
        ([[0.5, 0.9], [0.5, 0.1]], {"gates": [True, False], "weights": [1.0, 0.0]}, "saturated"),
        ([[0.1, 0.0], [0.2, 0.0]], {"floors": [0.3, 0.0]}, "failed"),
        ([[0.0, 0.0], [0.0, 0.0]], {"gates": [False, False]}, "saturated"),  # without a gate nothing fails
        ([[0.0, NAN], [0.0, 1.0]], {"gates": [True, False]}, "unknown"),  # an outage is not a failure
        ([[0.0, NAN], [0.0, 1.0]], {"gates": [False, True], "weights": [1.0, 0.0]}, "unknown"),
        ([[0.0, NAN], [0.0, 1.0]], {"gates": [True, False], "weights": [1.0, 0.0]}, "failed"),  # nothing needs it
        ([[0.0, NAN], [0.5, 1.0]], {"gates": [True, False], "weights": [1.0, 0.0], "summed": True}, "live"),
        ([[0.2, 0.8], [0.8, 0.2]], {"summed": True}, "saturated"),  # GRPO sees the sum
        ([[0.2, 0.8], [0.8, 0.2]], {"summed": False}, "live"),  # GDPO sees the parts
    ],
)
def test_several_rewards(rewards, options, expected):
    assert state(rewards, **options) == expected


@given(seed=st.integers(0, 9999), images=st.integers(0, 6), group=st.integers(2, 5), k=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_every_group_has_exactly_one_state(seed, images, group, k):
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randint(0, 2, (images, group, k), generator=generator).float()
    rewards[torch.rand(rewards.shape, generator=generator) < 0.1] = NAN
    found = route(rewards)
    assert (sum(getattr(found, name).int() for name in STATES) == 1).all()
    assert sum(found.counts().values()) == images


def sample(name: str) -> Sample:
    return Sample(name, Path(f"{name}.png"))


def test_buffer_is_first_in_first_out_without_doubles():
    buffer = Buffer()
    assert buffer.add([sample("a"), sample("b"), sample("a")]) == 2
    assert buffer.add([sample("a"), sample("c")]) == 1
    assert buffer.take(2) == ["a", "b"]
    buffer.add([sample("a")])
    assert list(buffer) == ["c", "a"]
    assert "c" in buffer
    again = Buffer()
    again.load_state_dict(buffer.state_dict())
    assert again.take(9) == ["c", "a"]
    assert len(again) == 0
    assert len(buffer) == 2


@pytest.mark.parametrize("normalizer", ["token", "sequence", "constant"])
def test_micro_batches_add_up_to_the_same_loss(normalizer):
    generator = torch.Generator().manual_seed(0)
    logprobs = -torch.rand(6, 4, 7, generator=generator)
    mask = torch.rand(6, 4, 7, generator=generator) < 0.7
    advantages = torch.randn(6, 4, generator=generator)
    total = loss_denominator(mask, normalizer, 9)
    assert loss_denominator(mask[:2], normalizer, 9) + loss_denominator(mask[2:], normalizer, 9) == total

    def loss(rows):
        weights = token_weights(mask[rows], normalizer, total)
        return policy_loss(logprobs[rows], logprobs[rows] - 0.1, advantages[rows], weights)

    whole = loss(slice(None))
    torch.testing.assert_close(loss(slice(0, 1)) + loss(slice(1, 4)) + loss(slice(4, 6)), whole)
    expected = int(mask.sum()) / total if normalizer == "constant" else 1.0
    assert token_weights(mask, normalizer, total).sum() == pytest.approx(expected)


def test_what_a_token_weighs():
    """Two captions of one and three tokens, and one that is masked altogether."""
    mask = torch.tensor([[[True, False, False], [True, True, True], [False, False, False]]])
    for normalizer, first, second in (
        ("token", 1 / 4, 1 / 4),
        ("sequence", 1 / 2, 1 / 6),
        ("constant", 1 / 10, 1 / 10),
    ):
        weights = token_weights(mask, normalizer, loss_denominator(mask, normalizer, 5))
        expected = torch.tensor([[[first, 0.0, 0.0], [second] * 3, [0.0] * 3]])
        torch.testing.assert_close(weights, expected)
    nothing = torch.zeros_like(mask)
    assert (token_weights(nothing, "sequence", loss_denominator(nothing, "sequence")) == 0).all()


def gradient_of(loss, *tensors) -> torch.Tensor:
    (found,) = torch.autograd.grad(loss, tensors)
    return found


@given(seed=st.integers(0, 9999), low=st.floats(0.01, 0.9), high=st.floats(0.01, 2.0))
@settings(max_examples=25, deadline=None)
def test_on_policy_the_surrogate_has_the_gradient_of_reinforce(seed, low, high):
    generator = torch.Generator().manual_seed(seed)
    logprobs = -torch.rand(2, 3, 4, generator=generator).requires_grad_()
    advantages, weights = torch.randn(2, 3, generator=generator), torch.rand(2, 3, 4, generator=generator)
    clipped = policy_loss(logprobs, logprobs.detach(), advantages, weights, low, high)
    plain = reinforce_loss(logprobs, advantages, weights)
    torch.testing.assert_close(gradient_of(clipped, logprobs), gradient_of(plain, logprobs))
    torch.testing.assert_close(clipped.detach(), -(weights * advantages.unsqueeze(-1)).sum())


@given(seed=st.integers(0, 9999), low=st.floats(0.05, 0.5), high=st.floats(0.05, 0.5))
@settings(max_examples=25, deadline=None)
def test_clipped_tokens_have_no_gradient_and_the_others_their_ratio(seed, low, high):
    """Several epochs on one rollout: `old` stays, the ratio moves, and only moving further away is stopped."""
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand(3, 4, 5, generator=generator)
    logprobs = (old + torch.randn(3, 4, 5, generator=generator) * 0.4).requires_grad_()
    advantages, weights = torch.randn(3, 4, generator=generator), torch.rand(3, 4, 5, generator=generator) + 0.1
    found = gradient_of(policy_loss(logprobs, old, advantages, weights, low, high), logprobs)
    ratio, signal = (logprobs - old).exp().detach(), advantages.unsqueeze(-1)
    stopped = ((signal > 0) & (ratio > 1 + high)) | ((signal < 0) & (ratio < 1 - low))
    assert (found[stopped] == 0).all()
    torch.testing.assert_close(found[~stopped], (-weights * signal * ratio)[~stopped])


def test_the_ratio_corrects_for_the_policy_that_spoke():
    """Without clipping, and in expectation over the old policy, the gradient is that of today's expected reward."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(7, generator=generator, dtype=torch.float64).requires_grad_()
    old = torch.randn(7, generator=generator, dtype=torch.float64).log_softmax(-1)
    reward = torch.rand(7, generator=generator, dtype=torch.float64)
    logprobs = theta.log_softmax(-1)
    each = policy_loss(logprobs.view(7, 1, 1), old.view(7, 1, 1), reward.view(7, 1), old.exp().view(7, 1, 1), 0.99, 1e6)
    torch.testing.assert_close(gradient_of(each, theta), -gradient_of((theta.softmax(-1) * reward).sum(), theta))


@given(seed=st.integers(0, 9999), size=st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_kl_in_expectation(seed, size):
    """On a vocabulary small enough to sum over. Values: k1 and k3 are unbiased. Gradients as a term of the loss: none
    of k1, that of KL(policy || reference) of k2, that of KL(reference || policy) of k3."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_()
    reference = torch.randn(size, generator=generator, dtype=torch.float64).log_softmax(-1)
    logprobs = theta.log_softmax(-1)
    p, q = logprobs.exp(), reference.exp()
    exact, backward = (p * (logprobs - reference)).sum(), (q * (reference - logprobs)).sum()
    expected = {name: (p.detach() * kl(logprobs, reference, name)).sum() for name in ("k1", "k2", "k3")}
    torch.testing.assert_close(expected["k1"], exact)
    torch.testing.assert_close(expected["k3"], exact)
    gradients = {name: torch.autograd.grad(value, theta, retain_graph=True)[0] for name, value in expected.items()}
    torch.testing.assert_close(gradients["k1"], torch.zeros_like(theta), atol=1e-12, rtol=0)
    torch.testing.assert_close(gradients["k2"], torch.autograd.grad(exact, theta, retain_graph=True)[0])
    torch.testing.assert_close(gradients["k3"], gradient_of(backward, theta))


def test_k2_is_close_where_policies_are():
    reference = torch.linspace(0, 1, 5, dtype=torch.float64).log_softmax(-1)
    logprobs = (reference + torch.tensor([0.01, -0.01, 0.0, 0.01, -0.01])).log_softmax(-1)
    exact = float((logprobs.exp() * (logprobs - reference)).sum())
    assert float((logprobs.exp() * kl(logprobs, reference, "k2")).sum()) == pytest.approx(exact, rel=0.02)


def test_kl_estimators_have_names():
    with pytest.raises(ValueError, match="'k4': use k1, k2 or k3"):
        kl(torch.zeros(1), torch.zeros(1), "k4")


def test_phi_weighs_tokens_by_how_undecided_they_are():
    likely = torch.tensor([0.5, 0.99, 0.01, 0.9])
    logprobs, weights = likely.log().requires_grad_(), torch.full((4,), 0.25)
    found = gradient_of(imitation_loss(logprobs, weights, phi=True), logprobs)
    torch.testing.assert_close(found, -weights * likely * (1 - likely))  # the factor itself has no gradient
    assert found.argmin() == 0
    plain = gradient_of(imitation_loss(logprobs, weights), logprobs)
    assert (found.abs() <= plain.abs() / 4 + 1e-7).all()


def test_clipping_is_one_sided_and_asymmetric():
    weights = torch.ones(1, 1, 1)
    old = torch.zeros(1, 1, 1)

    def gradient(ratio: float, advantage: float) -> float:
        new = torch.tensor([[[ratio]]]).log().requires_grad_()
        policy_loss(new, old, torch.tensor([[advantage]]), weights, 0.2, 0.28).backward()
        return new.grad.item()

    assert gradient(1.29, 1.0) == 0.0
    assert gradient(1.27, 1.0) == pytest.approx(-1.27)
    assert gradient(0.79, -1.0) == 0.0
    assert gradient(0.5, 1.0) == pytest.approx(-0.5)  # moving back is always allowed
    assert gradient(2.0, -1.0) == pytest.approx(2.0)


def test_kl_is_never_negative_and_zero_at_home():
    logprobs = torch.randn(100)
    assert (kl(logprobs, torch.randn(100)) >= 0).all()
    assert (kl(logprobs, logprobs) == 0).all()


def test_imitation_is_mean_negative_log_likelihood():
    mask = torch.tensor([[[True, True, False]], [[True, False, False]]])
    logprobs = torch.tensor([[[-1.0, -2.0, 0.0]], [[-3.0, 0.0, 0.0]]])
    assert imitation_loss(logprobs, token_weights(mask, "token", 3)) == pytest.approx(2.0)
    assert imitation_loss(logprobs, token_weights(mask, "sequence", 2)) == pytest.approx(2.25)


def test_order_is_seeded_and_never_repeats_within_a_pass():
    order, same, other = Order(10, 3, 1), Order(10, 3, 1), Order(10, 3, 2)
    batches = [order[step] for step in range(6)]
    assert batches == [same[step] for step in range(6)]
    assert batches != [other[step] for step in range(6)]
    for number in range(2):
        seen = [i for batch in batches[3 * number : 3 * number + 3] for i in batch]
        assert len(set(seen)) == len(seen) == 9
    assert same[0] == batches[0]  # going back works
    assert sorted(Order(2, 5, 0)[7]) == [0, 1]


def test_learning_rate():
    stage = SftStage(name="a", kind="sft", steps=10, learning_rate=1.0, warmup_steps=2, schedule="linear")
    rates = [learning_rate(stage, step, 10) for step in range(1, 11)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[-1] == pytest.approx(0.125)
    cosine = stage.model_copy(update={"schedule": "cosine", "warmup_steps": 0})
    assert learning_rate(cosine, 1, 10) == 1.0
    assert learning_rate(cosine, 6, 10) == pytest.approx(0.5)
