"""How tokens are drawn: by inverse cumulative distribution, from noise that belongs to an image."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import tiny_models
from capwright.models import load_policy
from capwright.models.decoding.sampling import generate, invert, sample_token, top_k_top_p_filter, uniform_noise
from capwright.types import ModelError, Request, Sample, SamplingParams

WRITERS = {"llava": tiny_models.write_llava, "qwen2.5-vl": tiny_models.write_qwen25vl}
PROMPTS = ["Describe this.", "What is on the rug? Say it in one sentence.", "Toys?", "Describe the two children."]


def test_a_row_of_noise_depends_on_its_key_alone():
    many, one = uniform_noise(["a", "b", "c"], 4, 16), uniform_noise(["b"], 4, 16)
    assert torch.equal(many[1], one[0])
    assert not torch.equal(many[0], many[1])
    assert many.dtype == torch.float32
    assert ((many >= 0) & (many < 1)).all()
    assert abs(uniform_noise([str(i) for i in range(50)], 8, 100).mean() - 0.5) < 0.005
    assert uniform_noise([], 4, 16).shape == (0, 4, 16)


def test_noise_is_the_same_on_every_machine():
    """A resumed run says the same captions: the numbers may not change with the version of anything."""
    expected = torch.tensor([0.6625, 0.9745, 0.9534])
    assert torch.allclose(uniform_noise(["0/s1/0"], 1, 3)[0, 0], expected, atol=1e-4)


def test_tokens_fall_where_the_cumulative_probability_passes_the_number():
    probabilities = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]]).expand(6, -1)
    uniform = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 1 - 2**-24])
    assert invert(probabilities, uniform).tolist() == [1, 1, 3, 3, 4, 4]


def test_nothing_impossible_is_drawn_at_the_edges_of_a_large_vocabulary():
    logits = torch.randn(64, 50_000, generator=torch.Generator().manual_seed(0))
    logits[:, ::2] = float("-inf")
    uniform = torch.tensor([0.0, 2**-24, 0.5, 1 - 2**-24]).repeat(16)
    tokens, logprobs, _ = sample_token(logits, SamplingParams(), uniform)
    assert torch.isfinite(logprobs).all()
    assert (tokens % 2 == 1).all()


def test_draws_follow_the_distribution():
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4])
    uniform = torch.rand(40_000, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(invert(probabilities.expand(40_000, 4), uniform), minlength=4)
    assert (counts / 40_000 - probabilities).abs().max() < 0.01


def test_filters_cut_the_draw_but_neither_probability_nor_entropy():
    logits = torch.tensor([[2.0, 1.0, 0.0, float("-inf")]])
    plain = logits[:, :3].softmax(-1)
    token, logprob, entropy = sample_token(logits, SamplingParams(top_k=1), torch.tensor([0.999]))
    assert token.item() == 0
    assert torch.allclose(logprob.exp(), plain[:, 0])
    assert torch.allclose(entropy, -(plain * plain.log()).sum(-1))


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.01, 1), (0.49, 1), (0.51, 2), (0.74, 2), (0.76, 3), (0.87, 3), (0.89, 4), (0.999, 4)],
)
def test_the_nucleus_keeps_the_token_that_crosses_its_threshold(top_p, kept):
    """Of 1/2, 1/4, 1/8, 1/8: the smallest set that reaches `top_p`, in whatever order the tokens stand."""
    likely = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.125, 0.25, 0.125, 0.5]])
    left = torch.isfinite(top_k_top_p_filter(likely.log(), top_p=top_p))
    assert left.sum(-1).tolist() == [kept, kept]
    for row, chances in zip(left, likely):
        assert chances[row].sum() >= top_p
        assert chances[row].sum() - chances[row].min() < top_p
        assert kept == 4 or chances[row].min() >= chances[~row].max()
    tokens, _, _ = sample_token(likely.log(), SamplingParams(top_p=top_p), torch.full((2,), 1 - 2**-24))
    last = [row.nonzero().max().item() for row in left]
    assert tokens.tolist() == last  # and what is kept can be drawn


@pytest.mark.parametrize(("top_p", "kept"), [(0.25, 1), (0.5, 2), (0.75, 3)])
def test_a_nucleus_that_is_reached_exactly_takes_no_more(top_p, kept):
    assert torch.isfinite(top_k_top_p_filter(torch.zeros(1, 4), top_p=top_p)).sum() == kept


@pytest.mark.parametrize(("top_k", "kept"), [(1, [3]), (2, [1, 3]), (3, [0, 1, 3]), (9, [0, 1, 2, 3])])
def test_the_likeliest_k_are_kept(top_k, kept):
    left = torch.isfinite(top_k_top_p_filter(torch.tensor([[1.0, 2.0, 0.0, 3.0]]), top_k=top_k))
    assert left.nonzero()[:, 1].tolist() == kept


@pytest.fixture(scope="module", params=sorted(WRITERS))
def policy(request, tmp_path_factory):
    return load_policy(WRITERS[request.param](tmp_path_factory.mktemp("tiny") / request.param))


@pytest.fixture(scope="module")
def asked():
    requests = [Request(Sample(f"s{i}", Path(f"{i}")), prompt) for i, prompt in enumerate(PROMPTS)]
    sizes = [(60, 60), (112, 84), (84, 112), (40, 90)]
    pixels = [random.Random(i).randbytes(3 * w * h) for i, (w, h) in enumerate(sizes)]
    return requests, [Image.frombytes("RGB", size, data) for size, data in zip(sizes, pixels)]


@pytest.mark.parametrize("layout", ["packed", "repeated"])
def test_captions_do_not_depend_on_the_images_beside(policy, asked, layout):
    policy.layout = layout
    sampling = SamplingParams(temperature=1.2, top_p=0.95, max_tokens=16, seed=7)
    together = policy.sample(policy.encode(*asked), 3, sampling)
    alone = [policy.sample(policy.encode([r], [i]), 3, sampling) for r, i in zip(*asked)]
    assert [[c.tokens for c in group] for group in together.captions] == [
        [c.tokens for c in groups.captions[0]] for groups in alone
    ]
    assert torch.allclose(together.entropy, torch.cat([groups.entropy for groups in alone]), atol=1e-4)


def test_a_sample_asked_twice_gets_captions_of_its_own(policy, asked):
    (request, *_), (image, *_) = asked
    sampling = SamplingParams(max_tokens=12, seed=1)
    twice = policy.sample(policy.encode([request] * 2, [image] * 2), 1, sampling)
    assert twice.captions[0][0].tokens != twice.captions[1][0].tokens
    again = policy.sample(policy.encode([request], [image]), 1, sampling)
    assert again.captions[0][0].tokens == twice.captions[0][0].tokens


def test_without_a_seed_captions_differ_from_call_to_call(policy, asked):
    prefixes = policy.encode(*asked)
    draw = lambda: policy.sample(prefixes, 2, SamplingParams(max_tokens=8)).tokens  # noqa: E731
    assert not torch.equal(draw(), draw())


def test_noise_of_another_shape_is_refused(policy, asked):
    with pytest.raises(ModelError, match=r"\[4, 2, 8 or more\]"):
        policy.sample(policy.encode(*asked), 2, SamplingParams(max_tokens=8), torch.rand(4, 2, 7))


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_entropy_is_that_of_the_distribution_sampled_from(policy, asked, temperature):
    policy.layout = "packed"
    prefixes = policy.encode(*asked)
    groups = policy.sample(prefixes, 2, SamplingParams(temperature=temperature, max_tokens=10, seed=0))
    with torch.no_grad():
        distribution = policy.head.logits(policy._packed(groups), temperature).softmax(-1)
    entropies = torch.special.entr(distribution).sum(-1)
    expected = (entropies * groups.mask).sum(-1) / groups.mask.sum(-1)
    assert torch.allclose(groups.entropy, expected, atol=1e-4)
    assert torch.equal(groups.select([2, 0]).entropy, groups.entropy[[2, 0]])
    assert torch.equal(groups.with_prefixes(prefixes).entropy, groups.entropy)
    assert policy.tokenize(prefixes, [["a"]] * 4).entropy is None
    assert replace(groups, entropy=None).select([0]).entropy is None


class Telling:
    """The next logits depend on token and caption alone; remembers which captions it was asked about."""

    def __init__(self, captions: int):
        self.table = torch.randn(captions, 6, 6, generator=torch.Generator().manual_seed(0))
        self.fed: list[list[int]] = []

    def __call__(self, tokens, rows, said):
        self.fed.append(rows.tolist())
        return self.table[rows, tokens]


def test_only_captions_that_go_on_are_fed():
    model, sampling = Telling(12), SamplingParams(max_tokens=20)
    uniform = torch.rand(12, 20, generator=torch.Generator().manual_seed(1))
    drawn = generate(model.table[:, 5], model, torch.tensor([0]), sampling, uniform)
    lengths = drawn.mask.sum(1)
    assert len(set(lengths.tolist())) > 3
    for said, rows in enumerate(model.fed, start=1):
        assert rows == (lengths > said).nonzero().flatten().tolist()
    for i, length in enumerate(lengths.tolist()):  # each caption by itself, the slow way
        token, said = 5, []
        for t in range(length):
            picked, _, _ = sample_token(model.table[i, token][None], sampling, uniform[i, t][None])
            said.append(token := picked.item())
        assert drawn.tokens[i].tolist() == said + [0] * (drawn.tokens.shape[1] - length)
        assert drawn.mask[i].tolist() == [t < length for t in range(drawn.tokens.shape[1])]
        assert (said[-1] == 0) or length == 20
    assert (drawn.logprobs[~drawn.mask] == 0).all()
    assert (drawn.entropies[drawn.mask] > 0).all()


@pytest.mark.parametrize("layout", ["packed", "repeated"])
def test_captions_that_ended_leave_and_the_others_go_on_as_before(policy, asked, layout):
    """With captions of many lengths, what is reported while rows leave the cache is what scoring finds."""
    policy.layout = layout
    eos_ids, policy.eos_ids = policy.eos_ids, torch.arange(0, 300, 12)  # about every tenth token ends a caption
    try:
        groups = policy.sample(policy.encode(*asked), 6, SamplingParams(max_tokens=40, seed=5))
    finally:
        policy.eos_ids = eos_ids
    lengths = groups.mask.sum(-1)
    assert len(set(lengths.flatten().tolist())) > 6
    assert len(set(lengths.amax(1).tolist())) > 2
    policy.layout = "repeated"
    reported = torch.tensor([[caption.logprob for caption in group] for group in groups.captions])
    assert (policy.logprobs(groups).sum(-1) - reported).abs().max() < 2e-4
    with torch.no_grad():
        spread = torch.special.entr(policy.head.logits(policy._repeated(groups)).softmax(-1)).sum(-1)
    expected = (spread * groups.mask).sum(-1) / groups.mask.sum(-1)  # what comes after the end does not count
    assert torch.allclose(groups.entropy, expected, atol=1e-3)


@pytest.mark.parametrize("most", [1, 2, 9])
def test_captions_that_do_not_end_have_max_tokens_exactly(policy, asked, most):
    """Not one more and not one fewer; a caption whose last token is an end has ended."""
    eos_ids, sampling = policy.eos_ids, SamplingParams(max_tokens=most, seed=11)
    try:
        policy.eos_ids = torch.empty(0, dtype=torch.long)
        groups = policy.sample(policy.encode(*asked), 3, sampling)
        assert groups.tokens.shape == (4, 3, most)
        assert groups.mask.all()
        assert [len(caption.tokens) for group in groups.captions for caption in group] == [most] * 12
        assert {caption.finish for group in groups.captions for caption in group} == {"length"}
        policy.eos_ids = groups.tokens[0, 0, -1:]  # what one of them said last
        again = policy.sample(policy.encode(*asked), 3, sampling).captions[0][0]
    finally:
        policy.eos_ids = eos_ids
    assert again.finish == "stop"
    assert len(again.tokens) == 1 + groups.tokens[0, 0].tolist().index(groups.tokens[0, 0, -1])


@pytest.mark.parametrize("most", [1, 2, 9])
def test_the_model_is_asked_for_max_tokens_and_no_more(most):
    model = Telling(4)
    drawn = generate(
        model.table[:, 5], model, torch.empty(0, dtype=torch.long), SamplingParams(max_tokens=most), torch.rand(4, 9)
    )
    assert drawn.tokens.shape == drawn.mask.shape == drawn.logprobs.shape == drawn.entropies.shape == (4, most)
    assert drawn.mask.all()
    assert len(model.fed) == most - 1  # the first token needs no step
