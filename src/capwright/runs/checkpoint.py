"""Checkpoints that are either complete or not there.

A checkpoint is a folder `state-<stage number>-<stage>-<step>` with `state.pt` (weights that change, optimizer, random
states, buffer) and `state.json` (the same position for people). It is written beside its place, synced and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import nn

from capwright.types import RunError

KEEP = 2
_DAMAGED = "is damaged; remove this folder to resume from the checkpoint before it"


def save_state(place: Path, state: dict[str, Any], about: dict[str, Any]) -> Path:
    """Write a checkpoint and remove all but the last two.

    Args:
        place: in the run's `checkpoints/`; its name sorts by age among those there.
        state: tensors and plain values; `about`: JSON values.
    Raises:
        RunError: the disk is full or refuses; earlier checkpoints are as they were.
    """
    if place.is_dir():
        return place  # resumed from here: the same state
    with replacing(place) as draft:
        with _synced(draft / "state.pt") as file:
            torch.save(state, file)
        with _synced(draft / "state.json") as file:
            file.write(json.dumps(about, indent=2).encode())
    for old in states(place.parent)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def states(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    return sorted(path.parent for path in folder.glob("state-*/state.json"))


def load_state(place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(state, about) of a checkpoint. Raises RunError when it cannot be read."""
    about = read_about(place)
    with _readable(place, _DAMAGED):
        return torch.load(place / "state.pt", map_location="cpu", weights_only=True), about


def read_about(place: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, without its weights. Raises RunError when it cannot be read."""
    with _readable(place, _DAMAGED):
        return dict(json.loads((place / "state.json").read_text(encoding="utf-8")))


@contextlib.contextmanager
def _readable(place: Path, otherwise: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise RunError(f"{place}: {otherwise}") from error


def save_weights(place: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write weights that a later stage needs into a folder of their own. Raises RunError as `save_state` does."""
    with replacing(place) as draft, _synced(draft / "weights.pt") as file:
        torch.save(weights, file)


def read_weights(place: Path, why: str) -> dict[str, torch.Tensor]:
    """What `save_weights` wrote. Raises RunError, saying what needs it, when it is not there or damaged."""
    with _readable(place, f"is gone or damaged, and {why} needs it; start anew with another --out"):
        return torch.load(place / "weights.pt", map_location="cpu", weights_only=True)


@contextlib.contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    """A new file that is on the disk when it is closed."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(place: Path) -> Iterator[Path]:
    """A folder to write into that takes the name `place` only when everything went well.

    Raises:
        RunError: in place of any error of the disk, naming what is left intact.
    """
    draft = place.with_name(f".{place.name}.draft")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        yield draft
        old = place.with_name(f".{place.name}.old")
        if place.exists():
            os.replace(place, old)
        os.replace(draft, place)
        shutil.rmtree(old, ignore_errors=True)
        _sync_folder(place.parent)
    except Exception as error:
        shutil.rmtree(draft, ignore_errors=True)
        cause = _disk_error(error)
        if cause is None:
            raise
        good = states(place.parent)
        kept = f"the last good checkpoint is {good[-1]}" if good else "there is no earlier checkpoint"
        raise RunError(f"{place}: could not be written: {disk_reason(cause)}; {kept}") from error


def disk_reason(error: OSError) -> str:
    """ "disk full" and the like."""
    return "disk full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else (error.strerror or str(error))


def _disk_error(error: BaseException | None) -> OSError | None:
    """The error of the disk behind an error; torch and safetensors wrap it."""
    if error is not None and "os error 28" in str(error):
        return OSError(errno.ENOSPC, "disk full")
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def changing_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """What training can change: trainable parameters and buffers (with LoRA: the adapter)."""
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    buffers = {name for name, _ in model.named_buffers()}
    return {k: v.detach() for k, v in model.state_dict().items() if k in trainable or k in buffers}


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Put back what `changing_weights` took. Raises RunError when the model has no such weights."""
    unexpected = model.load_state_dict(weights, strict=False).unexpected_keys
    if unexpected:
        raise RunError(f"the checkpoint holds weights that this model does not have: {', '.join(unexpected[:3])} ...")


def random_state() -> dict[str, Any]:
    """The state of every global source of randomness, as plain values and tensors."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` took."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])  # perhaps fewer than there were


def seed_everything(seed: int) -> None:
    """Seed every global source of randomness."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
