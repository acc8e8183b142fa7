"""Teaching Toy Recognition Score (TTS): does a caption call things by their professional names?

The score is named in arXiv 2604.01941 ("explicitly measures professional object naming accuracy"); its formula,
extraction and matching rule are not public. What is computed here is our reading, stated in docs/methods/tts.md. It
works for any vocabulary, not only for toys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import Context, Corpus, Item, ItemStats, Scorer, ScorerSpec, ratio, write_signature
from capwright.scorers.options import Penalty
from capwright.text.term_matching import Match, TermMatcher
from capwright.types import LEVELS, DataError, Sample, ScorerError

_OUTPUTS = ("micro", "macro", "weighted", "precision", "f1")
#: Columns of a row before those of the tiers. `credit`/`weight` are of the level-weighted score, `share` is hits/terms.
_COLUMNS = ("hits", "terms", "wrong", "share", "images", "credit", "weight")
_TIER_ORDER = ("frequent", "common", "occasional", "rare", "never")


class Span(NamedTuple):
    """A name in a caption: characters `start` to `end`, the term it names, and how it counts.

    status: "right" (annotated in this image), "wrong" (a professional name of something that is not annotated),
    "generic" (the word for its kind), "vague" (a word for nearly anything).
    """

    start: int
    end: int
    term: str
    status: str


@dataclass(frozen=True)
class TTSContext(Context):
    """The term table of a vocabulary, and the tiers in it."""

    matcher: TermMatcher
    tiers: tuple[str, ...]


@dataclass(eq=False)
class TTS(Scorer[TTSContext]):
    """The scorer `tts`.

    Outputs, all in percent over a corpus:
        micro: recall of professional names, 100 * sum of hits / sum of annotated professional terms. The headline.
        macro: mean over images that have such terms of their share of hits.
        weighted: recall with partial credit. A term named exactly earns the weight of the level it is annotated at,
            one of which only the kind is named at most the weight of "generic", one that is only hinted at by a vague
            word at most the weight of "vague"; divided by the sum of the weights of the annotated levels.
        precision: 100 * hits / (hits + wrong names).
        f1: harmonic mean of micro and precision.
        tier:<name>: micro over the terms of one tier.
    Each annotated term and each named term counts once a caption, however often it is said.

    Args:
        levels: weights of "professional", "generic" and "vague" names in `weighted`, in [0, 1], not increasing.
        penalty: in the reward hits / (terms + penalty * wrong), the price of a wrong name. At 1,
            naming both of two look-alikes earns no more than guessing one of them; 0 gives plain recall.
    """

    spec = ScorerSpec(
        name="tts",
        outputs=_OUTPUTS,
        ranges=dict.fromkeys((*_OUTPUTS, "tier"), (0.0, 100.0)),
        needs={"terms"},
        unit="item|ctx",
        rewards=("penalized",),
        about="things called by their professional names",
        source="arXiv 2604.01941",
        titles={"tts": "TTS", "tts.micro": "TTS micro"},
    )
    context_type = TTSContext

    levels: Mapping[str, float] | Sequence[float] = (1.0, 0.5, 0.25)
    penalty: Penalty = 1.0

    def __post_init__(self) -> None:
        self._weights = _read_weights(self.levels)

    def prepare(self, corpus: Corpus) -> TTSContext:
        """Build the term table from the vocabulary and from the terms of samples that it does not have.

        Raises DataError when one name belongs to two terms, or when there is no term at all.
        """
        matcher = term_table(corpus, "tts")
        tiers = tuple(dict.fromkeys(e.tier for e in matcher.entries if e.tier and e.level == "professional"))
        tiers = (*(t for t in _TIER_ORDER if t in tiers), *(t for t in tiers if t not in _TIER_ORDER))
        content = [matcher.fingerprint, list(self._weights.values()), list(tiers)]
        outputs = (*_OUTPUTS, *(f"tier:{tier}" for tier in tiers))
        return self.make_context(content, outputs, matcher=matcher, tiers=tiers)

    def width(self, context: TTSContext) -> int:
        """Hits, terms, wrong, share, images, credit, weight, then (hits, terms) of each tier."""
        return len(_COLUMNS) + 2 * len(context.tiers)

    def measure(self, items: Sequence[Item], context: TTSContext) -> Iterator[ItemStats]:
        """See `width` for rows.

        Evidence: {"spans": [Span, ...], "missed": [names of professional terms not said], "hits", "terms", "wrong"}.
        Raises DataError when a sample is annotated with a term that the context does not know.
        """
        annotations: dict[int, dict[int, str]] = {}
        for item in items:
            if id(item.sample) not in annotations:
                annotations[id(item.sample)] = _read_annotation(item.sample, context.matcher)
            yield self._measure(annotations[id(item.sample)], context.matcher.find(item.caption), context)

    def spans(self, text: str, sample: Sample, context: Context) -> list[Span]:
        """The names in a text, in order, judged by what the sample is annotated with."""
        own = self.own_context(context)
        annotated, entries = _read_annotation(sample, own.matcher), own.matcher.entries
        return [
            Span(m.start, m.end, entries[m.entry].name, _judge(m.entry, annotated, own)) for m in own.matcher.find(text)
        ]

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 7 + 2T] -> [..., 5 + T] percentages in the order of `context.outputs`; 0/0 is NaN."""
        summed = np.asarray(summed, dtype=np.float64)
        hits, terms, wrong, share, images, credit, weight = np.moveaxis(summed[..., : len(_COLUMNS)], -1, 0)
        columns = [
            ratio(hits, terms),
            ratio(share, images),
            ratio(credit, weight),
            ratio(hits, hits + wrong),
            np.where(terms > 0, ratio(2 * hits, hits + wrong + terms), np.nan),
        ]
        tiers = summed[..., len(_COLUMNS) :]
        columns += [ratio(tiers[..., i], tiers[..., i + 1]) for i in range(0, tiers.shape[-1], 2)]
        return 100 * np.stack(columns, axis=-1)

    @property
    def shaping(self) -> dict[str, object]:
        """What changes the reward and no score; see `RewardView.signature`."""
        return {"penalty": self.penalty}

    def shape(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The reward "penalized" [..., 1] of rows [..., k]: hits / (terms + penalty * wrong), in [0, 1].

        Zero if and only if nothing is named right; one if and only if all is named and nothing wrong (for a penalty
        above 0); NaN where an image has no professional terms, which makes it unknown, not failed.
        """
        hits, terms, wrong = rows[..., 0], rows[..., 1], rows[..., 2]
        reward = np.where(terms > 0, ratio(hits, terms + self.penalty * wrong), np.nan)
        return reward[..., None]

    def signature(self, context: Context) -> str:
        """`tts|v:1|terms:45|vocab:3f2a0c1d|levels:1/.5/.25|match:longest,plural`. `terms` counts professional ones."""
        own = self.own_context(context)
        return write_signature(
            "tts",
            v=self.spec.version,
            terms=sum(entry.level == "professional" for entry in own.matcher.entries),
            vocab=own.matcher.fingerprint[:8],
            levels=tuple(self._weights.values()),
            match="longest,plural",
        )

    def _measure(self, annotated: dict[int, str], matches: list[Match], context: TTSContext) -> ItemStats:
        """The row of one caption, and its evidence."""
        entries = context.matcher.entries
        row = np.zeros(self.width(context))
        said = {match.entry for match in matches}
        vague = any(entries[entry].level == "vague" for entry in said)
        hits = terms = 0
        credit = weight = 0.0
        missed: list[str] = []
        for entry, level in annotated.items():
            full = self._weights[level]
            weight += full
            if entry in said:
                credit += full
            elif entries[entry].category in said:
                credit += min(full, self._weights["generic"])
            elif vague:
                credit += min(full, self._weights["vague"])
            if level != "professional":
                continue
            terms += 1
            if entry in said:
                hits += 1
            else:
                missed.append(entries[entry].name)
            if entries[entry].tier in context.tiers:
                column = len(_COLUMNS) + 2 * context.tiers.index(entries[entry].tier)
                row[column] += entry in said
                row[column + 1] += 1
        wrong = sum(entries[entry].level == "professional" and entry not in annotated for entry in said)
        row[: len(_COLUMNS)] = (hits, terms, wrong, hits / terms if terms else 0, terms > 0, credit, weight)
        spans = [Span(m.start, m.end, entries[m.entry].name, _judge(m.entry, annotated, context)) for m in matches]
        evidence = {"spans": spans, "missed": missed, "hits": hits, "terms": terms, "wrong": wrong}
        return ItemStats(row, evidence=evidence)


def _judge(entry: int, annotated: Mapping[int, str], context: TTSContext) -> str:
    if entry in annotated:
        return "right"
    level = context.matcher.entries[entry].level
    return "wrong" if level == "professional" else level


def _read_annotation(sample: Sample, matcher: TermMatcher) -> dict[int, str]:
    """Entry -> level for the terms of a sample; a term given twice keeps its most precise level."""
    annotated: dict[int, str] = {}
    for term in sample.terms:
        entry = matcher.lookup(term.name)
        if entry is None:
            raise DataError(
                f"sample {sample.id!r}: the term {term.name!r} is not in the vocabulary that tts was prepared with; "
                "add it to vocabulary.yaml"
            )
        if term.level not in LEVELS:
            raise DataError(
                f"sample {sample.id!r}: the term {term.name!r} has the level {term.level!r}, "
                f"which is not one of {', '.join(LEVELS)}"
            )
        held = annotated.get(entry)
        if held is None or LEVELS.index(term.level) < LEVELS.index(held):
            annotated[entry] = term.level
    return annotated


def term_table(corpus: Corpus, scorer: str) -> TermMatcher:
    """The terms of the vocabulary, and those of samples that it does not have. Raises DataError without any."""
    known = getattr(corpus.samples, "vocabulary", None) is corpus.vocabulary  # terms of a Dataset are in its own
    terms = (term for sample in (() if known else corpus.samples) for term in sample.terms)
    extra = {term.name: term for term in terms if term.name not in corpus.vocabulary}
    matcher = TermMatcher(corpus.vocabulary, (extra[name] for name in sorted(extra)))
    if not len(matcher):
        raise DataError(
            f"{scorer}: neither the vocabulary nor any sample has a term; add vocabulary.yaml or terms to samples.jsonl"
        )
    return matcher


def _read_weights(levels: Mapping[str, float] | Sequence[float]) -> dict[str, float]:
    if isinstance(levels, Mapping):
        unknown = sorted(set(levels) - set(LEVELS))
        if unknown:
            raise ScorerError(f"tts.levels: must be weights of {', '.join(LEVELS)}, not of {unknown[0]!r}")
        weights = dict(zip(LEVELS, (1.0, 0.5, 0.25))) | dict(levels)
    elif len(levels) != len(LEVELS):
        raise ScorerError(f"tts.levels: must be {len(LEVELS)} weights, for {', '.join(LEVELS)}, not {len(levels)}")
    else:
        weights = dict(zip(LEVELS, levels))
    values = list(weights.values())
    if not all(0 <= value <= 1 for value in values) or values != sorted(values, reverse=True) or values[0] == 0:
        raise ScorerError(f"tts.levels: must be weights in [0, 1] from most to least precise, not {values}")
    return {level: float(weight) for level, weight in weights.items()}
