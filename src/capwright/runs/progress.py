"""What a person sees while a run goes on."""

from __future__ import annotations

import sys
import time
from typing import Any

from capwright.console import clean, say


class Progress:
    """What a run shows while it goes on. This one shows nothing; the others override what they show."""

    def say(self, text: str) -> None:
        """A line worth reading: a skipped image, a saved model."""

    def start(self, stage: str, steps: int, done: int) -> None:
        """A stage begins, or goes on after `done` steps."""

    def step(self, row: dict[str, Any]) -> None:
        """A step is over; `row` is its line of metrics.jsonl."""

    def close(self) -> None:
        """Nothing more will come."""


def open_progress() -> Progress:
    """A live display on a terminal, plain lines elsewhere."""
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()


def describe(row: dict[str, Any]) -> str:
    """The numbers of a step that matter at a glance."""
    parts = [f"{name} {value:.3f}" for name, value in (row.get("reward") or {}).items() if value is not None]
    if groups := row.get("groups"):
        parts.append(" ".join(f"{count} {state}" for state, count in groups.items() if count))
        parts.append(f"buffer {row['buffer']}")
    if row.get("imitated"):
        parts.append(f"imitated {row['imitated']}")
    if row.get("loss") is not None:
        parts.append(f"loss {row['loss']:.3f}")
    return " · ".join(parts)


class PlainProgress(Progress):
    """A line every few seconds: for log files."""

    def __init__(self, every: float = 10.0) -> None:
        self.every = every
        self._stage, self._steps, self._first, self._began, self._last = "", 0, 0, 0.0, 0.0

    def say(self, text: str) -> None:
        say(text)

    def start(self, stage: str, steps: int, done: int) -> None:
        self._stage, self._steps, self._first = stage, steps, done
        self._began, self._last = time.monotonic(), 0.0
        self.say(f"{stage}: {steps:,} steps" + (f", going on after step {done:,}" if done else ""))

    def step(self, row: dict[str, Any]) -> None:
        now = time.monotonic()
        if row["step"] < self._steps and now - self._last < self.every:
            return
        self._last = now
        speed = (now - self._began) / max(1, row["step"] - self._first)
        left = _duration(speed * (self._steps - row["step"]))
        self.say(f"{self._stage} {row['step']}/{self._steps} · {describe(row)} · {speed:.2f} s a step · {left} left")


class LiveProgress(Progress):
    """A bar for each stage, with reward, group states, speed and time left; others may be shown between stages."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._bar: Any = None
        self._task: Any = None

    def say(self, text: str) -> None:
        self._console.print(clean(text), markup=False, highlight=False)

    def start(self, stage: str, steps: int, done: int) -> None:
        from rich import progress as bars
        from rich.table import Column

        self.close()
        whole = Column(no_wrap=True)  # each table takes copies
        rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)  # a narrow terminal cuts the note, never the clock
        self._bar = bars.Progress(
            bars.TextColumn("{task.description}", table_column=whole),
            bars.BarColumn(bar_width=12, table_column=whole),
            bars.MofNCompleteColumn(table_column=whole),
            bars.TimeRemainingColumn(compact=True, table_column=whole),
            bars.TextColumn("{task.fields[speed]}", table_column=whole),
            bars.TextColumn("{task.fields[note]}", style="dim", table_column=rest),
            console=self._console,
            expand=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(clean(stage), total=steps, completed=done, speed="", note="")

    def step(self, row: dict[str, Any]) -> None:
        speed = f"{row['seconds']:.2f} s/step"
        self._bar.update(self._task, completed=row["step"], speed=speed, note=describe(row))

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"
