"""What may change when a run goes on, and what may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from capwright import plugins
from capwright.recipes import Recipe, RlStage, changed_keys
from capwright.recipes.schema import PluginFile
from capwright.types import RunError

#: Keys that may differ when a run is resumed: but for rounding they do not change what is learned, and what a message
#: advises after a failure (less memory, more time for a judge) must not need a new run.
FREE_KEYS = (
    "name", "evaluation.", "data.path", "data.eval_", "model.device", "model.cache.", "model.compile",
    "model.gradient_checkpointing", "plugins",
)  # fmt: skip
FREE_ENDINGS = (
    ".checkpoint_every", ".eval_every", ".patience", ".micro_batch", ".micro_tokens", ".rollout_batch", ".max_failures",
    ".timeout",
)  # fmt: skip


def fixed_changes(before: Mapping[str, Any], now: Recipe) -> list[str]:
    """Changes of keys that may not change while a run goes on, as "key: old -> new".

    Keys that are newer than the run had their default.
    """
    with suppress(ValidationError):
        before = Recipe.model_validate(before, context={"plugins": True}).model_dump(mode="json")
    changed = [line for line in changed_keys(before, now.model_dump(mode="json")) if not line.startswith(FREE_KEYS)]
    changed = [line for line in changed if not line.partition(":")[0].endswith(FREE_ENDINGS)]
    return changed + _changed_plugins(before.get("plugins") or (), now)


def _changed_plugins(before: Sequence[Mapping[str, Any]], now: Recipe) -> list[str]:
    """Plugins that training depends on and that are not what the run began with. Others may change, come and go."""
    known = {one["sha256"] for one in before}
    digests = {Path(one["path"]).name: one["sha256"][:8] for one in before}
    return [
        f"plugins: {one.path}: {digests.get(Path(one.path).name)} -> {one.sha256[:8]}"
        for one in now.plugins
        if one.sha256 not in known and _trains(one, now)
    ]


def _trains(file: PluginFile, recipe: Recipe) -> bool:
    """Whether a reward, an advantage or a decoding strategy comes from this plugin. It may, where it is not loaded."""
    plugin = plugins.loaded(file.sha256)
    if plugin is None:
        return True
    used = {("scorer", reward.scorer or name) for name, reward in recipe.rewards.items()}
    stages = [stage for stage in recipe.stages if isinstance(stage, RlStage)]
    used |= {("advantage", stage.advantage) for stage in stages}
    drawn = [*(stage.sampling for stage in stages), recipe.evaluation.sampling]
    used |= {("decoding", sampling.strategy) for sampling in drawn}
    provided = plugins.provided_by(plugin)
    by_path = any(name.startswith((f"{file.path}:", f"{plugin.path}:")) for _, name in used)
    return by_path or bool(provided & used) or any(kind == "decoding" for kind, _ in provided)


def refuse_changes(out: Path, about: Mapping[str, Any], recipe: Recipe, fingerprint: str) -> None:
    """Refuse to go on with another run than a checkpoint is of.

    Args:
        about: what the checkpoint says of itself: `recipe` (dumped) and `fingerprint` (of the data).
    Raises:
        RunError: names every key that changed and may not, or says that the dataset has changed.
    """
    if changed := fixed_changes(about["recipe"], recipe):
        keys = "\n  ".join(changed)
        raise RunError(f"{out}: the recipe changed since this run began:\n  {keys}\nStart anew with --out")
    if about["fingerprint"] != fingerprint:
        raise RunError(f"{out}: the dataset has changed since this run began; start anew with --out")
