"""What an evaluation found."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.evaluation.stats.intervals import How
from capwright.scorers import Context, Scorer

#: How a sample without any caption row is counted.
MISSING = "missing_caption"
#: Reasons that files tell of one scorer.
MOST_REASONS = 5


def score_key(scorer: str, output: str) -> str:
    """The name of a score among all: `bleu4` of `bleu` speaks for itself, `micro` of `tts` is `tts.micro`."""
    return output if output.startswith(scorer) else f"{scorer}.{output}"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score and its interval; None where undefined or unknown."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def known(self) -> bool:
        return self.value is not None

    @property
    def has_interval(self) -> bool:
        return self.low is not None and self.high is not None

    def to_json(self) -> dict[str, float | None]:
        """{"value", "low", "high"}."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What one system said of one image and how it was measured.

    Attributes:
        id: of the sample.
        caption: the text; "" when there was none.
        status: one of `types.STATUSES`, or "missing_caption".
        scores: scorer -> output -> value of this caption alone, None where undefined.
        evidence: scorer -> what the numbers were made of, or None.
        others: further captions that the system gave of the image; scores are of all of them.
    """

    id: str
    caption: str
    status: str
    scores: Mapping[str, Mapping[str, float | None]]
    evidence: Mapping[str, dict[str, Any] | None]
    others: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """{"id", "caption", "status", "scores": {"bleu4": ...}}, and all "captions" where there are several."""
        pairs = [(score_key(name, out), value) for name, found in self.scores.items() for out, value in found.items()]
        more = {"captions": [self.caption, *self.others]} if self.others else {}
        return {"id": self.id, "caption": self.caption, **more, "status": self.status, "scores": dict(pairs)}


@dataclass(frozen=True)
class Measured:
    """One scorer's statistics of all images.

    Attributes:
        scorer, context: what measured.
        rows: float64 [images, k]; zero where unknown.
        known: bool [images].
        status: counts of unknown statuses that the scorer itself met.
        estimates: output -> Estimate, in the order of `context.outputs`.
        signature: of the numbers, with their intervals.
        why: id -> why nothing is known of an image, in the judge's words; ids without such words are not
            in it.
    """

    scorer: Scorer
    context: Context
    rows: NDArray[np.float64]
    known: NDArray[np.bool_]
    status: Mapping[str, int]
    estimates: Mapping[str, Estimate]
    signature: str
    why: Mapping[str, str] = field(default_factory=dict)

    def reasons(self) -> list[dict[str, Any]]:
        """[{"reason", "images", "example": id}, ...] of `why`, the most common first.

        Reasons that differ only after a colon (in what a reply said, say) or in the number of an entry are one reason,
        told as it is of the example.
        """
        found: dict[str, list[str]] = {}
        for id, reason in self.why.items():
            found.setdefault(re.sub(r"\[\d+\]", "[]", reason.partition(": ")[0]), []).append(id)
        by_number = sorted(found.values(), key=len, reverse=True)
        return [{"reason": self.why[ids[0]], "images": len(ids), "example": ids[0]} for ids in by_number]


@dataclass(frozen=True, slots=True)
class Group:
    """Samples that have one value under a key, and their scores.

    Attributes:
        value: as text; "(none)" for samples that do not have the key.
        images: how many there are; scored: by scorer, how many are known of these.
        estimates: scorer -> output -> Estimate. Scores of sets (diversity) are of the whole set and are left out.
    """

    value: str
    images: int
    scored: Mapping[str, int]
    estimates: Mapping[str, Mapping[str, Estimate]]

    def to_json(self) -> dict[str, Any]:
        """{"images", "scored": {scorer: n}, "scores": {"bleu4": {"value", "low", "high"}, ...}}."""
        scores = {
            score_key(name, output): one.to_json()
            for name, outputs in self.estimates.items()
            for output, one in outputs.items()
        }
        return {"images": self.images, "scored": dict(self.scored), "scores": scores}


@dataclass(frozen=True)
class Evaluation:
    """All that was measured of one system.

    Attributes:
        name: of the system ("rsrs"); may be empty.
        ids: of the samples, in order.
        scores: scorer name -> Measured.
        per_image: one ImageResult a sample, in order.
        unknown: status -> number of samples without a usable caption; "missing_caption" where there was no row.
        warnings: what to read before trusting the numbers; ids are named.
        seed, replicates, level, method: how intervals were made, see `How`.
        clusters: for each sample, what it is drawn together by; None when every image is drawn for itself.
        unit: what is drawn: "image", or the key of `Sample.meta` that names the clusters ("meta.video").
        groups: key -> scores of the samples of each value there, see `MeasureConfig.by`.
    """

    name: str
    ids: tuple[str, ...]
    scores: Mapping[str, Measured]
    per_image: tuple[ImageResult, ...]
    unknown: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    seed: int = 0
    replicates: int = 1000
    level: float = 0.95
    method: str = "jackknife"
    clusters: tuple[str, ...] | None = None
    unit: str = "image"
    groups: Mapping[str, Sequence[Group]] = field(default_factory=dict)

    @property
    def how(self) -> How:
        """How its intervals were made."""
        return How(self.method, self.replicates, self.seed, self.level)

    def estimate(self, scorer: str, output: str | None = None) -> Estimate:
        """One score: `evaluation.estimate("tts", "micro")`; the headline when no output is named."""
        measured = self.scores[scorer]
        return measured.estimates[output or measured.scorer.spec.headline]

    def unmeasured(self, scorer: str) -> tuple[int, dict[str, int]]:
        """How many images have a usable caption that the scorer could not measure (a judge failed, say), and why.

        Reasons are statuses with the number of captions.
        """
        measured = self.scores[scorer]
        images = len(self.ids) - sum(self.unknown.values()) - int(measured.known.sum())
        why = {status: n - self.unknown.get(status, 0) for status, n in measured.status.items()}
        return max(images, 0), {status: n for status, n in why.items() if n > 0}

    def to_json(self, trained_on: Collection[str] = (), per_image: bool = False) -> dict[str, Any]:
        """What is known of a system, as files have it.

        {"scores": {"bleu4": {"value", "low", "high", "scorer", "signature"}, "tts.micro": ...}, "images",
        "scored": {scorer: n}, "unknown": {status: n}, "unknown_by": {scorer: {status: n}},
        "unknown_why": {scorer: [see `Measured.reasons`]}, "warnings": [...]}, and "by": {key: {value: see `Group`}}
        where scores of groups were asked for. "unknown" counts images without a usable caption, "unknown_by" also
        captions that the scorer could not measure. Unknown numbers are null.

        Args:
            trained_on: scorers whose scores get "trained_on": true.
            per_image: also "per_image": [{"id", "caption", "status", "scores": {"bleu4": ...}}, ...], with "captions"
                where a system gave several.
        """
        scores: dict[str, Any] = {}
        for name, measured in self.scores.items():
            more: dict[str, Any] = {"scorer": name, "signature": measured.signature}
            more |= {"trained_on": True} if name in trained_on else {}
            for output, estimate in measured.estimates.items():
                scores[score_key(name, output)] = estimate.to_json() | more
        found = {
            "scores": scores,
            "images": len(self.ids),
            "scored": {name: int(measured.known.sum()) for name, measured in self.scores.items()},
            "unknown": dict(self.unknown),
            "unknown_by": {name: dict(measured.status) for name, measured in self.scores.items()},
            "unknown_why": {name: m.reasons()[:MOST_REASONS] for name, m in self.scores.items() if m.why},
            "warnings": list(self.warnings),
        }
        if self.groups:
            found["by"] = {key: {one.value: one.to_json() for one in groups} for key, groups in self.groups.items()}
        return found | ({"per_image": [result.to_json() for result in self.per_image]} if per_image else {})
