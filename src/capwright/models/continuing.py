"""After one prefill an image: what every caption says next, step by step, on the prompt's keys and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicLayer

from capwright.models.groups import Prefixes
from capwright.models.packed import as_attention, next_positions

#: (tokens [P * n], number of tokens said so far) -> hidden states [P * n, D] that predict the next ones.
Continue = Callable[[Tensor, int], Tensor]


def continue_packed(decoder: Any, embed: nn.Module, prefixes: Prefixes, n: int, cache: Any) -> Continue:
    """Every image stays one row: its captions say their next tokens side by side, on one shared cache."""
    cache = with_room(cache)
    start = next_positions(prefixes.positions, prefixes.mask)
    prefix = prefixes.mask[:, None, None, :].expand(-1, 1, n, -1)
    own = torch.eye(n, dtype=torch.bool, device=prefix.device)

    def step(tokens: Tensor, said: int) -> Tensor:
        words = embed(tokens.view(len(prefixes), n))
        captions = own.repeat(1, said).expand(len(prefixes), 1, n, n * said)
        out = decoder(
            inputs_embeds=words,
            attention_mask=as_attention(torch.cat([prefix, captions], -1), decoder.config, words.dtype),
            position_ids=(start + said - 1).expand(*start.shape[:-1], n),
            past_key_values=cache,
            use_cache=True,
        )
        return out.last_hidden_state.flatten(0, 1)

    return step


def continue_repeated(decoder: Any, embed: nn.Module, prefixes: Prefixes, n: int, cache: Any) -> Continue:
    """Every caption is a row with its own copy of the cache."""
    cache.batch_repeat_interleave(n)
    cache = with_room(cache)
    start = next_positions(prefixes.positions, prefixes.mask).repeat_interleave(n, dim=-2)
    seen = prefixes.mask.repeat_interleave(n, dim=0)

    def step(tokens: Tensor, said: int) -> Tensor:
        out = decoder(
            inputs_embeds=embed(tokens[:, None]),
            attention_mask=torch.cat([seen, seen.new_ones(len(seen), said)], 1).long(),
            position_ids=start + said - 1,
            past_key_values=cache,
            use_cache=True,
        )
        return out.last_hidden_state[:, -1]

    return step


def with_room(cache: Any) -> Any:
    """The same cache, whose plain layers no longer copy the whole prompt at every step."""
    cache.layers = [RoomyLayer(layer) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class RoomyLayer(DynamicLayer):
    """Keys and values [B, H, L, D] of one layer, in a buffer with room for the next steps.

    Only for decoding without gradients: what is there is written once and seen through views.
    """

    STEPS = 32  # room for so many steps of the size that came; then a larger buffer

    def __init__(self, layer: DynamicLayer) -> None:
        super().__init__()
        self.keys = self._keys = layer.keys
        self.values = self._values = layer.values
        self.dtype, self.device, self.is_initialized = layer.keys.dtype, layer.keys.device, True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        used, added = self.keys.shape[-2], key_states.shape[-2]
        if used + added > self._keys.shape[-2]:
            self._keys = _larger(self.keys, added * self.STEPS)
            self._values = _larger(self.values, added * self.STEPS)
        self._keys[..., used : used + added, :] = key_states
        self._values[..., used : used + added, :] = value_states
        self.keys = self._keys[..., : used + added, :]
        self.values = self._values[..., : used + added, :]
        return self.keys, self.values


def _larger(states: Tensor, room: int) -> Tensor:
    return torch.cat([states, states.new_empty(*states.shape[:-2], room, states.shape[-1])], dim=-2)
