"""capwright compare: two systems, image by image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capwright.cli._options import (
    JsonOption,
    MeasureOptions,
    conclude,
    measure_files,
    with_options,
)
from capwright.console import show

if TYPE_CHECKING:
    from capwright.evaluation import Scoring


@with_options
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Captions of one system.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Captions of another, of the same images.")],
    references: Annotated[Path, typer.Argument(metavar="REFS", help="The file or dataset of references.")],
    options: MeasureOptions,
    json: JsonOption = None,
) -> None:
    """Is B better than A, or is it chance?

    For every score: the difference with its interval, the p-value of a randomization test (alone, and adjusted for
    asking about many scores), the smallest difference that so many images could show, and on how many images which
    system is ahead.
    """
    from capwright.cli._tables import print_differences, print_signatures

    scoring = measure_files([a, b, references], options)
    first, second = scoring.evaluations
    print_differences(scoring)
    show(f"A is {first.name}, B is {second.name}; {_known(scoring)}")
    print_signatures(scoring)
    conclude(scoring, options, json)


def _known(scoring: Scoring) -> str:
    """On how many images the comparisons are, and whether the scores of A and B are of others too."""
    shared = sorted({c.images for c in scoring.comparisons})
    text = f"{' to '.join(f'{n:,}' for n in dict.fromkeys((shared[0], shared[-1])))} images known to both"
    own = [int(measured.known.sum()) for e in scoring.evaluations for measured in e.scores.values()]
    return text if max(own) == shared[0] else f"{text}, which B - A is of; A and B stand for all that each one knows"
