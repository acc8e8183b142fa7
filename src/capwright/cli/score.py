"""capwright score: captions against references; and what goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from capwright.cli._options import (
    DryRunOption,
    InjectionOption,
    JsonOption,
    MeasureOptions,
    PluginOption,
    ReplicatesOption,
    SeedOption,
    SplitOption,
    TokenizerOption,
    conclude,
    measure_files,
    names_in,
    with_options,
)
from capwright.console import counting, say, show
from capwright.types import DataError

#: What `capwright score PRED REFS` is called inside.
_FILES = "files"


class _Score(TyperGroup):
    """`capwright score` with file names is a command, with the name of a subcommand that subcommand."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = [_FILES, *(args or ["--help"])]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == _FILES else name), command, rest


app = typer.Typer(cls=_Score, help="Score captions against references.")


@app.command(
    _FILES,
    epilog="Also: capwright score build-idf (a frozen idf table), agreement (with human ratings), list (scorers).",
)
@with_options
def files(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PRED... REFS", help="Files of captions, then the file or dataset of references."),
    ],
    options: MeasureOptions,
    json: JsonOption = None,
    injection: InjectionOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Score captions against references.

    Prints scores with 95 % intervals and their signatures. Of several files of captions each is tested against the
    first, image by image.
    """
    from capwright.cli._tables import print_scoring

    scoring = measure_files(paths, options, injection=injection, dry_run=dry_run)
    print_scoring(scoring)
    conclude(scoring, options, json)


@app.command("build-idf", no_args_is_help=True)
def build_idf(
    references: Annotated[Path, typer.Argument(metavar="REFS", help="The file or dataset of references.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The table to write, such as idf.tsv.gz.")],
    split: SplitOption = None,
    tokenizer: TokenizerOption = None,
    plugin: PluginOption = None,
) -> None:
    """Count in how many images each n-gram is said: a frozen table for CIDEr-D.

    With it a caption has one score, whatever it is scored together with: `--idf FILE`, or in a recipe
    `rewards.ciderD.options.idf`.
    """
    from capwright.data import read_references
    from capwright.scorers.ngram.idf import build_idf as build

    samples = read_references(references, split=split)
    with counting("counting n-grams"):
        build(samples, out, tokenizer=tokenizer or "ptb")
    say(f"{out}: n-grams of {sum(bool(sample.references) for sample in samples):,} images")


@app.command("agreement", no_args_is_help=True)
def agreement(
    scored: Annotated[Path, typer.Argument(metavar="SCORES.json", help="Written by capwright score --json.")],
    ratings: Annotated[
        Path, typer.Argument(metavar="RATINGS", help="CSV, TSV or JSONL: id, rating, perhaps system, caption.")
    ],
    only: Annotated[str, typer.Option("--scores", help="Names of scores, with commas; by default all.")] = "",
    aggregation: Annotated[
        str, typer.Option(help="Several ratings of a caption: mean, median or each (every rating for itself).")
    ] = "mean",
    captions: Annotated[
        Path | None,
        typer.Option(metavar="REFS", help="Where ratings name captions by number: the file with all of them."),
    ] = None,
    seed: SeedOption = 0,
    bootstrap: ReplicatesOption = 1000,
) -> None:
    """How well scores agree with human ratings.

    Rank correlations (Kendall's tau-b and tau-c, Spearman) and Pearson's r, with intervals over images.
    """
    from capwright.cli._display import print_table
    from capwright.cli._tables import with_interval
    from capwright.data.files import open_packed, parse_json, reading
    from capwright.data.ratings import read_ratings, with_texts
    from capwright.data.references import read_references
    from capwright.evaluation.human_agreement import CORRELATIONS
    from capwright.evaluation.rated_captions import agree

    with open_packed(scored) as file, reading(scored):
        data = file.read()
    try:
        document = parse_json(data)
    except ValueError as error:
        raise DataError(f"{scored}: {error}") from error
    people, names = read_ratings(ratings), names_in(only)
    try:
        if captions is not None:
            people = with_texts(people, read_references(captions))
        rated = agree(document, people, names, aggregation=aggregation, replicates=bootstrap, seed=seed)
    except DataError as error:
        raise DataError(f"{scored} and {ratings}: {error}") from error
    if rated.lost:
        say(f"{ratings}: {rated.lost:,} rated captions are not in {scored} and do not count")
    if rated.together:
        say(
            f"warning: {rated.together:,} rated images have several captions, and {ratings} does not say which of them "
            "was rated; add a column caption"
        )
    rows = []
    for name, found in rated.scores.items():
        cells = [with_interval(one, 3, "+") for one in found.values()]
        rows.append([name, *cells, f"{next(iter(found.values())).judgements:,}"])
    print_table(["", *CORRELATIONS, "ratings" if aggregation == "each" else "captions"], rows)
    for signature in dict.fromkeys(one.signature for found in rated.scores.values() for one in found.values()):
        show(signature)


@app.command("list")
def list_(plugin: PluginOption = None) -> None:
    """All scorers, what they need and what they give."""
    from capwright.cli._display import print_table
    from capwright.scorers import get_scorer, list_scorers
    from capwright.scorers.registry import options_of
    from capwright.types import ScorerError

    rows = []
    for name in list_scorers():
        options = ""
        try:
            options = ", ".join(options_of(name))
            spec = get_scorer(name).spec
            gives, needs = ", ".join(spec.outputs), ", ".join(sorted(spec.needs))
        except ScorerError as error:
            gives, needs = "", str(error).removeprefix(f"{name}: ").partition(":")[0]
        rows.append([name, gives, needs, options])
    print_table(["scorer", "scores", "needs", "options"], rows, words=True)
