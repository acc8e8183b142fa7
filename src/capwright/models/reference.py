"""The policy as it was: what a KL penalty compares with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn


class ReferenceWeights:
    """A copy of what training changes in a model, as it is today or in `weights`, on the model's devices."""

    def __init__(self, model: nn.Module, weights: Mapping[str, Tensor] | None = None) -> None:
        self._model = model
        held = self._held()
        names = [name for name, value in held.items() if value.requires_grad or name in (weights or ())]
        source = held if weights is None else weights
        self._kept = {name: source[name].detach().to(held[name], copy=True) for name in names}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the model is the reference: the weights change places, in the memory where they are."""
        held = self._held()
        pairs = [(held[name].data, kept) for name, kept in self._kept.items()]

        def exchange() -> None:
            for mine, kept in pairs:
                today = mine.clone()
                mine.copy_(kept)
                kept.copy_(today)

        exchange()
        try:
            yield
        finally:
            exchange()

    def _held(self) -> dict[str, Tensor]:
        return dict(self._model.named_parameters()) | dict(self._model.named_buffers())
