"""DNLI: which propositions of a caption does the description entail, contradict, or leave open? (arXiv 2411.09018)

What is the paper's and what is ours: docs/methods/claim-scores.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import Item, ItemStats, ScorerSpec, ratio
from capwright.scorers.claims._claims import ClaimContext, ClaimScorer, EvidenceName, FactsName, shown

_OUTPUTS = ("precision", "recall", "contradiction", "contradiction_recall", "neutral_recall")


@dataclass(eq=False)
class DNLI(ClaimScorer):
    """The scorer `dnli`.

    With E, C and N the propositions of a caption that its description entails, contradicts and leaves open, and facts
    the propositions of the description, the outputs are means over captions of
        precision: E / propositions of the caption; 0 for a caption without any. The headline.
        recall: E / facts. Several propositions may say one fact, so it can be above 1.
        contradiction: C / propositions of the caption; unknown for a caption without any. Lower is better.
        contradiction_recall, neutral_recall: C / facts, N / facts. Lower is better.
    The last four need care as rewards: `dnli` turns none of them around. Rewards in [0, 1], made for training:
        descriptive: precision.
        consistent: 1 - C / propositions; 0 for a caption without any, so that silence does not pay.

    Rows are (precision, captions, recall, contradiction_recall, neutral_recall, captions with facts, contradiction,
    captions with propositions).

    Args:
        judge, evidence, facts, seed: see `ClaimScorer`. The paper's description is a text, so `evidence` is
            "references" by default.
    """

    spec = ScorerSpec(
        name="dnli",
        outputs=_OUTPUTS,
        ranges={name: (0.0, np.inf if name.endswith("recall") else 1.0) for name in _OUTPUTS},
        needs={"judge"},
        unit="item|ctx",
        cost="calls",
        rewards=("descriptive", "consistent"),
        about="propositions of a caption that its description entails, contradicts or leaves open",
        source="arXiv 2411.09018",
        page="claim-scores",
    )
    columns = (
        *("precision", "captions", "recall", "contradiction_recall", "neutral_recall", "with_facts"),
        *("contradiction", "with_claims"),
    )
    ratios = (
        *(("precision", "captions"), ("recall", "with_facts"), ("contradiction", "with_claims")),
        *(("contradiction_recall", "with_facts"), ("neutral_recall", "with_facts")),
    )

    evidence: EvidenceName = "references"
    facts: FactsName = "auto"

    def __post_init__(self) -> None:
        if self.evidence == "references":
            self.spec = replace(self.spec, needs={"judge", "references"})

    def shape(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rewards [..., 2] (descriptive, consistent) of rows [..., 8], in [0, 1]; NaN where unknown."""
        rows = np.asarray(rows, dtype=np.float64)
        return np.stack([ratio(rows[..., 0], rows[..., 1]), ratio(rows[..., 7] - rows[..., 6], rows[..., 1])], axis=-1)

    def measure(self, items: Sequence[Item], context: ClaimContext) -> Iterator[ItemStats]:
        """Rows of `columns`. Evidence: {"claims": [{"claim", "verdict"}, ...], "facts": how many}."""
        said, facts = self._split(items, context)
        before = [[split.status for split in splits] for splits in (said, facts)]
        held = self._hold(items, [split.claims for split in said], context, before)
        for split, wanted, (verdicts, unknown) in zip(said, facts, held):
            words = [verdict.verdict for verdict in verdicts]
            counts = [words.count(name) for name in ("entailed", "contradicted", "neutral")]
            evidence = {"claims": shown(split.claims, verdicts), "facts": len(wanted.claims)}
            yield unknown or ItemStats(_row(counts, len(words), len(wanted.claims)), evidence=evidence)


def _row(counts: Sequence[int], claims: int, facts: int) -> tuple[float, ...]:
    entailed, contradicted, neutral = counts
    return (
        entailed / claims if claims else 0.0,
        1.0,
        *(count / facts if facts else 0.0 for count in (entailed, contradicted, neutral)),
        float(facts > 0),
        contradicted / claims if claims else 0.0,
        float(claims > 0),
    )
