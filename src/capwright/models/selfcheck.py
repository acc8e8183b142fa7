"""Does the packed layout hold for this model? One small group tells, once, at start."""

from __future__ import annotations

import torch
from PIL import Image

from capwright.models.policy import HFPolicy
from capwright.types import Request

TEXTS = ("a b c d e f", "two words", "the quick brown fox jumps over it")
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-8}
LOW_PRECISION = 0.15  # bfloat16 and float16 differ by rounding alone; a wrong mask differs by whole nats


@torch.no_grad()
def packing_error(policy: HFPolicy, request: Request, image: Image.Image | None = None) -> float:
    """The largest difference between packed and repeated token log-probabilities of one group, in nats.

    The repeated layout runs every caption through the whole model by itself, so it is right by construction.
    """
    layout, values = policy.layout, []
    try:
        with policy.evaluating():
            groups = policy.tokenize(policy.encode([request], [image or _test_card()]), [TEXTS])
            for policy.layout in ("packed", "repeated"):
                values.append(policy.logprobs(groups))
    finally:
        policy.layout = layout
    difference = (values[0] - values[1]).abs().max().item()
    return difference if difference == difference else float("inf")


def packing_tolerance(policy: HFPolicy) -> float:
    """The difference that rounding alone explains, in nats."""
    return TOLERANCE.get(policy.decoder.get_input_embeddings().weight.dtype, LOW_PRECISION)


def _test_card(size: int = 112) -> Image.Image:
    """An image with a gradient in each channel, so that no two patches are alike."""
    card = Image.new("RGB", (size, size))
    card.putdata([(x * 2 % 256, y * 2 % 256, (x + y) % 256) for y in range(size) for x in range(size)])
    return card
