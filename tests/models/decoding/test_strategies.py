"""Streams that are combined: guidance by the image, and ways of one's own."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from PIL import Image

import tiny_models
from capwright.models import load_policy
from capwright.models.decoding.sampling import invert, top_k_top_p_filter, uniform_noise
from capwright.models.decoding.strategies import Guidance, PlainSampling, combined, strategy_of
from capwright.plugins import register
from capwright.recipes import RlStage
from capwright.training.rollout import sampling_of
from capwright.types import RecipeError, Request, RunError, Sample, SamplingParams

WRITERS = {"llava": tiny_models.write_llava, "qwen2.5-vl": tiny_models.write_qwen25vl}
PROMPTS = ["Describe this.", "What is on the rug? Say it in one sentence.", "Toys?"]
LAYOUTS = pytest.mark.parametrize("layout", ["packed", "repeated"])


@pytest.fixture(scope="module", params=sorted(WRITERS))
def policy(request, tmp_path_factory):
    """Weights large enough that the image matters, and every twelfth token ends a caption."""
    policy = load_policy(WRITERS[request.param](tmp_path_factory.mktemp("tiny") / request.param))
    with torch.no_grad():
        policy.inner.get_output_embeddings().weight.mul_(8)
    policy.eos_ids = torch.arange(0, 300, 12)
    return policy


@pytest.fixture(scope="module")
def asked():
    requests = [Request(Sample(f"s{i}", Path(f"{i}")), prompt) for i, prompt in enumerate(PROMPTS)]
    sizes = [(60, 60), (112, 84), (40, 90)]
    pixels = [random.Random(i).randbytes(3 * w * h) for i, (w, h) in enumerate(sizes)]
    return requests, [Image.frombytes("RGB", size, data) for size, data in zip(sizes, pixels)]


def same(ours, right) -> bool:
    logprobs = [[[caption.logprob for caption in group] for group in batch.captions] for batch in (ours, right)]
    return (
        torch.equal(ours.tokens, right.tokens)
        and torch.equal(ours.entropy, right.entropy)
        and logprobs[0] == logprobs[1]
    )


@LAYOUTS
@pytest.mark.parametrize("temperature", [0.0, 1.0, 1.2])
def test_scale_1_is_plain_sampling_bit_for_bit(policy, asked, layout, temperature):
    policy.layout = layout
    prefixes, sampling = policy.encode(*asked), SamplingParams(temperature, top_p=0.95, max_tokens=12, seed=3)
    plain = policy.sample(prefixes, 3, sampling)
    assert same(policy.sample(prefixes, 3, sampling, strategy=Guidance(1.0)), plain)
    assert isinstance(strategy_of(sampling), PlainSampling)
    assert not same(policy.sample(prefixes, 3, sampling, strategy=Guidance(3.0)), plain)


@LAYOUTS
def test_scale_0_sees_nothing(policy, asked, layout):
    """Whatever the images are, the captions are those of the instruction alone."""
    policy.layout = layout
    requests, images = asked
    noise = uniform_noise(["a", "b", "c"], 3, 10)
    blind = policy.sample(policy.encode(requests, blind=True), 3, SamplingParams(max_tokens=10), noise)
    for shown in (images, images[::-1]):
        ours = policy.sample(policy.encode(requests, shown), 3, SamplingParams(max_tokens=10, guidance=0.0), noise)
        assert torch.equal(ours.tokens, blind.tokens)
        assert torch.allclose(ours.entropy, blind.entropy, atol=1e-4)
    assert not torch.equal(
        policy.sample(policy.encode(*asked), 3, SamplingParams(max_tokens=10), noise).tokens, blind.tokens
    )


@LAYOUTS
@pytest.mark.parametrize("sampling", [
    SamplingParams(temperature=0.0, max_tokens=14, guidance=2.5),
    SamplingParams(temperature=0.8, max_tokens=14, guidance=2.5),
    SamplingParams(temperature=1.0, top_p=0.7, max_tokens=14, guidance=0.4),
    SamplingParams(temperature=1.5, top_k=20, max_tokens=14, guidance=4.0),
])  # fmt: skip
def test_tokens_are_drawn_from_the_product_of_powers(policy, asked, layout, sampling):
    """p(token | image, words)^s * p(token | words)^(1 - s), of two plain passes over the finished captions."""
    policy.layout = layout
    noise = uniform_noise(["x", "y", "z"], 4, 14)
    groups = policy.sample(policy.encode(*asked), 4, sampling, noise)
    lengths = set(groups.mask.sum(-1).flatten().tolist())
    assert len(lengths) > 2 or sampling.temperature == 0  # captions leave the caches at different times
    with torch.no_grad():
        blind = groups.with_prefixes(policy.encode(asked[0], blind=True))
        seen, unseen = (policy.head.logits(policy._repeated(each)).log_softmax(-1) for each in (groups, blind))
    combined = (sampling.guidance * seen + (1 - sampling.guidance) * unseen).nan_to_num(nan=float("-inf"))
    combined = combined / (sampling.temperature or 1.0)
    logprobs = combined.log_softmax(-1)
    reported = torch.tensor([[caption.logprob for caption in group] for group in groups.captions])
    of_tokens = logprobs.gather(-1, groups.tokens.unsqueeze(-1)).squeeze(-1)
    assert torch.allclose((of_tokens * groups.mask).nan_to_num().sum(-1), reported, atol=2e-3)
    filtered = top_k_top_p_filter(combined[groups.mask], sampling.top_k, sampling.top_p)
    uniform = noise[..., : groups.tokens.shape[-1]][groups.mask]
    right = filtered.argmax(-1) if sampling.temperature == 0 else invert(filtered.softmax(-1), uniform)
    assert torch.equal(right, groups.tokens[groups.mask])


def test_guidance_moves_captions_towards_what_the_image_makes_likelier(policy, asked):
    """The more, the larger log p(caption | image) - log p(caption) is per token, on the whole."""
    policy.layout = "packed"
    gains = []
    for scale in (0.0, 1.0, 2.0, 4.0):
        groups = policy.sample(policy.encode(*asked), 16, SamplingParams(max_tokens=12, seed=0, guidance=scale))
        with torch.no_grad():
            gain = policy.logprobs(groups) - policy.logprobs(groups, blind=True)
        gains.append(float(gain.sum() / groups.mask.sum()))
    assert gains == sorted(gains)
    assert gains[0] < 0 < gains[2]


def test_tokens_that_are_never_said_stay_so(policy, asked):
    policy.layout = "packed"
    groups = policy.sample(
        policy.encode(*asked), 8, SamplingParams(temperature=3.0, max_tokens=20, seed=1, guidance=5.0)
    )
    assert not set(policy.head.suppressed.tolist()) & set(groups.tokens[groups.mask].tolist())
    assert torch.isfinite(groups.entropy).all()
    seen = torch.tensor([[1.0, float("-inf"), 0.0]])
    combined = Guidance(3.0).combine([seen, torch.tensor([[0.0, float("-inf"), 0.0]])], 0)
    assert combined.tolist() == [[3.0, float("-inf"), 0.0]]


class Twice:
    """Two instructions for one image, averaged."""

    policy_logprobs = False

    def __init__(self, instructions: list[str]):
        self.instructions, self.steps, self.sizes = instructions, [], []

    def prompts(self, prefixes, encode):
        samples = [request.sample for request in prefixes.requests]
        return [encode([Request(s, text) for s in samples], IMAGES) for text in self.instructions]

    def combine(self, logits, step):
        self.steps.append(step)
        self.sizes.append({len(one) for one in logits})
        return sum(logits) / len(logits)


IMAGES = [Image.new("RGB", (60, 60), color) for color in ("red", "blue", "green")]


@LAYOUTS
def test_a_strategy_of_ones_own(policy, asked, layout):
    policy.layout = layout
    sampling = SamplingParams(max_tokens=9, seed=2)
    requests = [Request(request.sample, "Toys?") for request in asked[0]]
    plain = policy.sample(policy.encode(requests, IMAGES), 2, sampling)
    equal = Twice(["Toys?", "Toys?"])
    found = policy.sample(policy.encode(requests, IMAGES), 2, sampling, strategy=equal)
    assert torch.equal(found.tokens, plain.tokens)
    assert equal.steps == list(range(found.tokens.shape[-1]))
    assert equal.sizes == [{int(n)} for n in found.mask.flatten(0, 1).sum(0)]
    mixed = policy.sample(policy.encode(requests, IMAGES), 2, sampling, strategy=Twice(["Toys?", PROMPTS[1]]))
    assert not torch.equal(mixed.tokens, plain.tokens)


def test_strategies_say_whose_log_probabilities_theirs_are(policy, asked):
    assert strategy_of(SamplingParams()).policy_logprobs
    assert Guidance(1.0).policy_logprobs
    assert not strategy_of(SamplingParams(guidance=1.5)).policy_logprobs
    prefixes = policy.encode(*asked)
    for scale in (-0.5, float("nan"), float("inf")):
        with pytest.raises(RunError, match="guidance .*: must be 0 or more; 1 is none"):
            policy.sample(prefixes, 1, SamplingParams(guidance=scale))


def test_strategies_of_plugins():
    class Own:
        policy_logprobs = True
        prompts = combine = None

    register("decoding", "own")(Own)
    assert isinstance(strategy_of(SamplingParams(strategy="own")), Own)
    assert strategy_of(SamplingParams(strategy="own")) is not strategy_of(SamplingParams(strategy="own"))
    register("decoding", "half")(object)
    register("decoding", "broken")(lambda: 1 / 0)
    for name, guidance, says in (
        ("half", 1.0, "strategy half: has no policy_logprobs"),
        ("broken", 1.0, "strategy broken: cannot be made: ZeroDivisionError"),
        ("owm", 1.0, "there is no decoding 'owm'; did you mean 'own'"),
        ("own", 2.0, "guidance 2: does not go with the strategy 'own'; leave it at 1"),
    ):
        with pytest.raises(RunError, match=says):
            strategy_of(SamplingParams(strategy=name, guidance=guidance))


def test_a_stage_learns_only_from_the_policy_itself():
    class Own:
        policy_logprobs = False
        prompts = combine = None

    register("decoding", "own")(Own)
    keys = {"name": "rl", "kind": "grpo", "steps": 1, "sampling": {"strategy": "own"}}
    stage = RlStage.model_validate(keys)
    with pytest.raises(RecipeError, match=r"stages\.rl\.sampling\.strategy: own draws captions from another"):
        sampling_of(stage)
    Own.policy_logprobs = True
    assert sampling_of(stage).strategy == "own"
    with pytest.raises(ValueError, match="there is no decoding 'owm'; did you mean 'own'"):
        RlStage.model_validate(keys | {"sampling": {"strategy": "owm"}})
    given = {"plugins": True}
    assert RlStage.model_validate(keys | {"sampling": {"strategy": "owm"}}, context=given).sampling.strategy == "owm"


def test_logits_of_another_shape_are_refused():
    class Own(PlainSampling):
        def combine(self, logits, step):
            return logits[0][:, :3] if step else None

    for step, gave in ((0, "NoneType"), (1, r"\[2, 3\]")):
        with pytest.raises(RunError, match=rf"strategy Own: combine must give \[2, 5\], not {gave}"):
            combined(Own(), [torch.zeros(2, 5)], step)


def test_logits_that_are_no_numbers_are_refused():
    """They would be drawn as captions without words, which score 0."""

    class Own:
        def combine(self, logits, step):
            return logits[0] * torch.nan

    with pytest.raises(RunError, match="strategy Own: combine gave NaN at step 3"):
        combined(Own(), [torch.ones(2, 5)], 3)
