"""Token log-probabilities from hidden states, a chunk at a time.

A vocabulary has 30,000 to 260,000 entries: logits for every caption token at once are the largest tensor of a training
step. Here logits exist for one chunk of tokens at a time, in the forward pass and again in the backward pass, and
never for prompt tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
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
        """Float32 logits [M, V] (float64 from a float64 model), suppressed tokens at minus infinity."""
        return self.finish(self.project(hidden), temperature)

    def finish(self, logits: Tensor, temperature: float) -> Tensor:
        """From what the output embedding says to logits; changes its argument."""
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self.softcap:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        logits = logits.index_fill_(-1, self.suppressed.to(logits.device), float("-inf"))
        return logits if temperature in (0.0, 1.0) else logits.div_(temperature)

    def logprobs(self, hidden: Tensor, tokens: Tensor, temperature: float = 1.0) -> Tensor:
        """Natural-log probabilities [M] of `tokens` [M] given the hidden states [M, D] that predict them."""
        size = max(16, CHUNK_ENTRIES // self.vocabulary)
        project = self.project
        if isinstance(project, nn.Linear) and is_plain(project):
            return _Logprobs.apply(hidden, project.weight, project.bias, tokens, self, temperature, size)
        parts = []
        for chunk, target in zip(hidden.split(size), tokens.split(size)):
            if torch.is_grad_enabled() and len(tokens) > size:
                parts.append(checkpoint(self._chunk, chunk, target, temperature, use_reentrant=False))
            else:
                parts.append(self._chunk(chunk, target, temperature))
        return torch.cat(parts)

    def _chunk(self, hidden: Tensor, tokens: Tensor, temperature: float) -> Tensor:
        logits = self.logits(hidden, temperature)
        return logits.gather(-1, tokens[:, None]).squeeze(-1) - logits.logsumexp(-1)


def is_plain(module: nn.Linear) -> bool:
    """Whether calling the module is a matrix product and nothing else: no adapter, hook, quantization or sharding."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    known = type(module) is nn.Linear and type(module.weight) in (nn.Parameter, Tensor)
    return known and "forward" not in vars(module) and not any(hooks)


class _Logprobs(torch.autograd.Function):
    """`Head.logprobs` of a plain output embedding: keeps hidden states and normalizers, and makes logits twice.

    With p the probabilities, y the token said and g the incoming gradient, the gradient of the logits is
    g * (onehot(y) - p): it is written over the logits of each chunk.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        head: Head,
        temperature: float,
        size: int,
    ) -> Tensor:
        device = hidden.device.type
        low = torch.is_autocast_enabled(device) and weight.dtype != torch.float64
        ctx.dtype = torch.get_autocast_dtype(device) if low else weight.dtype
        ctx.head, ctx.temperature, ctx.size = head, temperature, size
        values = hidden.new_empty(len(tokens), dtype=torch.promote_types(weight.dtype, torch.float32))
        normalizers = torch.empty_like(values)
        with torch.autocast(device, enabled=False):
            matrix, offset = weight.to(ctx.dtype), None if bias is None else bias.to(ctx.dtype)
            for start in range(0, len(tokens), size):
                rows = slice(start, start + size)
                logits = head.finish(linear(hidden[rows].to(ctx.dtype), matrix, offset), temperature)
                normalizers[rows] = logits.logsumexp(-1)
                values[rows] = logits.gather(-1, tokens[rows, None]).squeeze(-1) - normalizers[rows]
        ctx.save_for_backward(hidden, weight, bias, tokens, normalizers)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, tokens, normalizers = ctx.saved_tensors
        to_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        to_weight = torch.zeros_like(weight, dtype=normalizers.dtype) if ctx.needs_input_grad[1] else None
        to_bias = torch.zeros_like(bias, dtype=normalizers.dtype) if ctx.needs_input_grad[2] else None
        with torch.autocast(hidden.device.type, enabled=False):
            matrix, offset = weight.to(ctx.dtype), None if bias is None else bias.to(ctx.dtype)
            for start in range(0, len(tokens), ctx.size):
                rows = slice(start, start + ctx.size)
                seen = hidden[rows].to(ctx.dtype)
                logits = ctx.head.finish(linear(seen, matrix, offset), ctx.temperature)
                change = _logit_gradient(logits, ctx, tokens[rows], normalizers[rows], gradient[rows]).to(ctx.dtype)
                if to_hidden is not None:
                    to_hidden[rows] = change @ matrix
                if to_weight is not None:
                    if ctx.dtype == to_weight.dtype:
                        to_weight.addmm_(change.T, seen)
                    else:
                        to_weight += change.T @ seen
                if to_bias is not None:
                    to_bias += change.sum(0, dtype=to_bias.dtype)
        to_weight = None if to_weight is None else to_weight.to(weight.dtype)
        to_bias = None if to_bias is None else to_bias.to(bias.dtype)
        return to_hidden, to_weight, to_bias, None, None, None, None


def _logit_gradient(logits: Tensor, ctx: Any, tokens: Tensor, normalizers: Tensor, gradient: Tensor) -> Tensor:
    """The gradient [M, V] of what the output embedding says, written over the finished `logits`."""
    head, temperature = ctx.head, ctx.temperature or 1.0
    slope = None
    if head.softcap:
        slope = logits.mul(temperature / head.softcap).square_().neg_().add_(1.0)  # of c * tanh(x / c)
    change = logits.sub_(normalizers[:, None]).exp_().mul_(-gradient[:, None])
    change.scatter_add_(1, tokens[:, None], gradient[:, None])
    if slope is not None:
        change.mul_(slope)
    return change.div_(temperature).index_fill_(1, head.suppressed.to(change.device), 0.0)
