"""BalCap: is what a caption claims true and visible, and does it cover the reference? (arXiv 2605.07394)

The third part of the paper, language, is the scorer `language`; b-CapScore puts the three together. What is ours:
docs/methods/claim-scores.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from capwright.judges.protocols import Claims, Evidence, Split, Verdict
from capwright.scorers.base import SCORED, Corpus, Item, ItemStats, ScorerSpec, ratio
from capwright.scorers.claims._claims import (
    ClaimContext,
    ClaimScorer,
    FactsName,
    evidence_of,
    failed,
    no_evidence,
    shown,
    verify_claims,
)
from capwright.scorers.fluency.language import Language, LanguageContext
from capwright.types import ScorerError, Status


@dataclass(frozen=True)
class BalancedContext(ClaimContext):
    """Also what language is measured with."""

    language: Language
    learned: LanguageContext


@dataclass(eq=False)
class BalCap(ClaimScorer):
    """The scorer `balcap`.

    Outputs, 0 to 1:
        harmonic: 2PR / (P + R) of the two below; 0 when both are. The headline.
        precision: claims of the caption that are true and pointable / its claims, mean over captions. A caption without
            claims has precision 0.
        recall: units of the reference that the caption states / all units, mean over captions. A sample without units
            is unknown.
        language: with the option `language`, what the scorer of that name says; and
        b_capscore: the paper's b-CapScore, 3 / (1/P + 1/R + 1/L); 0 when one of the three is. The headline then. A
            caption of which one part is unknown is unknown.
    Each is a reward on its own (`output: precision`), and `parts` asks only for what one needs. Rows are (precision,
    captions, recall, captions with units, language, captions), without what `parts` and `language` leave out.

    Args:
        judge, evidence, facts, seed: see `ClaimScorer`. `facts` are the units of the reference.
        parts: "both", "precision" or "recall": the others are no output, and cost no calls.
        pointable: whether a true claim must also be about something that can be pointed at. Where the judge does
            not tell, the caption is unknown.
        language: "judge": the judge grades language, too; or what `learn_from` of the scorer `language` takes
            ("references", "meta.<key>", a file, or several): language is measured without asking. Empty: not measured.
    """

    spec = ScorerSpec(
        name="balcap",
        outputs=("harmonic", "precision", "recall"),
        needs={"judge"},
        unit="item|ctx",
        cost="calls",
        about="claims that are true and visible, and units of the reference that are covered; with language b-CapScore",
        source="arXiv 2605.07394",
        page="claim-scores",
    )

    facts: FactsName = "auto"
    parts: Literal["both", "precision", "recall"] = "both"
    pointable: bool = True
    language: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.language and self.parts != "both":
            raise ScorerError(f"balcap: b-CapScore needs parts: both, not {self.parts!r}; measure language by itself")
        outputs = self.spec.outputs if self.parts == "both" else (self.parts,)
        outputs = ("b_capscore", *outputs, "language") if self.language else outputs
        self.spec = replace(self.spec, outputs=outputs, ranges=None)
        self._parts = ("precision", "recall") if self.parts == "both" else (self.parts,)
        self._graded = self.language in ("judge", "assistant")  # the latter is what it was called before
        self._learned = Language(learn_from=self.language) if self.language and not self._graded else None
        self._needs = tuple(  # type: ignore[misc]
            need for part, need in (("precision", "evidence"), ("recall", "facts")) if part in self._parts
        )

    def prepare(self, corpus: Corpus) -> ClaimContext:
        """See `ClaimScorer.prepare`. With language also learns it, or asks whether the judge grades; raises as
        `Language.prepare`."""
        made = super().prepare(corpus)
        language = Language(made.claims, seed=self.seed) if self._graded else self._learned
        if language is None:
            return made
        learned = language.prepare(corpus)
        return made.extend(BalancedContext, learned.fingerprint, language=language, learned=learned)

    def width(self, context: ClaimContext) -> int:
        """(Sum, captions that have it) of each part and of language."""
        return 2 * (len(self._parts) + bool(self.language))

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., k] -> [..., m] in the order of the outputs; 0/0 is NaN."""
        summed = np.asarray(summed, dtype=np.float64)
        means = ratio(summed[..., 0::2], summed[..., 1::2])
        if len(self._parts) == 1:
            return means
        two = means[..., :2]
        product, total = two.prod(axis=-1, keepdims=True), two.sum(axis=-1, keepdims=True)
        harmonic = np.where(total == 0, 0.0, ratio(2 * product, total))
        if means.shape[-1] == 2:
            return np.concatenate([harmonic, means], axis=-1)
        with np.errstate(divide="ignore"):  # 1/0 is infinite, which makes the harmonic mean 0, as it should be
            balanced = 3 / (1 / means).sum(axis=-1, keepdims=True)
        return np.concatenate([balanced, harmonic, means], axis=-1)

    def fields(self, context: ClaimContext) -> dict[str, object]:
        """As of all claim scorers; with language `|language:learned:references/200#3f2a0c1d,...` before the version."""
        own = super().fields(context)
        if isinstance(context, BalancedContext):
            language = context.language.signature(context.learned)
            own["language"] = language.removeprefix("language|").replace("|", ",")
        return own

    def _more(self, claims: Claims) -> tuple[tuple[str, object], ...]:
        return (("parts", "+".join(self._parts)), ("pointable", "yes" if self.pointable else "no"))

    def measure(self, items: Sequence[Item], context: ClaimContext) -> Iterator[ItemStats]:
        """Rows as the class says. Evidence: "claims", "units", "missed" units and "language", as far as measured."""
        precise, covering = "precision" in self._parts, "recall" in self._parts
        said, units = self._split(items, context, captions=precise, facts=covering)
        against = [evidence_of(item.sample, context.evidence) for item in items]
        # A claim against the image and a unit against the caption are the same question: one call for both.
        asked: list[tuple[Sequence[str], Evidence]] = [
            (split.claims if evidence is not None else (), evidence or "") for split, evidence in zip(said, against)
        ]
        asked += [(split.claims if item.caption.strip() else (), item.caption) for split, item in zip(units, items)]
        told = verify_claims(context.claims, asked, self.seed)
        written = self._language(items, context)
        for i in range(len(items)):
            row: list[float] = []
            evidence: dict[str, object] = {}
            checked, covered = told[i], told[len(items) + i]
            wording, state = written[i]
            bad = failed(said[i].status, units[i].status, checked[1], covered[1], state)
            if precise and bad is None and against[i] is None:
                yield no_evidence(context.evidence)
                continue
            if precise and bad is None:
                good = [self._good(verdict) for verdict in checked[0]]
                bad = Status.UNPARSEABLE if None in good else None
                row += [sum(map(bool, good)) / len(good) if good else 0.0, 1.0]
                evidence["claims"] = [
                    line | {"pointable": verdict.pointable}
                    for line, verdict in zip(shown(said[i].claims, checked[0]), checked[0])
                ]
            if covering and bad is None:
                row += self._covered(units[i], covered[0])
                missed = _missed(units[i], covered[0])
                evidence |= {"units": len(units[i].claims), "missed": missed}
            if wording is not None and bad is None:
                row += [wording, 1.0]
                evidence["language"] = wording
            yield ItemStats(None, bad) if bad is not None else ItemStats(row, evidence=evidence)

    def _language(self, items: Sequence[Item], context: ClaimContext) -> list[tuple[float | None, str]]:
        """How well each caption is written, and "ok" or why that is unknown; (None, "ok") when nobody asks."""
        if not isinstance(context, BalancedContext):
            return [(None, Status.OK)] * len(items)
        stats = context.language.stats(items, context.learned)
        marks = context.language.finalize(stats.rows)[:, -1].tolist()
        return [(mark, Status.OK) if state in SCORED else (None, state) for mark, state in zip(marks, stats.status)]

    def _good(self, verdict: Verdict) -> bool | None:
        """Whether a claim counts; None where no judge said whether it is pointable."""
        if verdict.verdict != "entailed":
            return False
        return verdict.pointable if self.pointable else True

    @staticmethod
    def _covered(units: Split, verdicts: Sequence[Verdict]) -> list[float]:
        if not units.claims:
            return [0.0, 0.0]
        return [sum(verdict.verdict == "entailed" for verdict in verdicts) / len(units.claims), 1.0]


def _missed(units: Split, verdicts: Sequence[Verdict]) -> list[str]:
    if not verdicts:
        return list(units.claims)
    return [unit for unit, verdict in zip(units.claims, verdicts) if verdict.verdict != "entailed"]
