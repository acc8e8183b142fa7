"""What a run left behind, read back: summary, training journal, captions, recipe.

Every part may be missing (a run that was stopped, captions scored without training); the report says so instead of
failing. What is there must be readable: a broken file is an error that names the file and the line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from capwright.data.captions import read_captions
from capwright.evaluation.results import MISSING
from capwright.evaluation.scoring import read_scoring
from capwright.report.parts import mapping, mappings
from capwright.types import EMPTY, STATUSES, DataError
from capwright.yaml_text import load_yaml


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder in memory. `systems` are in the order of training: base first, the last stage last; `summary` has
    the shape of `evaluation.Scoring.to_json`, whichever version wrote it. `stages` are those of the recipe, with what
    each says it starts from.
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

    def block(self, system: str) -> Mapping[str, Any]:
        """What the summary says of a system; nothing when it says nothing."""
        return mapping(self.summary.get("systems", EMPTY).get(system))

    def scores(self, system: str) -> Mapping[str, Mapping[str, Any]]:
        """The scores of a system by name, as the summary has them."""
        return {k: v for k, v in mapping(self.block(system).get("scores")).items() if isinstance(v, Mapping)}

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the summary says of the run."""
        return mapping(self.summary.get("run"))

    @property
    def starts(self) -> dict[str, str]:
        """Stages that went on from another one than that before them (`start_from`), with that one."""
        found = self.facts.get("starts")
        if not isinstance(found, Mapping):  # of a run that is not finished only the recipe says it
            found = {name: start for name, start in self.stages.items() if start}
        order = ["base", *self.stages] if set(self.systems) <= {"base", *self.stages} else self.systems
        before = dict(zip(order[1:], order))
        return {str(name): str(start) for name, start in found.items() if before.get(str(name)) not in (None, start)}

    @property
    def trained(self) -> bool:
        """Whether a training run left this folder, or captions were only measured."""
        return bool(self.recipe or self.steps or self.probes)

    def count_unknown(self, system: str, ids: Sequence[str]) -> dict[str, int] | None:
        """How many of the samples `ids` have no usable caption, by reason; None when captions cannot tell."""
        rows = self.captions.get(system)
        if rows is None or not ids:
            return None
        statuses = (caption_status(rows.get(id)) for id in ids)
        return dict(sorted(Counter(status for status in statuses if status not in ("ok", "empty")).items()))


def trained_systems(run: RunFolder, scorer: str) -> tuple[str, ...]:
    """The systems that were trained on a scorer: every stage that saw it as a reward, or went on from one that did.

    What the rewards were is `run.trained_on` of summary.json, {reward: signature}; which stages saw them is in the
    journal. Without a journal it may be any system but the base.
    """
    rewards = mapping(run.facts.get("trained_on"))
    names = {reward for reward, signature in rewards.items() if str(signature).partition("|")[0] == scorer}
    if not names:
        return ()
    seen = {row.get("stage") for row in run.steps if names & mapping(row.get("reward")).keys()}
    if not run.steps:
        return tuple(system for system in run.systems if system != "base")
    trained: list[str] = []
    for before, system in zip(("", *run.systems), run.systems):
        if system in seen or run.starts.get(system, before) in trained:
            trained.append(system)
    return tuple(trained)


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
    path = root / "recipe.yaml"
    recipe = path.read_text("utf-8", errors="replace") if path.is_file() else ""
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


def _stages(recipe: str) -> dict[str, str | None]:
    """The stages of a saved recipe in order, with what each says it starts from; none of one that is broken."""
    try:
        rows = mappings(mapping(load_yaml(recipe)).get("stages"))
    except yaml.YAMLError:
        return {}
    return {str(row["name"]): row.get("start_from") for row in rows if "name" in row}


def caption_status(row: Mapping[str, Any] | None) -> str:
    """The status of a caption row; a sample without a row has none ("missing_caption")."""
    if row is None:
        return MISSING
    status = row.get("status") or "ok"
    return status if status in STATUSES else "unparseable"


def _order(
    summary: Mapping[str, Any], captions: Mapping[str, Any], journal: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    measured = [name for name, part in summary.get("systems", EMPTY).items() if isinstance(part, Mapping)]
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
        return read_scoring(json.loads(path.read_text("utf-8-sig")))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not JSON ({error}); run `capwright eval` again to write it anew") from error
    except DataError as error:
        raise DataError(f"{path}: {error}; run `capwright eval` again") from error


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
