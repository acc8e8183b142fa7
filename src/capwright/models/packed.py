"""The packed layout: the captions of one image share one prefix in one sequence.

    [image + prompt] [caption 1] [caption 2] ... [caption G]

A caption token sees the whole prefix and the earlier tokens of its own caption; positions restart after the prefix for
each caption. Libraries that repeat the prompt push the image G times through the language model; here it goes once.
The layout is exact: log-probabilities and gradients equal those of G separate sequences (tests/models).

All functions are pure. P images, G captions an image, T tokens a caption, L prefix tokens (padded on the left).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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


def packed_mask(prefix: Tensor, packing: Packing) -> Tensor:
    """Who sees whom in the packed sequence.

    Args:
        prefix: bool [P, L], True on real tokens.
    Returns:
        bool [P, 1, L + N, L + N]; [p, 0, q, k] is True where token q attends to token k.
        Padding attends to itself, so that no row is empty (an empty row is NaN in some attention kernels).
    """
    block = torch.cat([torch.full_like(prefix, -1, dtype=torch.long), packing.caption], dim=1)
    real = torch.cat([prefix, packing.real], dim=1)
    order = torch.arange(block.shape[1], device=block.device)
    same_block = (block[:, :, None] == block[:, None, :]) | (block[:, None, :] == -1)
    mask = same_block & (order[:, None] >= order[None, :]) & real[:, None, :]
    mask |= torch.eye(len(order), dtype=torch.bool, device=mask.device)
    return mask[:, None]


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
