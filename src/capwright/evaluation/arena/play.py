"""An arena: captions of several systems meet, image by image, and a judge says which is better.

`run_arena` asks, `capwright.evaluation.arena.leaderboard` makes ratings of the verdicts. See docs/methods/caparena.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

from capwright.console import OnProgress
from capwright.data import read_references
from capwright.data.alignment import one_split, some
from capwright.data.id_matching import match_ids
from capwright.data.locks import only_one
from capwright.data.predictions import read_predictions
from capwright.evaluation.arena.judgements import Judgement, append_battles, digest, read_battles
from capwright.evaluation.config import CaptionSource, with_settings
from capwright.evaluation.results import MISSING
from capwright.judges.protocols import Judge
from capwright.scorers import SCORED
from capwright.scorers.preference.pairwise import ORDERS, Pair, coin, decide, open_judge, seen
from capwright.types import DataError, Sample

#: Verdicts that are asked for at a time, and written together.
_CHUNK = 256

#: What will be asked, and what is shown; None where there is nothing to ask.
_Planned = tuple[Judgement, Pair | None]


@dataclass(frozen=True)
class ArenaConfig:
    """How an arena is held.

    Attributes:
        orders: "both" shows each pair twice, each caption first once; "paper" once, in an order drawn by the id.
        repeats: how often the same is asked, each time with another seed; two or more tell the judge's noise from the
            choice of images.
        reference, image: what the judge may look at, beside the two captions.
        split, images: of references that have splits; and the folder where images are.
        missing: images without a caption of some system: "error", or "skip" (unknown, counted, in no rating).
        seed: of the order and of the judge.

    Raises DataError for a value that cannot be.
    """

    orders: str = "both"
    repeats: int = 1
    reference: bool = True
    image: bool = True
    split: str | None = None
    images: str | Path | None = None
    missing: str = "error"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.orders not in ORDERS:
            raise DataError(f"orders must be {' or '.join(ORDERS)}, not {self.orders!r}")
        if type(self.repeats) is not int or self.repeats < 1:
            raise DataError(f"repeats must be a whole number from 1 on, not {self.repeats!r}")
        if self.missing not in ("error", "skip"):
            raise DataError(f"missing must be error or skip, not {self.missing!r}")
        if not self.reference and not self.image:
            raise DataError("the judge needs the reference or the image; switch one of them on")


def run_arena(
    systems: Mapping[str, CaptionSource],
    references: CaptionSource,
    judge: str | Mapping[str, Any] | Judge = "lexical",
    config: ArenaConfig | None = None,
    *,
    log: str | Path | None = None,
    progress: OnProgress | None = None,
    **settings: Any,
) -> list[Judgement]:
    """Let every two systems meet on every image.

    Args:
        systems: name -> predictions: a file, or what stands in one (see `capwright.data.predictions`); two or more.
        references: a file, a dataset, or what stands in one (see `capwright.data.references`).
        judge: who judges: a name, a mapping with a name and options, or a `Judge`.
        config: how the arena is held.
        log: a file of verdicts. What stands in it is not asked again, unless it is unknown; new verdicts are appended
            as they come.
        progress: called with (done, total) verdicts.
        settings: fields of `ArenaConfig` by name: `orders`, `repeats`, `seed` ...

    Returns:
        One Judgement for each thing that was to be asked: repeat by repeat, image by image, pair by pair. Captions that
        are the same are a tie, and one without words loses, without a call.

    Raises:
        DataError: files that cannot be read; fewer than two systems; missing captions; a log of another judge, seed or
            of other captions, or one that another job is writing; or images of which the judge could see nothing.
        TypeError: an unknown setting.
    """
    if len(systems) < 2:
        raise DataError("an arena needs at least two systems; name two or more files of captions")
    config = with_settings(config or ArenaConfig(), settings)
    samples = read_references(references, split=config.split, images_dir=config.images)
    if not any(seen(sample, config.image, config.reference) for sample in samples):
        raise DataError("no sample has a reference or an image that the judge could look at; name --images, or others")
    said = {name: _captions(name, source, samples, config.missing) for name, source in systems.items()}
    judge = open_judge(judge, "arena")
    plan = [(replace(one, judge=judge.signature), pair) for one, pair in _plan(samples, said, config)]
    with nullcontext() if log is None else only_one(log):
        return _play(judge, plan, log, progress)


def _play(
    judge: Judge, plan: Sequence[_Planned], log: str | Path | None, progress: OnProgress | None
) -> list[Judgement]:
    """Ask what the log does not know yet, and add it there."""
    held = {} if log is None or not Path(log).exists() else _held(Path(log), [one for one, _ in plan])
    done: dict[tuple[str, str, str, int], Judgement] = {}
    for chunk in _chunks(plan):
        new = _judge(judge, [each for each in chunk if each[0].key not in held or held[each[0].key].status != "ok"])
        if log is not None:
            append_battles(log, [one for one in new if held.get(one.key) != one])
        fresh = {one.key: one for one in new}
        done |= {one.key: fresh.get(one.key) or held[one.key] for one, _ in chunk}
        if progress is not None:
            progress(len(done), len(plan))
    return list(done.values())


def _captions(name: str, source: CaptionSource, samples: Sequence[Sample], missing: str) -> dict[str, tuple[str, str]]:
    """id -> (status, text) of a system, for all samples."""
    rows, _ = match_ids(read_predictions(source), samples)
    found: dict[str, tuple[str, str]] = {}
    for sample in samples:
        row = rows.get(sample.id)
        if isinstance(row, list):
            raise DataError(f'{name}: has several captions of "{sample.id}"; an arena takes one, keep one of them')
        found[sample.id] = (MISSING, "") if row is None else (row["status"], row["caption"])
    absent = [id for id, (status, _) in found.items() if status == MISSING]
    if len(absent) == len(found):
        raise DataError(f"{name}: has no caption of any sample; is it of another dataset or split?")
    if absent and missing == "error":
        advice = one_split(rows, {sample.id: sample.split for sample in samples})
        raise DataError(
            f"{name}: {len(absent)} of {len(found)} images have no caption: {some(absent)}{advice}; "
            'to go on without them: missing="skip" (--missing skip)'
        )
    return found


def _plan(
    samples: Sequence[Sample], said: Mapping[str, Mapping[str, tuple[str, str]]], config: ArenaConfig
) -> Iterator[_Planned]:
    for repeat in range(config.repeats):
        for sample in samples:
            shown = seen(sample, config.image, config.reference)
            path, told = shown or (None, "")
            for a, b in combinations(said, 2):
                places = [(a, b), (b, a)]
                if config.orders == "paper":
                    places = [places[(a > b) ^ (coin(config.seed, "order", sample.id, *sorted((a, b))) % 2)]]
                for first, second in places:
                    (status, text), (other, against) = said[first][sample.id], said[second][sample.id]
                    unknown = next((s for s in (status, other) if s not in SCORED), None)
                    if unknown is None and shown is None:
                        unknown = "missing_image"
                    judgement = Judgement(
                        sample.id, first, second, repeat, status=unknown or "ok", asked=False,
                        words=(len(text.split()), len(against.split())), seed=config.seed,
                        texts=digest(text, against, told, str(config.image)),
                    )  # fmt: skip
                    yield judgement, None if unknown else Pair(path, text, against, told)


def _held(log: Path, planned: Sequence[Judgement]) -> dict[tuple[str, str, str, int], Judgement]:
    """Verdicts of an earlier run of the same arena."""
    held = {one.key: one for one in read_battles(log)}
    for one in planned:
        before = held.get(one.key)
        if before is None:
            continue
        for what, old, new in (("judge", before.judge, one.judge), ("seed", before.seed, one.seed)):
            if old != new:
                raise DataError(f"{log}: was made with another {what} ({old}, not {new}); name another file")
        if before.texts != one.texts:
            raise DataError(
                f'{log}: the verdict on {one.first} and {one.second} of "{one.image}" is about other captions, or the '
                "judge saw something else; name another file"
            )
    return held


def _chunks(plan: Sequence[_Planned]) -> Iterator[Sequence[_Planned]]:
    """Parts of one repeat each, because a call of the judge has one seed."""
    for _, part in groupby(plan, key=lambda planned: planned[0].repeat):
        one = list(part)
        yield from (one[start : start + _CHUNK] for start in range(0, len(one), _CHUNK))


def _judge(judge: Judge, chunk: Sequence[_Planned]) -> list[Judgement]:
    asked = [(one, pair) for one, pair in chunk if pair is not None]
    if not asked:
        return [one for one, _ in chunk]
    first = asked[0][0]
    seed = first.seed if first.repeat == 0 else coin(first.seed, "repeat", str(first.repeat)) % 2**31
    decisions = iter(decide(judge, [pair for _, pair in asked], seed))
    found = []
    for one, pair in chunk:
        if pair is not None:
            said = next(decisions)
            one = replace(one, better=said.better, status=said.status, reason=said.reason, asked=said.asked)
        found.append(one)
    return found
