"""OpenCHAIR: which things that a caption names are not there? (arXiv 2312.03631)

Unlike `chair` it has no list of objects: a language model lists what a caption names, and judges whether it is there.
What is the paper's and what is ours: docs/methods/claim-scores.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.ports import Verdict, Writer
from capwright.scorers.base import Corpus, Item, NotInstalledError, ScorerError, ScorerSpec, ratio
from capwright.scorers.claims import (
    Assistant,
    ClaimContext,
    ClaimScorer,
    Finding,
    evidence_of,
    failed,
    known_status,
    no_evidence,
    verify_claims,
)

#: Words for the picture itself, and for no thing in it.
_NO_THINGS = frozenset(
    ("photo", "photograph", "picture", "image", "painting", "drawing", "view", "scene", "background", "foreground")
)


class OpenCHAIR(ClaimScorer):
    """The scorer `openchair`.

    Outputs, 0 to 1 over a corpus:
        openchair: things that captions name and that are absent / things judged present or absent. The headline; lower
            is better. A corpus that names nothing is unknown.
        unsure: things of which nobody can say / things named. Lower is better, too: they are in no other number.
    A caption with one answer that could not be had is unknown: it does not vanish from the denominator unseen.
    Rows are (absent, present, unsure, captions).

    Rewards:
        faithful: present / things named; 0 for a caption that names nothing, so that silence does not pay.

    Args:
        assistant, evidence, seed: see `ClaimScorer`. It must be a language model: it lists the things,
            and without one the scorer is not installed. The paper judges
            by a text, so `evidence` is "references" by default. A thing that a text does not mention is absent, one
            that a picture does not show clearly is unsure.
    """

    _width = 4
    _needs = ("evidence",)

    def __init__(self, assistant: Assistant = "lexical", evidence: str = "references", seed: int = 0) -> None:
        spec = ScorerSpec(
            name="openchair",
            version="1",
            outputs=("openchair", "unsure"),
            ranges=dict.fromkeys(("openchair", "unsure", "faithful"), (0.0, 1.0)),
            needs=frozenset({"assistant"} | ({"references"} if evidence == "references" else set())),
            unit="item|ctx",
            higher_is_better=False,
            cost="calls",
            rewards=("faithful",),
        )
        super().__init__(spec, assistant, evidence, "auto", seed)

    def prepare(self, corpus: Corpus) -> ClaimContext:
        """See `ClaimScorer.prepare`. Raises NotInstalledError when the assistant is no language model."""
        made = super().prepare(corpus)
        if not isinstance(made.claims, Writer):
            raise NotInstalledError(
                "openchair: not installed: a language model that lists what captions name; name one as assistant, such "
                'as {"name": "http://localhost:8000/v1", "model": "..."}, or use chair, which has a list of objects'
            )
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

    def _measure(self, items: Sequence[Item], context: ClaimContext) -> list[Finding]:
        named = self._things([item.caption for item in items], context)
        against = [evidence_of(item.sample, context.evidence) for item in items]
        asked = [
            ([f"There is this in the picture: {thing}." for thing in named[item.caption][0]], evidence)
            if evidence is not None
            else ((), "")
            for item, evidence in zip(items, against)
        ]
        checked = verify_claims(context.claims, asked, self._seed)
        found = []
        for i, item in enumerate(items):
            things, listed = named[item.caption]
            verdicts, status = checked[i]
            bad = failed(listed, status)
            if bad is not None:
                found.append(Finding(None, bad))
            elif against[i] is None:
                found.append(no_evidence(context.evidence))
            else:
                said = [_judge(verdict, context.evidence) for verdict in verdicts]
                row = tuple(float(said.count(word)) for word in ("absent", "present", "unsure"))
                things_said = [{"thing": thing, "judged": word} for thing, word in zip(things, said)]
                found.append(Finding((*row, 1.0), evidence={"things": things_said}))
        return found

    def _things(self, captions: Sequence[str], context: ClaimContext) -> dict[str, tuple[tuple[str, ...], str]]:
        """What each caption names, each thing once, and "ok" or why that is unknown; one call."""
        texts = list(dict.fromkeys(captions))
        asked = [text for text in texts if text.strip()]
        assert isinstance(context.claims, Writer)
        told = context.claims.write("terms", [{"caption": text} for text in asked], seed=self._seed) if asked else []
        if len(told) != len(asked):
            raise ScorerError(f"openchair: the assistant gave {len(told)} records for {len(asked)} captions")
        blank: dict[str, tuple[tuple[str, ...], str]] = dict.fromkeys(texts, ((), "ok"))
        return blank | {text: _read(record) for text, record in zip(asked, told)}


def _read(record: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    if record.get("status") != "ok":
        return (), known_status(record.get("status"))
    terms = record.get("terms")
    if not isinstance(terms, (list, tuple)) or not all(isinstance(term, str) for term in terms):
        return (), "unparseable"
    folded = (" ".join(term.casefold().split()) for term in terms)
    return tuple(dict.fromkeys(term for term in folded if term and term not in _NO_THINGS)), "ok"


def _judge(verdict: Verdict, evidence: str) -> str:
    if verdict.verdict == "entailed":
        return "present"
    return "unsure" if verdict.verdict == "neutral" and evidence == "image" else "absent"
