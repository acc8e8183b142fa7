"""capwright report: the page of a run, or of scored captions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capwright.cli._options import ImagesOption, MeasureOptions, conclude, measure_files, with_options
from capwright.console import say
from capwright.types import CapwrightError, DataError

if TYPE_CHECKING:
    from capwright.data import Dataset
    from capwright.recipes import Recipe


@with_options
def report(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_DIR | PRED... REFS",
            help="A folder written by train, demo or eval --out; or files of captions, then the references.",
        ),
    ],
    options: MeasureOptions,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="Of a run folder: the dataset, when it is no longer where it was."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page to write; by default RUN_DIR/report.html, or report.html.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Images shown at most.")] = 24,
    images: ImagesOption = None,
) -> None:
    """Write the page of a run folder, or of captions and references.

    Of a run: also of one that is not finished; what is not there yet is left out. Of captions: the scores of
    `capwright score`, drawn, against length and by slice, with the worst images and those that systems differ on most.
    """
    if len(paths) == 1:
        _of_run(paths[0], data, out, limit)
        return
    from capwright.report import write_score_report

    if data is not None:
        raise DataError("--data is for a run folder; of captions the last path names the references")
    scoring = measure_files(paths, options, images=images)
    title = ", ".join(evaluation.name for evaluation in scoring.evaluations)
    say(f"report: {write_score_report(out or Path('report.html'), scoring, title=title, limit=limit)}")
    conclude(scoring, options)


def _of_run(run_dir: Path, data: Path | None, out: Path | None, limit: int) -> None:
    from capwright.recipes.plugin_files import changed_plugins
    from capwright.report import write_report
    from capwright.report.run_folder import read_run

    run = read_run(run_dir)
    about = run.facts
    recipe = _recipe_of(run_dir)
    for line in changed_plugins(recipe) if recipe is not None else ():
        say(f"warning: {line}; the page shows what was measured with the plugin as it was")
    dataset = _open(run_dir, about, recipe, data)
    samples = _captioned(dataset, run.captions) if dataset is not None else []
    page = write_report(
        run_dir,
        samples,
        out,
        title=str(about.get("recipe") or run_dir.resolve().name),
        limit=limit,
        vocabulary=(dataset.vocabulary or None) if dataset is not None else None,
        things=str(about.get("things") or "things"),
    )
    say(f"report: {page}")


def _recipe_of(run_dir: Path) -> Recipe | None:
    """What the run was asked to do, where that can be read. No plugin that it names is executed for its page."""
    from capwright.recipes import load_recipe

    with suppress(CapwrightError):
        return load_recipe(run_dir / "recipe.yaml")
    return None


def _open(run_dir: Path, about: Mapping[str, Any], recipe: Recipe | None, data: Path | None) -> Dataset | None:
    """The dataset of a run; None (and a word about it) when it cannot be found."""
    from capwright.data import open_dataset

    if data is not None:
        return open_dataset(data)
    place = about.get("data")
    if not place and recipe is not None:  # of a run that has no summary yet
        drawn = next((folder.name for folder in sorted(run_dir.glob("scenes-*"))), None)
        place = drawn if recipe.data.path is None else recipe.data.path
    if not place:
        say("the run does not say what its dataset is, so the page has no gallery; name it with --data")
        return None
    try:
        return open_dataset(run_dir / place)
    except DataError as error:
        say(f"the page has no gallery: {error}; name the dataset with --data")
        return None


def _captioned(dataset: Dataset, captions: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """The samples that any system was asked about, in the order of the dataset."""
    ids = {id for rows in captions.values() for id in rows}
    found = [sample for sample in dataset if sample.id in ids]
    if ids and not found:
        raise DataError(f"{dataset.root}: has none of the captioned samples; name the dataset of this run with --data")
    return found
