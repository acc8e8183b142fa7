"""The packed layout: the captions of one image share one prefix in one sequence.

    [image + prompt] [caption 1] [caption 2] ... [caption G]

A caption token sees the whole prefix and the earlier tokens of its own caption; positions restart after the prefix for
each caption. Libraries that repeat the prompt push the image G times through the language model; here it goes once.
The layout is exact: log-probabilities and gradients equal those of G separate sequences (tests/models).

All functions are pure. P images, G captions an image, T tokens a caption, L prefix tokens (padded on the left).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask


def next_positions(positions: Tensor, mask: Tensor) -> Tensor:
    """The position of the first caption token of every image.

    Args:
        positions: [..., P, L] prefix positions; multimodal rotary positions have leading axes.
        mask: bool [P, L], True on real prefix tokens.
    Returns:
        [..., P, 1]. The three axes of multimodal rotary positions continue together after their common maximum.
    """
    top = positions.masked_fill(~mask, 0).amax(-1, keepdim=True)
    if top.ndim == 3:
        rotary = top[-3:]
        top = torch.cat([top[:-3], rotary.amax(0, keepdim=True).expand_as(rotary)])
    return top + 1


@dataclass(frozen=True)
class Packing:
    """Which caption token stands where behind the prefix; short captions leave no gaps.

    The last token of a caption predicts nothing, so it is not fed. N is the largest number of fed tokens of an image.

    Attributes:
        order: int64 [P, N], place of each fed token in the flattened [G * (T-1)] captions.
        caption, step: int64 [P, N], which caption it belongs to and which token of it it is.
        real: bool [P, N], False where an image has fewer tokens than the others.
    """

    order: Tensor
    caption: Tensor
    step: Tensor
    real: Tensor


def pack(mask: Tensor) -> Packing:
    """The packing of captions with `mask` bool [P, G, T], True on real tokens (a prefix of each caption)."""
    images, captions, tokens = mask.shape
    fed = mask[..., 1:].reshape(images, captions * (tokens - 1))
    most = int(fed.sum(1).max()) if fed.numel() else 0
    order = torch.argsort((~fed).to(torch.uint8), dim=1, stable=True)[:, :most]
    width = max(tokens - 1, 1)
    return Packing(order, order // width, order % width, fed.gather(1, order))


def packed_positions(positions: Tensor, mask: Tensor, packing: Packing) -> Tensor:
    """Positions [..., P, L + N] of the packed sequence: every caption continues where the prefix ends."""
    return torch.cat([positions, next_positions(positions, mask) + packing.step], dim=-1)


def sight(prefix: Tensor, packing: Packing) -> Callable[..., Tensor]:
    """Who sees whom in the packed sequence: (image, head, query, key) indices -> bool, True where key is seen.

    Padding sees itself, so that no row is empty (an empty row is NaN in some attention kernels).

    Args:
        prefix: bool [P, L], True on real tokens.
    """
    block = torch.cat([torch.full_like(prefix, -1, dtype=torch.long), packing.caption], dim=1)
    real = torch.cat([prefix, packing.real], dim=1)

    def sees(image: Tensor, _: Any, query: Tensor, key: Tensor) -> Tensor:
        theirs = block[image, key]
        same_block = (block[image, query] == theirs) | (theirs == -1)
        return same_block & (query >= key) & real[image, key] | (query == key)

    return sees


def packed_mask(prefix: Tensor, packing: Packing) -> Tensor:
    """`sight` written out: bool [P, 1, L + N, L + N]."""
    images, length = prefix.shape
    order = torch.arange(length + packing.caption.shape[1], device=prefix.device)
    return sight(prefix, packing)(
        torch.arange(images, device=prefix.device)[:, None, None, None], None, order[:, None], order
    )


def block_mask(prefix: Tensor, packing: Packing) -> BlockMask:
    """`sight` for FlexAttention, which skips blocks that are masked: its cost is linear in the number of captions."""
    length = prefix.shape[1] + packing.caption.shape[1]
    return create_block_mask(sight(prefix, packing), len(prefix), None, length, length, device=prefix.device)


def as_attention(mask: Tensor, config: Any, dtype: torch.dtype) -> Tensor:
    """A bool mask as the attention of a language model with this `config` takes it."""
    if config._attn_implementation == "sdpa":
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def predictors(hidden: Tensor, length: int, packing: Packing, captions: int, tokens: int) -> Tensor:
    """The hidden states that predict the caption tokens.

    Args:
        hidden: [P, L + N, D] of the packed sequence, with `length` L.
    Returns:
        [P, G, T, D]: the last prefix token predicts the first token of every caption, each later one its successor.
        Zero where there is nothing to predict.
    """
    images, _, width = hidden.shape
    first = hidden[:, length - 1].reshape(images, 1, 1, width).expand(images, captions, 1, width)
    said = hidden[:, length:] * packing.real.unsqueeze(-1)
    rest = said.new_zeros(images, captions * (tokens - 1), width)
    rest = rest.scatter(1, packing.order.unsqueeze(-1).expand_as(said), said)
    return torch.cat([first, rest.view(images, captions, tokens - 1, width)], dim=2)
