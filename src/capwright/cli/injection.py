"""Orders in captions from the command line: which scorers can be tested so, the test, and its table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capwright.cli._display import print_table
from capwright.cli._tables import digits_of, with_interval
from capwright.console import counting
from capwright.types import DataError

if TYPE_CHECKING:
    from capwright.evaluation import Evaluation
    from capwright.robustness.prompt_injection import Effect
    from capwright.types import Sample, Vocabulary

InjectionOption = Annotated[
    bool,
    typer.Option(
        "--injection",
        help="Also put orders to the judge behind the captions of the first file, and measure what they change. It "
        "takes about ten times the calls (--dry-run counts them).",
    ),
]


def find_judged(names: Iterable[str], options: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those of the scorers that ask a judge about each caption. Raises DataError when none does."""
    from capwright.robustness.prompt_injection import can_be_ordered
    from capwright.scorers import get_scorer
    from capwright.types import NotInstalledError

    found = []
    for name in names:
        try:
            if can_be_ordered(get_scorer(name, **options.get(name, {})).spec):
                found.append(name)
        except NotInstalledError:  # is told where scores are
            continue
    if not found:
        raise DataError(
            "--injection: none of the scorers asks a judge about a caption, so there is no judge to give orders to; "
            "name one that does, such as --scorers caprl"
        )
    return found


def measure_orders(
    samples: Sequence[Sample],
    evaluation: Evaluation,
    options: Mapping[str, Mapping[str, Any]],
    *,
    vocabulary: Vocabulary | None = None,
    seed: int = 0,
    replicates: int = 1000,
    method: str = "jackknife",
) -> list[Effect]:
    """What orders behind the captions of this system do to the scores that were measured of it."""
    from capwright.robustness.prompt_injection import injection_report
    from capwright.scorers import SCORED

    names = find_judged(evaluation.scores, options)
    said = {found.id: found.caption for found in evaluation.per_image if found.status in SCORED}
    with counting("measuring with orders in captions") as progress:
        return injection_report(
            None, samples, said, names, options=options, vocabulary=vocabulary, seed=seed, replicates=replicates,
            method=method, progress=progress,
        )  # fmt: skip


def print_orders(effects: Sequence[Effect], evaluation: Evaluation) -> None:
    """A table on stdout, a row for each score and kind of order; the control is the price of any further words."""
    rows = []
    for effect in effects:
        spec = evaluation.scores[effect.scorer].scorer.spec
        digits = digits_of(spec.range_of(spec.headline))
        change = effect.change
        total = effect.images + effect.unknown
        rows.append(
            [
                effect.score,
                effect.attack,
                with_interval(change.value, change.low, change.high, digits, "+"),
                f"{effect.changed:,} of {effect.images:,}",
                f"{effect.unknown:,} of {total:,}",
                f"{effect.others_changed:,} of {effect.others:,}",
            ]
        )
    header = ["", "order", "change of its own caption", "own changed", "unknown", "others changed"]
    print_table(header, rows, title=f"orders behind captions of {evaluation.name}")
