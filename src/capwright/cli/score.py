"""capwright score: captions against references; and what goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from capwright.cli._options import (
    BootstrapOption,
    ClusterOption,
    DryRunOption,
    IdfOption,
    MethodOption,
    MissingOption,
    PluginOption,
    ReplicatesOption,
    ScorersOption,
    SeedOption,
    SetOption,
    SplitOption,
    TokenizerOption,
    TrainedOption,
    VocabularyOption,
    measure_files,
    only_asking,
    print_costs,
    read_settings,
)
from capwright.cli.injection import InjectionOption
from capwright.console import counting, say

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
def files(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PRED... REFS", help="Files of captions, then the file or dataset of references."),
    ],
    scorers: ScorersOption = "",
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write all numbers.")] = None,
    tokenizer: TokenizerOption = None,
    idf: IdfOption = None,
    set_: SetOption = None,
    split: SplitOption = None,
    vocabulary: VocabularyOption = None,
    missing: MissingOption = "error",
    trained_on: TrainedOption = None,
    seed: SeedOption = 0,
    bootstrap: BootstrapOption = 1000,
    interval: MethodOption = "jackknife",
    cluster: ClusterOption = None,
    injection: InjectionOption = False,
    dry_run: DryRunOption = False,
    plugin: PluginOption = None,
) -> None:
    """Score captions against references.

    Prints scores with 95 % intervals and their signatures. Of several files of captions each is tested against the
    first, image by image.
    """
    from capwright.cli._tables import print_comparisons, print_scores, print_signatures, say_reasons
    from capwright.cli.injection import find_judged, measure_orders, print_orders

    options = read_settings(set_ or [])
    if injection:
        find_judged((name.strip() for name in scorers.split(",") if name.strip()), options)
    if dry_run:
        from capwright.judges.client.cost_estimate import CostEstimate

        costs = CostEstimate()
        counted = measure_files(
            paths, scorers, settings=set_, split=split, vocabulary=vocabulary, missing=missing, replicates=0,
            costs=costs,
        )  # fmt: skip
        if injection:
            first = counted.evaluations[0]
            _, options = only_asking(list(first.scores), options, costs)
            measure_orders(counted.samples, first, options, vocabulary=counted.vocabulary, replicates=0)
        print_costs(costs)
        return
    scoring = measure_files(
        paths, scorers, tokenizer, idf, set_, split, vocabulary, missing, trained_on, seed, bootstrap, interval, cluster
    )
    print_scores(scoring.evaluations, not_installed=scoring.not_installed, trained_on=scoring.trained_on)
    say_reasons(scoring.evaluations)
    print_comparisons(scoring.comparisons, scoring.evaluations)
    effects = []
    if injection:
        first = scoring.evaluations[0]
        effects = measure_orders(
            scoring.samples, first, options, vocabulary=scoring.vocabulary, seed=seed, replicates=bootstrap,
            method=interval,
        )  # fmt: skip
        print_orders(effects, first)
    print_signatures(scoring.evaluations)
    if any(marked & set(scoring.evaluations[0].scores) for marked in scoring.trained_on.values()):
        print("* the captioner was trained on this score; it says how well training worked, not how good captions are")
    if json is not None:
        from capwright.runs.summary import versions, write_json

        more = {"injection": [effect.to_json() for effect in effects]} if injection else {}
        write_json(json, scoring.to_json() | more | {"versions": versions()})


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
    ratings: Annotated[Path, typer.Argument(metavar="RATINGS", help="CSV, TSV or JSONL: id, rating, perhaps system.")],
    only: Annotated[str, typer.Option("--scores", help="Names of scores, with commas; by default all.")] = "",
    aggregation: Annotated[
        str, typer.Option(help="Several ratings of a caption: mean, median or each (every rating for itself).")
    ] = "mean",
    seed: SeedOption = 0,
    bootstrap: ReplicatesOption = 1000,
) -> None:
    """How well scores agree with human ratings.

    Rank correlations (Kendall's tau-b and tau-c, Spearman) and Pearson's r, with intervals over images.
    """
    from capwright.cli.agreement import print_agreement

    print_agreement(scored, ratings, [n.strip() for n in only.split(",") if n.strip()], aggregation, seed, bootstrap)


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
