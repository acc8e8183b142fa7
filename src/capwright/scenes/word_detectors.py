"""How the embedded captioner's vision tower learns to see: patches that detect the words of captions.

A vision transformer that starts from nothing learns very slowly through a language model that knows nothing either. So
the tower first learns to tell which words people use about an image: every patch votes for every word, and a word is
in the caption if any patch sees it (noisy-or multiple-instance learning, as in arXiv 1411.4952, there on regions of a
pretrained network). Only casual captions are read. The detectors are thrown away afterwards; the tower stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

RARE, COMMON = 50, 0.9  # words in fewer captions, or in a larger share of them, are not worth a detector


def caption_words(captions: Sequence[Sequence[str]]) -> tuple[list[str], Tensor]:
    """Words worth a detector and, for every image, the share of its captions that say each: [N, W]."""
    said = [[set(re.findall(r"[a-z-]+", text.lower())) for text in texts] for texts in captions]
    counts = Counter(word for texts in said for words in texts for word in words)
    most = COMMON * sum(len(texts) for texts in said)
    words = sorted(word for word, count in counts.items() if RARE <= count < most)
    column = {word: i for i, word in enumerate(words)}
    shares = torch.zeros(len(captions), len(words))
    for row, texts in enumerate(said):
        for word in (word for found in texts for word in found if word in column):
            shares[row, column[word]] += 1 / len(texts)
    return words, shares


def any_patch(votes: Tensor) -> Tensor:
    """Noisy-or over patches, as a logit: votes [N, patches, W] -> [N, W]."""
    unnamed = functional.logsigmoid(-votes).sum(1)
    seen = (-torch.expm1(unnamed)).clamp(1e-6, 1 - 1e-6)
    return seen.logit()


def teach_to_see(
    tower: Any,
    pixels: Tensor,
    captions: Sequence[Sequence[str]],
    *,
    steps: int = 2400,
    batch: int = 48,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> None:
    """Trains a CLIP-style vision tower in place to detect the words of casual captions.

    Args:
        tower: called with pixel values [N, 3, H, W]; its last hidden states are [N, 1 + patches, D].
        pixels: all images as pixel values, [N, 3, H, W], of any float type.
        captions: the texts that go with each image.
        progress: told (step, steps, loss) every 100 steps.
    """
    torch.manual_seed(seed)
    words, shares = caption_words(captions)
    width = tower.config.hidden_size
    votes_of = nn.Linear(width, len(words))
    nn.init.constant_(votes_of.bias, -5.0)  # almost every patch shows almost no word
    detectors = nn.Sequential(nn.LayerNorm(width), votes_of)
    parameters = [*tower.parameters(), *detectors.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=0.05, cycle_momentum=False
    )
    generator = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        rows = torch.randint(0, len(pixels), (batch,), generator=generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen = tower(pixels[rows].float(), output_hidden_states=True).hidden_states[-1]
        votes = detectors(seen[:, 1:].float())
        loss = functional.binary_cross_entropy_with_logits(any_patch(votes), shares[rows]) * len(words)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rate.step()
        if step % 100 == 0 or step == steps:
            progress(step, steps, loss.item())
