"""DCScore: are the claims of a detailed caption true, and does it state the facts? (arXiv 2503.07906)

Docs with a worked example, and what is ours: docs/methods/claim-scores.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capwright.judges.protocols import Claims, Split, Verdict
from capwright.scorers.base import Item, ItemStats, ScorerSpec
from capwright.scorers.claims._claims import (
    ClaimContext,
    ClaimScorer,
    FactsName,
    evidence_of,
    failed,
    is_lexical,
    match_claims,
    unknown,
    verify_claims,
)
from capwright.scorers.options import Positive
from capwright.types import Status

_OUTPUTS = ("dcscore", "precision", "recall", "f1", "f1_descriptive")


class Marks(NamedTuple):
    """Shares from 0 to 1 of one caption."""

    precision: float
    recall: float
    f1: float


@dataclass(eq=False)
class DCScore(ClaimScorer):
    """The scorer `dcscore`.

    Outputs, 0 to 100, each the mean over captions:
        dcscore: 50 * (F1 over all claims + F1 over descriptive claims). The headline.
        precision, recall, f1: over all claims.
        f1_descriptive: over the claims that describe rather than infer.
    Rows are (dcscore / 100, precision, recall, f1, f1_descriptive, captions): per caption the mean over trials, as the
    paper averages over images. A caption without claims scores 0. A sample without facts is unknown, because recall
    would be 1 for whatever is true.

    Args:
        judge, evidence, facts, seed: see `ClaimScorer`.
        trials: how often matching and verifying are each asked; every match is scored with every verification, and the
            mean is taken. None is 3 as in the paper, 1 for the lexical reader. A trial whose answer failed is left out;
            when no match or no verification is left, the caption is unknown.
        strict_paper: take the shared credit of descriptive claims from all claims, as the public code does.
    """

    spec = ScorerSpec(
        name="dcscore",
        outputs=_OUTPUTS,
        ranges=dict.fromkeys(_OUTPUTS, (0.0, 100.0)),
        needs={"judge"},
        unit="item|ctx",
        cost="calls",
        about="claims of a detailed caption that are true, and facts that it states",
        source="arXiv 2503.07906",
        page="claim-scores",
    )
    columns = (*_OUTPUTS, "captions")

    facts: FactsName = "auto"
    trials: Positive | None = None
    strict_paper: bool = False

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 6] -> [..., 5] means over captions, 0 to 100, in the order of the outputs; 0/0 is NaN."""
        return 100 * super().finalize(summed)

    def _more(self, claims: Claims) -> tuple[tuple[str, object], ...]:
        return (("trials", self._repeats(claims)), ("strict", "yes" if self.strict_paper else None))

    def _repeats(self, claims: Claims) -> int:
        return self.trials or (1 if is_lexical(claims) else 3)

    def measure(self, items: Sequence[Item], context: ClaimContext) -> Iterator[ItemStats]:
        """Rows of `columns`. Evidence: {"claims", each with its fact, "missed" facts, "trials" that were answered}."""
        said, facts = self._split(items, context)
        against = [evidence_of(item.sample, context.evidence) for item in items]
        ready = [
            i
            for i, evidence in enumerate(against)
            if evidence is not None and facts[i].claims and said[i].status == Status.OK == facts[i].status
        ]
        # One call a trial and kind of question: a caption's trials differ in nothing but the seed.
        seeds = [self.seed + trial for trial in range(self._repeats(context.claims))]
        matches = [match_claims(context.claims, [(said[i].claims, facts[i].claims) for i in ready], s) for s in seeds]
        checks = [verify_claims(context.claims, [(said[i].claims, against[i] or "") for i in ready], s) for s in seeds]
        place = {i: k for k, i in enumerate(ready)}
        for i, evidence in enumerate(against):
            k = place.get(i)
            found = unknown(context, evidence, said[i].status, facts[i].status)
            if found is not None or k is None:
                yield found or ItemStats(None)
            else:
                yield self._score(said[i], facts[i], [m[k] for m in matches], [c[k] for c in checks])

    def _score(
        self,
        said: Split,
        facts: Split,
        matches: Sequence[tuple[list[int | None], str]],
        checks: Sequence[tuple[list[Verdict], str]],
    ) -> ItemStats:
        """The mean over all pairs of a match and a verification that were answered."""
        matched = [places for places, status in matches if status == Status.OK]
        checked = [verdicts for verdicts, status in checks if status == Status.OK]
        if not matched or not checked:
            return ItemStats(None, failed(*(status for _, status in (*matches, *checks))) or Status.JUDGE_ERROR)
        rows = []
        for verdicts in checked:
            true = [verdict.verdict == "entailed" for verdict in verdicts]
            flags = _descriptive(said, verdicts)
            for places in matched:
                whole = marks(true, places, len(facts.claims))
                part = marks(true, places, len(facts.claims), flags, shared_with_all=self.strict_paper)
                rows.append(((whole.f1 + part.f1) / 2, *whole, part.f1, 1.0))
        evidence = {
            "claims": [
                {
                    "claim": claim,
                    "true": sum(verdicts[j].verdict == "entailed" for verdicts in checked) / len(checked),
                    "fact": None if matched[0][j] is None else facts.claims[matched[0][j] or 0],
                    "descriptive": _descriptive(said, checked[0])[j],
                }
                for j, claim in enumerate(said.claims)
            ],
            "missed": [fact for o, fact in enumerate(facts.claims) if o not in matched[0]],
            "trials": [len(matched), len(checked)],
        }
        return ItemStats(tuple(float(v) for v in np.mean(rows, axis=0)), evidence=evidence)


def marks(
    true: Sequence[bool],
    matched: Sequence[int | None],
    facts: int,
    counted: Sequence[bool] | None = None,
    shared_with_all: bool = False,
) -> Marks:
    """Precision, recall and F1 of claims against `facts` facts, at least one (arXiv 2503.07906).

    A fact that n claims state, true ones and wrong ones, gives each true one 1/n. A true claim that states none of the
    facts is one more fact, and found: it counts in the numerator and the denominator of recall.

    Args:
        true: for each claim, whether it is true.
        matched: for each claim, the fact that it states, or None.
        facts: how many there are.
        counted: which claims count; all by default.
        shared_with_all: let claims that do not count share the credit of facts all the same.
    """
    use = [j for j in range(len(true)) if counted is None or counted[j]]
    sharing = range(len(true)) if shared_with_all else use
    shares = Counter(matched[j] for j in sharing if matched[j] is not None)
    right = [j for j in use if true[j]]
    extra = sum(matched[j] is None for j in right)
    credit = sum(1 / shares[matched[j]] for j in right if matched[j] is not None)
    precision = len(right) / len(use) if use else 0.0
    recall = (credit + extra) / (facts + extra)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return Marks(precision, recall, f1)


def _descriptive(said: Split, verdicts: Sequence[Verdict]) -> list[bool]:
    """Which claims describe; where no judge said so, all do."""
    if said.descriptive:
        return list(said.descriptive)
    return [verdict.descriptive is not False for verdict in verdicts]
