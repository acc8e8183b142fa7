"""What does not change during a run is made once: processed images, and what a frozen vision tower says about them.

The tower's part works for any family, because it knows none: the tower is called with the images of one sample and
its output is kept; later the tower's forward pass is replaced, for one batch, by the kept outputs laid end to end.
Whether that gives what the tower gives is measured on the first batches; where it does not, only processed images
are kept.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from torch.utils.hooks import RemovableHandle

log = logging.getLogger("capwright")

#: Rounding differs with the size of a batch; a wrong order of features differs by more than this share of the largest.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
LOW_PRECISION = 0.05


class FeatureCache:
    """Processed inputs and tower outputs by sample, the least recently used of them on disk or dropped.

    Tower outputs are constants: they are kept only while no weight of the tower trains, and not used where it has
    dropout and is in training mode.

    Args:
        budget_bytes: memory for what is kept; it lies in CPU memory.
        folder: where to put what does not fit; a folder inside it is made, and removed at the end of the process. None:
            it is dropped, and made again when it is needed.

    Attributes:
        hits, misses: processed inputs found, and made.
        towers: calls of the tower to fill the cache, one a sample.
        tower_off: why tower outputs are not kept; "" while they are.
    """

    def __init__(self, budget_bytes: int, folder: Path | None = None) -> None:
        self.hits = self.misses = self.towers = 0
        self.tower_off = ""
        self._shelf = Shelf(budget_bytes, folder)
        self._tested = 0  # rows of the largest batch, up to two, that came out right
        self._form: TreeSpec | None = None
        self._needed: frozenset[int] = frozenset()

    def inputs(self, key: Hashable, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The processed inputs of a sample; `make` decodes and processes its images."""
        row = self._shelf.get(("inputs", key))
        if row is not None:
            self.hits += 1
            return row
        self.misses += 1
        row = make()
        self._shelf.put(("inputs", key), row)
        return row

    @contextlib.contextmanager
    def instead_of(
        self,
        tower: nn.Module,
        keys: Sequence[Hashable],
        rows: Sequence[dict[str, Tensor]],
        look: Callable[[Sequence[dict[str, Tensor]]], Any],
    ) -> Iterator[None]:
        """Inside, `tower` answers from the cache, for a batch of exactly these samples.

        Args:
            look: runs the model on some rows as far as its language model, without dropout and gradients, and returns
                what that would be given.
        """
        seen = all(any(value.is_floating_point() for value in row.values()) for row in rows)
        answer = self._answer(tower, keys, rows, look) if seen and self._usable(tower) else None
        if answer is None:
            yield
        else:
            with _replaced(tower, answer):
                yield

    def _usable(self, tower: nn.Module) -> bool:
        if not self.tower_off and any(parameter.requires_grad for parameter in tower.parameters()):
            self._switch_off("the tower trains")
        return not self.tower_off and not (tower.training and any(map(_is_random, tower.modules())))

    def _switch_off(self, why: str) -> None:
        self.tower_off = why
        log.info("outputs of the vision tower are not kept: %s", why)

    def _answer(
        self, tower: nn.Module, keys: Sequence[Hashable], rows: Sequence[dict[str, Tensor]], look: Callable[..., Any]
    ) -> Callable[..., Any] | None:
        """What to call in place of the tower; None where that would not give the same."""
        try:
            outputs = [self._output(tower, key, row, look) for key, row in zip(keys, rows)]
            answer = self._joined(outputs, next(tower.parameters()).device)
            if min(len(rows), 2) > self._tested:
                plain = look(rows)
                with _replaced(tower, answer):
                    if not _same(look(rows), plain):
                        raise ValueError("kept outputs do not give what the tower gives")
                self._tested = min(len(rows), 2)
        except torch.OutOfMemoryError:
            raise
        except (ValueError, RuntimeError, TypeError, AttributeError, IndexError) as problem:
            self._switch_off(str(problem))
            return None
        return answer

    def _output(self, tower: nn.Module, key: Hashable, row: dict[str, Tensor], look: Callable[..., Any]) -> list[Any]:
        """Leaves of the tower's output for one sample; those that are not read are None."""
        kept = self._shelf.get(("tower", key))
        if kept is not None:
            return kept
        self.towers += 1
        reached = intercept(tower.register_forward_hook, lambda: look([row]))
        if reached is None:
            raise ValueError("the model does not call it")
        leaves, form = tree_flatten(reached[-1])
        if self._form is None:
            self._form, self._needed = form, _needed(tower, leaves, form, row, look)
        if form != self._form:
            raise ValueError("its outputs differ in structure")
        kept = [_at_rest(leaf) if i in self._needed else None for i, leaf in enumerate(leaves)]
        self._shelf.put(("tower", key), kept)
        return kept

    def _joined(self, outputs: list[list[Any]], device: torch.device) -> Callable[..., Any]:
        leaves = [torch.cat(c).to(device) if isinstance(c[0], Tensor) else c[0] for c in zip(*outputs)]
        form = self._form
        assert form is not None
        return lambda *_, **__: tree_unflatten(leaves, form)  # a new one each time: models write into it


class Shelf:
    """Tensors by key, in memory up to a budget; the least recently used go to disk where there is a folder."""

    def __init__(self, budget_bytes: int, folder: Path | None) -> None:
        self.budget = budget_bytes
        self.folder = folder
        self.used = 0
        self._held: OrderedDict[Hashable, Any] = OrderedDict()
        self._files: dict[Hashable, Path] = {}
        self._room: tempfile.TemporaryDirectory[str] | None = None

    def get(self, key: Hashable) -> Any:
        """What was put under `key`; None where it was never put or had to go."""
        value = self._held.get(key)
        if value is None and key in self._files:
            value = torch.load(self._files[key], weights_only=True)
        if value is not None:
            self.put(key, value)
        return value

    def put(self, key: Hashable, value: Any) -> None:
        self.used += _size(value) - _size(self._held.pop(key, None))
        self._held[key] = value
        while self.used > self.budget:
            old, gone = self._held.popitem(last=False)
            self.used -= _size(gone)
            if self.folder is not None and old not in self._files:
                self._write(old, gone)

    def _write(self, key: Hashable, value: Any) -> None:
        assert self.folder is not None
        try:
            if self._room is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._room = tempfile.TemporaryDirectory(prefix="features-", dir=self.folder)
            path = Path(self._room.name) / f"{len(self._files)}.pt"
            torch.save(value, path)
        except (OSError, RuntimeError) as error:
            log.warning("%s: no more features can be kept here: %s", self.folder, error)
            self.folder = None
            return
        self._files[key] = path


def intercept(register: Callable[..., RemovableHandle], run: Callable[[], Any]) -> tuple[Any, ...] | None:
    """What a hook of a module is given when `run` reaches it first, where `run` ends; None where it never does.

    Args:
        register: puts the hook in its place.
    """

    class Reached(Exception):  # each call's own: `run` may intercept something, too
        pass

    def stop(*given: Any) -> None:
        raise Reached(*given)

    hook = register(stop)
    try:
        run()
    except Reached as reached:
        return reached.args
    finally:
        hook.remove()
    return None


def _needed(
    tower: nn.Module, leaves: list[Any], form: TreeSpec, row: dict[str, Tensor], look: Callable[..., Any]
) -> frozenset[int]:
    """Which parts of the output are read (of all hidden states most families read one): found by leaving each out."""
    kept = set(range(len(leaves)))
    whole = look([row])
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            rest = [None if j == i or j not in kept else other for j, other in enumerate(leaves)]
            with _replaced(tower, lambda *_, rest=rest, **__: tree_unflatten(rest, form)):
                try:
                    unread = _same(look([row]), whole)
                except Exception:  # whatever a family does with None where it wants a tensor
                    unread = False
            if unread:
                kept.remove(i)
    return frozenset(kept)


@contextlib.contextmanager
def _replaced(tower: nn.Module, answer: Callable[..., Any]) -> Iterator[None]:
    before = vars(tower).get("forward")
    tower.forward = answer
    try:
        yield
    finally:
        del tower.forward
        if before is not None:
            tower.forward = before


def _same(found: Any, right: Any) -> bool:
    ours, theirs = ([leaf for leaf in tree_flatten(x)[0] if isinstance(leaf, Tensor)] for x in (found, right))
    return len(ours) == len(theirs) and all(map(_close, ours, theirs))


def _close(ours: Tensor, theirs: Tensor) -> bool:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    if not ours.is_floating_point() or not ours.numel():
        return torch.equal(ours, theirs)
    tolerance = TOLERANCE.get(ours.dtype, LOW_PRECISION) * float(theirs.abs().max())
    return float((ours - theirs).abs().max()) <= tolerance


def _is_random(module: nn.Module) -> bool:
    """Whether the module computes something else in training mode: dropout in one of its names, batch statistics."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return True
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0.0
    chances = (value for name, value in vars(module).items() if "drop" in name and not name.startswith("_"))
    return any(isinstance(chance, float) and chance > 0.0 for chance in chances)


def _at_rest(leaf: Any) -> Any:
    return leaf.detach().to("cpu", copy=True) if isinstance(leaf, Tensor) else leaf


def _size(value: Any) -> int:
    return sum(leaf.nbytes for leaf in tree_flatten(value)[0] if isinstance(leaf, Tensor))
