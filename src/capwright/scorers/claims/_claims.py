"""What scorers that ask about claims share: whom they ask, what claims are held against, and what is unknown.

A claim is one short statement. A judge (`protocols.Claims`) splits texts into claims, says what evidence tells about
each, and which claim states which fact. Each kind of question is one call for a batch, and is asked once however often
it comes up. An answer that could not be had, or that does not fit the question, makes the caption unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from capwright.judges.protocols import VERDICTS, Claims, Evidence, Split, StatusWithReason, Verdict
from capwright.scorers._asking import ask_once, failure, open_port
from capwright.scorers.base import Context, Corpus, Item, ItemStats, Scorer, references_of
from capwright.scorers.options import JUDGE, NamedJudge, Seed
from capwright.text.digest import fingerprint
from capwright.types import NO_IMAGE, DataError, Sample, Status

#: What claims can be held against. "auto" is the image; for the lexical reader, which sees none, "facts" where samples
#: have them and else "references".
EvidenceName = Literal["auto", "image", "references", "facts"]
#: Where the facts come from that a caption should state. "auto" is "meta" where samples have `meta.facts`.
FactsName = Literal["auto", "meta", "references"]
ClaimsOption = Annotated[NamedJudge | Claims, Field(description=JUDGE.format("Claims"))]


@dataclass(frozen=True)
class ClaimContext(Context):
    """Whom to ask, against what, and which facts count.

    Attributes:
        claims: who is asked.
        evidence: one of `EvidenceName` but "auto".
        facts: one of `FactsName` but "auto".
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


@dataclass(eq=False)
class ClaimScorer(Scorer[Any]):
    """Base of the scorers that ask about claims. They implement `measure`; rows are of `columns`.

    Args:
        judge: a name or a mapping for `capwright.judges.load.load_judge`, or an object that implements
            `protocols.Claims`.
        evidence: one of `EvidenceName`. References and facts are joined to one text; of several images the first
            counts.
        facts: one of `FactsName`, of scorers that look at facts. `meta.facts` is a list of sentences, or of objects
            with a "sentence". Of the references the first is split, because several say the same in other words.
        seed: of everything that is asked.
    """

    context_type: ClassVar[type[Context]] = ClaimContext

    judge: ClaimsOption = "lexical"
    evidence: EvidenceName = "auto"
    seed: Seed = 0

    facts = "auto"
    #: Which of "evidence" and "facts" a sample must have to be measured.
    _needs: ClassVar[tuple[str, ...]] = ("evidence", "facts")

    def prepare(self, corpus: Corpus) -> ClaimContext:
        """Open the judge, and settle what claims are held against.

        Raises ScorerError when the judge cannot be asked about claims, DataError when no sample has the evidence
        or the facts that were asked for.
        """
        name = self.spec.name
        claims = open_port(self.judge, Claims, name, "be asked about claims")
        evidence: str = self.evidence if self.evidence != "auto" else _best_evidence(claims, corpus.samples)
        facts = self.facts
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
        content = [claims.signature, against, wanted, self.seed, *map(str, self._more(claims))]
        return ClaimContext(
            name, fingerprint(content), self.spec.outputs, claims, evidence, facts, against=against, wanted=wanted
        )

    def fields(self, context: Any) -> dict[str, object]:
        """`name|assistant:...|evidence:facts/118#3f2a1b7c|facts:meta/118#3f2a1b7c|...|seed:0|v:1`."""
        return dict(
            assistant=context.claims.signature,  # as it began: a signature lasts as long as its number
            evidence=context.against,
            facts=context.wanted if "facts" in self._needs else None,
            **dict(self._more(context.claims)),
            seed=self.seed,
        )

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
        found = dict(zip([*texts, *new], split_texts(context.claims, [*texts, *new], self.seed)))
        context.known.update((text, found[text]) for text in new if found[text].status == Status.OK)
        said = [found[text] for text in texts] if captions else [Split(())] * len(items)
        wanted = [context.known.get(s) or found[s] if isinstance(s, str) else Split(s) for s in sources]
        return said, wanted

    def _hold(
        self,
        items: Sequence[Item],
        claims: Sequence[Sequence[str]],
        context: ClaimContext,
        before: Sequence[Sequence[str]] = (),
        after: Sequence[str] | None = None,
    ) -> list[tuple[list[Verdict], ItemStats | None]]:
        """Verdicts on the claims of each item by the evidence of its sample, in one call.

        With them what is found of the item where they are not known: because of the first status that is not "ok" of
        earlier questions (`before`), of the verdicts and of other questions (`after`), or for want of evidence.
        """
        against = [evidence_of(item.sample, context.evidence) for item in items]
        asked = [(said if evidence is not None else (), evidence or "") for said, evidence in zip(claims, against)]
        held = verify_claims(context.claims, asked, self.seed)
        verified = [status for _, status in held]
        states = zip(*(each[: len(items)] for each in before), verified, after or repeat(Status.OK))
        return [
            (verdicts, unknown(context, evidence, *answers))
            for (verdicts, _), evidence, answers in zip(held, against, states)
        ]


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


def no_evidence(kind: str) -> ItemStats:
    """What is found about a caption whose sample has nothing to hold claims against."""
    return ItemStats(None, Status.MISSING_IMAGE if kind == "image" else Status.OK)


def unknown(context: ClaimContext, evidence: Evidence | None, *statuses: str) -> ItemStats | None:
    """What is found of an item when one of its answers is not known, or it has no evidence; else None."""
    bad = failed(*statuses)
    if bad is not None:
        return ItemStats(None, bad)
    return no_evidence(context.evidence) if evidence is None else None


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
