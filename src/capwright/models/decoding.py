"""Sampling: token by token, seeded, for any function that turns tokens into the next logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from capwright.types import Sampling


def keep_likely(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
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


def pick(logits: Tensor, sampling: Sampling, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """One token a row: ids [N] and their natural-log probability [N] under the unfiltered distribution.

    `logits` [N, V] are already divided by the temperature; temperature 0 takes the likeliest token.
    """
    logprobs = logits.log_softmax(-1)
    if sampling.temperature == 0.0:
        tokens = logits.argmax(-1)
    else:
        probabilities = keep_likely(logits, sampling.top_k, sampling.top_p).softmax(-1)
        tokens = torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)
    return tokens, logprobs.gather(-1, tokens[:, None]).squeeze(-1)


def generate(
    first: Tensor,
    step: Callable[[Tensor, int], Tensor],
    ends: Tensor,
    sampling: Sampling,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws one caption a row, token by token, until all have ended.

    Args:
        first: logits [N, V] of the first token.
        step: (tokens [N], number of tokens said so far) -> logits [N, V] of the next one.
        ends: ids of the end tokens.
    Returns:
        tokens int64 [N, T] (0 after the end), mask bool [N, T] (end token included), log-probabilities float [N, T].
    """
    logits, done = first, torch.zeros(len(first), dtype=torch.bool, device=first.device)
    said: list[Tensor] = []
    masks: list[Tensor] = []
    scores: list[Tensor] = []
    while True:
        tokens, logprobs = pick(logits, sampling, generator)
        tokens = tokens.masked_fill(done, 0)
        said.append(tokens)
        masks.append(~done)
        scores.append(logprobs.masked_fill(done, 0.0))
        done = done | torch.isin(tokens, ends) & ~done
        if len(said) == sampling.max_tokens or bool(done.all()):
            return torch.stack(said, 1), torch.stack(masks, 1), torch.stack(scores, 1)
        logits = step(tokens, len(said))
