"""The reader of the built-in kindergarten behind the ports: whom to ask when no language model is at hand.

It stands in for a server in tests, examples and embedded training. It is exact about the closed language of
`grammar.yaml` and knows nothing else. In the ports a claim is a text; here that text is the sentence of a fact, such as
"The geoboard is red.". Any other claim is neutral to every evidence: it is neither told nor denied.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from importlib import resources
from pathlib import Path

from capwright.judges.protocols import Answer, Evidence, Grade, Preference, Split, Verdict
from capwright.scenes.language import NUMBERS, Fact, fact, grammar
from capwright.scenes.lexicon import VAGUE, categories, professional_names
from capwright.scenes.reading import LexicalReader
from capwright.scenes.world import ACTIVITIES, AREAS, COLORS
from capwright.types import ModelError, Question, Status

#: Changes when the same words are read in another way.
VERSION = 1

_CANNOT_SEE = (
    "the lexical judge reads text and cannot see {path}; give it references or facts as evidence, or name a "
    'server with a model that sees images, such as "http://localhost:8000/v1"'
)


class LexicalJudge:
    """`LexicalReader` as a `protocols.Reader`, `protocols.Claims` and, with limits, `protocols.Judge`. Stateless
    and exact.

    `seed` changes nothing anywhere. Evidence must be text: a path raises ModelError. It is no `protocols.Writer`.
    """

    def __init__(self) -> None:
        self._reader = LexicalReader()

    @property
    def signature(self) -> str:
        """Who reads, and a digest of the words it knows: "lexical:1:5f0c9a1e"."""
        return f"lexical:{VERSION}:{_digest()}"

    def answer(self, asked: Sequence[tuple[Evidence, Question]], *, seed: int = 0) -> list[Answer]:
        """The option that each evidence tells; abstains where it tells none, or several.

        A question without options cannot be answered by looking words up: its status is "judge_error".
        """
        texts = [_text(evidence) for evidence, _ in asked]
        return [self._answer(text, question) for text, (_, question) in zip(texts, asked)]

    def split(self, texts: Sequence[str], *, seed: int = 0) -> list[Split]:
        """The facts that each text states, as sentences. All of them describe: the language has no inferences."""
        found = []
        for text in texts:
            claims = tuple(dict.fromkeys(claim.sentence for claim in self._reader.split(text)))
            found.append(Split(claims, (True,) * len(claims)))
        return found

    def verify(self, asked: Sequence[tuple[Sequence[str], Evidence]], *, seed: int = 0) -> list[list[Verdict]]:
        """What each evidence says about each claim.

        Everything that the language can say is visible, so its claims are pointable and descriptive. Of a claim in
        other words that is unknown: both are None, and the verdict is "neutral".
        """
        return [self._verify(claims, _text(evidence)) for claims, evidence in asked]

    def match(self, asked: Sequence[tuple[Sequence[str], Sequence[str]]], *, seed: int = 0) -> list[list[int | None]]:
        """The place of the first fact that says the same: same kind, subject and value, or the same words."""
        matched = []
        for claims, facts in asked:
            places: dict[object, int] = {}
            for i, known in enumerate(facts):
                places.setdefault(_meaning(known), i)
            matched.append([places.get(_meaning(claim)) for claim in claims])
        return matched

    def compare(self, asked: Sequence[tuple[Evidence | None, str, str, str]], *, seed: int = 0) -> list[Preference]:
        """The caption that tells more of the reference: facts of the reference told, less claims it contradicts.

        A stand-in for a judge's taste: style and length count for nothing, and equal sums are a tie. The image is
        not looked at. A reference that states no fact decides nothing: the status is "judge_error".
        """
        return [self._compare(first, second, reference) for _, first, second, reference in asked]

    def grade(self, axes: Sequence[str], texts: Sequence[str], *, seed: int = 0) -> list[Grade]:
        """Raises ModelError: looking words up says nothing about clarity, fluency or coherence."""
        raise ModelError(
            "the lexical judge does not grade language; measure language without a judge, or name a server"
        )

    def _answer(self, text: str, question: Question) -> Answer:
        (option,) = self._reader.answer(text, [question])
        if not question.options:
            return Answer(None, status=Status.JUDGE_ERROR, text="the question has no options")
        return Answer(None, abstained=True) if option is None else Answer(question.options.index(option), text=option)

    def _verify(self, claims: Sequence[str], evidence: str) -> list[Verdict]:
        known = [stated(claim) for claim in claims]
        said = iter(self._reader.verify([claim for claim in known if claim is not None], evidence))
        return [Verdict("neutral") if claim is None else Verdict(next(said), True, True) for claim in known]

    def _compare(self, first: str, second: str, reference: str) -> Preference:
        wanted = self._reader.split(reference)
        if not wanted:
            return Preference(None, Status.JUDGE_ERROR, "the reference states no fact of the built-in kindergarten")
        sums = []
        for caption in (first, second):
            told = self._reader.verify(wanted, caption).count("entailed")
            wrong = self._reader.verify(self._reader.split(caption), reference).count("contradicted")
            sums.append(told - wrong)
        better = "tie" if sums[0] == sums[1] else "first" if sums[0] > sums[1] else "second"
        return Preference(better, reason=f"facts told less contradicted: {sums[0]} and {sums[1]}")


def stated(claim: str) -> Fact | None:
    """The fact whose sentence this is; None for any other text. Case, spaces and the last full stop do not matter."""
    return _sentences().get(_plain(claim))


@lru_cache(maxsize=1)
def _sentences() -> dict[str, Fact]:
    """Every sentence that a fact can have."""
    found = [fact("area", "", area) for group in AREAS.values() for area in group]
    found += [fact("children", "", number) for number in NUMBERS[1:]]
    for activity in ACTIVITIES:
        found.append(fact("activity", "one", activity))
        found += [fact("activity", number, activity, many=True) for number in ("", *NUMBERS[1:])]
    for toy in dict.fromkeys((*professional_names(), *categories(), VAGUE)):
        found += [fact("count", toy, number) for number in NUMBERS[1:]]
        for many in (False, True):
            found.append(fact("name", toy, toy, many))
            found += [fact("color", toy, color, many) for color in COLORS]
            found += [fact("place", toy, place, many) for place in grammar()["places"]]
    return {_plain(one.sentence): one for one in found}


def _meaning(claim: str) -> object:
    known = stated(claim)
    return _plain(claim) if known is None else (known.kind, known.subject, known.value)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).removesuffix(".")


def _text(evidence: Evidence) -> str:
    if isinstance(evidence, Path):
        raise ModelError(_CANNOT_SEE.format(path=evidence))
    return evidence


@lru_cache(maxsize=1)
def _digest() -> str:
    files = resources.files("capwright.scenes")
    words = b"".join(files.joinpath(name).read_bytes() for name in ("grammar.yaml", "vocabulary.yaml"))
    return blake2b(words.replace(b"\r\n", b"\n"), digest_size=4).hexdigest()
