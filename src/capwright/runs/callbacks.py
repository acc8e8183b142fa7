"""Looking at a captioner while it learns: captions after every stage, quick measurements in between."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capwright.captioning.caption_files import CaptionTally, caption_file, caption_rows, tell
from capwright.captioning.captioners import PolicyCaptioner
from capwright.console import counting
from capwright.runs.summary import write_json

if TYPE_CHECKING:
    from capwright.data import Dataset
    from capwright.models import HFPolicy
    from capwright.recipes import Recipe
    from capwright.runs import Progress
    from capwright.scorers import Context, Scorer

CAPTIONS = "captions"
CHECKPOINTS = "checkpoints"
#: Seconds that captioning took, by system, beside the caption files.
TIMES = "seconds.json"


class Observer:
    """Looks at the captioner while it learns: captions the eval split after every stage, and probes it in between."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        samples: Dataset,
        rulers: Sequence[tuple[Scorer, Context]],
        progress: Progress,
    ) -> None:
        self.recipe, self.out, self.samples, self.rulers, self.progress = recipe, out, samples, rulers, progress
        self.sampling = recipe.evaluation.sampling.to_types()
        self.probed = samples[: recipe.evaluation.probe_limit]

    def caption(self, policy: HFPolicy, system: str) -> None:
        """Write or complete captions/<system>.jsonl."""
        path = self.out / CAPTIONS / f"{system}.jsonl"
        began = time.monotonic()
        self.progress.close()
        self.progress.say(f"{system}: captioning {len(self.samples):,} images")
        batch = self.recipe.evaluation.batch_size
        with counting(f"{system}: captions") as progress:
            captioner = PolicyCaptioner(policy, system)
            tally = caption_file(captioner, self.samples, path, self.sampling, batch_size=batch, progress=progress)
        self._remember(system, tally, time.monotonic() - began)

    def probe(self, policy: HFPolicy, stage: str, step: int) -> dict[str, Any]:
        """A quick measurement on the first images of the eval split: {"scores": {"tts.micro": value, ...}}."""
        from capwright.evaluation import evaluate

        captioner = PolicyCaptioner(policy, stage)
        rows = caption_rows(captioner, self.probed, self.sampling, self.recipe.evaluation.batch_size)
        found = evaluate(self.probed, {row["id"]: row for row in rows}, self.rulers, replicates=0).to_json()
        return {"scores": {score: estimate["value"] for score, estimate in found["scores"].items()}}

    def complete(self) -> None:
        """Caption what is missing with the saved captioner of its stage (settings of the evaluation have changed)."""
        from capwright.data import read_captions
        from capwright.runs import load_recipe_policy

        for system in systems(self.recipe):
            path = self.out / CAPTIONS / f"{system}.jsonl"
            rows = read_captions(path) if path.exists() else {}
            if any(sample.id not in rows for sample in self.samples):
                saved = None if system == "base" else self.out / CHECKPOINTS / system
                self.caption(load_recipe_policy(self.recipe, saved), system)
        self.progress.close()

    def _remember(self, system: str, tally: CaptionTally, seconds: float) -> None:
        if tally.failures:
            for line in tell(tally, self.out / CAPTIONS / f"{system}.jsonl", 3):
                self.progress.say(line)
        if tally.written:
            times = read_times(self.out / CAPTIONS)
            write_json(self.out / CAPTIONS / TIMES, times | {system: round(times.get(system, 0.0) + seconds, 3)})


def systems(recipe: Recipe) -> list[str]:
    """What is captioned and measured, in order: the base and every stage."""
    return ["base", *(stage.name for stage in recipe.stages)]


def read_times(captions: Path) -> dict[str, float]:
    """Seconds that captioning took, by system."""
    try:
        found = json.loads((captions / TIMES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
