"""capwright eval: scores of caption files with intervals and paired tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capwright.cli._options import (
    BootstrapOption,
    DryRunOption,
    MethodOption,
    PluginOption,
    SetOption,
    name_systems,
    only_asking,
    print_costs,
    read_settings,
)
from capwright.cli.injection import InjectionOption
from capwright.console import say
from capwright.types import DataError

if TYPE_CHECKING:
    from capwright.data import Dataset

#: Findings about captions, by kind, that are told here; how long they are stands beside all scores.
_DOUBTS = ("copied", "constant")


def evaluate(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder.")],
    captions: Annotated[
        list[Path], typer.Argument(metavar="CAPTIONS.jsonl...", help="Caption files; each is tested against the first.")
    ],
    split: Annotated[
        str | None, typer.Option(help="Measure on this split; by default on those that the first file has captions of.")
    ] = None,
    scorers: Annotated[
        str, typer.Option(help="Names, with commas between them; length is always measured.")
    ] = "tts,length",
    set_: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="Also write a run folder with a report.")] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the numbers.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the resampling.")] = 0,
    bootstrap: BootstrapOption = 1000,
    interval: MethodOption = "jackknife",
    injection: InjectionOption = False,
    dry_run: DryRunOption = False,
    plugin: PluginOption = None,
) -> None:
    """Measure caption files on a dataset.

    Prints scores with 95 % intervals, and paired randomization tests of every file against the first.
    """
    from capwright.cli._tables import print_comparisons, print_scores, say_reasons
    from capwright.cli.injection import find_judged, measure_orders, print_orders
    from capwright.data import open_dataset, read_captions
    from capwright.data.alignment import check_alignment
    from capwright.evaluation.installed import make_installed, measure_installed
    from capwright.runs.summary import compare_with_first, measure, summarize, versions, write_json

    if out is not None and (out / "recipe.yaml").exists():
        raise DataError(f"{out}: holds a training run; choose another --out")
    names = name_systems(captions)
    systems = {name: read_captions(path) for name, path in zip(names, captions)}
    samples = choose_samples(open_dataset(dataset, split), systems[names[0]], said=split is not None)
    wanted = [name.strip() for name in scorers.split(",") if name.strip()]
    if "length" not in wanted:  # most scores change with length alone, so it stands beside all of them
        wanted.append("length")
    options = read_settings(set_ or [])
    if injection:
        find_judged(wanted, options)
    if dry_run:
        from capwright.judges.client.cost_estimate import CostEstimate

        costs = CostEstimate()
        asked, counted = only_asking(wanted, options, costs)
        made, _ = make_installed(asked, counted)
        evaluations, _ = measure_installed(
            samples, made, samples.vocabulary, lambda rulers: measure(samples, systems, rulers, replicates=0)
        )
        if injection:
            measure_orders(samples, evaluations[0], counted, vocabulary=samples.vocabulary, replicates=0)
        print_costs(costs)
        return
    made, absent = make_installed(wanted, options)
    evaluations, more = measure_installed(
        samples,
        made,
        samples.vocabulary,
        lambda rulers: measure(samples, systems, rulers, seed=seed, replicates=bootstrap, method=interval),
    )
    absent |= more
    evaluations = [
        replace(
            one, warnings=(*one.warnings, *(f.message for f in check_alignment(rows, samples) if f.kind in _DOUBTS))
        )
        for one, rows in zip(evaluations, systems.values())
    ]
    comparisons = compare_with_first(evaluations)
    about = {"data": str(samples.root), "split": ", ".join(samples.splits), "seed": seed, "versions": versions()}
    if absent:
        about["not_installed"] = absent
    summary = summarize(evaluations, comparisons, about)
    if injection:
        effects = measure_orders(
            samples, evaluations[0], options, vocabulary=samples.vocabulary, seed=seed, replicates=bootstrap,
            method=interval,
        )  # fmt: skip
        summary["injection"] = [effect.to_json() for effect in effects]
    say(f"{samples.root}: {len(samples):,} samples of {', '.join(samples.splits)}")
    print_scores(evaluations, not_installed=absent)
    say_reasons(evaluations)
    print_comparisons(comparisons, evaluations)
    if injection:
        print_orders(effects, evaluations[0])
    for evaluation in evaluations:
        for warning in evaluation.warnings:
            say(f"{evaluation.name}: {warning}")
    for name, why in absent.items():
        say(f"{name}: {why}")
    if json is not None:
        write_json(json, summary)
    if out is not None:
        say(f"report: {_write_folder(out, summary, systems, samples)}")


def choose_samples(dataset: Dataset, rows: Mapping[str, Any], said: bool) -> Dataset:
    """The samples to measure on: all of `dataset`, or those of the splits that have captions when no split was said.

    Raises:
        DataError: the captions are of more than one split, so that it has to be said.
    """
    if said or len(dataset.splits) == 1:
        return dataset
    present = list(dict.fromkeys(sample.split for sample in dataset if sample.id in rows))
    if len(present) > 1 and len(present) < len(dataset.splits):
        raise DataError(f"the captions are of the splits {', '.join(present)}; choose one with --split")
    return dataset.split(present[0]) if len(present) == 1 else dataset


def _write_folder(
    out: Path, summary: Mapping[str, Any], systems: Mapping[str, Mapping[str, Any]], samples: Dataset
) -> Path:
    from capwright.data.files import dump_json, write_bytes, writing
    from capwright.report import write_report
    from capwright.runs.summary import SUMMARY, write_json

    with writing(out):
        (out / "captions").mkdir(parents=True, exist_ok=True)
    for old in (out / "captions").glob("*.jsonl"):
        with writing(old):
            old.unlink()
    for name, rows in systems.items():
        path = out / "captions" / f"{name}.jsonl"
        write_bytes(path, b"".join(dump_json(row, str(path)) + b"\n" for row in rows.values()))
    write_json(out / SUMMARY, summary)
    return write_report(out, list(samples), vocabulary=samples.vocabulary or None)
