"""What a policy passes around: encoded prompts, and groups of captions that share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from capwright.types import Caption, Request


@dataclass(frozen=True)
class EncodedPrompts:
    """Images and prompts as the language model sees them; the vision tower has already run, once an image.

    Attributes:
        requests: P requests, in order.
        inputs: the processor's output for each request, batch size 1; what the repeated layout starts from.
        embeds: [P, L, D] token and image embeddings, padded on the left.
        mask: bool [P, L], True on real tokens.
        positions: [P, L], or [3, P, L] for multimodal rotary positions.
        attention: the attention mask the model wants for its prefix (a dict where layers differ); None means `mask`.
        extras: further arguments of the language model that belong to the prefix (Qwen3-VL's deep visual features).
    """

    requests: tuple[Request, ...]
    inputs: tuple[dict[str, Tensor], ...]
    embeds: Tensor
    mask: Tensor
    positions: Tensor
    attention: Any = None
    extras: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.requests)

    def select(self, indices: Sequence[int]) -> EncodedPrompts:
        """The prefixes of some images, in the order given; gradients flow through.

        Padding that all of them share is cut, so that short prompts do not pay for a long one they came with.
        """
        rows = torch.as_tensor(list(indices), dtype=torch.long, device=self.embeds.device)
        cut = self._shared_padding(rows)
        return replace(
            self,
            requests=tuple(self.requests[i] for i in indices),
            inputs=tuple(self.inputs[i] for i in indices),
            embeds=self.embeds[rows, cut:],
            mask=self.mask[rows, cut:],
            positions=self.positions[..., rows, cut:],
            attention=tree_map_only(Tensor, lambda mask: mask[rows], self.attention),
            extras=_select_extras(self.extras, rows, cut),
        )

    def _shared_padding(self, rows: Tensor) -> int:
        """Columns on the left that are padding in all `rows`; 0 where a mask of the model's own counts columns."""
        if self.attention is not None or not len(rows):
            return 0
        return int(self.mask[rows].any(0).to(torch.uint8).argmax())

    def detach(self) -> EncodedPrompts:
        """The same values outside the autograd graph."""
        return replace(self, embeds=self.embeds.detach(), extras=tree_map_only(Tensor, Tensor.detach, self.extras))


@dataclass(frozen=True)
class CaptionBatch:
    """G captions for each of P images.

    Attributes:
        tokens: int64 [P, G, T], the end token included where there is one; 0 after it.
        mask: bool [P, G, T], True on the tokens that count.
        captions: the same captions as text, P lists of G.
        entropy: float32 [P, G] in nats, mean over the tokens of a sampled caption: how open the choice was, before
            top-k and top-p, at the temperature of sampling (1 for greedy captions). None where nothing was sampled.
    """

    prefixes: EncodedPrompts
    tokens: Tensor
    mask: Tensor
    captions: list[list[Caption]]
    entropy: Tensor | None = None

    def __len__(self) -> int:
        return len(self.captions)

    def select(self, indices: Sequence[int]) -> CaptionBatch:
        """The groups of some images, in the order given."""
        rows = torch.as_tensor(list(indices), dtype=torch.long, device=self.tokens.device)
        return CaptionBatch(
            self.prefixes.select(indices),
            self.tokens[rows],
            self.mask[rows],
            [self.captions[i] for i in indices],
            None if self.entropy is None else self.entropy[rows],
        )

    def join(self, more: CaptionBatch) -> CaptionBatch:
        """The captions of both, these first, on these prefixes; missing captions of `more` are empty and masked."""
        width = max(self.tokens.shape[2], more.tokens.shape[2])

        def wide(values: Tensor) -> Tensor:
            return torch.nn.functional.pad(values, (0, width - values.shape[2]))

        size = more.tokens.shape[1]
        added = [[*group, *[Caption("", (), None, "length")] * (size - len(group))] for group in more.captions]
        return replace(
            self,
            tokens=torch.cat([wide(self.tokens), wide(more.tokens)], 1),
            mask=torch.cat([wide(self.mask), wide(more.mask)], 1),
            captions=[[*mine, *theirs] for mine, theirs in zip(self.captions, added)],
        )

    def with_prefixes(self, prefixes: EncodedPrompts) -> CaptionBatch:
        """The same captions on freshly encoded prefixes (a second optimizer step on one rollout)."""
        return replace(self, prefixes=prefixes)


def _select_extras(extras: dict[str, Any] | None, rows: Tensor, cut: int) -> dict[str, Any] | None:
    """Slices deep visual features: `visual_pos_masks` [P, L] says which image each feature row belongs to."""
    if not extras or extras.get("visual_pos_masks") is None:
        return extras
    where = extras["visual_pos_masks"]
    where = where[..., 0] if where.ndim == 3 else where
    counts = where.sum(1).tolist()
    selected = dict(extras, visual_pos_masks=extras["visual_pos_masks"][rows, cut:])
    if extras.get("deepstack_visual_embeds") is not None:
        picked = [torch.split(layer, counts) for layer in extras["deepstack_visual_embeds"]]
        selected["deepstack_visual_embeds"] = [torch.cat([layer[i] for i in rows.tolist()]) for layer in picked]
    return selected
