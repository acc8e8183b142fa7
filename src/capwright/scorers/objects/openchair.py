"""OpenCHAIR: which things that a caption names are not there? (arXiv 2312.03631)

Unlike `chair` it has no list of objects: a language model lists what a caption names, and judges whether it is there.
What is the paper's and what is ours: docs/methods/claim-scores.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import Corpus, Item, ItemStats, ScorerSpec, ratio
from capwright.scorers.claims._claims import ClaimContext, ClaimScorer, EvidenceName
from capwright.scorers.objects._open_vocabulary import check_writer, claim_of, judged, named_things


@dataclass(eq=False)
class OpenCHAIR(ClaimScorer):
    """The scorer `openchair`.

    Outputs, 0 to 1 over a corpus:
        openchair: things that captions name and that are absent / things judged present or absent. The headline; lower
            is better. A corpus that names nothing is unknown.
        unsure: things that the judge is unsure of / things named. Lower is better, too: they are in no other number.
    A caption with one answer that could not be had is unknown: it does not vanish from the denominator unseen.
    Rows are (absent, present, unsure, captions).

    Rewards:
        faithful: present / things named; 0 for a caption that names nothing, so that silence does not pay.

    Args:
        judge, evidence, seed: see `ClaimScorer`. It must be a language model: it lists the things,
            and without one the scorer is not installed. The paper judges
            by a text, so `evidence` is "references" by default. A thing that a text does not mention is absent, one
            that an image does not show clearly is unsure.
    """

    spec = ScorerSpec(
        name="openchair",
        outputs=("openchair", "unsure"),
        needs={"judge"},
        unit="item|ctx",
        higher_is_better=False,
        cost="calls",
        rewards=("faithful",),
        about="things that captions name, listed by a language model, and that are not there",
        source="arXiv 2312.03631",
        page="claim-scores",
    )
    columns = ("absent", "present", "unsure", "captions")
    _needs = ("evidence",)

    evidence: EvidenceName = "references"

    def __post_init__(self) -> None:
        if self.evidence == "references":
            self.spec = replace(self.spec, needs={"judge", "references"})

    def prepare(self, corpus: Corpus) -> ClaimContext:
        """See `ClaimScorer.prepare`. Raises NotInstalledError when the judge is no language model."""
        made = super().prepare(corpus)
        check_writer(made.claims, self.spec.name, "chair, which has a list of objects")
        return made

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 4] -> [..., 2] shares; 0/0 is NaN."""
        absent, present, unsure, _ = np.moveaxis(np.asarray(summed, dtype=np.float64), -1, 0)
        return np.stack([ratio(absent, absent + present), ratio(unsure, absent + present + unsure)], axis=-1)

    def shape(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The reward "faithful" [..., 1] of rows [..., 4], each of one caption, in [0, 1]; NaN where unknown."""
        rows = np.asarray(rows, dtype=np.float64)
        named, captions = rows[..., :3].sum(axis=-1), rows[..., 3]
        return np.where(captions > 0, rows[..., 1] / np.maximum(named, 1.0), np.nan)[..., None]

    def measure(self, items: Sequence[Item], context: ClaimContext) -> Iterator[ItemStats]:
        """Rows of `columns`. Evidence: {"things": [{"thing", "judged": "present", "absent" or "unsure"}, ...]}."""
        named = named_things(context.claims, [item.caption for item in items], self.seed, self.spec.name)
        things, listed = zip(*named) if named else ((), ())
        held = self._hold(items, [list(map(claim_of, those)) for those in things], context, [listed])
        for those, (verdicts, unknown) in zip(things, held):
            said = [judged(verdict, context.evidence) for verdict in verdicts]
            row = [said.count(word) for word in ("absent", "present", "unsure")]
            evidence = {"things": [{"thing": thing, "judged": word} for thing, word in zip(those, said)]}
            yield unknown or ItemStats([*row, 1], evidence=evidence)
