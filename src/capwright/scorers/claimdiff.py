"""ClaimDiff: where a caption and its reference differ, which of the two is wrong more often? (arXiv 2605.20278)

The paper asks one model for the differences; here they are put together from claims. What that changes:
docs/methods/claim-scores.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.ports import Claims, Split, Verdict
from capwright.scorers.base import Item, ScorerSpec, ratio
from capwright.scorers.claims import (
    Assistant,
    ClaimContext,
    ClaimScorer,
    Finding,
    evidence_of,
    failed,
    match_claims,
    no_evidence,
    shown,
    verify_claims,
)

_OUTPUTS = ("claimdiff", "errors", "reference_errors", "differences")


class ClaimDiff(ClaimScorer):
    """The scorer `claimdiff`.

    A difference is a claim that one of caption and reference makes and the other does not. It is an error of one of
    them: of the one that makes it where it is not true, of the one that leaves it out where it is. Outputs, means over
    captions:
        claimdiff: 0.5 - 0.5 * (errors - errors of the reference) / differences, from 0 to 1; 0.5 without differences,
            which is being as good as the reference. The headline.
        errors, reference_errors, differences: how many, a caption. Not turned around as rewards.
    A blank caption leaves out everything. A sample without a reference is unknown.
    Rows are (claimdiff, errors, reference_errors, differences, captions).

    Args:
        assistant, evidence, facts, seed: see `ClaimScorer`. The claims of a reference are `facts`; by default "references".
        omissions: whether leaving something out is an error. Without, only untrue claims are, and a true claim that
            one side makes is nobody's; then silence is never below 0.5.
    """

    _width = 5

    def __init__(
        self,
        assistant: Assistant = "lexical",
        evidence: str = "auto",
        facts: str = "references",
        omissions: bool = True,
        seed: int = 0,
    ) -> None:
        spec = ScorerSpec(
            name="claimdiff",
            version="1",
            outputs=_OUTPUTS,
            ranges={name: (0.0, 1.0 if name == "claimdiff" else np.inf) for name in _OUTPUTS},
            needs=frozenset({"assistant"} | ({"references"} if facts == "references" else set())),
            unit="item|ctx",
            cost="calls",
        )
        super().__init__(spec, assistant, evidence, facts, seed)
        self._omissions = omissions

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 5] -> [..., 4] means over captions in the order of the outputs; 0/0 is NaN."""
        summed = np.asarray(summed, dtype=np.float64)
        return ratio(summed[..., :4], summed[..., 4:])

    def _more(self, claims: Claims) -> tuple[tuple[str, object], ...]:
        return (("omissions", "yes" if self._omissions else "no"),)

    def _measure(self, items: Sequence[Item], context: ClaimContext) -> list[Finding]:
        said, facts = self._split(items, context)
        against = [evidence_of(item.sample, context.evidence) for item in items]
        matches = match_claims(context.claims, [(s.claims, f.claims) for s, f in zip(said, facts)], self._seed)
        own, theirs = zip(*map(_differences, said, facts, matches)) if items else ((), ())
        asked = [
            ((*mine, *other) if evidence is not None else (), evidence or "")
            for mine, other, evidence in zip(own, theirs, against)
        ]
        checked = verify_claims(context.claims, asked, self._seed)
        found = []
        for i in range(len(items)):
            verdicts, status = checked[i]
            bad = failed(said[i].status, facts[i].status, matches[i][1], status)
            if bad is not None:
                found.append(Finding(None, bad))
            elif against[i] is None:
                found.append(no_evidence(context.evidence))
            elif not facts[i].claims:
                found.append(Finding(None))
            else:
                found.append(self._judge(own[i], theirs[i], verdicts))
        return found

    def _judge(self, own: Sequence[str], theirs: Sequence[str], verdicts: Sequence[Verdict]) -> Finding:
        mine, other = verdicts[: len(own)], verdicts[len(own) :]
        true = sum(verdict.verdict == "entailed" for verdict in mine)
        true_other = sum(verdict.verdict == "entailed" for verdict in other)
        errors, reference_errors = len(mine) - true, len(other) - true_other
        if self._omissions:
            errors, reference_errors = errors + true_other, reference_errors + true
        differences = len(verdicts)
        score = 0.5 - 0.5 * (errors - reference_errors) / differences if differences else 0.5
        evidence: dict[str, Any] = {"only here": shown(own, mine), "only in the reference": shown(theirs, other)}
        return Finding((score, float(errors), float(reference_errors), float(differences), 1.0), evidence=evidence)


def _differences(
    said: Split, facts: Split, match: tuple[list[int | None], str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Claims of the caption alone, and of the reference alone; none where matching failed."""
    places, status = match
    if status != "ok":
        return (), ()
    own = tuple(claim for claim, place in zip(said.claims, places) if place is None)
    told = set(places)
    return own, tuple(fact for place, fact in enumerate(facts.claims) if place not in told)
