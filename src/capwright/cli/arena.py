"""capwright arena: several systems meet, image by image, and a judge says which caption is better."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capwright.cli._options import (
    ImagesOption,
    JsonOption,
    PluginOption,
    ReplicatesOption,
    SplitOption,
    judge_settings,
    name_systems,
)
from capwright.cli._tables import number, reasons, with_interval
from capwright.console import counting, say, show
from capwright.types import DataError

if TYPE_CHECKING:
    from capwright.evaluation.arena.leaderboard import Leaderboard


def arena(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PRED PRED... REFS", help="Files of captions, then the file or dataset of references."),
    ],
    judge: Annotated[
        str,
        typer.Option(
            "--judge", "--assistant", metavar="NAME", help="Who judges: http://host:port/v1, local:FOLDER, or lexical."
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="judge.OPTION=VALUE", help="An option of the judge; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep every verdict (.jsonl); the same command goes on there.")
    ] = None,
    json: JsonOption = None,
    orders: Annotated[
        str, typer.Option(help="both: each pair is shown twice; paper: once, in an order drawn by the id.")
    ] = "both",
    repeats: Annotated[int, typer.Option(min=1, help="How often the same is asked, with other seeds.")] = 1,
    reference: Annotated[
        bool, typer.Option("--reference/--no-reference", help="Whether the judge sees the first reference.")
    ] = True,
    image: Annotated[
        bool,
        typer.Option(
            "--image/--no-image", "--picture/--no-picture", help="Whether the judge sees the image, where there is one."
        ),
    ] = True,
    missing: Annotated[
        str, typer.Option(help="Images without a caption of some system: error, or skip (unknown, in no rating).")
    ] = "error",
    split: SplitOption = None,
    images: ImagesOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of orders, of the judge, and of the resampling.")] = 0,
    bootstrap: ReplicatesOption = 1000,
    plugin: PluginOption = None,
) -> None:
    """Which of several systems writes the better captions, in the eyes of a judge?

    Every two systems meet on every image. Ratings have 95 % intervals over images; how the judge judges (does it prefer
    the first place, longer captions; does it agree with itself) is told beside them.
    """
    from capwright.cli._errors import resumable
    from capwright.evaluation.arena.leaderboard import make_leaderboard
    from capwright.evaluation.arena.play import ArenaConfig, run_arena
    from capwright.judges.load import load_judge

    if len(paths) < 3:
        raise DataError("name at least two files of captions, and then the file of references: PRED PRED [...] REFS")
    *captions, references = paths
    systems = dict(zip(name_systems(captions), captions))
    asked = load_judge(judge, **judge_settings(settings or [])["judge"])
    config = ArenaConfig(orders, repeats, reference, image, split, images, missing, seed)
    with counting("verdicts") as progress, resumable("the same command goes on" if out else "with --out it can go on"):
        judgements = run_arena(systems, references, asked, config, log=out, progress=progress)
    board = make_leaderboard(judgements, seed=seed, replicates=bootstrap)
    for warning in board.warnings:
        say(f"warning: {warning}")
    _print_standings(board)
    _print_judge(board)
    how = f"arena|judge:{asked.signature.replace('|', ',')}|orders:{orders}|repeats:{repeats}"
    sees = "+".join(word for word, there in (("ref", reference), ("img", image)) if there)
    signature = f"{how}|sees:{sees}|model:bt,order|ties:half|ci:percentile,{bootstrap}|unit:image|seed:{seed}|v:1"
    show(signature)
    if json is not None:
        from capwright.runs.summary import versions, write_json

        files = {name: str(path) for name, path in systems.items()}
        write_json(json, board.to_json() | {"signature": signature, "files": files, "versions": versions()})


def _print_standings(board: Leaderboard) -> None:
    from capwright.cli._display import print_table

    header = ["", "rating", "Elo", "battles won", "won / tied / lost", "words"]
    noisy = board.repeats > 1
    rows = []
    for s in board.standings:
        outcome = " / ".join(f"{n:,.1f}".removesuffix(".0") for n in (s.wins, s.ties, s.losses))
        cells = [s.name, with_interval(s.rating, 0), with_interval(s.elo, 0), with_interval(s.win_rate, 3)]
        cells += [f"{outcome}, unknown: {s.unknown:,}" if s.unknown else outcome]
        cells += [number(s.words, 1)]
        cells += [number(s.judge_noise, 1), number(s.image_noise, 1)] if noisy else []
        rows.append(cells)
    print_table([*header, *(["± judge", "± images"] if noisy else [])], rows)
    for m in board.meetings if len(board.standings) > 2 else ():
        show(f"{m.a} against {m.b}: won {with_interval(m.win_rate, 3)} of {m.battles:,.0f}")


def _print_judge(board: Leaderboard) -> None:
    for what, share in (
        ("the caption shown first won", board.first_place),
        ("the longer caption won", board.longer),
        ("the same verdict in both orders", board.agreement),
        ("the same verdict when asked again", board.repeated),
        ("verdicts that are ties", board.ties),
    ):
        if share.value is not None:
            show(f"the judge: {what}: {with_interval(share, 3)}")
    lost = sum(board.unknown.values())
    why = f", unknown: {lost:,} ({reasons(board.unknown)})" if lost else ""
    show(f"{board.verdicts:,} verdicts, {board.images:,} images{why}")
