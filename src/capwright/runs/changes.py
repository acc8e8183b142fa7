"""What may change when a run goes on, and what may not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capwright.recipes import Recipe, changed_keys
from capwright.types import RunError

#: Keys that may differ when a run is resumed: but for rounding they do not change what is learned, and what a message
#: advises after a failure (less memory, more time for a judge) must not need a new run.
FREE_KEYS = (
    "name", "evaluation.", "data.path", "data.eval_", "model.device", "model.cache.", "model.compile",
    "model.gradient_checkpointing",
)  # fmt: skip
FREE_ENDINGS = (
    ".checkpoint_every", ".eval_every", ".patience", ".micro_batch", ".micro_tokens", ".rollout_batch", ".max_failures",
    ".timeout",
)  # fmt: skip


def fixed_changes(before: Mapping[str, Any], now: Recipe) -> list[str]:
    """Changes of keys that may not change while a run goes on, as "key: old -> new"."""
    changed = [line for line in changed_keys(before, now.model_dump(mode="json")) if not line.startswith(FREE_KEYS)]
    return [line for line in changed if not line.partition(":")[0].endswith(FREE_ENDINGS)]


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
