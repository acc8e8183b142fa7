"""What was measured of some systems: in memory, as JSON, and read back from files of any version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from capwright.data.alignment import Finding
from capwright.evaluation.compare import Comparison
from capwright.evaluation.results import Evaluation, score_key
from capwright.types import DataError, Sample, Vocabulary

#: Keys of files of earlier versions that stood beside the systems, and beside the scorers of a system.
_BESIDE_SYSTEMS = {"comparisons", "signatures", "run", "injection"}
_BESIDE_SCORERS = {"samples", "scored", "unknown", "unknown_by", "unknown_why", "signatures", "warnings", "seconds"}


@dataclass(frozen=True)
class Scoring:
    """All that was found about some systems.

    Attributes:
        evaluations: one a system, in the order given.
        comparisons: paired tests.
        samples: what was measured on: ids and references.
        findings: system -> what should be read before the numbers are trusted; also the warnings of its evaluation.
        not_installed: scorer -> why it could not be asked.
        trained_on: system -> scorers that it was trained on; their scores say how well training worked, not more.
        sources: system -> the file it was read from; "" for captions given in memory.
        vocabulary: of the domain; None when there is none.
        injection: what orders in captions did to the scores of the first system (`robustness.prompt_injection.Effect`).
    """

    evaluations: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...] = ()
    samples: Sequence[Sample] = ()
    findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    not_installed: Mapping[str, str] = field(default_factory=dict)
    trained_on: Mapping[str, frozenset[str]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    vocabulary: Vocabulary | None = None
    injection: Sequence[Any] = ()

    def to_json(self, per_image: bool = True) -> dict[str, Any]:
        """The content of every file of scores, whichever command wrote it.

        {"systems": {name: {"file", "scores", ...}}, "comparisons": [...], "not_installed": {...}, "images", "interval",
        "seed", "replicates", "level"}, and "injection" where it was measured. A system is what `Evaluation.to_json`
        says, and the file of its captions; a scorer that is not installed has null and "note" among its scores.
        Commands add "versions", and what they know of the "run".
        """
        first = self.evaluations[0]
        absent = {
            name: {"value": None, "low": None, "high": None, "scorer": name, "signature": None, "note": why}
            for name, why in self.not_installed.items()
        }
        systems = {}
        for one in self.evaluations:
            found = one.to_json(self.trained_on.get(one.name, ()), per_image)
            found["scores"] |= absent
            systems[one.name] = {"file": self.sources.get(one.name, "")} | found
        document = {
            "systems": systems,
            "comparisons": [c.to_json() for c in self.comparisons],
            "not_installed": dict(self.not_installed),
            "images": len(first.ids),
            "interval": first.method,
            "seed": first.seed,
            "replicates": first.replicates,
            "level": first.level,
        }
        return document | ({"injection": [effect.to_json() for effect in self.injection]} if self.injection else {})


def read_scoring(document: Any) -> dict[str, Any]:
    """A file of scores in the shape of `Scoring.to_json`, whichever version wrote it.

    Before, `capwright score` wrote its systems as a list, and runs and `capwright eval` each as a key of its own, with
    a block of outputs for each scorer ("by_tier" for outputs "tier:rare"). Keys that are not known stay as they are.

    Raises DataError when it is none of these.
    """
    if not isinstance(document, Mapping):
        raise DataError("must hold one object with what is known of each system")
    systems = document.get("systems")
    if isinstance(systems, Mapping):
        return dict(document)
    try:
        if systems is not None:
            return {**document, "systems": {row["name"]: row for row in systems}}
    except (KeyError, TypeError) as error:
        raise DataError(f'"systems" is not what capwright writes ({error})') from error
    beside = {key: value for key, value in document.items() if key in _BESIDE_SYSTEMS or not isinstance(value, Mapping)}
    blocks = {key: value for key, value in document.items() if key not in beside}
    signatures = document.get("signatures")
    systems = {name: _from_blocks(block, signatures) for name, block in blocks.items()}
    rows = beside.get("comparisons")
    if isinstance(rows, list):
        beside["comparisons"] = [_renamed(row) if isinstance(row, Mapping) else row for row in rows]
    return beside | {"systems": systems}


def flat_scores(blocks: Any) -> dict[str, tuple[str, Any]]:
    """Numbers by scorer and output ({"tts": {"micro": 1, "by_tier": {"rare": 2}}}) as {"tts.micro": ("tts", 1), ...}.

    What is flat already ({"tts.micro": 1}) stays so; its scorer is what stands before the dot.
    """
    found: dict[str, tuple[str, Any]] = {}
    for scorer, outputs in blocks.items() if isinstance(blocks, Mapping) else ():
        if not isinstance(outputs, Mapping) or "value" in outputs:
            found[scorer] = str(scorer).partition(".")[0], outputs
            continue
        for output, node in outputs.items():
            parts = {output: node}
            if output.startswith("by_") and isinstance(node, Mapping):
                parts = {f"{output.removeprefix('by_')}:{member}": inner for member, inner in node.items()}
            found |= {score_key(scorer, part): (scorer, inner) for part, inner in parts.items()}
    return found


def _from_blocks(block: Mapping[str, Any], signatures: Any) -> dict[str, Any]:
    beside = {key: value for key, value in block.items() if key in _BESIDE_SCORERS}
    own = beside.pop("signatures", None) or signatures
    scores = {}
    for key, (scorer, node) in flat_scores({k: v for k, v in block.items() if k not in _BESIDE_SCORERS}).items():
        signature = own.get(scorer) if isinstance(own, Mapping) else None
        numbers = dict(node) if isinstance(node, Mapping) else {"value": node}
        scores[key] = numbers | {"scorer": scorer, "signature": signature}
    if "samples" in beside:
        beside["images"] = beside.pop("samples")
    return {"scores": scores} | beside


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    scorer, dot, output = str(row.get("score", "")).partition(".")
    return {**row, "score": score_key(scorer, output) if dot else scorer}
