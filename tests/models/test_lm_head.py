"""Chunked log-probabilities against the plain formula: values and gradients, whatever the chunk."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from capwright.models import lm_head as module
from capwright.models.lm_head import Head, is_plain

SUPPRESSED = torch.tensor([0, 3])


def plain(linear, hidden, tokens, temperature, softcap):
    """The formula, with every logit kept."""
    logits = linear(hidden)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if softcap:
        logits = torch.tanh(logits / softcap) * softcap
    logits = logits.index_fill(-1, SUPPRESSED, float("-inf")) / temperature
    return logits.log_softmax(-1).gather(-1, tokens[:, None]).squeeze(-1)


def results(run, linear, hidden):
    """Values, and the gradients of a fixed weighting of them."""
    linear, hidden = copy.deepcopy(linear), hidden.clone().requires_grad_()
    values = run(linear, hidden)
    weights = torch.linspace(-1, 2, len(values), dtype=values.dtype)
    (values * weights).sum().backward()
    return [values.detach(), hidden.grad, *(p.grad for p in linear.parameters())]


def case(dtype=torch.float32, rows=37, width=16, vocabulary=50, bias=True):
    torch.manual_seed(0)
    linear = nn.Linear(width, vocabulary, bias=bias, dtype=dtype)
    tokens = torch.randint(4, vocabulary, (rows,))
    return linear, torch.randn(rows, width, dtype=dtype) * 2, tokens


@pytest.mark.parametrize("entries", [1, 50 * 20, 1 << 24])
@pytest.mark.parametrize(("bias", "temperature", "softcap"), [(False, 1.0, None), (True, 0.7, None), (True, 1.3, 2.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chunks_equal_the_plain_formula(monkeypatch, entries, bias, temperature, softcap, dtype):
    monkeypatch.setattr(module, "CHUNK_ENTRIES", entries)
    linear, hidden, tokens = case(dtype, bias=bias)
    run = lambda lin, h: Head(lin, 50, SUPPRESSED, softcap).logprobs(h, tokens, temperature)  # noqa: E731
    ours = results(run, linear, hidden)
    expected = results(lambda lin, h: plain(lin, h, tokens, temperature, softcap), linear, hidden)
    assert len(ours) == (4 if bias else 3)
    for mine, right in zip(ours, expected):
        torch.testing.assert_close(mine, right, rtol=1e-5, atol=1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("softcap", [None, 3.0])
def test_gradients_pass_the_numerical_check(monkeypatch, softcap):
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 1)
    linear, hidden, tokens = case(torch.float64, rows=20, width=4, vocabulary=9)

    def run(h, weight, bias):
        own = nn.Linear(4, 9, dtype=torch.float64)
        del own.weight, own.bias
        own.weight, own.bias = weight, bias
        assert is_plain(own)
        return Head(own, 9, SUPPRESSED, softcap).logprobs(h, tokens, 0.9)

    leaves = [hidden, linear.weight.detach(), linear.bias.detach()]
    assert torch.autograd.gradcheck(run, [leaf.clone().requires_grad_() for leaf in leaves])


def test_a_suppressed_token_has_no_probability_and_no_broken_gradient():
    linear, hidden, tokens = case()
    tokens[5] = 3
    values, *gradients = results(lambda lin, h: Head(lin, 50, SUPPRESSED).logprobs(h, tokens), linear, hidden)
    assert values[5] == float("-inf")
    assert torch.isfinite(values[:5]).all()
    assert all(torch.isfinite(g).all() for g in gradients)


def test_frozen_weights_get_no_gradient_and_frozen_hidden_states_neither():
    linear, hidden, tokens = case()
    head = Head(linear, 50, SUPPRESSED)
    linear.requires_grad_(False)
    free = hidden.clone().requires_grad_()
    head.logprobs(free, tokens).sum().backward()
    assert linear.weight.grad is None
    assert free.grad is not None
    linear.requires_grad_(True)
    head.logprobs(hidden, tokens).sum().backward()
    assert linear.weight.grad is not None
    with torch.no_grad():
        assert not head.logprobs(hidden, tokens).requires_grad


def test_no_captions_no_values():
    linear, hidden, tokens = case()
    assert Head(linear, 50, SUPPRESSED).logprobs(hidden[:0], tokens[:0]).shape == (0,)
    assert Head(nn.Sequential(linear), 50, SUPPRESSED).logprobs(hidden[:0], tokens[:0]).shape == (0,)


def test_tied_embeddings_get_both_gradients():
    torch.manual_seed(0)
    words, tokens = nn.Embedding(50, 16), torch.randint(4, 50, (12,))
    tied = nn.Linear(16, 50, bias=False)
    tied.weight = words.weight
    found = []
    for run in (Head(tied, 50, SUPPRESSED).logprobs, lambda h, t: plain(tied, h, t, 1.0, None)):
        words.weight.grad = None
        run(words(tokens.flip(0)), tokens).sum().backward()
        found.append(words.weight.grad)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("entries", [1, 1 << 24])
def test_autocast_computes_as_the_module_would(monkeypatch, entries):
    """Weights in float32, products in bfloat16, log-probabilities in float32; gradients back in float32."""
    monkeypatch.setattr(module, "CHUNK_ENTRIES", entries)
    linear, hidden, tokens = case(rows=40)

    def run(own):
        with torch.autocast("cpu", torch.bfloat16):
            return own()

    ours = results(lambda lin, h: run(lambda: Head(lin, 50, SUPPRESSED).logprobs(h, tokens)), linear, hidden)
    right = results(lambda lin, h: run(lambda: plain(lin, h, tokens, 1.0, None)), linear, hidden)
    exact = results(lambda lin, h: plain(lin, h, tokens, 1.0, None), linear, hidden)
    assert not torch.equal(ours[0], exact[0])
    for mine, expected in zip(ours, right):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, expected, rtol=0.02, atol=0.02)


def test_weights_in_bfloat16_sum_their_chunks_in_float32(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 1)
    linear, hidden, tokens = case(torch.bfloat16, rows=4000)
    run = lambda lin, h: Head(lin, 50, SUPPRESSED).logprobs(h, tokens)  # noqa: E731
    ours = results(run, linear, hidden)
    exact = results(run, linear.float(), hidden.float())
    assert ours[2].dtype == torch.bfloat16
    assert (ours[2].float() - exact[2]).norm() / exact[2].norm() < 0.01


def test_anything_but_a_plain_matrix_goes_through_the_module(monkeypatch):
    """An adapter on the output embedding: its own forward pass counts, and its own weights learn."""
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 1)
    linear, hidden, tokens = case()

    class Adapted(nn.Linear):
        def __init__(self):
            super().__init__(16, 50)
            self.scale = nn.Parameter(torch.tensor(1.5))

        def forward(self, h):
            return super().forward(h) * self.scale

    adapted = Adapted()
    adapted.load_state_dict(linear.state_dict(), strict=False)
    ours = results(lambda lin, h: Head(lin, 50, SUPPRESSED).logprobs(h, tokens), adapted, hidden)
    right = results(lambda lin, h: plain(lin, h, tokens, 1.0, None), adapted, hidden)
    for mine, expected in zip(ours, right):
        torch.testing.assert_close(mine, expected)
    hooked = nn.Linear(16, 50)
    assert is_plain(hooked)
    hooked.register_forward_hook(lambda *a: None)
    assert not is_plain(hooked)


def test_only_a_chunk_of_logits_exists(monkeypatch):
    """Nothing as large as tokens x vocabulary is kept for the backward pass, nor made in either pass."""
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 16 * 50)
    linear, hidden, tokens = case(rows=320)
    kept, made = [], []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            made.extend(t.numel() for t in (out if isinstance(out, (tuple, list)) else [out]) if torch.is_tensor(t))
            return out

    pack = lambda t: (kept.append(t.numel()), t)[1]  # noqa: E731
    with Watch(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        Head(linear, 50, SUPPRESSED).logprobs(hidden.requires_grad_(), tokens).sum().backward()
    assert max(kept) == hidden.numel()
    assert max(made) == hidden.numel() < 320 * 50
