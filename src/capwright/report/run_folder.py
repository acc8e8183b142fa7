"""What a run left behind, read back: summary, training journal, captions, recipe.

Every part may be missing (a run that was stopped, captions scored without training); the report says so instead of
failing. What is there must be readable: a broken file is an error that names the file and the line.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from capwright.data.captions import read_captions
from capwright.evaluation.results import MISSING
from capwright.types import EMPTY, STATUSES, DataError

#: Keys of summary.json that are not systems.
NOT_SYSTEMS = frozenset({"comparisons", "signatures", "run", "injection"})
#: How well-known stages and systems are written for people.
NAMES = {
    "base": "Base",
    "warmup": "Warm-up",
    "sft": "SFT",
    "grpo": "GRPO",
    "rsrs": "RSRS",
    "gdpo": "GDPO",
    "dpo": "DPO",
    "scst": "SCST",
    "dapo": "DAPO",
    "ciderd": "CIDEr-D",
    "caprl": "CapRL",
    "balcaprl": "BalCapRL",
    "cccaption": "CCCaption",
    "bleu": "BLEU",
    "rougel": "ROUGE-L",
    "meteor": "METEOR",
    "tts": "TTS",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with its interval; every part is None when unknown."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def known(self) -> bool:
        return self.value is not None

    @property
    def has_interval(self) -> bool:
        return self.low is not None and self.high is not None


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder in memory. `systems` are in the order of training: base first, the last stage last. `stages`
    are those of the recipe, with what each says it starts from.
    """

    root: Path
    systems: tuple[str, ...]
    summary: Mapping[str, Any]
    captions: Mapping[str, Mapping[str, Mapping[str, Any]]]
    steps: tuple[Mapping[str, Any], ...]
    probes: tuple[Mapping[str, Any], ...]
    recipe: str
    stages: Mapping[str, str | None]
    torn: bool = False

    def measure(self, system: str, *path: str) -> Measure:
        """The measurement at `summary[system][path...]`, unknown where there is none."""
        node: Any = self.summary.get(system)
        for key in path:
            node = node.get(key) if isinstance(node, Mapping) else None
        return as_measure(node)

    @property
    def starts(self) -> dict[str, str]:
        """Stages that went on from another one than that before them (`start_from`), with that one."""
        found = (self.summary.get("run") or {}).get("starts")
        if not isinstance(found, Mapping):  # of a run that is not finished only the recipe says it
            found = {name: start for name, start in self.stages.items() if start}
        order = ["base", *self.stages] if set(self.systems) <= {"base", *self.stages} else self.systems
        before = dict(zip(order[1:], order))
        return {str(name): str(start) for name, start in found.items() if before.get(str(name)) not in (None, start)}

    @property
    def trained(self) -> bool:
        """Whether a training run left this folder, or captions were only measured."""
        return bool(self.recipe or self.steps or self.probes)

    @property
    def lead(self) -> tuple[str, str]:
        """The score that the page is about: TTS where it was measured, else the first that is not a length."""
        if not any(self.measure(system, "tts", "micro").known for system in self.systems):
            for scorer, output, *_ in self.score_paths():
                if scorer not in ("tts", "length") and any(self.measure(s, scorer, output).known for s in self.systems):
                    return scorer, output
        return "tts", "micro"

    def score_paths(self) -> list[tuple[str, ...]]:
        """(scorer, output) of all that any system was measured with, (scorer, "by_kind", kind) of parts."""
        found: dict[tuple[str, ...], None] = {}
        for system in self.systems:
            for scorer, block in (self.summary.get(system) or {}).items():
                for output, node in block.items() if isinstance(block, Mapping) else ():
                    if not isinstance(node, Mapping):
                        continue
                    if "value" in node:
                        found[scorer, output] = None
                    else:
                        parts = (
                            part for part, inner in node.items() if isinstance(inner, Mapping) and "value" in inner
                        )
                        found.update({(scorer, output, part): None for part in parts})
        return list(found)

    def tiers(self) -> list[str]:
        """Names of the tiers any system was measured on, from what is said often to what is never said."""
        usual = ("frequent", "common", "occasional", "rare", "never")
        seen: dict[str, None] = {}
        for system in self.systems:
            by_tier = (self.summary.get(system) or {}).get("tts", {}).get("by_tier")
            if isinstance(by_tier, Mapping):
                seen.update(dict.fromkeys(str(tier) for tier in by_tier))
        return [t for t in usual if t in seen] + [t for t in seen if t not in usual]

    def unknown(self, system: str, ids: Sequence[str]) -> dict[str, int] | None:
        """How many samples have no score, by reason: as the summary says, else counted over the samples `ids`.

        None when neither the summary nor the captions can tell.
        """
        stated = (self.summary.get(system) or {}).get("unknown")
        if isinstance(stated, Mapping):
            return {str(reason): int(n) for reason, v in stated.items() if (n := number(v))}
        rows = self.captions.get(system)
        if rows is None or not ids:
            return None
        statuses = (caption_status(rows.get(id)) for id in ids)
        return dict(sorted(Counter(status for status in statuses if status not in ("ok", "empty")).items()))


def read_run(run_dir: str | Path) -> RunFolder:
    """Read a run folder.

    Raises:
        DataError: the folder does not exist, holds nothing to report, or one of its files is broken.
    """
    root = Path(run_dir)
    if not root.is_dir():
        raise DataError(f"{root}: no such run folder; give the folder that `capwright train` or `capwright demo` wrote")
    summary = _read_summary(root / "summary.json")
    journal, torn = _read_rows(root / "metrics.jsonl")
    captions = {path.stem: read_captions(path) for path in sorted((root / "captions").glob("*.jsonl"))}
    if not summary and not journal and not captions:
        raise DataError(
            f"{root}: nothing to report; there is no summary.json, no metrics.jsonl and no captions/*.jsonl"
        )
    recipe = _read_recipe(root / "recipe.yaml")
    return RunFolder(
        root=root,
        systems=_order(summary, captions, journal),
        summary=summary,
        captions=captions,
        steps=tuple(row for row in journal if row.get("kind") == "step"),
        probes=tuple(row for row in journal if row.get("kind") == "eval"),
        recipe=recipe,
        stages=_stages(recipe),
        torn=torn,
    )


def _read_recipe(path: Path) -> str:
    return path.read_text("utf-8", errors="replace") if path.is_file() else ""


def _stages(recipe: str) -> dict[str, str | None]:
    """The stages of a saved recipe in order, with what each says it starts from; none of one that is broken."""
    try:
        given = yaml.safe_load(recipe)
    except yaml.YAMLError:
        return {}
    stages = given.get("stages") if isinstance(given, dict) else None
    rows = [row for row in stages if isinstance(row, dict) and "name" in row] if isinstance(stages, list) else []
    return {str(row["name"]): row.get("start_from") for row in rows}


def label(name: str) -> str:
    """A system's or stage's name as a person would write it: "warmup" becomes "Warm-up", "rsrs" "RSRS"."""
    words = [NAMES.get(word.lower(), word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def number(value: Any) -> float | None:
    """`value` as a finite float; None for everything else (None, NaN, infinities, text, booleans)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def as_measure(node: Any) -> Measure:
    """{"value", "low", "high"} or a bare number as a Measure; anything else is unknown."""
    if isinstance(node, Mapping):
        return Measure(number(node.get("value")), number(node.get("low")), number(node.get("high")))
    return Measure(number(node))


def caption_status(row: Mapping[str, Any] | None) -> str:
    """The status of a caption row; a sample without a row has none ("missing_caption")."""
    if row is None:
        return MISSING
    status = row.get("status") or "ok"
    return status if status in STATUSES else "unparseable"


def _order(
    summary: Mapping[str, Any], captions: Mapping[str, Any], journal: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    measured = [name for name, part in summary.items() if name not in NOT_SYSTEMS and isinstance(part, Mapping)]
    stages = list(dict.fromkeys(str(row.get("stage")) for row in journal if row.get("stage")))
    rank = {name: place for place, name in enumerate(dict.fromkeys(["base", *stages, "warmup", *measured]))}
    extra = [name for name in captions if name not in measured]
    if "base" in extra or not measured:
        return tuple(sorted([*measured, *extra], key=lambda name: (rank.get(name, len(rank)), name)))
    return (*measured, *sorted(extra, key=lambda name: (rank.get(name, len(rank)), name)))


def _read_summary(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return EMPTY
    try:
        summary = json.loads(path.read_text("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not JSON ({error}); run `capwright eval` again to write it anew") from error
    if not isinstance(summary, dict):
        raise DataError(f"{path}: must hold one object with a key for each system; run `capwright eval` again")
    return summary


def _read_rows(path: Path) -> tuple[list[Mapping[str, Any]], bool]:
    """The objects of a JSON-lines file, and whether its last line was torn off (a run killed while writing)."""
    if not path.is_file():
        return [], False
    lines = [(place, line) for place, line in enumerate(path.read_bytes().split(b"\n"), 1) if line.strip()]
    rows: list[Mapping[str, Any]] = []
    for place, line in lines:
        try:
            row = json.loads(line.decode("utf-8-sig"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            if place == lines[-1][0]:
                return rows, True
            raise DataError(f"{path}:{place}: not a JSON object ({error}); repair or remove the line") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{place}: not a JSON object; repair or remove the line")
        rows.append(row)
    return rows, False
