"""Captions and references from the command line: options that several commands share, and measuring with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capwright.console import OnProgress, counting, say, warnings_said
from capwright.types import DataError, Vocabulary

if TYPE_CHECKING:
    from capwright.evaluation import Scoring
    from capwright.judges.client.cost_estimate import CostEstimate

#: Scorers that load a model of transformers, which talks.
_WITH_MODELS = {"bertscore", "similarity"}


def _load(files: list[Path] | None) -> list[Path]:
    """Execute plugins before the command; the paths of what was executed."""
    from capwright.plugins import load

    return [load(file).path for file in files or ()]


PluginOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        callback=_load,
        help="A file of your own with scorers, advantages, formats ...; its code is executed. Repeatable.",
    ),
]
ScorersOption = Annotated[
    str,
    typer.Option(
        metavar="NAMES", help="With commas between them; by default bleu,meteor,rougeL,ciderD,length. See score list."
    ),
]
TokenizerOption = Annotated[
    str | None, typer.Option(help="ptb (the default), ptb-java, words (any language) or split (already tokenized).")
]
IdfOption = Annotated[
    str | None,
    typer.Option(metavar="TABLE", help="Of CIDEr: refs (the default), coco-val2014, or a file of build-idf."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="SCORER.OPTION=VALUE", help="An option of a scorer; repeatable.")
]
SplitOption = Annotated[str | None, typer.Option(help="Of references that have splits.")]
VocabularyOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Names of the domain (vocabulary.yaml), for tts and chair.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what asking the judges would take, and ask no judge.")
]
MissingOption = Annotated[
    str, typer.Option(help="Images without a caption: error, skip (unknown) or empty (scored as no words).")
]
TrainedOption = Annotated[
    list[str] | None,
    typer.Option(metavar="SYSTEM=SCORER,...", help="What a captioner was trained on; its scores are marked."),
]
ImagesOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Where the images are, for the report.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the resampling.")]
ReplicatesOption = Annotated[int, typer.Option(min=0, help="Resamples of the confidence intervals.")]
BootstrapOption = Annotated[
    int, typer.Option(min=0, help="Resamples of intervals that are percentile or bca; 0: no intervals of any kind.")
]
MethodOption = Annotated[str, typer.Option(help="How intervals are made: jackknife, percentile or bca.")]
ClusterOption = Annotated[
    str | None, typer.Option(metavar="KEY", help="A key of meta; images with one value are resampled together.")
]


def measure_files(
    paths: Sequence[Path],
    scorers: str = "",
    tokenizer: str | None = None,
    idf: str | None = None,
    settings: Sequence[str] | None = None,
    split: str | None = None,
    vocabulary: Path | None = None,
    missing: str = "error",
    trained_on: Sequence[str] | None = None,
    seed: int = 0,
    replicates: int = 1000,
    method: str = "jackknife",
    cluster: str | None = None,
    images: Path | None = None,
    costs: CostEstimate | None = None,
) -> Scoring:
    """Score files of captions (all but the last path) against references (the last).

    With a `costs` only scorers that ask a judge are measured, no judge is asked, and no number means anything. What
    should be read before the numbers are trusted goes to stderr.
    """
    from capwright.evaluation import DEFAULT_SCORERS, score_systems

    if len(paths) < 2:
        raise DataError("name at least one file of captions, and then the file of references: PRED [PRED ...] REFS")
    *captions, references = paths
    systems = dict(zip(name_systems(captions), captions))
    wanted = [name.strip() for name in scorers.split(",") if name.strip()] or list(DEFAULT_SCORERS)
    options = read_settings(settings or [])
    if idf is not None:
        weighed = {"cider", "ciderD", "diversity"} & set(wanted)
        if not weighed:
            raise DataError(f"--idf {idf}: is for cider, ciderD and diversity, and none of them is among the scorers")
        for name in weighed:
            options.setdefault(name, {}).setdefault("idf", idf)
    if costs is not None:
        wanted, options = only_asking(wanted, options, costs)
    marks = _trained_on(trained_on or [], systems)
    if _WITH_MODELS & set(wanted):
        from capwright.cli._quiet import quiet_libraries

        quiet_libraries()
    with ExitStack() as stack:
        stack.enter_context(warnings_said())
        bar = stack.enter_context(ExitStack())
        bars: dict[str, OnProgress] = {}

        def progress(system: str, done: int, total: int) -> None:
            if system not in bars:
                bar.close()
                bars[system] = bar.enter_context(counting(f"measuring {system}"))
            bars[system](done, total)

        scoring = score_systems(
            systems,
            references,
            wanted,
            options=options,
            tokenizer=tokenizer,
            split=split,
            images=images,
            vocabulary=_vocabulary(vocabulary),
            missing=missing,
            trained_on=marks,
            seed=seed,
            replicates=replicates,
            method=method,
            cluster=cluster,
            progress=progress,
        )
    for name, findings in scoring.findings.items():
        for finding in findings:
            say(f"warning: {name}: {finding.message}")
    for name, why in scoring.not_installed.items():
        say(f"{name}: {why}")
    return scoring


def name_systems(paths: Sequence[Path]) -> list[str]:
    """A short name for each caption file: its own, with as much of its folders as it takes to tell them apart."""
    bare = [Path(re.sub(r"(?i)(?<=.)\.(jsonl?|csv|tsv|txt)?(\.gz)?$", "", str(path))) for path in paths]
    shown = [[part for part in path.parts if part not in ("captions", "/", "..")] for path in bare]
    for depth in range(1, max(map(len, shown)) + 1):
        names = ["-".join(parts[-depth:]) for parts in shown]
        if len(set(names)) == len(names):
            return names
    return [f"{parts[-1]}-{number}" for number, parts in enumerate(shown, 1)]


def read_settings(settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`["ciderD.sigma=4"]` as {"ciderD": {"sigma": 4}}. Raises DataError for what is not SCORER.OPTION=VALUE."""
    import yaml

    options: dict[str, dict[str, Any]] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        scorer, dot, option = key.rpartition(".") if ":" in key else key.partition(".")  # path/to/file.py:Name.option
        if not (equals and dot and scorer and option):
            raise DataError(f"--set {text}: must be SCORER.OPTION=VALUE, such as ciderD.sigma=6")
        try:
            options.setdefault(scorer, {})[option] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise DataError(f"--set {text}: the value cannot be read ({error})") from error
    return options


def only_asking(
    scorers: Sequence[str], options: Mapping[str, Mapping[str, Any]], costs: CostEstimate
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Those of the scorers that ask a server or a model, with options under which they only count what they would ask.

    Raises DataError when none does.
    """
    from capwright.judges.client.cost_estimate import counted_options

    changed = {name: own for name in scorers if (own := counted_options(options.get(name, {}), costs)) is not None}
    if not changed:
        raise DataError(
            "--dry-run: none of the scorers asks a server or a model, so nothing would be paid; name one with "
            "--set SCORER.judge='{name: http://localhost:8000/v1, model: NAME}'"
        )
    strange = {name: dict(own) for name, own in options.items() if name not in scorers}  # refused where they are used
    return list(changed), changed | strange


def print_costs(costs: CostEstimate) -> None:
    """What each server or model would be asked, a line each on stdout."""
    from capwright.judges.client.cost_estimate import ENTRIES

    for who, estimate in costs.found.items():
        print(f"{who}: {estimate}")
    say(f"no judge was asked; claims and other lists that only answers would tell are taken to have {ENTRIES} entries")


def _vocabulary(path: Path | None) -> Vocabulary | None:
    if path is None:
        return None
    from capwright.data import read_vocabulary

    return read_vocabulary(path)


def _trained_on(said: Sequence[str], systems: Mapping[str, Path]) -> dict[str, set[str]]:
    """What each system was trained on: as said, and as the run folder says that a file lies in."""
    from capwright.data.files import nearest
    from capwright.scorers import list_scorers

    marks = {name: _of_run(path) for name, path in systems.items()}
    for text in said:
        name, equals, scorers = text.partition("=")
        if not equals or name not in systems:
            raise DataError(f"--trained-on {text}: must be SYSTEM=SCORER,...; the systems are {', '.join(systems)}")
        wanted = {scorer.strip() for scorer in scorers.split(",") if scorer.strip()}
        unknown = sorted(wanted - set(list_scorers()))
        if unknown:
            known = list_scorers()
            raise DataError(f"--trained-on {text}: there is no scorer {unknown[0]}{nearest(unknown[0], known)}")
        marks[name] |= wanted
    return {name: found for name, found in marks.items() if found}


def _of_run(path: Path) -> set[str]:
    """The scorers that the run trained on whose captions these are, where they lie in the folder of a run."""
    if path.parent.name != "captions" or not (path.parent.parent / "summary.json").exists():
        return set()
    from capwright.report.headline import trained_systems
    from capwright.report.run_folder import read_run

    try:
        run = read_run(path.parent.parent)
    except DataError:  # some other folder that has a summary.json
        return set()
    rewards = (run.summary.get("run") or {}).get("trained_on") or {}
    scorers = {str(signature).partition("|")[0] for signature in rewards.values()}
    return {scorer for scorer in scorers if path.stem in trained_systems(run, scorer)}
