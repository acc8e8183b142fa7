"""ClaimDiff: where a caption and its reference differ, which of the two is wrong more often? (arXiv 2605.20278)

What is the paper's and what is ours: docs/methods/claim-scores.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from capwright.judges.protocols import Claims, Split, Verdict, Writer
from capwright.scorers._asking import failure
from capwright.scorers.base import Corpus, Item, ItemStats, ScorerSpec, references_of
from capwright.scorers.claims._claims import (
    ClaimContext,
    ClaimScorer,
    FactsName,
    evidence_of,
    facts_of,
    no_evidence,
    shown,
    verify_claims,
)
from capwright.scorers.questions._open_questions import write_records
from capwright.types import Sample, ScorerError, Status

_OUTPUTS = ("claimdiff", "errors", "reference_errors", "differences")
_WRONG = {"first": (True, False), "second": (False, True), "both": (True, True), "neither": (False, False)}


@dataclass(eq=False)
class ClaimDiff(ClaimScorer):
    """The scorer `claimdiff`.

    A difference is one thing in which a caption and its reference do not say the same. Either of the two may be wrong
    there; the reference is an anchor, not the truth. Outputs, means over captions:
        claimdiff: from 0 to 1, see `mode`. The headline.
        errors, reference_errors, differences: how many, a caption. Not turned around as rewards.
    A blank caption leaves out everything. A sample without a reference is unknown.
    Rows are (claimdiff, errors, reference_errors, differences, captions).

    Args:
        judge, evidence, facts, seed: see `ClaimScorer`. `facts` are the claims of the reference.
        mode: with E errors of the caption, R of the reference and D differences,
            "normalized_diff": 0.5 - 0.5 * (E - R) / D, and 0.5 without differences;
            "normalized_a_only": (0.05 + 0.95 * (1 - E / D)^2) * exp(-E / 4) * (0.7 + 0.3 * min(1, ln(1 + D) / ln 11)),
            and 1 without differences; "a_only": 1 - E / 10, at least 0.
        how: "judge" asks one model for the differences, as the paper does: it needs a judge that writes, images,
            and references. "claims" puts them together: a claim of one side that the text of the other does
            not entail, held against the evidence. "auto" is "judge" where that is possible.
        omissions: whether leaving out something that is so is an error. Without, silence is none.
    """

    spec = ScorerSpec(
        name="claimdiff",
        outputs=_OUTPUTS,
        ranges={name: (0.0, 1.0 if name == "claimdiff" else math.inf) for name in _OUTPUTS},
        needs={"judge"},
        unit="item|ctx",
        cost="calls",
        about="where a caption and its reference differ: which of the two is wrong",
        source="arXiv 2605.20278",
        page="claim-scores",
    )
    columns = (*_OUTPUTS, "captions")

    facts: FactsName = "references"
    mode: Literal["normalized_diff", "normalized_a_only", "a_only"] = "normalized_diff"
    how: Literal["auto", "claims", "judge"] = "auto"
    omissions: bool = True

    def __post_init__(self) -> None:
        if self.facts == "references":
            self.spec = replace(self.spec, needs={"judge", "references"})

    def prepare(self, corpus: Corpus) -> ClaimContext:
        """See `ClaimScorer.prepare`. Raises ScorerError also when how is "judge" and the judge cannot."""
        made = super().prepare(corpus)
        if self.how == "judge" and not _possible(made):
            raise ScorerError(
                'claimdiff: how: "judge" needs a language model that sees images, evidence "image" and facts '
                f'"references"; here it is {made.claims.signature}, {made.evidence!r} and {made.facts!r}'
            )
        return made

    def _more(self, claims: Claims) -> tuple[tuple[str, object], ...]:
        return (("mode", self.mode), ("how", self.how), ("omissions", "yes" if self.omissions else "no"))

    def measure(self, items: Sequence[Item], context: ClaimContext) -> Iterator[ItemStats]:
        """Rows of `columns`. Evidence: the "differences", or the claims "only here" and "only in the reference"."""
        judged = self.how == "judge" or (self.how == "auto" and _possible(context))
        return self._judged(items, context) if judged else self._compared(items, context)

    # As the paper does: one model lists the differences ---------------------------------------------------------------

    def _judged(self, items: Sequence[Item], context: ClaimContext) -> Iterator[ItemStats]:
        given: list[tuple[Path, str, str] | None] = []
        for item in items:
            path, references = evidence_of(item.sample, "image"), references_of(item.sample)
            given.append((path, item.caption, references[0]) if isinstance(path, Path) and references else None)
        asked = [dict(zip(("image", "first", "second"), one)) if one else None for one in given]
        records = write_records(cast(Writer, context.claims), "differences", asked, self.seed, "claimdiff")
        for item, one, record in zip(items, given, records):
            if one is not None:
                yield self._read(record)
            else:
                yield ItemStats(None) if evidence_of(item.sample, "image") else no_evidence("image")

    def _read(self, record: Mapping[str, Any]) -> ItemStats:
        """Count the errors in a list of differences."""
        if record.get("status") != Status.OK:
            return ItemStats(None, failure(record.get("status")))
        differences = record.get("differences")
        if not isinstance(differences, (list, tuple)) or not all(map(_readable, differences)):
            return ItemStats(None, Status.UNPARSEABLE)
        errors = [0, 0]
        for one in differences:
            wrong = _WRONG[one["wrong"]]
            for side, (mine, theirs) in enumerate((("first", "second"), ("second", "first"))):
                left_out = not one[mine].strip() and bool(one[theirs].strip()) and not wrong[1 - side]
                errors[side] += wrong[side] or (self.omissions and left_out)
        return self._finding(errors[0], errors[1], len(differences), {"differences": list(differences)})

    # Put together from claims -----------------------------------------------------------------------------------------

    def _compared(self, items: Sequence[Item], context: ClaimContext) -> Iterator[ItemStats]:
        said, facts = self._split(items, context)
        # What one side says and the text of the other does not. Matching would not do: "red" matches "blue".
        texts = [_reference(item.sample, context.facts) for item in items]
        mine = [(split.claims if text else (), text) for split, text in zip(said, texts)]
        yours = [(split.claims if item.caption.strip() else (), item.caption) for split, item in zip(facts, items)]
        held = verify_claims(context.claims, [*mine, *yours], self.seed)
        parts = [
            (_not_said(said[i], held[i][0]), _not_said(facts[i], held[len(items) + i][0])) for i in range(len(items))
        ]
        before = [[split.status for split in said], [split.status for split in facts], [status for _, status in held]]
        before.append(before[2][len(items) :])
        checked = self._hold(items, [(*own, *theirs) for own, theirs in parts], context, before)
        for wanted, (own, theirs), (verdicts, unknown) in zip(facts, parts, checked):
            yield unknown or (self._weigh(own, theirs, verdicts) if wanted.claims else ItemStats(None))

    def _weigh(self, own: Sequence[str], theirs: Sequence[str], verdicts: Sequence[Verdict]) -> ItemStats:
        mine, other = verdicts[: len(own)], verdicts[len(own) :]
        true = sum(verdict.verdict == "entailed" for verdict in mine)
        true_other = sum(verdict.verdict == "entailed" for verdict in other)
        errors, reference_errors = len(mine) - true, len(other) - true_other
        if self.omissions:
            errors, reference_errors = errors + true_other, reference_errors + true
        evidence: dict[str, Any] = {"only here": shown(own, mine), "only in the reference": shown(theirs, other)}
        return self._finding(errors, reference_errors, len(verdicts), evidence)

    def _finding(self, errors: int, others: int, differences: int, evidence: dict[str, Any]) -> ItemStats:
        score = reward(self.mode, errors, others, differences)
        return ItemStats((score, errors, others, differences, 1), evidence=evidence)


def reward(mode: str, errors: int, reference_errors: int, differences: int) -> float:
    """The number from 0 to 1 that a mode of `ClaimDiff` makes of counts."""
    if mode == "a_only":
        return max(0.0, 1 - errors / 10)
    if mode == "normalized_diff":
        return 0.5 - 0.5 * (errors - reference_errors) / differences if differences else 0.5
    if not differences:
        return 1.0
    right = 1 - errors / differences
    much = 0.7 + 0.3 * min(1.0, math.log1p(differences) / math.log(11))
    return (0.05 + 0.95 * right**2) * math.exp(-errors / 4) * much


def _possible(context: ClaimContext) -> bool:
    return isinstance(context.claims, Writer) and (context.evidence, context.facts) == ("image", "references")


def _reference(sample: Sample, facts: str) -> str:
    """The text that stands for the reference; "" where there is none."""
    if facts == "meta":
        return " ".join(facts_of(sample))
    return next(iter(references_of(sample)), "")


def _not_said(split: Split, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """The claims that a text does not entail; all of them where the text is blank, so that no judge was asked."""
    if not verdicts:
        return split.claims
    return tuple(claim for claim, verdict in zip(split.claims, verdicts) if verdict.verdict != "entailed")


def _readable(one: object) -> bool:
    if not isinstance(one, Mapping) or one.get("wrong") not in _WRONG:
        return False
    return isinstance(one.get("first"), str) and isinstance(one.get("second"), str)
