"""OpenCHAIR: which things that a caption names are not there? (arXiv 2312.03631)

Unlike `chair` it has no list of objects: a language model lists what a caption names, and judges whether it is there.
What is the paper's and what is ours: docs/methods/claim-scores.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import Corpus, Item, ScorerSpec, ratio
from capwright.scorers.claims._claims import (
    ClaimContext,
    ClaimFinding,
    ClaimScorer,
    ClaimsOption,
    evidence_of,
    verify_claims,
)
from capwright.scorers.objects._open_vocabulary import check_writer, claim_of, judged, named_things


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

    _width = 4
    _needs = ("evidence",)

    def __init__(self, judge: ClaimsOption = "lexical", evidence: str = "references", seed: int = 0) -> None:
        spec = ScorerSpec(
            name="openchair",
            version="1",
            outputs=("openchair", "unsure"),
            ranges=dict.fromkeys(("openchair", "unsure", "faithful"), (0.0, 1.0)),
            needs=frozenset({"judge"} | ({"references"} if evidence == "references" else set())),
            unit="item|ctx",
            higher_is_better=False,
            cost="calls",
            rewards=("faithful",),
        )
        super().__init__(spec, judge, evidence, "auto", seed)

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

    def _measure(self, items: Sequence[Item], context: ClaimContext) -> list[ClaimFinding]:
        named = named_things(context.claims, [item.caption for item in items], self._seed, self.spec.name)
        against = [evidence_of(item.sample, context.evidence) for item in items]
        asked = [
            ([claim_of(thing) for thing in things], evidence) if evidence is not None else ((), "")
            for (things, _), evidence in zip(named, against)
        ]
        checked = verify_claims(context.claims, asked, self._seed)

        def find(i: int) -> ClaimFinding:
            said = [judged(verdict, context.evidence) for verdict in checked[i][0]]
            row = tuple(float(said.count(word)) for word in ("absent", "present", "unsure"))
            things_said = [{"thing": thing, "judged": word} for thing, word in zip(named[i][0], said)]
            return ClaimFinding((*row, 1.0), evidence={"things": things_said})

        statuses = [(listed, status) for (_, listed), (_, status) in zip(named, checked)]
        return self._settled(context, against, statuses, find)
