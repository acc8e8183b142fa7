"""Token log-probabilities from hidden states, a chunk at a time.

A vocabulary has 30,000 to 260,000 entries: logits for every caption token at once are the largest tensor of a training
step. Here logits exist for one chunk of tokens at a time, in the forward pass and again in the backward pass, and
never for prompt tokens.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ENTRIES = 1 << 24  # logits in flight: 64 MB in float32


class Head:
    """Hidden states to log-probabilities over the tokens that may be said.

    Args:
        project: hidden [M, D] -> logits [M, V] (the model's output embedding, LoRA included).
        vocabulary: V, as wide as `project` makes it.
        suppressed: token ids that are never said (image and padding tokens); they carry no probability.
        softcap: final logit soft-capping (Gemma), None where the model has none.
    """

    def __init__(
        self, project: Callable[[Tensor], Tensor], vocabulary: int, suppressed: Tensor, softcap: float | None = None
    ) -> None:
        self.project = project
        self.vocabulary = vocabulary
        self.suppressed = suppressed
        self.softcap = softcap

    def logits(self, hidden: Tensor, temperature: float = 1.0) -> Tensor:
        """Float32 logits [M, V], suppressed tokens at minus infinity."""
        logits = self.project(hidden).float()
        if self.softcap:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        logits = logits.index_fill(-1, self.suppressed.to(logits.device), float("-inf"))
        return logits if temperature in (0.0, 1.0) else logits / temperature

    def logprobs(self, hidden: Tensor, tokens: Tensor, temperature: float = 1.0) -> Tensor:
        """Natural-log probabilities [M] of `tokens` [M] given the hidden states [M, D] that predict them."""
        size = max(16, CHUNK_ENTRIES // self.vocabulary)
        parts = []
        for start in range(0, len(tokens), size):
            chunk, target = hidden[start : start + size], tokens[start : start + size]
            if torch.is_grad_enabled() and len(tokens) > size:
                parts.append(checkpoint(self._chunk, chunk, target, temperature, use_reentrant=False))
            else:
                parts.append(self._chunk(chunk, target, temperature))
        return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)

    def _chunk(self, hidden: Tensor, tokens: Tensor, temperature: float) -> Tensor:
        logits = self.logits(hidden, temperature)
        return logits.gather(-1, tokens[:, None]).squeeze(-1) - logits.logsumexp(-1)
