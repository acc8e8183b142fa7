"""The packed layout: the captions of one image share one prefix in one sequence.

    [image + prompt] [caption 1] [caption 2] ... [caption G]

A caption token sees the whole prefix and the earlier tokens of its own caption; positions restart after the prefix for
each caption. Libraries that repeat the prompt push the image G times through the language model; here it goes once.
The layout is exact: log-probabilities and gradients equal those of G separate sequences (tests/models).

All functions are pure. P images, G captions an image, T tokens a caption, L prefix tokens (padded on the left).
"""

from __future__ import annotations

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


def packed_positions(positions: Tensor, mask: Tensor, captions: int, tokens: int) -> Tensor:
    """Positions [..., P, L + G*T] of the packed sequence: every caption continues where the prefix ends."""
    start = next_positions(positions, mask)
    steps = torch.arange(tokens, device=positions.device).repeat(captions)
    return torch.cat([positions, start + steps], dim=-1)


def packed_mask(prefix: Tensor, captions: Tensor) -> Tensor:
    """Who sees whom in the packed sequence.

    Args:
        prefix: bool [P, L], True on real tokens.
        captions: bool [P, G, T], True on real tokens; False at the end of short captions.
    Returns:
        bool [P, 1, N, N] with N = L + G*T; [p, 0, q, k] is True where token q attends to token k.
        Padding attends to itself, so that no row is empty (an empty row is NaN in some attention kernels).
    """
    images, length = prefix.shape
    _, group, tokens = captions.shape
    device = prefix.device
    block = torch.cat(
        [torch.zeros(length, device=device), torch.arange(group, device=device).repeat_interleave(tokens) + 1]
    )
    order = torch.arange(length + group * tokens, device=device)
    same_block = (block[:, None] == block[None, :]) | (block[None, :] == 0)
    visible = same_block & (order[:, None] >= order[None, :])
    real = torch.cat([prefix, captions.reshape(images, group * tokens)], dim=1)
    mask = visible[None] & real[:, None, :]
    mask |= torch.eye(len(order), dtype=torch.bool, device=device)
    return mask[:, None]


def predictors(hidden: Tensor, length: int, captions: int, tokens: int) -> Tensor:
    """The hidden states that predict the caption tokens.

    Args:
        hidden: [P, L + G*(T-1), D]: the last token of a caption predicts nothing, so it is not fed.
    Returns:
        [P, G, T, D]: the last prefix token predicts the first token of every caption, each later one its successor.
    """
    images, _, width = hidden.shape
    first = hidden[:, length - 1].reshape(images, 1, 1, width).expand(images, captions, 1, width)
    rest = hidden[:, length:].reshape(images, captions, tokens - 1, width)
    return torch.cat([first, rest], dim=2)
