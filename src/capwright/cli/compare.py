"""capwright compare: two systems, image by image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capwright.cli._options import (
    BootstrapOption,
    ClusterOption,
    IdfOption,
    MethodOption,
    MissingOption,
    PluginOption,
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
    bootstrap: BootstrapOption = 1000,
    interval: MethodOption = "jackknife",
    cluster: ClusterOption = None,
    plugin: PluginOption = None,
) -> None:
    """Is B better than A, or is it chance?

    For every score: the difference with its interval, the p-value of a randomization test (alone, and adjusted for
    asking about many scores), the smallest difference that so many images could show, and on how many images which
    system is ahead.
    """
    from capwright.cli._tables import print_differences, print_signatures

    scoring = measure_files(
        [a, b, references], scorers, tokenizer, idf, set_, split, vocabulary, missing, None, seed, bootstrap,
        interval, cluster,
    )  # fmt: skip
    first, second = scoring.evaluations
    print_differences(scoring.comparisons, scoring.evaluations)
    print(f"A is {first.name}, B is {second.name}; {_known(scoring)}")
    print_signatures(scoring.evaluations)
    if json is not None:
        from capwright.runs.summary import versions, write_json

        write_json(json, scoring.to_json() | {"versions": versions()})


def _known(scoring: Scoring) -> str:
    """On how many images the comparisons are, and whether the scores of A and B are of others too."""
    shared = sorted({c.images for c in scoring.comparisons})
    text = f"{' to '.join(f'{n:,}' for n in dict.fromkeys((shared[0], shared[-1])))} images known to both"
    own = [int(measured.known.sum()) for e in scoring.evaluations for measured in e.scores.values()]
    return text if max(own) == shared[0] else f"{text}, which B - A is of; A and B stand for all that each one knows"
