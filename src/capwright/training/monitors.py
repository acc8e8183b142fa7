"""Signs that a reward is being gamed, or teaches nothing any more. They warn; what to do is for a person to decide.

The thresholds are ours: far beyond what honest runs on the built-in kindergarten show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from capwright.training.advantages import TOLERANCE, _centered, _range

#: How fast old steps are forgotten: a step ago counts this much, twenty steps ago about a third.
MEMORY = 0.95
CORRELATION, ENOUGH = 0.8, 200.0  # of reward with length, and over how many captions
REPETITION = 0.3  # share of word triples that a caption has said before
SAMENESS = 0.5  # share of images that get one and the same caption
STUCK = 20  # steps in a row without any spread


class RewardMonitor:
    """Watches every step; each alarm is raised once a stage.

    Args:
        names: of the K rewards; `weights`: those of weight 0 are not watched.
    """

    def __init__(self, names: Sequence[str], weights: Sequence[float]) -> None:
        self.names = [name for name, weight in zip(names, weights) if weight]
        self.columns = [k for k, weight in enumerate(weights) if weight]
        self.sums: dict[str, Any] = {"length": {}, "repetition": 0.0, "sameness": 0.0, "weight": 0.0}
        self.stuck: Counter[str] = Counter()
        self.varied: dict[str, bool] = {}  # of rewards that could be compared: did they ever vary?
        self.raised: set[str] = set()

    def look(self, rewards: Tensor, texts: Sequence[Sequence[str]]) -> dict[str, Any]:
        """Numbers for the journal; `alarms` in it are sentences for people, empty when all is well.

        Args:
            rewards: `[P, G, K]`, NaN where unknown; `texts`: P groups of G captions.
        """
        words = [[text.lower().split() for text in group] for group in texts]
        lengths = torch.tensor([[len(w) for w in group] for group in words], dtype=torch.float64)
        repeats = sum(repetition(w) for group in words for w in group) / max(1, lengths.numel())
        common = Counter(text for group in texts for text in set(group)).most_common(1)
        same = common[0][1] / len(texts) if common and len(texts) >= 4 else 0.0
        found: dict[str, str] = {}
        correlations: dict[str, float | None] = {}
        for name, k in zip(self.names, self.columns):
            values = rewards[..., k]
            correlations[name] = correlation = self._correlation(name, values, lengths)
            if correlation is not None and abs(correlation) > CORRELATION:
                found[f"length {name}"] = (
                    f"reward '{name}' follows the length of captions (correlation {correlation:.2f} within groups): "
                    "longer or shorter may be all that is learned"
                )
            known = values[~values.isnan().any(1)]
            compared = known.shape[0] > 0 and known.shape[1] > 1  # one caption alone cannot vary
            flat = compared and bool((_range(known) <= TOLERANCE).all())
            self.stuck[name] = self.stuck[name] + 1 if flat else 0
            if compared:
                self.varied[name] = self.varied.get(name, False) or not flat
            if self.stuck[name] >= STUCK:
                found[f"stuck {name}"] = f"reward '{name}' has not varied within any group for {STUCK} steps"
        for key, value in (("repetition", repeats), ("sameness", same)):
            self.sums[key] = MEMORY * self.sums[key] + value
        self.sums["weight"] = MEMORY * self.sums["weight"] + 1.0
        if (share := self.sums["repetition"] / self.sums["weight"]) > REPETITION:
            found["repetition"] = f"captions repeat themselves: {share:.0%} of their word triples were said before"
        if (share := self.sums["sameness"] / self.sums["weight"]) > SAMENESS:
            found["sameness"] = f"one caption is said of {share:.0%} of the images"
        fresh = [text for key, text in found.items() if key not in self.raised]
        self.raised |= set(found)
        rounded = {name: None if value is None else round(value, 4) for name, value in correlations.items()}
        return {"length_correlation": rounded, "repetition": round(repeats, 4), "alarms": fresh}

    def never_varied(self) -> list[str]:
        """Rewards that were the same for all captions of an image, every time, and were not warned about."""
        return [name for name, varied in self.varied.items() if not varied and f"stuck {name}" not in self.raised]

    def _correlation(self, name: str, values: Tensor, lengths: Tensor) -> float | None:
        """Of reward and length within groups, over the remembered steps; None while there is too little to say."""
        known = ~values.isnan()
        x = torch.where(known, lengths, torch.nan)
        x, y = _centered(x).nan_to_num(0.0), _centered(values).nan_to_num(0.0)
        now = [float(v) for v in ((x * y).sum(), (x * x).sum(), (y * y).sum(), known.sum())]
        before = self.sums["length"].get(name, [0.0] * 4)
        xy, xx, yy, n = self.sums["length"][name] = [MEMORY * old + new for old, new in zip(before, now)]
        return xy / (xx * yy) ** 0.5 if n >= ENOUGH and xx > TOLERANCE and yy > TOLERANCE else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "sums": self.sums,
            "stuck": dict(self.stuck),
            "raised": sorted(self.raised),
            "varied": self.varied,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sums, self.stuck, self.raised = state["sums"], Counter(state["stuck"]), set(state["raised"])
        self.varied = state["varied"]


def repetition(words: Sequence[str]) -> float:
    """The share of a text's word triples that it has said before; 0 for texts of fewer than four words."""
    triples = list(zip(words, words[1:], words[2:]))
    return 1.0 - len(set(triples)) / len(triples) if len(triples) > 1 else 0.0
