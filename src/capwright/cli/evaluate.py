"""capwright eval: scores of caption files with intervals and paired tests."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capwright.cli._options import (
    DryRunOption,
    InjectionOption,
    JsonOption,
    MeasureOptions,
    carry_out,
    conclude,
    name_systems,
    names_in,
    with_options,
)
from capwright.console import counting, say, show
from capwright.types import DataError

if TYPE_CHECKING:
    from capwright.data import Dataset
    from capwright.evaluation import MeasureConfig, Scoring
    from capwright.evaluation.evaluate import SystemProgress
    from capwright.recipes.benchmark import Benchmark


@dataclass(frozen=True)
class EvalOptions(MeasureOptions):
    """As for `score`, with other defaults, and with tests of headlines alone."""

    scorers: Annotated[
        str, typer.Option(help="Names, with commas between them; by default tts,length. Length is always measured.")
    ] = ""
    split: Annotated[
        str | None, typer.Option(help="Measure on this split; by default on those that the first file has captions of.")
    ] = None
    missing: Annotated[
        str, typer.Option(help="Images without a caption: skip (unknown), error or empty (scored as no words).")
    ] = "skip"

    def config(self, systems: Mapping[str, Path]) -> MeasureConfig:
        """Most scores change with length alone, so it stands beside all of them."""
        wanted = names_in(self.scorers) or ["tts"]
        wanted += [] if "length" in wanted else ["length"]
        return replace(MeasureOptions.config(replace(self, scorers=",".join(wanted)), systems), comparisons="headlines")


@with_options
def evaluate(
    options: EvalOptions,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DATASET CAPTIONS.jsonl...",
            help="A dataset folder (none with --benchmark), then caption files; each is tested against the first.",
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A benchmark that comes along, or its file: what is measured, and how."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DATASET", help="Of a benchmark: its dataset, where it is on disk already.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write a run folder with a report.")] = None,
    json: JsonOption = None,
    injection: InjectionOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Measure caption files on a dataset, or under a benchmark.

    Prints scores with 95 % intervals, and paired randomization tests of every file against the first.
    """
    from capwright.cli._tables import print_scoring
    from capwright.data import open_dataset, read_captions
    from capwright.evaluation import score_systems
    from capwright.recipes.benchmark import load_benchmark
    from capwright.runs.benchmark import benchmark_config, departures, describe, open_benchmark
    from capwright.runs.summary import versions, write_json

    if out is not None and (out / "recipe.yaml").exists():
        raise DataError(f"{out}: holds a training run; choose another --out")
    protocol = None if benchmark is None else load_benchmark(benchmark)
    if protocol is None and data is not None:
        raise DataError("--data is for --benchmark; otherwise the first path names the dataset")
    if protocol is not None and (options.scorers or options.split):
        raise DataError(f"--benchmark {benchmark}: says scorers and split itself; leave out --scorers and --split")
    paths = paths or []
    captions = paths[protocol is None :]
    if protocol is None and not captions:
        raise DataError("name at least one file of captions: DATASET CAPTIONS [CAPTIONS ...]")
    files = dict(zip(name_systems(captions), captions))
    systems = {name: read_captions(path) for name, path in files.items()}
    config = options.config(files)
    own = config.options
    if protocol is None:
        first = next(iter(systems.values()))
        samples = choose_samples(open_dataset(paths[0], options.split), first, said=options.split is not None)
    else:
        with counting("drawing scenes") as progress:
            samples = open_benchmark(protocol, data, progress)
        config = benchmark_config(protocol, config)
        _introduce(protocol, samples)
        if not captions:
            return

    def measure(config: MeasureConfig, progress: SystemProgress) -> Scoring:
        found = score_systems(systems, samples, config=config, progress=progress)
        return replace(found, sources={name: str(path) for name, path in files.items()})

    scoring = carry_out(measure, config, injection=injection, dry_run=dry_run)
    about: dict[str, Any] = {"data": str(samples.root), "split": ", ".join(samples.splits), "seed": options.seed}
    summary = scoring.to_json(per_image=False) | {"run": about, "versions": versions()}
    say(f"{samples.root}: {len(samples):,} samples of {', '.join(samples.splits)}")
    if protocol is not None:
        summary["benchmark"] = describe(protocol, samples, own)
        for name, rows in systems.items():
            for text in departures(protocol, rows):
                summary["systems"][name]["warnings"].append(text)
                say(f"warning: {name}: {text}")
    print_scoring(scoring)
    if json is not None:
        write_json(json, summary)
    if out is not None:
        say(f"report: {_write_folder(out, summary, systems, samples)}")
    conclude(scoring, options)


def _introduce(benchmark: Benchmark, samples: Dataset) -> None:
    """Which benchmark it is, and how its images are captioned."""
    show(f"benchmark {benchmark.name}, version {benchmark.version}, {benchmark.digest}: {benchmark.source}")
    asked = f" --prompt {shlex.quote(benchmark.prompt)}" if benchmark.prompt else ""
    asked += f" --n {benchmark.limit}" if benchmark.limit else ""
    say(
        f"captions of it: capwright caption {shlex.quote(str(samples.root))} --split {benchmark.split}{asked} "
        f"--max-tokens {benchmark.decoding.max_tokens} --model MODEL --out said.jsonl"
    )


def choose_samples(dataset: Dataset, rows: Mapping[str, Any], said: bool) -> Dataset:
    """The samples to measure on: all of `dataset`, or those of the splits that have captions when no split was said.

    Raises:
        DataError: the captions are of more than one split, so that it has to be said.
    """
    if said or len(dataset.splits) == 1:
        return dataset
    present = [split for split in dataset.splits if any(id in rows for id in dataset.split(split).ids)]
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
