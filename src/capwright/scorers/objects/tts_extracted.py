"""TTS for captions in free words: a language model lists the names in a caption, and whether the others are there.

TTS itself (tts.py) finds names by looking them up, and only names of its vocabulary can be wrong. Here every thing that
a caption names counts. Our own, after the idea of TTS (arXiv 2604.01941): docs/methods/claim-scores.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capwright.judges.protocols import Claims
from capwright.scorers.base import Corpus, Item, ItemStats, ScorerSpec, ratio
from capwright.scorers.claims._claims import ClaimContext, ClaimScorer
from capwright.scorers.objects._open_vocabulary import check_writer, claim_of, judged, named_things
from capwright.scorers.objects.tts import term_table
from capwright.scorers.options import Penalty
from capwright.text.digest import fingerprint
from capwright.text.term_matching import TermMatcher
from capwright.types import Sample

_OUTPUTS = ("micro", "precision", "f1")


@dataclass(frozen=True)
class ExtractedContext(ClaimContext):
    """The names of the terms of the corpus, with aliases and plurals; and for signatures which samples have which.

    `terms` is "240#3f2a1b7c": how many professional terms samples have, and a digest of them and of their names.
    """

    matcher: TermMatcher
    terms: str


@dataclass(eq=False)
class ExtractedTTS(ClaimScorer):
    """The scorer `tts-extracted`.

    A hit is a professional term of the sample that the caption names: by its name, an alias or a plural, alone or with
    words before it ("a wooden geoboard"). Wrong is a thing that the caption names and that the evidence does not have.
    Generic words for what is there ("toy") are neither. Outputs, in percent over a corpus:
        micro: hits / professional terms of the samples. The headline.
        precision: hits / (hits + wrong).
        f1: harmonic mean of the two.
    A caption with one answer that could not be had is unknown. Rows are (hits, terms, wrong).

    Args:
        judge, evidence, seed: see `ClaimScorer`. It must be a language model; without one the scorer is not
            installed.
        penalty: in the reward "penalized", hits / (terms + penalty * wrong): the price of a wrong name.
    """

    spec = ScorerSpec(
        name="tts-extracted",
        outputs=_OUTPUTS,
        ranges=dict.fromkeys(_OUTPUTS, (0.0, 100.0)),
        needs={"judge", "terms"},
        unit="item|ctx",
        cost="calls",
        rewards=("penalized",),
        about="things called by their professional names, in captions whose names a language model lists",
        source="arXiv 2604.01941",
        page="claim-scores",
    )
    columns = ("hits", "terms", "wrong")
    _needs = ("evidence",)

    penalty: Penalty = 1.0

    def prepare(self, corpus: Corpus) -> ExtractedContext:
        """See `ClaimScorer.prepare`. Raises NotInstalledError without a language model, DataError without terms."""
        made = super().prepare(corpus)
        check_writer(made.claims, self.spec.name, "tts, which looks names up")
        matcher = term_table(corpus, "tts-extracted")
        had = {sample.id: sorted(_professional(sample, matcher)) for sample in corpus.samples}
        digest = fingerprint([matcher.fingerprint, {id: names for id, names in had.items() if names}])
        terms = f"{sum(map(len, had.values()))}#{digest[:8]}"
        return made.extend(ExtractedContext, digest, matcher=matcher, terms=terms)

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 3] -> [..., 3] percentages in the order of the outputs; 0/0 is NaN."""
        hits, terms, wrong = np.moveaxis(np.asarray(summed, dtype=np.float64), -1, 0)
        f1 = np.where(terms > 0, ratio(2 * hits, hits + wrong + terms), np.nan)
        return 100 * np.stack([ratio(hits, terms), ratio(hits, hits + wrong), f1], axis=-1)

    def fields(self, context: ExtractedContext) -> dict[str, object]:
        """As of all claim scorers, with `|terms:240#3f2a1b7c` before the rule they are matched by."""
        own = super().fields(context)
        match, seed = own.pop("match"), own.pop("seed")
        return own | dict(terms=context.terms, match=match, seed=seed)

    @property
    def shaping(self) -> dict[str, object]:
        """What changes the reward and no score; see `RewardView.signature`."""
        return {"penalty": self.penalty}

    def shape(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The reward "penalized" [..., 1] of rows [..., 3], in [0, 1]; NaN where a sample has no terms."""
        hits, terms, wrong = np.moveaxis(np.asarray(rows, dtype=np.float64), -1, 0)
        return np.where(terms > 0, ratio(hits, terms + self.penalty * wrong), np.nan)[..., None]

    def _more(self, claims: Claims) -> tuple[tuple[str, object], ...]:
        return (("match", "longest,plural"),)

    def measure(self, items: Sequence[Item], context: ExtractedContext) -> Iterator[ItemStats]:
        """Rows of `columns`. Evidence: names that are "right", "wrong", "missed", and "other" things that are there."""
        named = named_things(context.claims, [item.caption for item in items], self.seed, self.spec.name)
        wanted = [_professional(item.sample, context.matcher) for item in items]
        hits = [
            {thing: _hits(thing, terms, context.matcher) for thing in things}
            for (things, _), terms in zip(named, wanted)
        ]
        others = [[thing for thing, found in of.items() if not found] for of in hits]
        listed = [status for _, status in named]
        held = self._hold(items, [list(map(claim_of, rest)) for rest in others], context, [listed])
        for terms, of, rest, (verdicts, unknown) in zip(wanted, hits, others, held):
            said = dict(zip(rest, (judged(verdict, context.evidence) for verdict in verdicts)))
            right = set().union(*of.values())
            wrong = sorted(thing for thing, word in said.items() if word == "absent")
            missed, other = sorted(terms - right), sorted(set(said) - set(wrong))
            evidence = {"right": sorted(right), "wrong": wrong, "missed": missed, "other": other}
            yield unknown or ItemStats((len(right), len(terms), len(wrong)), evidence=evidence)


def _professional(sample: Sample, matcher: TermMatcher) -> set[str]:
    """The professional terms of a sample, by the names that the table has for them."""
    entries = [matcher.lookup(term.name) for term in sample.terms if term.level == "professional"]
    return {matcher.entries[entry].name for entry in entries if entry is not None}


def _hits(thing: str, terms: set[str], matcher: TermMatcher) -> set[str]:
    return {matcher.entries[match.entry].name for match in matcher.find(thing)} & terms
