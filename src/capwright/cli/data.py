"""capwright data: check, convert and import datasets, and give them questions."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from capwright.cli._options import PluginOption
from capwright.console import count, counting, say, show, warnings_said
from capwright.types import DataError

app = typer.Typer(no_args_is_help=True, help="Check, convert and import datasets, give them questions.")

LayoutOption = Annotated[
    str,
    typer.Option("--layout", "--to", help="jsonl (samples.jsonl) or ecac (captions.json, toy_labels.json, ...)."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a dataset of the same layout in OUT.")]


@app.command(no_args_is_help=True)
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A dataset folder.")], plugin: PluginOption = None
) -> None:
    """Report every problem of a dataset. Exit code 0: usable, 1: not."""
    from capwright.data import check_dataset

    with counting("images") as progress:
        found = check_dataset(path, progress)
    folder = path.parent if path.is_file() else path
    for (file, severity, message), group in groupby(found.problems, key=lambda p: (p.file, p.severity, p.message)):
        lines = [problem.line for problem in group]
        place = folder / file  # to be opened from here
        first = f"{place}:{lines[0]}" if lines[0] else str(place)
        more = f" (and {len(lines) - 1:,} more like it)" if len(lines) > 1 else ""
        show(f"{first}: {severity}: {message}{more}".replace("\n", "\\n"))  # of a path: a problem is one line
    errors = sum(problem.severity == "error" for problem in found.problems)
    warnings = len(found.problems) - errors
    verdict = "usable" if found.usable else "not usable: correct the errors"
    counts = (count(found.samples, "sample"), count(errors, "error"), count(warnings, "warning"))
    show(f"{path}: {', '.join(counts)}; {verdict}")
    if not found.usable:
        raise typer.Exit(1)


@app.command(no_args_is_help=True)
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A dataset folder of any layout.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; images are copied.")],
    layout: LayoutOption = "jsonl",
    overwrite: Overwrite = False,
    plugin: PluginOption = None,
) -> None:
    """Write a dataset in another layout: import it from ECAC, or export it."""
    from capwright.data import open_dataset, write_dataset

    dataset = open_dataset(source)
    place = write_dataset(dataset, out, layout=layout, overwrite=overwrite)
    say(f"{place}: {count(len(dataset), 'sample')} in the {layout} layout")


@app.command("from-coco", no_args_is_help=True)
def from_coco(
    annotations: Annotated[
        list[Path],
        typer.Argument(metavar="ANNOTATIONS...", help="COCO files: captions and instances of the same images."),
    ],
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="The folder of the images.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; images are copied.")],
    layout: LayoutOption = "jsonl",
    split: Annotated[str | None, typer.Option(help="Put every sample there; by default as the file says.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a dataset of COCO annotations.

    Captions become references, the categories of boxed objects the terms. Those of COCO get the words that people use
    for them as aliases ("man" for "person").
    """
    from capwright.data import read_coco, write_dataset
    from capwright.scorers import with_coco_words

    with warnings_said():
        samples, vocabulary = read_coco(annotations, images, split)
    vocabulary = with_coco_words(vocabulary)
    samples = [replace(sample, terms=tuple(vocabulary[term.name] for term in sample.terms)) for sample in samples]
    place = write_dataset(samples, out, vocabulary, layout, overwrite=overwrite)
    counts = f"{count(len(samples), 'sample')}, {count(len(vocabulary), 'term')}"
    say(f"{place}: {counts}; next: capwright data check {place}")


@app.command(no_args_is_help=True)
def questions(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder.")],
    out: Annotated[Path, typer.Option(help="The folder to write; images are copied.")],
    judge: Annotated[
        str,
        typer.Option(
            "--judge", "--assistant", metavar="NAME", help="Who answers: http://host:port/v1, local:FOLDER, or lexical."
        ),
    ],
    writer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who writes: a judge (by default the same; with lexical facts), facts, or dataset.",
        ),
    ] = None,
    blind_judge: Annotated[
        str | None,
        typer.Option(
            "--blind-judge",
            "--blind-assistant",
            metavar="NAME",
            help="Who answers without the image; by default the same.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="WHO.OPTION=VALUE", help="Of judge, writer or blind; repeatable."),
    ] = None,
    evidence: Annotated[
        str | None, typer.Option(help="What is answered from: image, or references (the default of lexical).")
    ] = None,
    per_image: Annotated[int, typer.Option(min=1, help="Questions to write for each image.")] = 5,
    rotations: Annotated[int, typer.Option(help="Orders of the options, 1 to 4.")] = 4,
    seen: Annotated[float, typer.Option(help="Accuracy with the image must be above this.")] = 0.75,
    blind: Annotated[float, typer.Option(help="Accuracy without the image must be below this.")] = 0.25,
    blind_rule: Annotated[str, typer.Option(help="caprl, or captionqa: dropped at 7 of 10 right guesses.")] = "caprl",
    split: Annotated[str | None, typer.Option(help="Of the dataset, this split only.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of writers and shuffles.")] = 0,
    plugin: PluginOption = None,
) -> None:
    """Give every image questions that can be answered with it, and not without it.

    The same command goes on when it was stopped.
    """
    from capwright.cli._errors import resumable
    from capwright.cli._options import judge_settings
    from capwright.curation import MakeQuestions, StepRun, write_new
    from capwright.data import open_dataset

    options = judge_settings(settings or [], ("judge", "writer", "blind"))
    samples = open_dataset(dataset, split)
    if options["writer"] and writer in (None, "facts", "dataset"):
        raise DataError("--set writer...: no judge writes by itself; name one with --writer")
    if options["blind"] and blind_judge is None:
        raise DataError("--set blind...: no judge answers blind by itself; name one with --blind-judge")
    journal = out.with_name(f"{out.name}.questions.jsonl")
    with counting("questions of samples") as progress, resumable("the same command goes on"):
        maker = MakeQuestions(
            judge={"name": judge, **options["judge"]},
            writer=writer and {"name": writer, **options["writer"]},
            blind_judge=blind_judge and {"name": blind_judge, **options["blind"]},
            evidence=evidence,
            per_image=per_image,
            rotations=rotations,
            seen=seen,
            blind=blind,
            blind_rule=blind_rule,
            seed=seed,
        )
        run = StepRun(progress=lambda done: progress(done, len(samples)))
        data = f"{samples.fingerprint} {split or ''}".strip()
        place = write_new(maker.remembered(samples, journal, data, run), out, samples.vocabulary)
    for line in maker.tally.lines():
        show(line)
    say(f"{place}: written; all that was asked and answered is in {journal}")
    if maker.tally.dropped["unknown"] or maker.tally.unwritten:
        say(f"remove {place} and give the same command again: what could not be had is asked again, and nothing else")
