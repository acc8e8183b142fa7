"""What scorers that ask about claims share: whom they ask, what claims are held against, and what is unknown.

A claim is one short statement. A judge (`protocols.Claims`) splits texts into claims, says what evidence tells about
each, and which claim states which fact. Each kind of question is one call for a batch, and is asked once however often
it comes up. An answer that could not be had, or that does not fit the question, makes the caption unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from capwright.judges.protocols import VERDICTS, Claims, Evidence, Split, StatusWithReason, Verdict
from capwright.scorers._asking import ask_once, check_options, failure, open_port
from capwright.scorers.base import SCORED, Context, Corpus, Item, Scorer, ScorerSpec, Stats, item_status, references_of
from capwright.text.digest import fingerprint
from capwright.types import NO_IMAGE, DataError, Sample, ScorerError, Status

#: What claims can be held against. "auto" is the image; for the lexical reader, which sees none, "facts" where samples
#: have them and else "references".
EVIDENCE = ("auto", "image", "references", "facts")
#: Where the facts come from that a caption should state. "auto" is "meta" where samples have `meta.facts`.
FACTS = ("auto", "meta", "references")

ClaimsOption = str | Mapping[str, Any] | Claims


class ClaimFinding(NamedTuple):
    """What was found about one caption: its row, or None with the status that says why it is unknown.

    None with the status "ok" says that there is nothing to compare with (a sample without references).
    """

    row: tuple[float, ...] | None
    status: str = Status.OK
    evidence: dict[str, Any] | None = None


@dataclass(frozen=True)
class ClaimContext(Context):
    """Whom to ask, against what, and which facts count.

    Attributes:
        claims: who is asked.
        evidence: one of `EVIDENCE` but "auto".
        facts: one of `FACTS` but "auto".
        against: evidence as signatures have it: "facts/118#3f2a1b7c", how many samples have some and a digest of what
            it says; "image" alone, because images are not read for it.
        wanted: facts in the same way, "meta/118#3f2a1b7c".
        known: claims of references, so that each is split once; only answers are kept, failures are asked again.
    """

    claims: Claims
    evidence: str
    facts: str
    against: str = field(default="", kw_only=True)
    wanted: str = field(default="", kw_only=True)
    known: dict[str, Split] = field(default_factory=dict, compare=False, repr=False, kw_only=True)


class ClaimScorer(Scorer[ClaimContext]):
    """Base of the scorers that ask about claims. They implement `_measure`, `_width` and `finalize`.

    Args:
        spec: what the scorer is.
        judge: a name or a mapping for `capwright.judges.load.load_judge`, or an object that implements
            `protocols.Claims`.
        evidence: one of `EVIDENCE`. References and facts are joined to one text; of several images the first counts.
        facts: one of `FACTS`. `meta.facts` is a list of sentences, or of objects with a "sentence". Of the references
            the first is split, because several say the same thing in other words.
        seed: of everything that is asked.
    """

    context_type = ClaimContext

    #: Columns of a row.
    _width: int
    #: Which of "evidence" and "facts" a sample must have to be measured.
    _needs: tuple[str, ...] = ("evidence", "facts")

    def __init__(self, spec: ScorerSpec, judge: ClaimsOption, evidence: str, facts: str, seed: int) -> None:
        check_options(spec.name, Claims, judge, seed)
        for option, value, choices in (("evidence", evidence, EVIDENCE), ("facts", facts, FACTS)):
            if value not in choices:
                raise ScorerError(f"{spec.name}: {option} must be one of {', '.join(choices)}, not {value!r}")
        self.spec = spec
        self._judge = judge
        self._evidence = evidence
        self._facts = facts
        self._seed = seed

    def prepare(self, corpus: Corpus) -> ClaimContext:
        """Open the judge, and settle what claims are held against.

        Raises ScorerError when the judge cannot be asked about claims, DataError when no sample has the evidence
        or the facts that were asked for.
        """
        name = self.spec.name
        claims = open_port(self._judge, Claims, name, "be asked about claims")
        evidence = self._evidence if self._evidence != "auto" else _best_evidence(claims, corpus.samples)
        facts = self._facts
        if facts == "auto":
            facts = "meta" if any(facts_of(sample) for sample in corpus.samples) else "references"
        if "evidence" in self._needs and not any(evidence_of(sample, evidence) for sample in corpus.samples):
            raise DataError(f"{name}: no sample has {_WHERE[evidence]} to hold claims against; choose another evidence")
        if "facts" in self._needs and not any(map(facts_of if facts == "meta" else references_of, corpus.samples)):
            raise DataError(f"{name}: no sample has facts that a caption should state; add references or meta.facts")
        against, wanted = evidence, facts
        if "evidence" in self._needs and evidence != "image":
            against = _named(evidence, {sample.id: evidence_of(sample, evidence) for sample in corpus.samples})
        if "facts" in self._needs:
            wanted = _named(facts, {sample.id: _fact_source(sample, facts) for sample in corpus.samples})
        return ClaimContext(
            scorer=name,
            fingerprint=fingerprint([claims.signature, against, wanted, self._seed, *map(str, self._more(claims))]),
            outputs=self.spec.outputs,
            claims=claims,
            evidence=evidence,
            facts=facts,
            against=against,
            wanted=wanted,
        )

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row an item; see the class for its columns. Evidence: the claims with what was found about each."""
        context = self.own(context)
        rows = np.zeros((len(items), self._width))
        status = [item_status(item) for item in items]
        evidence: list[dict[str, Any] | None] = [None] * len(items)
        live = [i for i, state in enumerate(status) if state in SCORED]
        for i, found in zip(live, self._measure([items[i] for i in live], context)):
            evidence[i] = found.evidence
            if found.row is not None:
                rows[i] = found.row
            elif found.status not in SCORED:
                status[i] = found.status
        return Stats(rows, np.arange(len(items)), tuple(status), tuple(evidence))

    def fields(self, context: Context) -> dict[str, object]:
        """`name|assistant:...|evidence:facts/118#3f2a1b7c|facts:meta/118#3f2a1b7c|...|seed:0|v:1`."""
        own: ClaimContext = self.own(context)
        return dict(
            assistant=own.claims.signature,  # as it began: a signature lasts as long as its number
            evidence=own.against,
            facts=own.wanted if "facts" in self._needs else None,
            **dict(self._more(own.claims)),
            seed=self._seed,
        )

    def _measure(self, items: Sequence[Item], context: Any) -> list[ClaimFinding]:
        """One Finding an item. All items have a known status; captions may be blank."""
        raise ScorerError(f"{self.spec.name}: measures nothing of its own")

    def _settled(
        self, context: ClaimContext, against: Sequence[Evidence | None], statuses: Iterable[Sequence[str]],
        find: Callable[[int], ClaimFinding],
    ) -> list[ClaimFinding]:  # fmt: skip
        """What was found about each item: `find(i)` where all of its answers are known and it has evidence."""
        found = []
        for i, (evidence, answers) in enumerate(zip(against, statuses)):
            bad = failed(*answers)
            if bad is not None:
                found.append(ClaimFinding(None, bad))
            elif evidence is None:
                found.append(no_evidence(context.evidence))
            else:
                found.append(find(i))
        return found

    def _more(self, claims: Claims) -> tuple[tuple[str, object], ...]:
        """Whatever else changes numbers when these claims are asked, for the signature."""
        return ()

    def _split(
        self, items: Sequence[Item], context: ClaimContext, captions: bool = True, facts: bool = True
    ) -> tuple[list[Split], list[Split]]:
        """Claims of captions, and facts of samples (each in the order of items), in one call; empty where not asked."""
        texts = [item.caption for item in items] if captions else []
        sources = [_fact_source(item.sample, context.facts) if facts else () for item in items]
        new = [s for s in sources if isinstance(s, str) and s not in context.known]
        found = dict(zip([*texts, *new], split_texts(context.claims, [*texts, *new], self._seed)))
        context.known.update((text, found[text]) for text in new if found[text].status == Status.OK)
        said = [found[text] for text in texts] if captions else [Split(())] * len(items)
        wanted = [context.known.get(s) or found[s] if isinstance(s, str) else Split(s) for s in sources]
        return said, wanted


def is_lexical(claims: Claims) -> bool:
    """Whether this is the reader of the built-in world, which answers the same way each time and sees no images."""
    return claims.signature.startswith("lexical")


# Evidence and facts -------------------------------------------------------------------------------------------------

_WHERE = {"image": "an image", "references": "references", "facts": "meta.facts"}


def evidence_of(sample: Sample, kind: str) -> Evidence | None:
    """What claims about a sample are held against; None where it has none."""
    if kind == "image":
        return sample.image if sample.image != NO_IMAGE else None
    return "\n".join(references_of(sample)) or None if kind == "references" else " ".join(facts_of(sample)) or None


def no_evidence(kind: str) -> ClaimFinding:
    """What is found about a caption whose sample has nothing to hold claims against."""
    return ClaimFinding(None, Status.MISSING_IMAGE if kind == "image" else Status.OK)


def facts_of(sample: Sample) -> tuple[str, ...]:
    """The sentences of `meta.facts`, each once. Raises DataError for anything but texts and objects with "sentence"."""
    given = sample.meta.get("facts", ())
    if not isinstance(given, (list, tuple)):
        raise DataError(f"sample {sample.id!r}: meta.facts must be a list, not {given!r}")
    found: dict[str, None] = {}
    for i, fact in enumerate(given):
        text = fact.get("sentence") if isinstance(fact, Mapping) else fact
        if not isinstance(text, str):
            raise DataError(
                f"sample {sample.id!r}: meta.facts[{i}] must be a sentence or an object with one under "
                f'"sentence", not {fact!r}'
            )
        if text.strip():
            found[text] = None
    return tuple(found)


def _named(kind: str, told: Mapping[str, object]) -> str:
    """ "facts/118#3f2a1b7c": a kind, how many samples have something, and a digest of it all, whatever their order."""
    had = {id: one for id, one in told.items() if one}
    return f"{kind}/{len(had)}#{fingerprint(had)[:8]}"


def _fact_source(sample: Sample, kind: str) -> str | tuple[str, ...]:
    """Facts as they are given, or the text to split."""
    if kind == "meta":
        return facts_of(sample)
    references = references_of(sample)
    return references[0] if references else ()


def _best_evidence(claims: Claims, samples: Sequence[Sample]) -> str:
    order = ("facts", "references") if is_lexical(claims) else ("image", "references")
    return next((kind for kind in order if any(evidence_of(sample, kind) for sample in samples)), order[0])


# Questions, each asked once -----------------------------------------------------------------------------------------


def split_texts(claims: Claims, texts: Sequence[str], seed: int) -> list[Split]:
    """The claims of each text. A blank text has none; a claim that a text makes twice counts once."""
    answers = ask_once(claims.split, [text if text.strip() else None for text in texts], seed)
    return [_once(split) if text.strip() else Split(()) for text, split in zip(texts, answers)]


def verify_claims(
    claims: Claims, asked: Sequence[tuple[Sequence[str], Evidence]], seed: int
) -> list[tuple[list[Verdict], str]]:
    """For each (claims, evidence) a verdict a claim, and "ok" or why they are unknown as a whole.

    They are unknown when a single one is: a judge that leaves out claims has not answered. No claims are no call.
    """
    answers = ask_once(claims.verify, [(tuple(said), evidence) if said else None for said, evidence in asked], seed)
    return [
        (list(verdicts), _verdict_status(said, verdicts)) if said else ([], Status.OK)
        for (said, _), verdicts in zip(asked, answers)
    ]


def match_claims(
    claims: Claims, asked: Sequence[tuple[Sequence[str], Sequence[str]]], seed: int
) -> list[tuple[list[int | None], str]]:
    """For each (claims, facts) which fact each claim states, and "ok" or why that is unknown."""
    keys = [(tuple(said), tuple(facts)) if said and facts else None for said, facts in asked]
    answers = ask_once(claims.match, keys, seed)
    return [
        (list(places), _match_status(key, places)) if key else ([None] * len(said), Status.OK)
        for key, places, (said, _) in zip(keys, answers, asked)
    ]


def failed(*statuses: str) -> str | None:
    """The first status that is not "ok"; None when all are."""
    return next((status for status in statuses if status != Status.OK), None)


def shown(claims: Sequence[str], verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Claims with their verdicts, as evidence of a score."""
    return [{"claim": claim, "verdict": verdict.verdict} for claim, verdict in zip(claims, verdicts)]


def _once(split: Split) -> Split:
    """A split without blank and repeated claims."""
    if split.status != Status.OK:
        return Split((), status=failure(split.status))
    if split.descriptive and len(split.descriptive) != len(split.claims):
        return Split((), status=Status.UNPARSEABLE)
    places: dict[str, int] = {}
    for i, claim in enumerate(split.claims):
        plain = " ".join(claim.casefold().split()).rstrip(" .")
        if plain:
            places.setdefault(plain, i)
    kept = list(places.values())
    flags = tuple(bool(split.descriptive[i]) for i in kept) if split.descriptive else ()
    return Split(tuple(split.claims[i] for i in kept), flags)


def _verdict_status(claims: Sequence[str], verdicts: Sequence[Verdict]) -> str:
    bad = failed(*(verdict.status for verdict in verdicts))
    if bad is not None:
        return failure(bad)
    fits = len(verdicts) == len(claims) and all(verdict.verdict in VERDICTS for verdict in verdicts)
    return Status.OK if fits else Status.UNPARSEABLE


def _match_status(asked: tuple[Sequence[str], Sequence[str]], places: Sequence[int | None]) -> str:
    said, facts = asked
    if not places:
        return StatusWithReason(
            Status.JUDGE_ERROR, "claims were not matched with facts, or not in a way that could be read"
        )
    fits = len(places) == len(said) and all(place is None or 0 <= place < len(facts) for place in places)
    return Status.OK if fits else Status.UNPARSEABLE
