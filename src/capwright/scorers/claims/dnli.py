"""DNLI: which propositions of a caption does the description entail, contradict, or leave open? (arXiv 2411.09018)

What is the paper's and what is ours: docs/methods/claim-scores.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import Item, ScorerSpec, ratio
from capwright.scorers.claims._claims import (
    ClaimContext,
    ClaimFinding,
    ClaimScorer,
    ClaimsOption,
    evidence_of,
    shown,
    verify_claims,
)

_OUTPUTS = ("precision", "recall", "contradiction", "contradiction_recall", "neutral_recall")


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

    _width = 8

    def __init__(
        self, judge: ClaimsOption = "lexical", evidence: str = "references", facts: str = "auto", seed: int = 0
    ) -> None:
        spec = ScorerSpec(
            name="dnli",
            version="1",
            outputs=_OUTPUTS,
            ranges={name: (0.0, np.inf if name.endswith("recall") else 1.0) for name in _OUTPUTS}
            | dict.fromkeys(("descriptive", "consistent"), (0.0, 1.0)),
            needs=frozenset({"judge"} | ({"references"} if evidence == "references" else set())),
            unit="item|ctx",
            cost="calls",
            rewards=("descriptive", "consistent"),
        )
        super().__init__(spec, judge, evidence, facts, seed)

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 8] -> [..., 5] means over captions in the order of the outputs; 0/0 is NaN."""
        precision, captions, recall, wrong, neutral, with_facts, against, speaking = np.moveaxis(
            np.asarray(summed, dtype=np.float64), -1, 0
        )
        columns = (
            ratio(precision, captions),
            ratio(recall, with_facts),
            ratio(against, speaking),
            ratio(wrong, with_facts),
            ratio(neutral, with_facts),
        )
        return np.stack(columns, axis=-1)

    def shape(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rewards [..., 2] (descriptive, consistent) of rows [..., 8], in [0, 1]; NaN where unknown."""
        rows = np.asarray(rows, dtype=np.float64)
        return np.stack([ratio(rows[..., 0], rows[..., 1]), ratio(rows[..., 7] - rows[..., 6], rows[..., 1])], axis=-1)

    def _measure(self, items: Sequence[Item], context: ClaimContext) -> list[ClaimFinding]:
        said, facts = self._split(items, context)
        against = [evidence_of(item.sample, context.evidence) for item in items]
        asked = [
            (split.claims if evidence is not None else (), evidence or "") for split, evidence in zip(said, against)
        ]
        told = verify_claims(context.claims, asked, self._seed)

        def find(i: int) -> ClaimFinding:
            words = [verdict.verdict for verdict in told[i][0]]
            counts = [words.count(name) for name in ("entailed", "contradicted", "neutral")]
            n = len(facts[i].claims)
            evidence = {"claims": shown(said[i].claims, told[i][0]), "facts": n}
            return ClaimFinding(_row(counts, len(words), n), evidence=evidence)

        statuses = [(s.status, f.status, status) for s, f, (_, status) in zip(said, facts, told)]
        return self._settled(context, against, statuses, find)


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
