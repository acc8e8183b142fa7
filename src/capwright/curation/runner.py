"""Steps one after another: a dataset in, a dataset out, a journal beside it, and a card that says what was done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import capwright
from capwright.console import OnProgress
from capwright.curation.base import Step, StepRun
from capwright.curation.journal import StepJournal
from capwright.curation.output import write_new
from capwright.data.dataset import Dataset
from capwright.types import DataError, Sample

#: The card in the folder of a dataset that steps made.
CARD = "curation.json"


def run_steps(
    steps: Sequence[Step],
    samples: Dataset,
    out: str | Path,
    *,
    journal: str | Path | None = None,
    data: str = "",
    progress: OnProgress | None = None,
) -> Path:
    """Write what the steps make of a dataset to the new folder `out`, with a card in it, and return the folder.

    The same call goes on when it was stopped, at whatever moment: what is in the journal is not decided again, unless
    it was unknown, or the step is given something else since. It ends in the same files.

    Args:
        journal: the file of the journal; None keeps none.
        data: what else tells the samples from others than the fingerprint of their dataset, such as their split.
        progress: called with the number of decisions that are made, and what it is if no step leaves anything out.

    Raises:
        DataError: `out` exists, the journal is of other settings or other data, no sample is left, or a step says that
            its result is of no use.
    """
    data = f"{samples.fingerprint} {data}".strip()

    def coming() -> Iterator[Sample]:
        named = label_steps(steps)
        settings = {"data": data, "steps": list(named)}
        settings |= {f"{label}.{key}": value for label, step in named.items() for key, value in step.settings.items()}
        with nullcontext() if journal is None else StepJournal(journal, settings) as log:
            yield from through_steps(steps, samples, StepRun(journal=log), progress)
        if not steps[-1].tally.left:
            raise DataError("no sample is left:\n" + "\n".join(tally_lines(steps)))

    return write_new(coming(), out, samples.vocabulary, {CARD: lambda: _card(steps, data)})


def through_steps(
    steps: Sequence[Step], samples: Dataset, run: StepRun, progress: OnProgress | None = None
) -> Iterator[Sample]:
    """The samples that come out; see `run_steps`."""
    done: dict[str, int] = {}

    def count(label: str, n: int) -> None:
        done[label] = n
        if progress:
            progress(sum(done.values()), len(steps) * len(samples))

    stream: Iterable[Sample] = samples
    for label, step in label_steps(steps).items():
        own = replace(run, label=label, vocabulary=samples.vocabulary, progress=partial(count, label))
        stream = step(stream, own)
    yield from stream


def label_steps(steps: Sequence[Step]) -> dict[str, Step]:
    """Steps by what they are called beside each other: their name, with their place where an earlier one has it."""
    found: dict[str, Step] = {}
    for place, step in enumerate(steps, 1):
        found[step.name if step.name not in found else f"{step.name}-{place}"] = step
    return found


def tally_lines(steps: Sequence[Step]) -> list[str]:
    """What became of the samples, step by step, in lines for people."""
    tallies = [(label, step.tally.lines()) for label, step in label_steps(steps).items()]
    return [line for label, (first, *more) in tallies for line in (f"{label}: {first}", *more)]


def _card(steps: Sequence[Step], data: str) -> dict[str, Any]:
    made = [
        {"step": label, "signature": step.signature, **step.tally.numbers(), "settings": step.settings}
        for label, step in label_steps(steps).items()
    ]
    return {"made_by": f"capwright {capwright.__version__}", "data": data, "steps": made}
