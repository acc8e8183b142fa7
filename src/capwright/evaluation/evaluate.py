"""The one way to measure: scorers run over the captions of systems, scores with intervals, honest counts.

An image counts for a scorer only when every row that the scorer made of it is known. An image may have several captions
(beams, samples of one captioner): their statistics are added up, and the image stays the unit that is resampled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.console import OnProgress
from capwright.data.alignment import some
from capwright.data.dataset import ids_of
from capwright.data.files import without_collection
from capwright.evaluation.compare import against_first, compare_headlines
from capwright.evaluation.config import EVAL_SCORERS, MeasureConfig, Ruler, leave_out, prepare, with_settings
from capwright.evaluation.groups import by_group, values_of
from capwright.evaluation.results import MISSING, Estimate, Evaluation, ImageResult, Measured
from capwright.evaluation.scoring import Scoring
from capwright.evaluation.stats.bootstrap import known
from capwright.evaluation.stats.intervals import How, estimate, gather, join
from capwright.judges.protocols import reason_of
from capwright.scorers import SCORED, Context, Item, Scorer, Stats
from capwright.types import STATUSES, Caption, DataError, NotInstalledError, Sample, ScorerError

CaptionRow = Mapping[str, Any] | Caption | str
#: What a system said of an image: one caption, or several.
CaptionRows = CaptionRow | Sequence[CaptionRow]
#: progress(system, done, total)
SystemProgress = Callable[[str, int, int], None]
#: For each image what scorers saw in it, by name of the scorer.
EvidenceRows = list[dict[str, dict[str, Any] | None]]
#: A caption, its status, and how it ended.
CaptionFields = tuple[str, str, str]

#: Items that scorers measure at a time; fewer when it takes long.
_CHUNK, _SLOW_CHUNK = 2048, 256


def evaluate(
    samples: Sequence[Sample],
    captions: Mapping[str, CaptionRows],
    scorers: Iterable[str | Scorer | Ruler] = EVAL_SCORERS,
    config: MeasureConfig | None = None,
    *,
    name: str = "",
    progress: OnProgress | None = None,
    **settings: Any,
) -> Evaluation:
    """Measure the captions of one system.

    Args:
        samples: the split to measure on.
        captions: id -> row of a caption file ({"caption", "status", "finish"}), a Caption, plain text, or a list of
            these. A sample without a row is unknown: it is counted and warned about, and no score includes it. Rows
            with other ids are warned about.
        scorers: names, scorers, or what `prepare_scorers` returned (for several systems: the same contexts).
        config: how to measure; all but its scorers counts here.
        name: of the system, for comparisons.
        progress: called with (done, total) captions as they are measured.
        settings: fields of `MeasureConfig` by name: `seed`, `replicates` (0 leaves out intervals of any method),
            `level`, `method`, `vocabulary`, `options`, `cluster` ...

    Raises:
        DataError: no samples, two with one id, a caption row that cannot be read, or no row for any sample.
        ScorerError: an unknown scorer, or one that fails. TypeError: an unknown setting.
    """
    given = list(scorers)
    names = tuple(each for each in given if not isinstance(each, tuple))
    config = with_settings(config or MeasureConfig(), {**settings, "scorers": names})
    ids = _checked_ids(samples)
    clusters = _clusters(samples, config.cluster)
    rulers = prepare(samples, config.make_scorers() if names else (), config.vocabulary)
    rulers += [each for each in given if isinstance(each, tuple)]
    warnings = _align(ids, captions)
    said = _Captions.of(ids, captions)
    sums, evidence = _measure(rulers, samples, said, progress)
    unit = "image" if config.cluster is None else f"meta.{config.cluster}"
    measured = {
        one.scorer.spec.name: one.measured(ids, estimates, config.sign(unit))
        for one, estimates in zip(sums, _estimate(sums, config, clusters))
    }
    groups = by_group(values_of(samples, config.by), measured, config, clusters) if config.by else {}
    return Evaluation(
        name=name,
        ids=ids,
        scores=measured,
        per_image=_per_image(ids, said, measured, evidence),
        unknown=dict(sorted(Counter(status for status in said.stated if status not in SCORED).items())),
        warnings=warnings,
        seed=config.seed,
        replicates=config.replicates,
        level=config.level,
        method=config.method,
        clusters=clusters,
        unit=unit,
        groups=groups,
    )


def measure_systems(
    samples: Sequence[Sample],
    systems: Mapping[str, Mapping[str, CaptionRows]],
    config: MeasureConfig,
    *,
    rulers: Sequence[Ruler] | None = None,
    pairs: Iterable[tuple[str, str]] | None = None,
    absent: Mapping[str, str] | None = None,
    progress: SystemProgress | None = None,
) -> Scoring:
    """Measure systems with all scorers of the configuration that are installed.

    Args:
        samples: what the captions are of.
        systems: name -> captions by id, see `evaluate`.
        config: how to measure.
        rulers: scorers with contexts (`prepare_scorers`), in place of those of the configuration.
        pairs: systems (a, b) whose headlines are compared; by default all are compared with the first, as
            `config.comparisons` says.
        absent: scorers that are known not to be installed, with the reasons.
        progress: called with (system, done, total).

    METEOR needs no Java for captions that it has measured before, and notices at a new one that there is none: then
    all is measured again without it.

    Raises:
        DataError: as `evaluate`. ScorerError: an unknown scorer or option, or nothing is left to measure with.
    """
    absent = dict(absent or {})
    left = list(rulers or ()) or prepare(samples, config.make_scorers(absent), config.vocabulary, absent)
    evaluations: list[Evaluation] = []
    while left and not evaluations:
        try:
            evaluations = [
                evaluate(samples, rows, left, config, name=name, progress=progress and partial(progress, name))
                for name, rows in systems.items()
            ]
        except NotInstalledError as error:
            name = next((s.spec.name for s, _ in left if str(error).startswith(f"{s.spec.name}:")), None)
            if name is None:
                raise
            leave_out(name, error, absent)
            left = [ruler for ruler in left if ruler[0].spec.name != name]
    if not evaluations:
        why = "".join(f"; {name}: {reason}" for name, reason in absent.items())
        raise ScorerError(f"there is nothing to measure with{why or '; name a scorer'}")
    if pairs is None and config.comparisons == "all":
        comparisons = against_first(evaluations, config.test)
    else:
        first, *others = systems
        comparisons = compare_headlines(evaluations, pairs or [(first, other) for other in others], config.test)
    trained: dict[str, Any] = {name: frozenset(scorers) for name, scorers in config.trained_on.items()}
    vocabulary = config.vocabulary if config.vocabulary is not None else getattr(samples, "vocabulary", None)
    return Scoring(
        tuple(evaluations), comparisons, samples, not_installed=absent, trained_on=trained, vocabulary=vocabulary
    )


def _clusters(samples: Sequence[Sample], key: str | None) -> tuple[str, ...] | None:
    """What each sample is drawn together by."""
    if key is None:
        return None
    without = [sample.id for sample in samples if key not in sample.meta]
    if without:
        raise DataError(f"{len(without)} samples have no {key!r} in meta to be drawn together by: {some(without)}")
    return tuple(repr(sample.meta[key]) for sample in samples)


def _checked_ids(samples: Sequence[Sample]) -> tuple[str, ...]:
    ids = tuple(ids_of(samples))
    if not ids:
        raise DataError("there are no samples to evaluate on; name another split")
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(f"the id {twice[0]!r} belongs to several samples; ids must be unique")
    return ids


def _align(ids: tuple[str, ...], captions: Mapping[str, CaptionRows]) -> tuple[str, ...]:
    absent = [name for name in ids if name not in captions]
    extra = sorted(set(captions) - set(ids))
    if len(absent) == len(ids):
        raise DataError(
            f"none of the {len(captions)} caption ids is the id of a sample (captions: {some(extra)}; samples: "
            f"{some(ids)}); is it the caption file of another dataset or split?"
        )
    warnings = []
    if absent:
        warnings.append(f"{len(absent)} of {len(ids)} samples have no caption and are unknown: {some(absent)}")
    if extra:
        warnings.append(f"{len(extra)} captions belong to no sample and were not measured: {some(extra)}")
    return tuple(warnings)


@dataclass(frozen=True, slots=True)
class _Captions:
    """All captions of a system in the order of the samples, those of a sample next to each other.

    Attributes:
        said: [N], see `CaptionFields`; image_of: whose each is, int64 [N].
        stated: the status of each image, or "missing_caption" where there is no row of it.
    """

    said: list[CaptionFields]
    image_of: NDArray[np.int64]
    stated: list[str]

    @staticmethod
    def of(ids: Sequence[str], captions: Mapping[str, CaptionRows]) -> _Captions:
        said: list[CaptionFields] = []
        image_of: list[int] = []
        stated: list[str] = []
        for image, id in enumerate(ids):
            given = captions.get(id, ())
            rows = [given] if isinstance(given, (str, Mapping, Caption)) else list(given)
            found = [read_row(id, row) for row in rows] or [("", "missing_image", "stop")]
            statuses = [status for _, status, _ in found]
            worst = next((status for status in statuses if status not in SCORED), statuses[-1])
            stated.append(worst if id in captions else MISSING)
            said += found
            image_of += [image] * len(found)
        return _Captions(said, np.array(image_of), stated)

    def items(self, samples: Sequence[Sample], start: int, stop: int) -> list[Item]:
        """Captions with their samples, which are read now."""
        images = self.image_of[start:stop].tolist()
        held = dict(zip(range(images[0], images[-1] + 1), samples[images[0] : images[-1] + 1]))
        return [Item(held[image], *said) for image, said in zip(images, self.said[start:stop])]


def read_row(id: str, row: CaptionRow) -> CaptionFields:
    """A caption of the sample `id`. Raises DataError for a row whose status or caption cannot be read."""
    if isinstance(row, str):
        return row, "ok", "stop"
    if isinstance(row, Caption):
        return row.text, "ok", row.finish
    status = row.get("status") or "ok"
    caption = row.get("caption")
    if status not in STATUSES:
        raise DataError(f"caption of {id!r}: status {status!r} is not one of {', '.join(STATUSES)}")
    if not isinstance(caption, str):
        if status in SCORED and not (status == "empty" and caption is None):
            raise DataError(f'caption of {id!r}: "caption" must be a text, not {caption!r}')
        caption = ""
    if status == "ok" and not caption.strip():
        status = "empty"
    return caption, status, row.get("finish") or "stop"


def _measure(
    rulers: Sequence[Ruler], samples: Sequence[Sample], captions: _Captions, progress: OnProgress | None
) -> tuple[list[ScorerSums], EvidenceRows]:
    """Measure captions with every scorer; one ScorerSums a scorer, and evidence [images].

    All scorers take a chunk before any takes the next: its samples are read once and not held, and what one scorer
    finds out about it (its tokens, its n-grams) helps the next one. Slow scorers take it in smaller parts, for the sake
    of progress; a set scorer takes all captions at once. The captions of an image are never parted.

    `progress` is told (done, total) captions, counted once a scorer.
    """
    evidence: EvidenceRows = [{} for _ in captions.stated]
    sums = [ScorerSums(scorer, context, len(captions.stated)) for scorer, context in rulers]
    count, done = len(captions.said), 0
    for unit, size in ((False, _CHUNK), (True, count)):
        members = [one for one in sums if (one.scorer.spec.unit == "set") is unit]
        for start, stop in _chunks(captions.image_of, 0, count if members else 0, size):
            items = captions.items(samples, start, stop)
            for one in members:
                part = size if unit or one.scorer.spec.cost == "free" else _SLOW_CHUNK
                for first, last in _chunks(captions.image_of, start, stop, part):
                    one.add(items[first - start : last - start], captions.image_of[first:last], captions, evidence)
                    done += last - first
                    if progress is not None:
                        progress(done, count * len(sums))
    return sums, evidence


def _estimate(sums: Sequence[ScorerSums], how: How, clusters: tuple[str, ...] | None) -> list[dict[str, Estimate]]:
    """For each scorer its estimates. Scorers that know the same images are estimated together, with the same draws."""
    estimates: list[dict[str, Estimate]] = [{} for _ in sums]
    shared: dict[bytes, list[int]] = {}
    for index, one in enumerate(sums):
        shared.setdefault(one.known.tobytes(), []).append(index)
    for places in shared.values():
        members = [sums[place] for place in places]
        rows = [one.rows for one in members]
        finalize, ranges = join([one.scorer for one in members], [one.context for one in members], rows)
        found = estimate(gather(rows, members[0].known, clusters), finalize, ranges, how)
        each = iter(zip(found.value.tolist(), found.low.tolist(), found.high.tolist()))
        for place, one in zip(places, members):
            estimates[place] = {output: Estimate(*map(known, next(each))) for output in one.context.outputs}
    for one, outputs in zip(sums, estimates):
        if one.scorer.spec.of_all and not one.known.all():
            finalize, ranges = join([one.scorer], [one.context], [one.all_rows])
            counted = np.ones_like(one.known)
            of_all = estimate(gather([one.all_rows], counted, clusters), finalize, ranges, how)
            for output, *ends in zip(one.context.outputs, *(each.tolist() for each in of_all[:3])):
                if output in one.scorer.spec.of_all:
                    outputs[output] = Estimate(*map(known, ends))
    return estimates


@without_collection()
def _per_image(
    ids: Sequence[str], said: _Captions, measured: Mapping[str, Measured], evidence: EvidenceRows
) -> tuple[ImageResult, ...]:
    tables: dict[str, tuple[tuple[str, ...], list[list[float | None]]]] = {}
    for name, m in measured.items():
        if m.scorer.spec.unit != "set":
            table = np.where(m.known[:, None], m.scorer.finalize(m.rows), np.nan)
            tables[name] = m.context.outputs, [[v if isfinite(v) else None for v in row] for row in table.tolist()]
    texts: list[list[str]] = [[] for _ in ids]
    for (caption, _, _), image in zip(said.said, said.image_of.tolist()):
        texts[image].append(caption)
    return tuple(
        ImageResult(
            id,
            texts[image][0],
            said.stated[image],
            {name: dict(zip(outputs, table[image])) for name, (outputs, table) in tables.items()},
            evidence[image],
            tuple(texts[image][1:]),
        )
        for image, id in enumerate(ids)
    )


def _chunks(image_of: NDArray[np.int64], start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of about `size` items each."""
    while start < end:
        stop = min(start + size, end)
        while stop < end and image_of[stop] == image_of[stop - 1]:
            stop += 1
        yield start, stop
        start = stop


class ScorerSums:
    """What a scorer has found so far.

    Attributes:
        scorer, context: what measures.
        known: bool [images], False where anything about the image is unknown.
        met: counts of unknown statuses.
        why: place of an image -> why nothing is known of it, where it is known.
    """

    def __init__(self, scorer: Scorer, context: Context, images: int) -> None:
        self.scorer = scorer
        self.context = context
        self.known = np.ones(images, dtype=bool)
        self.met: Counter[str] = Counter()
        self.why: dict[int, str] = {}
        self._sums: NDArray[np.float64] | None = None

    @property
    def all_rows(self) -> NDArray[np.float64]:
        """Float64 [images, k], as far as rows are there, also of what is unknown."""
        assert self._sums is not None
        return self._sums

    @property
    def rows(self) -> NDArray[np.float64]:
        """Float64 [images, k]; zero where unknown."""
        return np.where(self.known[:, None], self.all_rows, 0.0)

    def add(
        self, items: Sequence[Item], image_of: NDArray[np.int64], captions: _Captions, evidence: EvidenceRows
    ) -> None:
        """Measure a part of the captions; what was seen is written into `evidence` of their images."""
        name = self.scorer.spec.name
        stats = self.scorer.stats(items, self.context)
        rows, rows_known = stats.by_item(len(items))
        if self._sums is None:
            self._sums = np.zeros((len(self.known), rows.shape[1]))
        np.add.at(self._sums, image_of, rows)
        self.known[image_of[_unmeasured(stats, rows_known, self.scorer)]] = False
        several = len(stats.owner) != len(items) or len(np.unique(image_of)) != len(items)
        for image, status, found in zip(image_of[stats.owner].tolist(), stats.status, stats.evidence):
            if status not in SCORED:
                self.met[MISSING if captions.stated[image] == MISSING else str(status)] += 1
                if reason := reason_of(status):
                    self.why.setdefault(image, reason)
            held = evidence[image]
            if several:
                gathered = held.setdefault(name, {"rows": []})
                if gathered is not None:
                    gathered["rows"].append(found)
            else:
                held[name] = found

    def measured(self, ids: Sequence[str], estimates: Mapping[str, Estimate], how: str) -> Measured:
        """All of it, with the estimates that were made of it; `how` they were made ends the signature."""
        why = {ids[image]: reason for image, reason in sorted(self.why.items())}
        signature = f"{self.scorer.signature(self.context)}|{how}"
        met = dict(sorted(self.met.items()))
        return Measured(self.scorer, self.context, self.rows, self.known, met, estimates, signature, why)


def _unmeasured(stats: Stats, known: NDArray[np.bool_], scorer: Scorer) -> NDArray[np.bool_]:
    """Items that make their image unknown. One that has no row at all does too, unless rows are for whole images."""
    if "several captions" not in scorer.spec.needs:
        return ~known
    has_row = np.zeros(len(known), dtype=bool)
    has_row[stats.owner] = True
    return has_row & ~known
