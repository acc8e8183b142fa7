"""A part of a dataset, drawn by a seed; rare names first, where names are capped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

from pydantic import Field

from capwright.curation.base import Step, StepDecision
from capwright.types import Sample


class Subset(Step):
    """Draws samples by seed and id: a longer dataset draws the old samples in the same order.

    With `per_term`, samples of rare names come first, and a sample is left out when each of its names is in so many
    samples already. So no rare name is lost, and a frequent one may be there more often, beside rare ones. (MetaCLIP,
    arXiv 2309.16671, caps the entries of its metadata like this, but by chance.) Samples without names are not capped.
    """

    name = "sample"
    whole = True
    chunk = None
    n: int | None = Field(None, ge=1, description="at most so many samples; null: all")
    per_term: int | None = Field(None, ge=1, description="so many samples of a name are enough; null: never")
    seed: int = Field(0, ge=0, description="of the draw")

    def decide(self, samples: Sequence[Sample]) -> list[StepDecision]:
        names = [sorted({term.name for term in sample.terms}) for sample in samples]
        frequency = Counter(name for each in names for name in each)
        rarest = [min((frequency[name] for name in each), default=len(samples) + 1) for each in names]
        drawn = [blake2b(f"{self.seed}\0{sample.id}".encode("utf-8", "surrogatepass")).digest() for sample in samples]
        order = sorted(range(len(samples)), key=lambda i: (rarest[i] if self.per_term else 0, drawn[i]))
        there: Counter[str] = Counter()
        decisions = [StepDecision()] * len(samples)
        left = 0
        for i in order:
            if self.per_term and names[i] and all(there[name] >= self.per_term for name in names[i]):
                reason = ", ".join(names[i])
                decisions[i] = StepDecision(drop=f"names that {self.per_term} samples have", reason=reason)
            elif self.n is not None and left >= self.n:
                decisions[i] = StepDecision(drop="not drawn")
            else:
                left += 1
                there.update(names[i])
        return decisions
