"""Steps one after another: a dataset in, a dataset out, a journal beside it, and a card that says what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import capwright
from capwright.curation.base import Step, StepRun
from capwright.curation.journal import StepJournal
from capwright.curation.output import write_new
from capwright.data.dataset import Dataset
from capwright.types import DataError, Sample

#: The card in the folder of a dataset that steps made.
CARD = "curation.json"
#: progress(label of a step, samples that are done, samples that come to it as far as is known).
OnStep = Callable[[str, int, int], None]


def run_steps(
    steps: Sequence[Step],
    samples: Dataset,
    out: str | Path,
    *,
    journal: str | Path | None = None,
    data: str = "",
    progress: OnStep | None = None,
) -> Path:
    """Write what the steps make of a dataset to the new folder `out`, with a card in it, and return the folder.

    The same call goes on when it was stopped, at whatever moment: what is in the journal is not decided again, unless
    it was unknown, or the step is given something else since. It ends in the same files.

    Args:
        journal: the file of the journal; None keeps none.
        data: what else tells the samples from others than the fingerprint of their dataset, such as their split.

    Raises:
        DataError: `out` exists, the journal is of other settings or other data, no sample is left, or a step says that
            its result is of no use.
    """
    data = f"{samples.fingerprint} {data}".strip()

    def coming() -> Iterator[Sample]:
        settings: dict[str, Any] = {"data": data, "steps": label_steps(step.name for step in steps)}
        for label, step in zip(settings["steps"], steps):
            settings |= {f"{label}.{key}": value for key, value in step.settings.items()}
        with nullcontext() if journal is None else StepJournal(journal, settings) as log:
            yield from _through(steps, samples, log, progress)
        if not steps[-1].tally.left:
            raise DataError("no sample is left:\n" + "\n".join(tally_lines(steps)))

    return write_new(coming(), out, samples.vocabulary, {CARD: lambda: _card(steps, data)})


def rehearse(steps: Sequence[Step], samples: Dataset) -> None:
    """Take the samples through the steps and keep nothing: see `Step.estimating`."""
    for _ in _through(steps, samples, None, None, finish=False):
        pass


def label_steps(names: Iterable[str]) -> list[str]:
    """What steps are called beside each other.

    >>> label_steps(["caption_filter", "deduplicate", "caption_filter"])
    ['caption_filter', 'deduplicate', 'caption_filter-2']
    """
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found


def tally_lines(steps: Sequence[Step]) -> list[str]:
    """What became of the samples, step by step, in lines for people."""
    lines = []
    for label, step in zip(label_steps(step.name for step in steps), steps):
        first, *more = step.tally.lines()
        lines += [f"{label}: {first}", *more]
    return lines


def _through(
    steps: Sequence[Step],
    samples: Dataset,
    journal: StepJournal | None,
    progress: OnStep | None,
    finish: bool = True,
) -> Iterator[Sample]:
    stream: Iterable[Sample] = samples
    for number, label in enumerate(label_steps(step.name for step in steps)):

        def done(n: int, number: int = number, label: str = label) -> None:
            if progress:
                left_out = sum(step.tally.dropped_samples.total() for step in steps[:number])
                progress(label, n, len(samples) - left_out)

        step, run = steps[number], StepRun(label, journal, samples.vocabulary, done)
        stream = step(stream, run) if finish else step.stream(stream, run)
    yield from stream


def _card(steps: Sequence[Step], data: str) -> dict[str, Any]:
    made = []
    for label, step in zip(label_steps(step.name for step in steps), steps):
        made.append({"step": label, "signature": step.signature, **step.tally.numbers(), "settings": step.settings})
    return {"made_by": f"capwright {capwright.__version__}", "data": data, "steps": made}
