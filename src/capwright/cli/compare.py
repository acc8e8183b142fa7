"""capwright compare: two systems, image by image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capwright.cli.scoring import (
    ClusterOption,
    IdfOption,
    MissingOption,
    ReplicatesOption,
    ScorersOption,
    SeedOption,
    SetOption,
    SplitOption,
    TokenizerOption,
    VocabularyOption,
    measure_files,
)

if TYPE_CHECKING:
    from capwright.evaluation import Scoring


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Captions of one system.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Captions of another, of the same images.")],
    references: Annotated[Path, typer.Argument(metavar="REFS", help="The file or dataset of references.")],
    scorers: ScorersOption = "",
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write all numbers.")] = None,
    tokenizer: TokenizerOption = None,
    idf: IdfOption = None,
    set_: SetOption = None,
    split: SplitOption = None,
    vocabulary: VocabularyOption = None,
    missing: MissingOption = "error",
    seed: SeedOption = 0,
    bootstrap: ReplicatesOption = 1000,
    cluster: ClusterOption = None,
) -> None:
    """Is B better than A, or is it chance?

    For every score: the difference with its interval, the p-value of a randomization test (alone, and adjusted for
    asking about many scores), the smallest difference that so many images could show, and on how many images which
    system is ahead.
    """
    from capwright.cli.display import print_table
    from capwright.cli.tables import digits_of_score, p_value, print_signatures
    from capwright.evaluation import score_key

    scoring = measure_files(
        [a, b, references], scorers, tokenizer, idf, set_, split, vocabulary, missing, None, seed, bootstrap,
        "percentile", cluster,
    )  # fmt: skip
    first, second = scoring.evaluations
    rows = []
    for c in scoring.comparisons:
        scorer, _, output = c.score.partition(".")
        digits = digits_of_score(c.score, scoring.evaluations)
        values = [e.estimate(scorer, output).value for e in (first, second)]
        low, high = (_number(value, digits, "+") for value in (c.low, c.high))
        rows.append(
            [
                score_key(scorer, output),
                *(_number(value, digits) for value in values),
                _number(c.difference, digits, "+"),
                "unknown" if c.low is None else f"{low} to {high}",
                p_value(c.p),
                "" if c.p_holm is None else p_value(c.p_holm),
                _number(c.detectable, digits),
                "" if c.wins is None else f"{c.wins:,} / {c.ties:,} / {c.losses:,}",
            ]
        )
    header = ["", "A", "B", "B - A", "95 % interval", "p", "adjusted", "detectable", "B higher / same / lower"]
    print_table(header, rows)
    print(f"A is {first.name}, B is {second.name}; {_known(scoring)}")
    print_signatures(scoring.evaluations)
    if json is not None:
        from capwright.cli.summary import versions, write_json

        write_json(json, scoring.to_json() | {"versions": versions()})


def _known(scoring: Scoring) -> str:
    """On how many images the comparisons are, and whether the scores of A and B are of others too."""
    shared = sorted({c.images for c in scoring.comparisons})
    text = f"{' to '.join(f'{n:,}' for n in dict.fromkeys((shared[0], shared[-1])))} images known to both"
    own = [int(measured.known.sum()) for e in scoring.evaluations for measured in e.scores.values()]
    return text if max(own) == shared[0] else f"{text}, which B - A is of; A and B stand for all that each one knows"


def _number(value: float | None, digits: int, sign: str = "") -> str:
    return "unknown" if value is None else f"{value:{sign}.{digits}f}"
