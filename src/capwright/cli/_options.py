"""Captions and references from the command line: options that several commands share, and measuring with them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from capwright.cli._tables import reasons
from capwright.console import counting, counting_each, say, show, warnings_said
from capwright.types import DataError, ScorerError

if TYPE_CHECKING:
    from capwright.evaluation import MeasureConfig, Scoring
    from capwright.evaluation.evaluate import SystemProgress
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
TokenizerOption = Annotated[
    str | None, typer.Option(help="ptb (the default), ptb-java, words (any language) or split (already tokenized).")
]
SplitOption = Annotated[str | None, typer.Option(help="Of references that have splits.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the resampling.")]
ReplicatesOption = Annotated[int, typer.Option(min=0, help="Resamples of the confidence intervals.")]
JsonOption = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write all numbers.")]
ImagesOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Where the images are.")]
InjectionOption = Annotated[
    bool,
    typer.Option(
        "--injection",
        help="Also put orders to the judge behind the captions of the first file, and measure what they change. It "
        "takes about ten times the calls (--dry-run counts them).",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what asking the judges would take, and ask no judge.")
]


@dataclass(frozen=True)
class MeasureOptions:
    """How to measure: each field is an option of every command that measures captions, see `with_options`."""

    scorers: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="With commas between them; by default bleu,meteor,rougeL,ciderD,length. See score list.",
        ),
    ] = ""
    tokenizer: TokenizerOption = None
    idf: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Of CIDEr: refs (the default), coco-val2014, or a file of build-idf."),
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SCORER.OPTION=VALUE", help="An option of a scorer; repeatable."),
    ] = None
    split: SplitOption = None
    vocabulary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of the domain (vocabulary.yaml), for tts and chair.")
    ] = None
    missing: Annotated[
        str, typer.Option(help="Images without a caption: error, skip (unknown) or empty (scored as no words).")
    ] = "error"
    trained_on: Annotated[
        list[str] | None,
        typer.Option(metavar="SYSTEM=SCORER,...", help="What a captioner was trained on; its scores are marked."),
    ] = None
    seed: SeedOption = 0
    bootstrap: Annotated[
        int,
        typer.Option(min=0, help="Resamples of intervals that are percentile or bca; 0: no intervals of any kind."),
    ] = 1000
    interval: Annotated[str, typer.Option(help="How intervals are made: jackknife, percentile or bca.")] = "jackknife"
    cluster: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="A key of meta; images with one value are resampled together."),
    ] = None
    by: Annotated[
        str,
        typer.Option(metavar="KEYS", help="Also by the values of these keys of meta, such as category,area; or split."),
    ] = ""
    strip: Annotated[
        bool, typer.Option("--strip", help="Measure captions without thoughts, special tokens, tags and labels.")
    ] = False
    max_unknown: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="End with an error when a scorer could not measure a larger share."),
    ] = 1.0
    plugin: PluginOption = None

    def config(self, systems: Mapping[str, Path]) -> MeasureConfig:
        """The same as the library takes it; `systems` are files of captions by name."""
        from capwright.data import read_vocabulary
        from capwright.evaluation import DEFAULT_SCORERS, MeasureConfig

        scorers = tuple(names_in(self.scorers)) or DEFAULT_SCORERS
        options = read_scorer_settings(self.settings or [])
        if self.idf is not None:
            weighed = {"cider", "ciderD", "diversity"} & set(scorers)
            if not weighed:
                raise DataError(f"--idf {self.idf}: is for cider, ciderD and diversity, none of which is measured")
            for name in weighed:
                options.setdefault(name, {}).setdefault("idf", self.idf)
        return MeasureConfig(
            scorers=scorers,
            options=options,
            tokenizer=self.tokenizer,
            vocabulary=None if self.vocabulary is None else read_vocabulary(self.vocabulary),
            missing=self.missing,
            trained_on=_trained_on(self.trained_on or [], systems),
            seed=self.seed,
            replicates=self.bootstrap,
            method=self.interval,
            cluster=self.cluster,
            strip=self.strip,
            by=tuple(names_in(self.by)),
        )


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option of the command line for each field of a parameter that is a dataclass."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        spread = {parameter.name: (parameter.default, hints[parameter.name])}
        if group := groups.get(parameter.name):
            of = get_type_hints(group, include_extras=True)
            spread = {each.name: (each.default, of[each.name]) for each in fields(group)}
        for name, (default, hint) in spread.items():
            parameters.append(inspect.Parameter(name, parameter.KEYWORD_ONLY, default=default, annotation=hint))

    @wraps(command)
    def call(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{each.name: given.pop(each.name) for each in fields(group)})
        command(**given)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


def measure_files(
    paths: Sequence[Path],
    options: MeasureOptions,
    *,
    images: Path | None = None,
    injection: bool = False,
    dry_run: bool = False,
) -> Scoring:
    """Score files of captions (all but the last path) against references (the last), see `carry_out`."""
    from capwright.evaluation import score_systems

    if len(paths) < 2:
        raise DataError("name at least one file of captions, and then the file of references: PRED [PRED ...] REFS")
    *captions, references = paths
    systems = dict(zip(name_systems(captions), captions))

    def measure(config: MeasureConfig, progress: SystemProgress) -> Scoring:
        return score_systems(systems, references, config=config, split=options.split, images=images, progress=progress)

    return carry_out(measure, options.config(systems), injection=injection, dry_run=dry_run)


def carry_out(
    measure: Callable[[MeasureConfig, SystemProgress], Scoring],
    config: MeasureConfig,
    *,
    injection: bool = False,
    dry_run: bool = False,
) -> Scoring:
    """Measure; what should be read before the numbers are trusted goes to stderr.

    On a dry run only scorers that ask a judge are measured, no judge is asked, what asking would take is printed, and
    the command ends.
    """
    from capwright.judges.client.cost_estimate import CostEstimate

    if injection:
        _judged(config)
    costs = CostEstimate()
    if dry_run:
        config = _only_asking(config, costs)
    if _WITH_MODELS & set(config.scorers):
        from capwright.cli._quiet import quiet_libraries

        quiet_libraries()
    with warnings_said(), counting_each("measuring") as progress:
        scoring = measure(config, progress)
    if injection:
        scoring = replace(scoring, injection=_with_orders(scoring, config))
    if dry_run:
        print_costs(costs)
        raise typer.Exit
    for name, findings in scoring.findings.items():
        for finding in findings:
            say(f"warning: {name}: {finding.message}")
    for name, why in scoring.not_installed.items():
        say(f"{name}: {why}")
    return scoring


def conclude(scoring: Scoring, options: MeasureOptions, json: Path | None = None) -> None:
    """After everything was said: write the file of `--json`, and raise DataError for scores that could not be had at
    all, or of too few captions."""
    from capwright.runs.summary import versions, write_json

    if json is not None:
        write_json(json, scoring.to_json() | {"versions": versions()})
    wrong = []
    for evaluation in scoring.evaluations:
        usable = len(evaluation.ids) - sum(evaluation.unknown.values())
        system = f"{evaluation.name}: " if evaluation.name else ""
        if not usable:
            images, why = f"{len(evaluation.ids):,} images", reasons(evaluation.unknown)
            wrong.append(f"{system}none of {images} has a caption that can be measured ({why})")
        for scorer in evaluation.scores:
            lost, found = evaluation.unmeasured(scorer)
            if lost and (lost == usable or lost > options.max_unknown * usable):
                wrong.append(f"{system}{scorer} could not measure {lost:,} of {usable:,} captions ({reasons(found)})")
    if wrong:
        most = f"; --max-unknown is {options.max_unknown:g}" if options.max_unknown < 1 else ""
        raise DataError("; ".join(wrong) + most)


def names_in(text: str) -> list[str]:
    """The names in "a, b"."""
    return [name.strip() for name in text.split(",") if name.strip()]


def name_systems(paths: Sequence[Path]) -> list[str]:
    """A short name for each caption file: its own, with as much of its folders as it takes to tell them apart."""
    bare = [Path(re.sub(r"(?i)(?<=.)\.(jsonl?|csv|tsv|txt)?(\.gz)?$", "", str(path))) for path in paths]
    shown = [[part for part in path.parts if part not in ("captions", "/", "..")] for path in bare]
    for depth in range(1, max(map(len, shown), default=0) + 1):
        names = ["-".join(parts[-depth:]) for parts in shown]
        if len(set(names)) == len(names):
            return names
    return [f"{parts[-1]}-{number}" for number, parts in enumerate(shown, 1)]


def read_settings(settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`["ciderD.sigma=4"]` as {"ciderD": {"sigma": 4}}. Raises DataError for what is not SCORER.OPTION=VALUE."""
    import yaml

    from capwright.yaml_text import load_yaml

    options: dict[str, dict[str, Any]] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        scorer, dot, option = key.rpartition(".") if ":" in key else key.partition(".")  # path/to/file.py:Name.option
        if not (equals and dot and scorer and option):
            raise DataError(f"--set {text}: must be SCORER.OPTION=VALUE, such as ciderD.sigma=6")
        try:
            options.setdefault(scorer, {})[option] = load_yaml(value)
        except yaml.YAMLError as error:
            raise DataError(f"--set {text}: the value cannot be read ({error})") from error
    return options


def read_scorer_settings(settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`read_settings` of options of scorers. Raises DataError also for those that a scorer does not have, or not so."""
    from capwright.scorers.registry import option_problems

    options = read_settings(settings)
    for scorer, own in options.items():
        try:
            problems = option_problems(scorer, own)
        except ScorerError as error:
            raise DataError(f"--set {scorer}: {error}") from error
        wrong = next((option for option in own if option in problems), None)
        if wrong is not None:
            raise DataError(f"--set {scorer}.{wrong}: {problems[wrong]}")
    return options


def judge_settings(settings: Sequence[str], roles: Sequence[str] = ("judge",)) -> dict[str, dict[str, Any]]:
    """Options of judges by what they are there for; `assistant` is the former name of the judge.

    Raises DataError for a setting of anything else.
    """
    found: dict[str, dict[str, Any]] = {role: {} for role in roles}
    for given, options in read_settings(settings).items():
        role = "judge" if given == "assistant" else given
        if role not in found:
            known = " or ".join([*filter(None, [", ".join(roles[:-1])]), roles[-1]])
            raise DataError(f"--set {given}...: is for the {known}, such as judge.model=NAME")
        found[role] = found[role] | options if given == role else options | found[role]
    return found


def _only_asking(config: MeasureConfig, costs: CostEstimate) -> MeasureConfig:
    """Only the scorers that ask a server or a model, with options under which they count what they would ask.

    Raises DataError when none does.
    """
    from capwright.judges.client.cost_estimate import counted_options

    names = [str(name) for name in config.scorers]
    changed = {name: own for name in names if (own := counted_options(config.options.get(name, {}), costs)) is not None}
    if not changed:
        raise DataError(
            "--dry-run: none of the scorers asks a server or a model, so nothing would be paid; name one with "
            "--set SCORER.judge='{name: http://localhost:8000/v1, model: NAME}'"
        )
    strange = {name: own for name, own in config.options.items() if name not in names}  # refused where they are used
    return replace(config, scorers=tuple(changed), options=changed | strange, replicates=0)


def print_costs(costs: CostEstimate) -> None:
    """What each server or model would be asked, a line each on stdout."""
    from capwright.judges.client.cost_estimate import ENTRIES

    for who, estimate in costs.found.items():
        show(f"{who}: {estimate}")
    say(f"no judge was asked; claims and other lists that only answers would tell are taken to have {ENTRIES} entries")


def _judged(config: MeasureConfig) -> list[str]:
    """Those of the scorers that ask a judge about each caption. Raises DataError when none does."""
    from capwright.robustness.prompt_injection import can_be_ordered

    found = [each.spec.name for each in config.make_scorers({}) if can_be_ordered(each.spec)]
    if not found:
        raise DataError(
            "--injection: none of the scorers asks a judge about a caption, so there is no judge to give orders to; "
            "name one that does, such as --scorers caprl"
        )
    return found


def _with_orders(scoring: Scoring, config: MeasureConfig) -> list[Any]:
    """What orders behind the captions of the first system do to its scores."""
    from capwright.robustness.prompt_injection import injection_report
    from capwright.scorers import SCORED

    first = scoring.evaluations[0]
    said = {found.id: found.caption for found in first.per_image if found.status in SCORED}
    names = [name for name in _judged(config) if name in first.scores]
    config = replace(config, vocabulary=scoring.vocabulary)
    with counting("measuring with orders in captions") as progress:
        return injection_report(None, scoring.samples, said, names, config, progress=progress)


def _trained_on(said: Sequence[str], systems: Mapping[str, Path]) -> dict[str, set[str]]:
    """What each system was trained on: as said, and as the run folder says that a file lies in."""
    from capwright.data.files import nearest
    from capwright.scorers import list_scorers

    known = list_scorers()
    marks = {name: _of_run(path) for name, path in systems.items()}
    for text in said:
        name, equals, scorers = text.partition("=")
        if not equals or name not in systems:
            raise DataError(f"--trained-on {text}: must be SYSTEM=SCORER,...; the systems are {', '.join(systems)}")
        wanted = set(names_in(scorers))
        if unknown := sorted(wanted - set(known)):
            raise DataError(f"--trained-on {text}: there is no scorer {unknown[0]}{nearest(unknown[0], known)}")
        marks[name] |= wanted
    return {name: found for name, found in marks.items() if found}


def _of_run(path: Path) -> set[str]:
    """The scorers that the run trained on whose captions these are, where they lie in the folder of a run."""
    if path.parent.name != "captions" or not (path.parent.parent / "summary.json").exists():
        return set()
    from capwright.report.run_folder import read_run, trained_systems

    try:
        run = read_run(path.parent.parent)
    except DataError:  # some other folder that has a summary.json
        return set()
    rewards = run.facts.get("trained_on") or {}
    scorers = {str(signature).partition("|")[0] for signature in rewards.values()}
    return {scorer for scorer in scorers if path.stem in trained_systems(run, scorer)}
