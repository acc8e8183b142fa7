"""capwright demo: the whole story on the built-in kindergarten, in a few minutes and without any download."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capwright.cli._display import program
from capwright.cli._errors import resumable
from capwright.cli._options import PluginOption
from capwright.console import say
from capwright.types import CapwrightError, RunError

if TYPE_CHECKING:
    from capwright.recipes import Recipe

NAME = "demo"
_STORY = """\
A captioner that was never told the names of teaching toys learns them. First it imitates captions that
people write (warmup). From there it goes two ways, with as many images: imitating experts (imitation),
and being rewarded for right names, beside an expert's caption where that names more than its own (rsrs).
Ctrl-C stops it; the same command goes on."""
#: Marks a folder as written by the demo, so that the demo may replace it.
MARK = ".capwright-demo"


def demo(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help=f"Change values of the recipe {NAME}, such as seed=1."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The run folder to write.")] = Path("runs/demo"),
    plugin: PluginOption = None,
) -> None:
    """The whole story on the built-in kindergarten.

    Teaches the embedded captioner the names of teaching toys, measures it after every stage, and writes a report. An
    earlier demo in the same folder is replaced, or resumed when it was interrupted; any other folder that is not
    empty is left alone.
    """
    from capwright.cli._quiet import quiet_libraries
    from capwright.cli._tables import print_result
    from capwright.data.files import writing
    from capwright.data.locks import only_one
    from capwright.recipes import load_recipe
    from capwright.runs.pipeline import REPORT, run_recipe

    recipe = load_recipe(NAME, overrides or [], plugin or ())
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with only_one(out), resumable("the same command goes on"):
        unfinished = _make_room(out, recipe)
        quiet_libraries()
        if not unfinished:
            say(_STORY)
        scoring = run_recipe(recipe, out, resume=unfinished)
    assert scoring is not None
    print_result(scoring, out)
    capwright = program()
    say(f"\nOpen {out / REPORT} in a browser.\n{_moral(recipe, capwright)}")
    say(
        "The page on RSRS in the docs says when to imitate, when to correct captions, and when to use RSRS.\n"
        "Next, your own photos: a folder with images/, samples.jsonl and vocabulary.yaml. In the docs of the\n"
        "repository, the guide on your own photos goes through it step by step. Then\n"
        f"  {capwright} data check PHOTOS\n"
        f"  {capwright} train rsrs-qwen2.5-vl-3b-lora data.path=PHOTOS --out runs/photos"
    )


def _moral(recipe: Recipe, capwright: str) -> str:
    """What the experts of this kindergarten can teach, and which ones to try next."""
    naming = 1.0 if recipe.data.scenes is None else recipe.data.scenes.naming
    if naming == 1.0:
        return "The experts of this kindergarten name every toy in every caption, which makes imitation hard to beat."
    return (
        f"The experts of this kindergarten name {100 * naming:.0f} % of the toys; imitation stops at what they say.\n"
        "With experts who name every toy it is hard to beat:\n"
        f"  {capwright} demo data.scenes.naming=1 data.scenes.tail=0 --out runs/demo-flawless"
    )


def _make_room(out: Path, recipe: Recipe) -> bool:
    """Ready the folder: remove what an earlier run wrote and nothing else. True when it is to be resumed instead."""
    from capwright.data.locks import lock_file
    from capwright.recipes import load_recipe
    from capwright.runs.pipeline import CAPTIONS, CHECKPOINTS, JOURNAL, REPORT
    from capwright.runs.resume import RECIPE
    from capwright.runs.summary import SUMMARY

    if {path.name for path in out.iterdir()} - {lock_file(out).name}:
        if not (out / MARK).is_file():
            raise RunError(f"{out}: is not empty and was not written by the demo; choose another --out")
        with suppress(CapwrightError):
            if not (out / SUMMARY).exists() and load_recipe(out / RECIPE) == recipe:
                say(f"{out}: going on with the demo that was interrupted")
                return True
        say(f"{out}: replacing what an earlier demo left")
        for name in (SUMMARY, RECIPE, JOURNAL, REPORT):
            (out / name).unlink(missing_ok=True)
        for folder in (out / CHECKPOINTS, out / CAPTIONS, *out.glob("scenes-*"), *out.glob(".scenes-*")):
            shutil.rmtree(folder, ignore_errors=True)
    (out / MARK).touch()
    return False
