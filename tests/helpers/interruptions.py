"""A run that is killed at a given step, as a power cut would: nothing of the step is saved."""

from __future__ import annotations

from capwright.runs import Progress


class Killed(BaseException):
    """Not an error that a run could handle."""


class KillAt(Progress):
    """Shows nothing, and kills the run when it hears of this step."""

    def __init__(self, stage: str, step: int) -> None:
        self.place = (stage, step)

    def step(self, row) -> None:
        if (row["stage"], row["step"]) == self.place:
            raise Killed
