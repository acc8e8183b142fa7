"""Several processes that train one captioner: each sees a slice of every step, all know what is decided.

    accelerate launch -m capwright train ...      or      capwright train --processes 2 ...

Numbers that decide something (rewards, advantages, token counts) are gathered first, so every process comes to the same
decision, and a step on two processes is the step of one process with the same images. Gradients stay local until the
end of a step and are added up once, so processes may have different numbers of micro-batches, or none.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, InitProcessGroupKwargs, gather_object
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from capwright.models import HFPolicy
from capwright.recipes import Recipe
from capwright.types import RunError

T = TypeVar("T")
#: One process may caption a whole split while the others wait for it.
PATIENCE = timedelta(days=2)
#: Set by `capwright train --processes`: whose workers these are.
PARENT = "CAPWRIGHT_PARENT"


class Learner(nn.Module):
    """Runs any computation on the model inside its own forward pass: what DDP and FSDP wrap."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        there = {type(module).__name__ for module in model.modules()}  # some models name layers that they do not have
        self._no_split_modules = sorted(there & set(getattr(model, "_no_split_modules", None) or ()))

    def forward(self, compute: Callable[[], T]) -> T:
        return compute()


class ProcessGroup:
    """The processes of a run, seen from one of them; alone, all of this does nothing.

    Attributes:
        rank: of this process, 0 is the first; `size`: how many there are.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.rank, self.size = accelerator.process_index, accelerator.num_processes
        self.is_main = self.rank == 0
        self.sharded = accelerator.distributed_type == DistributedType.FSDP
        self.learner: nn.Module | None = None

    def wrap(self, model: nn.Module) -> None:
        """Hand the model to DDP or FSDP. Its modules stay those the policy uses."""
        if self.size == 1:
            return
        parameters = [p for p in model.parameters() if p.requires_grad]
        idle = torch.optim.SGD(parameters, lr=0.0)  # FSDP is only prepared together with an optimizer
        self.learner, _ = self.accelerator.prepare(Learner(model), idle)

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """This process's slice; the slices of all, in order of rank, are `items`."""
        n = len(items)
        return items[n * self.rank // self.size : n * (self.rank + 1) // self.size]

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes, in order of rank. They are pickled."""
        return list(items) if self.size == 1 else list(gather_object(list(items)))

    def sum(self, numbers: dict[str, float]) -> dict[str, float]:
        """Each number added up over all processes. A process may lack keys that others have."""
        totals: dict[str, float] = {}
        for mine in self.gather([numbers]):
            for key, value in mine.items():
                totals[key] = totals.get(key, 0.0) + value
        return totals

    def any(self, flag: bool) -> bool:
        """Whether any process says so; a process whose launcher is gone always does."""
        parent = os.environ.get(PARENT)
        flag = flag or (parent is not None and str(os.getppid()) != parent)
        return any(self.gather([flag]))

    def compute(self, call: Callable[[], T]) -> T:
        """Run a computation on the model; sharded weights are gathered on the way."""
        return self.learner(call) if self.sharded and self.learner is not None else call()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of this process's part of a loss. DDP and FSDP average, so parts are scaled to add up."""
        self.accelerator.backward(loss * self.size if self.size > 1 else loss)

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """After the last `backward` of an update: add up the gradients of all processes."""
        if self.learner is None or self.sharded:  # FSDP has added them up at every `backward`
            return
        learner = self.learner
        self.accelerator.backward(learner(lambda: sum((p.sum() * 0.0 for p in parameters), torch.tensor(0.0))))

    def full_state(self, state: Any) -> Any:
        """The same dictionary with sharded tensors gathered; all processes must call it, in the same order of keys."""
        if isinstance(state, dict):
            return {key: self.full_state(value) for key, value in state.items()}
        return state.full_tensor().cpu() if isinstance(state, DTensor) else state

    def shard_state(self, state: dict[str, Any], parameters: Sequence[nn.Parameter]) -> dict[str, Any]:
        """An optimizer's state as `full_state` left it, for parameters that are sharded."""
        from torch.distributed.tensor import distribute_tensor

        def place(value: Any, parameter: Any) -> Any:
            alike = isinstance(parameter, DTensor) and isinstance(value, Tensor) and value.shape == parameter.shape
            return distribute_tensor(value, parameter.device_mesh, parameter.placements) if alike else value

        numbers = [i for group in state["param_groups"] for i in group["params"]]
        by_number = dict(zip(numbers, parameters))
        kept = {i: {k: place(v, by_number[i]) for k, v in one.items()} for i, one in state["state"].items()}
        return {**state, "state": kept}

    def barrier(self) -> None:
        """Until all processes have come this far."""
        self.gather([None])

    @contextmanager
    def unsharded_weights(self) -> Iterator[None]:
        """Inside, every process holds all weights, and may run the model as often as it likes."""
        parts: list[Any] = []
        if self.sharded and self.learner is not None:
            self.learner(lambda: None)  # FSDP finds out what belongs together at its first forward pass
            parts = [module for module in self.learner.modules() if hasattr(module, "unshard")]
        for part in parts:
            part.unshard()
            part.set_reshard_after_forward(False, recurse=False)
        try:
            yield
        finally:
            for part in parts:
                part.set_reshard_after_forward(True, recurse=False)
                part.reshard()


def is_first() -> bool:
    """Whether this process is the one that writes; known before the processes have found each other."""
    return os.environ.get("RANK", "0") == "0"


def join(recipe: Recipe, policy: HFPolicy | None = None) -> Accelerator:
    """Accelerate, as it was launched, where the policy is or is going to be.

    Raises:
        RunError: what does not go together.
    """
    precision = recipe.model.mixed_precision
    device = recipe.model.device or ("cuda" if torch.cuda.is_available() else "cpu")
    cpu = device.startswith("cpu") if policy is None else policy.device.type == "cpu"
    if precision == "fp16" and cpu:
        raise RunError("model.mixed_precision: fp16 needs a GPU; use 'bf16' or 'no' on a CPU")
    if AcceleratorState._shared_state:  # an earlier run of this process may have had another precision
        AcceleratorState._reset_state()
    handlers = [InitProcessGroupKwargs(timeout=PATIENCE)]
    accelerator = Accelerator(mixed_precision=precision, cpu=cpu, kwargs_handlers=handlers)
    if accelerator.num_processes > 1:
        atexit.unregister(_leave)
        atexit.register(_leave)
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        raise RunError(
            "DeepSpeed is not supported by this trainer: launch it with DDP or FSDP2 "
            "(docs/guides/several-processes.md), or use capwright.training.trl under DeepSpeed"
        )
    return accelerator


def _leave() -> None:
    """Part from the other processes before Python ends: gloo's threads must not outlive it."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def device_of(recipe: Recipe, accelerator: Accelerator) -> str | None:
    """Where the model belongs: as the recipe says; with several processes, each on its own GPU."""
    return str(accelerator.device) if accelerator.num_processes > 1 else recipe.model.device
