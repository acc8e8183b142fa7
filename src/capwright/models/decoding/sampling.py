"""Sampling: token by token, for any function that turns tokens into the next logits.

A token is drawn by inverting the cumulative distribution at a uniform number that was fixed beforehand. A random
generator that is consumed as the batch goes along would make a caption depend on its neighbours; this does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from capwright.types import SamplingParams


def top_k_top_p_filter(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Logits [N, V] with everything outside the `top_k` likeliest and the `top_p` nucleus at minus infinity.

    The nucleus is the smallest set of tokens whose probabilities reach `top_p`; the likeliest token always stays.
    """
    if top_k:
        kth = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p < 1.0:
        ranked, order = logits.sort(descending=True)
        probabilities = ranked.softmax(-1)
        outside = probabilities.cumsum(-1) - probabilities >= top_p
        outside[..., 0] = False
        logits = logits.masked_fill(outside.scatter(-1, order, outside), float("-inf"))
    return logits


def uniform_noise(keys: Sequence[str], n: int, tokens: int) -> Tensor:
    """Uniform numbers in [0, 1) to draw `n` captions an image with, float32 [P, n, tokens] on the CPU.

    Row p depends on `keys[p]` alone: what is said about an image does not change with the images beside it.
    """
    rows = []
    for key in keys:
        seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
        rows.append(torch.rand(n, tokens, generator=torch.Generator().manual_seed(seed)))
    return torch.stack(rows) if rows else torch.empty(0, n, tokens)


def invert(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The first token [N] whose cumulative probability exceeds `uniform` [N]; never one of probability 0.

    `probabilities` [N, V] need not sum to exactly 1.
    """
    precision = torch.float32 if probabilities.device.type == "mps" else torch.float64  # mps has no float64
    cumulative = probabilities.cumsum(-1, dtype=precision)
    beyond = (cumulative > uniform[:, None] * cumulative[:, -1:]) & (probabilities > 0)
    first = beyond.to(torch.uint8).argmax(-1)
    return torch.where(beyond.any(-1), first, probabilities.argmax(-1))  # rounding left nothing beyond


def sample_token(logits: Tensor, sampling: SamplingParams, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One token a row: ids [N], their natural-log probability [N] and the entropy [N] in nats.

    Probability and entropy are those of the unfiltered distribution at the temperature, 1 where that is 0: then the
    likeliest token is taken, whatever the `uniform` numbers [N]. `logits` [N, V] are before temperature.
    """
    if sampling.temperature not in (0.0, 1.0):
        logits = logits / sampling.temperature
    logprobs = logits.log_softmax(-1)
    probabilities = logprobs.exp()
    entropy = torch.special.entr(probabilities).sum(-1)
    if sampling.temperature == 0.0:
        tokens = logits.argmax(-1)
    else:
        if sampling.top_k or sampling.top_p < 1.0:
            probabilities = top_k_top_p_filter(logits, sampling.top_k, sampling.top_p).softmax(-1)
        tokens = invert(probabilities, uniform)
    return tokens, logprobs.gather(-1, tokens[:, None]).squeeze(-1), entropy


@dataclass(frozen=True)
class GeneratedTokens:
    """N captions, token by token.

    Attributes:
        tokens: int64 [N, T], 0 after the end.
        mask: bool [N, T], True on the tokens that count, end token included.
        logprobs, entropies: float32 [N, T], 0 after the end.
    """

    tokens: Tensor
    mask: Tensor
    logprobs: Tensor
    entropies: Tensor


def generate(
    first: Tensor,
    step: Callable[[Tensor, Tensor, int], Tensor],
    eos_ids: Tensor,
    sampling: SamplingParams,
    noise: Tensor,
) -> GeneratedTokens:
    """Draws one caption a row, token by token, until all have ended.

    Args:
        first: logits [N, V] of the first token.
        step: (tokens [M], rows [M], number of tokens so far) -> logits [M, V] of the next one. `rows` are the
            captions that have not ended, in order.
        eos_ids: ids of the end tokens.
        noise: uniform numbers [N, at least `sampling.max_tokens`] in [0, 1); greedy decoding ignores them.
    """
    rows = torch.arange(len(first), device=first.device)
    shape = (len(first), sampling.max_tokens)
    tokens, mask = rows.new_zeros(shape), rows.new_zeros(shape, dtype=torch.bool)
    logprobs, entropies = first.new_zeros(shape), first.new_zeros(shape)
    logits, said = first, 0
    while True:
        picked, logprobs[rows, said], entropies[rows, said] = sample_token(logits, sampling, noise[rows, said])
        tokens[rows, said], mask[rows, said] = picked, True
        going = ~torch.isin(picked, eos_ids)
        picked, rows, said = picked[going], rows[going], said + 1
        if said == sampling.max_tokens or not len(rows):
            return GeneratedTokens(tokens[:, :said], mask[:, :said], logprobs[:, :said], entropies[:, :said])
        logits = step(picked, rows, said)
