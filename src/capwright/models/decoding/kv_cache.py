"""After one prefill an image: what every caption says next, step by step, on the prompt's keys and values.

Captions end at different lengths, the last often twice as late as the middle one, so what has ended is no longer fed:
both ways to go on are told at every step which captions are still being said.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicLayer

from capwright.models.batch import EncodedPrompts
from capwright.models.packing import as_attention, next_positions

#: Rows leave the cache when no more than this share of them is still needed: each time, the rest is copied.
SHRINK = 0.75


class _Continuing:
    """Rows of a cache that go on, each behind its own prefix; those that have ended leave it.

    Attributes:
        rows: int64 [R], which ones are in the cache.
        start: positions [..., R, 1] of the first caption token; `prefix`: bool [R, L], True on real tokens.
        owners: int64 [R, N], which caption said each token behind the prefix, where a row has several.
    """

    def __init__(self, decoder: Any, embed: nn.Module, prefix: Tensor, start: Tensor, cache: Any) -> None:
        self.decoder, self.embed, self.cache = decoder, embed, with_room(cache)
        self.prefix, self.start = prefix, start
        self.rows = torch.arange(len(prefix), device=prefix.device)
        self.owners = self.rows.new_empty(len(prefix), 0)

    def _places(self, rows: Tensor) -> Tensor:
        """Where `rows`, which are all that go on, stand in the cache; the others leave it when they are many."""
        if len(rows) <= SHRINK * len(self.rows):
            kept = torch.searchsorted(self.rows, rows)
            self.cache.batch_select_indices(kept)
            self.start = self.start[..., kept, :]
            self.rows, self.prefix, self.owners = self.rows[kept], self.prefix[kept], self.owners[kept]
        return torch.searchsorted(self.rows, rows)


class Packed(_Continuing):
    """Every image stays one row: its captions say their next tokens side by side, on one shared cache."""

    def __init__(self, decoder: Any, embed: nn.Module, prefixes: EncodedPrompts, n: int, cache: Any) -> None:
        start = next_positions(prefixes.positions, prefixes.mask)
        super().__init__(decoder, embed, prefixes.mask, start, cache)
        self.n = n

    def __call__(self, tokens: Tensor, rows: Tensor, said: int) -> Tensor:
        """Hidden states [M, D] that predict what follows `tokens` [M].

        Args:
            rows: int64 [M], increasing, which captions go on: g + n * p for caption g of image p.
            said: how many tokens each of them has said.
        """
        images, place, counts = torch.unique_consecutive(rows // self.n, return_inverse=True, return_counts=True)
        row = self._places(images)[place]
        column = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[place]
        shape = (len(self.rows), int(counts.max()))
        words = tokens.new_zeros(shape).index_put((row, column), tokens)
        owners = tokens.new_full(shape, -1).index_put((row, column), rows % self.n)
        self.owners = torch.cat([self.owners, owners], 1)
        own = owners[:, :, None] == self.owners[:, None, :]
        prefix = self.prefix[:, None, :].expand(-1, shape[1], -1)
        embeds = self.embed(words)
        out = self.decoder(
            inputs_embeds=embeds,
            attention_mask=as_attention(torch.cat([prefix, own], -1)[:, None], self.decoder.config, embeds.dtype),
            position_ids=(self.start + said - 1).expand(*self.start.shape[:-1], shape[1]),
            past_key_values=self.cache,
            use_cache=True,
        )
        return out.last_hidden_state[row, column]


class Repeated(_Continuing):
    """Every caption is a row with its own copy of the cache; see `Packed` for what a call is given and returns."""

    def __init__(self, decoder: Any, embed: nn.Module, prefixes: EncodedPrompts, n: int, cache: Any) -> None:
        cache.batch_repeat_interleave(n)
        start = next_positions(prefixes.positions, prefixes.mask).repeat_interleave(n, dim=-2)
        super().__init__(decoder, embed, prefixes.mask.repeat_interleave(n, dim=0), start, cache)

    def __call__(self, tokens: Tensor, rows: Tensor, said: int) -> Tensor:
        place = self._places(rows)
        words = tokens.new_zeros(len(self.rows)).index_put((place,), tokens)
        out = self.decoder(
            inputs_embeds=self.embed(words[:, None]),
            attention_mask=torch.cat([self.prefix, self.prefix.new_ones(len(words), said)], 1).long(),
            position_ids=self.start + said - 1,
            past_key_values=self.cache,
            use_cache=True,
        )
        return out.last_hidden_state[place, -1]


def with_room(cache: Any) -> Any:
    """The same cache, whose plain layers no longer copy the whole prompt at every step."""
    cache.layers = [PreallocatedLayer(layer) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class PreallocatedLayer(DynamicLayer):
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

    def batch_select_indices(self, indices: Tensor) -> None:
        self.keys = self._keys = self.keys[indices]
        self.values = self._values = self.values[indices]


def _larger(states: Tensor, room: int) -> Tensor:
    return torch.cat([states, states.new_empty(*states.shape[:-2], room, states.shape[-1])], dim=-2)
