"""A whole run: stages one after the other, in a folder, to be interrupted and resumed at any moment."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from capwright.data.locks import only_one
from capwright.models import HFPolicy
from capwright.recipes.files import save_recipe
from capwright.recipes.plugin_files import load_plugins
from capwright.recipes.schema import Recipe
from capwright.recipes.stages import RlStage, SftStage
from capwright.runs import checkpoint
from capwright.runs.changes import refuse_changes
from capwright.runs.checkpoint import changing_weights, load_weights, random_state, replacing, states
from capwright.runs.metrics_log import MetricsLog
from capwright.runs.progress import Progress
from capwright.runs.setup import OUT_OF_MEMORY, build_training_setup, warn_of_half_precision
from capwright.training.distributed import ProcessGroup, is_first, join
from capwright.training.rollout import TrainingSetup
from capwright.training.schedule import stage_seed
from capwright.training.trainer import Trainer
from capwright.types import OutageError, RunError

#: Called with the policy after each stage, first of all with "base": caption the eval split, measure, ...
AfterStage = Callable[[HFPolicy, str], Any]
#: (policy, stage name, step) -> keys for a row of kind "eval".
Probe = Callable[[HFPolicy, str, int], dict[str, Any]]


@dataclass(frozen=True)
class StageResult:
    """What came of a stage. `path` is the folder of the captioner as it was at its end."""

    name: str
    kind: str
    steps: int
    images_seen: int
    seconds: float
    updates: int
    skipped: int
    imitated: int
    left_in_buffer: int
    path: Path


class Stopped(RunError):
    """A run was interrupted and left a checkpoint to resume from."""


def train(
    recipe: Recipe,
    *,
    out: str | Path,
    resume: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    after_stage: AfterStage | None = None,
    probe: Probe | None = None,
    materials: TrainingSetup | None = None,
) -> list[StageResult]:
    """Train a captioner as a recipe says.

    Writes `recipe.yaml`, `metrics.jsonl`, `checkpoints/state-*` (to resume from, the last two), `checkpoints/<stage>`
    (the captioner after each stage, for `load_policy`) into `out`. Launched as several processes, all of them
    call this; the first one writes.

    Args:
        resume: go on from the last complete checkpoint in `out`. On a CPU the result is bit for bit that of a run that
            was never interrupted. A run without any checkpoint yet starts from its beginning.
        dry_run: say what would be done, and try the heaviest step; nothing is written but built-in scenes.
        after_stage: called with the policy and "base" before training, then after each stage with its name; of several
            processes all must give one, and the first calls it.
        probe: likewise, called every `eval_every` steps; what it returns is journaled. It cannot disturb training's
            randomness.
        materials: what to work with instead of what the recipe names.
    Raises:
        Stopped: interrupted (Ctrl-C); everything is saved. RunError, RecipeError, DataError, ModelError and
            PluginError: see message.
    """
    out, progress = Path(out), progress or Progress()
    load_plugins(recipe)
    if dry_run:
        from capwright.runs.dry_run import preview

        preview(recipe, out, progress, materials)
        return []
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "checkpoints").mkdir(exist_ok=True)
        with only_one(out, within=True) if is_first() else contextlib.nullcontext():
            if is_first() and not resume and ((out / "metrics.jsonl").exists() or states(out / "checkpoints")):
                raise RunError(
                    f"{out} already holds a run: go on with --resume {out}, or choose another folder with --out"
                )
            materials = materials or build_training_setup(recipe, out)
            run = TrainingRun(recipe, out, materials, progress, after_stage, probe)
            if run.processes.is_main and (not resume or not (out / "recipe.yaml").exists()):
                save_recipe(recipe, out / "recipe.yaml")
            return run.go(resume)
    except RuntimeError as error:
        if not _lost_contact(error):
            raise
        raise RunError(f"another process of this run has ended; {_how_to_go_on(out)}") from error
    except OSError as error:
        raise RunError(f"{error.filename or out}: cannot be written: {checkpoint.disk_reason(error)}") from error
    except KeyboardInterrupt:
        raise Stopped(f"stopped at once; go on from the last checkpoint with: capwright train --resume {out}") from None
    finally:
        progress.close()


@dataclass
class TrainingRun:
    """The state of a run between its stages."""

    recipe: Recipe
    out: Path
    materials: TrainingSetup
    progress: Progress
    after_stage: AfterStage | None
    probe: Probe | None
    results: list[StageResult] = field(default_factory=list)
    images_seen: int = 0
    seconds: float = 0.0  # spent in steps

    def __post_init__(self) -> None:
        self.policy = self.materials.policy
        self.processes = ProcessGroup(join(self.recipe, self.policy))
        self.checkpoints = self.out / "checkpoints"

    def go(self, resume: bool) -> list[StageResult]:
        """All stages, or what is left of them."""
        if self.processes.is_main:
            warn_of_half_precision(self.policy, self.progress.say)
        self._check_team()
        found = states(self.checkpoints) if resume else []
        place, state = (self._restore(found[-1])) if found else ({"stage": 0, "step": 0, "bytes": 0}, {})
        self.processes.wrap(self.policy.model)
        self.journal = MetricsLog(self.out / "metrics.jsonl", place["bytes"]) if self.processes.is_main else None
        for torn in self.checkpoints.glob(".*") if self.processes.is_main else ():
            shutil.rmtree(torn, ignore_errors=True)
        try:
            if not found:
                checkpoint.seed_everything(self.recipe.seed)
                self._outside(self.after_stage, "base")
                self._keep_start("base")
                self._save(0, None)
            with interruptible(self.progress.say) as stop:
                for number in range(place["stage"], len(self.recipe.stages)):
                    self._stage(number, state.get("trainer") if number == place["stage"] else None, stop)
        except OutageError as error:  # a judge is down: what it did not say is no reward of 0, and nothing is imitated
            saved = states(self.checkpoints)
            kept = f"The last checkpoint is {saved[-1]}; {self._go_on}" if saved else "Nothing was trained yet"
            raise OutageError(f"{error}. {kept}") from error
        finally:
            if self.journal is not None:
                self.journal.close()
        return self.results

    def _stage(self, number: int, state: dict[str, Any] | None, stop: threading.Event) -> None:
        stage = self.recipe.stages[number]
        if stage.start_from and not state:
            self._go_back(stage, stage.start_from)
        self._hold_reference(stage)
        seed = stage_seed(self.recipe, number)
        trainer = Trainer(self.materials, stage, seed, self.processes, self.progress.say)
        if state:
            trainer.load_state_dict(state)
        done, steps = trainer.counts["done"], trainer.steps
        self.progress.start(stage.name, steps, done)
        for step in range(done + 1, steps + 1):
            row = self._step(stage, trainer)
            stopped = self.processes.any(stop.is_set())
            if self.probe and stage.eval_every and (step % stage.eval_every == 0 or step == steps):
                found = self._outside(self.probe, stage.name, step)
                self._journal("eval", stage.name, step, found or {})
            self.progress.step(row)
            if step % stage.checkpoint_every == 0 or step == steps or stopped:
                saved = self._save(number, trainer)
            if stopped:
                raise Stopped(f"stopped after stage '{stage.name}' step {step}, saved as {saved}; {self._go_on}")
        if len(trainer.buffer):
            self.progress.say(_never_imitated(stage.name, trainer))
        if trainer.counts["lost"]:
            lost, groups = trainer.counts["lost"], trainer.counts["groups"]
            self.progress.say(
                f"{stage.name}: rewards of {lost:,} of {groups:,} groups are unknown; they taught nothing"
            )
        for name in trainer.monitor.never_varied() if isinstance(stage, RlStage) else ():
            self.progress.say(
                f"{stage.name}: reward '{name}' never varied among captions of one image; it taught nothing"
            )
        path = self.checkpoints / stage.name
        whole = self.processes.full_state(self.policy.model.state_dict()) if self.processes.sharded else None
        if self.processes.is_main:
            with replacing(path) as draft:
                self.policy.save(draft, **({} if whole is None else {"weights": whole}))
        self.results.append(self._result(stage, trainer, path))
        self._outside(self.after_stage, stage.name)
        self._keep_start(stage.name)
        self._save(number + 1, None)
        if self.processes.any(stop.is_set()) and number + 1 < len(self.recipe.stages):
            raise Stopped(f"stopped after stage '{stage.name}'; {self._go_on}")

    @property
    def _go_on(self) -> str:
        return _how_to_go_on(self.out)

    def _step(self, stage: SftStage | RlStage, trainer: Trainer) -> dict[str, Any]:
        start = time.monotonic()
        try:
            row = trainer.step()
        except (RunError, torch.OutOfMemoryError) as error:
            why = f"stage '{stage.name}': {OUT_OF_MEMORY}" if isinstance(error, torch.OutOfMemoryError) else error
            raise RunError(f"{why}. The last checkpoint is {states(self.checkpoints)[-1]}") from error
        found = row.get("groups", {})
        trainer.counts.update(groups=sum(found.values()), lost=found.get("unknown", 0))
        looked_at = row.pop("seen")
        trainer.counts.update(seen=looked_at)
        self.images_seen += looked_at
        self._check_readable(stage, trainer)
        seconds = time.monotonic() - start
        self.seconds += seconds
        row["seconds"] = round(seconds, 4)
        return self._journal("step", stage.name, trainer.counts["done"], row)

    def _check_readable(self, stage: SftStage | RlStage, trainer: Trainer) -> None:
        """Raises RunError when, after five steps or all of the stage, not one image could be used."""
        counts = trainer.counts
        if counts["unreadable"] >= counts["seen"] > 0 and counts["done"] >= min(5, trainer.steps):
            raise RunError(
                f"stage '{stage.name}': none of {counts['seen']:,} images could be used, so nothing is learned; run "
                "`capwright data check` on the dataset"
            )

    def _journal(self, kind: str, stage: str, step: int, row: dict[str, Any]) -> dict[str, Any]:
        place = {"kind": kind, "stage": stage, "step": step, "images_seen": self.images_seen}
        row = place | {"elapsed": round(self.seconds, 3)} | row
        if self.journal is not None:
            self.journal.write(row)
        return row

    def _outside(self, call: Callable[..., Any] | None, *arguments: Any) -> Any:
        """Call something that is not training, in the first process; training goes on as if it had not been called."""
        found = None
        with self.processes.unsharded_weights():
            if self.processes.is_main and call is not None:
                before, mode = random_state(), self.policy.model.training
                self.policy.model.eval()
                try:
                    found = call(self.policy, *arguments)
                finally:
                    checkpoint.restore_random_state(before)
                    self.policy.model.train(mode)
            self.processes.barrier()
        return found

    def _result(self, stage: SftStage | RlStage, trainer: Trainer, path: Path) -> StageResult:
        counts = trainer.counts
        seconds = self.seconds - sum(result.seconds for result in self.results)
        numbers = (counts["done"], self.images_seen, seconds, counts["updates"], counts["skipped"], counts["imitated"])
        return StageResult(stage.name, stage.kind, *numbers, len(trainer.buffer), path)

    # state ----------------------------------------------------------------------------------------------------------

    def _go_back(self, stage: SftStage | RlStage, name: str) -> None:
        """Be the captioner that the base, or an earlier stage, was; images are counted from there."""
        kept = checkpoint.read_weights(self.checkpoints / f"start-{name}", f"stages.{stage.name}.start_from")
        load_weights(self.policy.model, kept)
        self.images_seen = next((result.images_seen for result in self.results if result.name == name), 0)

    def _keep_start(self, name: str) -> None:
        """Keep the weights as they are now, if a later stage starts from here."""
        if self.processes.is_main and any(stage.start_from == name for stage in self.recipe.stages):
            checkpoint.save_weights(self.checkpoints / f"start-{name}", changing_weights(self.policy.model))
        self.processes.barrier()

    def _save(self, number: int, trainer: Trainer | None) -> Path:
        """A checkpoint: in the middle or at the end of stage `number`, or (without trainer) just before it."""
        done = trainer.counts["done"] if trainer else 0
        name = self.recipe.stages[number].name if number < len(self.recipe.stages) else "done"
        place = self.checkpoints / f"state-{number:02d}-{name}-{done:06d}"
        state = {"weights": self.processes.full_state(changing_weights(self.policy.model)), "random": random_state()}
        if trainer:
            state["trainer"] = self.processes.full_state(trainer.state_dict())
        if self.journal is None:
            return place
        about = {
            "stage": number,
            "step": done,
            "images_seen": self.images_seen,
            "seconds": self.seconds,
            "bytes": self.journal.sync(),
            "fingerprint": self.materials.fingerprint,
            "recipe": self.recipe.model_dump(mode="json"),
            "results": [asdict(result) | {"path": str(result.path)} for result in self.results],
        }
        return checkpoint.save_state(place, state, about)

    def _restore(self, place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Put everything back as it was at a checkpoint; refuses when recipe or data are not the same."""
        state, about = checkpoint.load_state(place)
        refuse_changes(self.out, about, self.recipe, self.materials.fingerprint)
        load_weights(self.policy.model, state["weights"])
        checkpoint.restore_random_state(state["random"])
        self.results = [StageResult(**result | {"path": Path(result["path"])}) for result in about["results"]]
        self.images_seen, self.seconds = about["images_seen"], about["seconds"]
        self.progress.say(f"going on from {place}")
        return about, state

    def _check_team(self) -> None:
        """Raises RunError for what several processes cannot do."""
        for stage in self.recipe.stages:
            here, images = f"stages.{stage.name}", min(stage.images_per_step, len(self.materials.data))
            if images < self.processes.size:
                raise RunError(f"{here}: {images} images a step are too few for {self.processes.size} processes")
            if self.processes.sharded and stage.start_from:
                raise RunError(f"{here}.start_from: needs whole weights, which FSDP does not keep; run it on its own")
            copied = isinstance(stage, RlStage) and stage.kl.beta and not hasattr(self.policy.model, "disable_adapter")
            if self.processes.sharded and copied:
                raise RunError(f"{here}.kl: needs a copy of the whole model, which FSDP cannot keep; use model.lora")

    def _hold_reference(self, stage: SftStage | RlStage) -> None:
        """For a KL penalty: the policy as it was when the stage began, also when the stage is resumed."""
        if isinstance(stage, SftStage) or not stage.kl.beta:
            return
        kept = self.checkpoints / f"reference-{stage.name}"
        now = self.processes.full_state(changing_weights(self.policy.model))
        if self.processes.is_main and not kept.exists():
            checkpoint.save_weights(kept, now)
        self.processes.barrier()
        with self.processes.unsharded_weights():
            self.policy.freeze_reference(checkpoint.read_weights(kept, f"stages.{stage.name}.kl"))


def _never_imitated(stage: str, trainer: Trainer) -> str:
    what = f"{stage}: {len(trainer.buffer)} failed images still waited in the buffer at the end and were not imitated"
    if trainer.counts["imitated"]:
        return what
    return f"{what}; none ever were: lower imitation.batch (now {trainer.imitation_batch}) or take more steps"


def _how_to_go_on(out: Path) -> str:
    return f"go on with: capwright train --resume {out}"


def _lost_contact(error: RuntimeError) -> bool:
    """Whether an error comes of a process that is gone; gloo and NCCL have no class for it."""
    signs = ("connection closed by peer", "connection reset", "broken pipe", "socket", "gloo", "nccl", "read error")
    return isinstance(error, torch.distributed.DistBackendError) or any(sign in str(error).lower() for sign in signs)


@contextlib.contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[threading.Event]:
    """Ctrl-C (or SIGTERM) once sets the event, so that the step can be finished and saved; twice stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def first(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("stopping after this step; press Ctrl-C again to stop at once")

    before = {number: signal.signal(number, first) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
