"""CapArena-Auto: how often is a caption preferred to those of fixed opponents? (arXiv 2503.12329)

What the paper says, what we read in its published code, and what we changed is in docs/methods/caparena.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from capwright.data.alignment import match_ids
from capwright.data.predictions import read_predictions
from capwright.judges.protocols import Judge
from capwright.scorers.base import SCORED, Context, Corpus, Item, Scorer, ScorerSpec, Stats, item_status, ratio
from capwright.scorers.options import Seed
from capwright.scorers.preference.pairwise import Decision, Pair, ShownOrder, coin, decide, open_judge, seen
from capwright.types import DataError, Sample, ScorerError, Status

_OUTPUTS = ("score", "ties", "first", "agreement", "words")
#: Columns of each opponent, and those that follow once.
_OF_OPPONENT = ("wins", "losses", "ties", "battles")
_SHARED = ("decided", "won_first", "pairs", "agreed", "words")

Captions = str | Path | Mapping[str, Any]
Opponents = Annotated[Mapping[str, Captions], Field(description="names with captions, such as {gpt: gpt.jsonl}")]


@dataclass(frozen=True)
class CapArenaContext(Context):
    """The opponents: their names in order, and for each image id what they said of it."""

    opponents: tuple[str, ...]
    said: Mapping[str, Mapping[str, str]]
    judge: Judge


@dataclass(eq=False)
class CapArena(Scorer[CapArenaContext]):
    """The scorer `caparena`.

    Outputs:
        score: mean over opponents of 100 * (wins - losses) / battles, from -100 to 100. The headline. With 200 battles
            an opponent this is the (wins - losses) / 2 of the paper.
        ties: share of battles without a winner.
        first: share of the judge's verdicts with a winner in which the caption shown first won; 0.5 is fair.
        agreement: share of battles shown in both orders in which the judge twice preferred the same caption, or none.
        words: mean number of words (cut at white space) of the captions; judges like long ones.
        vs:<opponent>: 100 * (wins - losses) / battles against one opponent.
    A battle is a caption against one opponent's caption of the same image. Shown in both orders it is won by the mean
    of the two verdicts: won once and lost once counts as half of each. A battle with a verdict that could not be had is
    unknown, and so is its image. Opponents without any battle are not in the mean (but see `own`). The reward `won` is
    (wins + ties / 2) / battles, from 0 to 1.

    Args:
        opponents: name -> captions: a file that `read_predictions` understands, or {id: caption}.
        judge: who judges: a name, a mapping with a name and options, or a `Judge`.
        match: "one": each image meets one opponent, drawn by its id among those that captioned it, so that it does not
            depend on the other images; "all": every opponent that captioned it.
        orders: "both", or "paper": one order, drawn by the id of the image and the name of the opponent.
        itself: the opponent that is the captioner being measured; it has no battles against itself.
        own: what `itself` is in the mean of `score`: "skip": nothing, the mean is over the other opponents; "zero": a
            0, as in the published script. `vs:` of it is NaN either way. Nothing without `itself`.
        reference, image: what the judge may look at, beside the two captions.
        seed: of the draws, and of the judge.
    """

    spec = ScorerSpec(
        name="caparena",
        outputs=_OUTPUTS,
        ranges=dict.fromkeys(("score", "vs"), (-100.0, 100.0))
        | dict.fromkeys(("ties", "first", "agreement"), (0.0, 1.0)),
        needs={"judge", "references"},
        unit="item|ctx",
        cost="calls",
        rewards=("won",),
        about="how often a judge prefers a caption to those of fixed opponents",
        source="arXiv 2503.12329",
    )
    context_type = CapArenaContext

    opponents: Opponents | None = None
    judge: Any = "lexical"
    match: Literal["one", "all"] = "one"
    orders: ShownOrder = "both"
    itself: str = ""
    own: Literal["skip", "zero"] = "skip"
    reference: bool = True
    image: bool = True
    seed: Seed = 0

    def __post_init__(self) -> None:
        if not self.reference and not self.image:
            raise ScorerError("caparena: the judge needs the reference or the image; set one of them to true")
        if self.itself and self.itself not in (self.opponents or {}):
            raise ScorerError(
                f"caparena.itself: {self.itself!r} is not an opponent ({', '.join(self.opponents or {})})"
            )
        if not self.reference:
            self.spec = replace(self.spec, needs={"judge", "image"})

    def prepare(self, corpus: Corpus) -> CapArenaContext:
        """Read the opponents' captions of these samples, and find the judge.

        Raises:
            DataError: no opponents, several captions of one image, an opponent that captioned none of the samples, or
                samples of which the judge could see nothing.
            ScorerError, ModelError: the judge cannot be had or cannot compare.
        """
        if not self.opponents:
            raise DataError("caparena: has no opponents; name caption files, opponents={name: file}")
        if not any(seen(sample, self.image, self.reference) for sample in corpus.samples):
            raise DataError("caparena: no sample has a reference or an image that the judge could look at")
        judge = open_judge(self.judge, "caparena")
        said: dict[str, dict[str, str]] = {}
        for name, source in self.opponents.items():
            for id, text in _captions(name, source, corpus.samples).items():
                said.setdefault(id, {})[name] = text
        shown = {sample.id: seen(sample, False, self.reference) for sample in corpus.samples if sample.id in said}
        told = {id: one[1] for id, one in shown.items() if one is not None}
        settings = [self.match, self.orders, self.itself, self.reference, self.image, self.seed]
        names = tuple(self.opponents)
        content = [said, told, names, settings, judge.signature]
        outputs = (*_OUTPUTS, *(f"vs:{name}" for name in names))
        return self.make_context(content, outputs, opponents=names, said=said, judge=judge)

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row a battle: (wins, losses, ties, battles) of each opponent, then verdicts with a winner, those won by
        the caption shown first, battles in both orders, those agreed upon, words.

        All pairs of the items go to the judge in one call. An item has no battle where its opponents have no caption
        of the image ("missing_image"), or where it is of `itself` (a known row of zeros). Evidence: {"opponent",
        "result": wins - losses in [-1, 1], "verdicts": [{"shown": place of the caption, "better", "reason"}, ...]}.
        """
        own = self.own_context(context)
        owner: list[int] = []
        status: list[str] = []
        battles: list[tuple[int, str, int, tuple[str, ...]]] = []
        pairs: list[Pair] = []
        for number, item in enumerate(items):
            state = item_status(item)
            shown = seen(item.sample, self.image, self.reference)
            opponents = self._opponents_of(item.sample.id, own)
            if state not in SCORED or shown is None or not opponents:
                owner.append(number)
                status.append(state if state not in SCORED else Status.MISSING_IMAGE)
                continue
            for name in opponents:
                owner.append(number)
                status.append(state)
                if name == self.itself:
                    continue
                theirs = own.said[item.sample.id][name]
                places = self._places(item.sample.id, name)
                battles.append((len(owner) - 1, name, number, places))
                for place in places:
                    texts = (item.caption, theirs) if place == "first" else (theirs, item.caption)
                    pairs.append(Pair(shown[0], *texts, shown[1]))
        table = np.zeros((len(owner), len(_OF_OPPONENT) * len(own.opponents) + len(_SHARED)))
        evidence: list[dict[str, Any] | None] = [None] * len(owner)
        decisions = iter(decide(own.judge, pairs, self.seed))
        for row, name, number, places in battles:
            verdicts = [next(decisions) for _ in places]
            unknown = next((v.status for v in verdicts if v.better is None), None)
            if unknown is not None:
                status[row] = unknown
            else:
                _count(table[row], own.opponents.index(name), places, verdicts, items[number].caption)
            evidence[row] = _evidence(name, places, verdicts)
        return Stats.of(table, status, evidence, owner)

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 4 K + 5] -> [..., 5 + K] in the order of `context.outputs`; 0/0 is NaN.

        With own="zero", `itself` adds a 0 to the mean where another opponent has battles; without any, the score is
        unknown as ever.
        """
        summed = np.asarray(summed, dtype=np.float64)
        wins, losses, ties, battles = _by_opponent(summed)
        decided, won_first, pairs, agreed, words = np.moveaxis(summed[..., -len(_SHARED) :], -1, 0)
        versus = 100 * ratio(wins - losses, battles)
        fought = battles > 0
        averaged = fought.sum(-1).astype(np.float64)
        if self.itself and self.own == "zero":
            averaged += averaged > 0
        score = ratio(np.where(fought, versus, 0.0).sum(-1), averaged)
        total = battles.sum(-1)
        shared = (score, ratio(ties.sum(-1), total), ratio(won_first, decided), ratio(agreed, pairs))
        return np.concatenate([np.stack([*shared, ratio(words, total)], axis=-1), versus], axis=-1)

    def shape(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The reward "won" [..., 1] of rows: (wins + ties / 2) / battles, in [0, 1]; NaN without a battle."""
        wins, _, ties, battles = (part.sum(-1) for part in _by_opponent(np.asarray(rows, dtype=np.float64)))
        return ratio(wins + ties / 2, battles)[..., None]

    def fields(self, context: CapArenaContext) -> dict[str, object]:
        """`caparena|judge:...|against:3#1f2e3d4c|match:one|orders:both|sees:ref+img|seed:0|v:1`."""
        return dict(
            judge=context.judge.signature.replace("|", ","),
            against=f"{len(context.opponents)}#{context.fingerprint[:8]}",
            match=self.match,
            orders=self.orders,
            sees="+".join((word for word, there in (("ref", self.reference), ("img", self.image)) if there)),
            itself=self.itself or None,
            own="zero" if self.itself and self.own == "zero" else None,
            seed=self.seed,
        )

    def _opponents_of(self, id: str, context: CapArenaContext) -> tuple[str, ...]:
        """Whom a caption of this image meets. The draw: each name has a number, the largest of those there wins."""
        there = tuple(name for name in context.opponents if name in context.said.get(id, {}))
        if self.match == "all" or not there:
            return there
        return (max(there, key=lambda name: (coin(self.seed, "opponent", id, name), name)),)

    def _places(self, id: str, opponent: str) -> tuple[str, ...]:
        """At which place the caption is shown, for each time that it is."""
        if self.orders == "both":
            return "first", "second"
        return (("first", "second")[coin(self.seed, "order", id, opponent) % 2],)


def _captions(name: str, source: Captions, samples: Sequence[Sample]) -> dict[str, str]:
    """What an opponent said of these samples; captions that do not exist (timeout, refusal) are not there."""
    rows, _ = match_ids(read_predictions(source), samples)
    found: dict[str, str] = {}
    for sample in samples:
        row = rows.get(sample.id)
        if isinstance(row, list):
            raise DataError(f'caparena: the opponent {name} has several captions of "{sample.id}"; keep one')
        if row is not None and row["status"] in SCORED:
            found[sample.id] = row["caption"]
    if not found:
        raise DataError(f"caparena: the opponent {name} captioned none of the samples; does it use their ids?")
    return found


def _count(row: NDArray[np.float64], k: int, places: Sequence[str], verdicts: Sequence[Decision], text: str) -> None:
    """Fill the row of one battle whose verdicts are all known."""
    share = 1 / len(verdicts)
    results = [_result(place, verdict) for place, verdict in zip(places, verdicts)]
    own = row[len(_OF_OPPONENT) * k :]
    own[0] = share * results.count(1)
    own[1] = share * results.count(-1)
    own[2] = share * results.count(0)
    own[3] = 1
    asked = [verdict.better for verdict in verdicts if verdict.asked]
    twice = len(asked) == 2
    row[-len(_SHARED) :] = (
        len(asked) - asked.count("tie"),
        asked.count("first"),
        twice,
        twice and results[0] == results[1],
        len(text.split()),
    )


def _result(place: str, verdict: Decision) -> int:
    """1 won, -1 lost, 0 tie, for the caption shown at `place`."""
    return 0 if verdict.better == "tie" else 1 if verdict.better == place else -1


def _evidence(name: str, places: Sequence[str], verdicts: Sequence[Decision]) -> dict[str, Any]:
    known = all(verdict.better is not None for verdict in verdicts)
    results = [_result(place, verdict) for place, verdict in zip(places, verdicts)]
    return {
        "opponent": name,
        "result": sum(results) / len(results) if known else None,
        "verdicts": [{"shown": p, "better": v.better, "reason": v.reason} for p, v in zip(places, verdicts)],
    }


def _by_opponent(summed: NDArray[np.float64]) -> NDArray[np.float64]:
    """[..., 4 K + 5] -> [4, ..., K]."""
    own = summed[..., : -len(_SHARED)]
    opponents = own.shape[-1] // len(_OF_OPPONENT)  # said, because it cannot be found out where there are no rows
    return np.moveaxis(own.reshape(*own.shape[:-1], opponents, len(_OF_OPPONENT)), -1, 0)
