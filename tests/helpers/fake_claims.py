"""Somebody to ask about claims who knows only what a test told. A sentence is a claim; "perhaps" makes it inferred."""

from __future__ import annotations

from pathlib import Path

from capwright.judges.protocols import Answer, Split, Verdict
from capwright.scorers import Corpus, Item
from capwright.types import Sample

PICTURE = Sample("1", Path("1.png"), ("red ball. blue box",))


class FakeClaims:
    """Claims of an image are true when they are in `true`; claims of a text when the text has the sentence.

    Args:
        true, false: sentences that images entail and contradict.
        states: claim -> the fact that it states; equal sentences match by themselves.
        vague: true claims that nobody can point at.
        faults: sentence or text -> the status that asking about it has.
    """

    def __init__(self, true=(), false=(), states=(), vague=(), faults=()):
        self.true, self.false, self.states = set(true), set(false), dict(states)
        self.vague, self.faults = set(vague), dict(faults)
        self.calls = []

    signature = "fake:1"

    def split(self, texts, *, seed=0):
        self.calls.append(("split", list(texts), seed))
        return [self._split(text) for text in texts]

    def verify(self, asked, *, seed=0):
        self.calls.append(("verify", list(asked), seed))
        return [[self._verdict(claim, evidence) for claim in claims] for claims, evidence in asked]

    def match(self, asked, *, seed=0):
        self.calls.append(("match", list(asked), seed))
        return [self._match(claims, facts) for claims, facts in asked]

    def answer(self, asked, *, seed=0):
        """The one option that the text has; abstains where there is none."""
        self.calls.append(("answer", list(asked), seed))
        found = []
        for text, question in asked:
            said = [i for i, option in enumerate(question.options) if option in text]
            status = self.faults.get(question.text, "ok")
            found.append(Answer(said[0] if said and status == "ok" else None, not said, status))
        return found

    def count(self, kind):
        return sum(call[0] == kind for call in self.calls)

    def _split(self, text):
        if text in self.faults:
            return Split((), status=self.faults[text])
        claims = sentences(text)
        return Split(claims, tuple("perhaps" not in claim for claim in claims))

    def _verdict(self, claim, evidence):
        if claim in self.faults:
            return Verdict(None, status=self.faults[claim])
        if isinstance(evidence, Path):
            true, false = claim in self.true, claim in self.false
        else:
            true, false = claim in sentences(evidence), f"no {claim}" in sentences(evidence)
        word = "entailed" if true else "contradicted" if false else "neutral"
        return Verdict(word, claim not in self.vague, "perhaps" not in claim)

    def _match(self, claims, facts):
        if any(self.faults.get(claim) == "no match" for claim in claims):
            return []
        wanted = [self.states.get(claim, claim) for claim in claims]
        return [facts.index(fact) if fact in facts else None for fact in wanted]


class FakeWriter(FakeClaims):
    """Also writes what a test says: `records` is (task, caption) -> record."""

    def __init__(self, records, **known):
        super().__init__(**known)
        self.records = records

    def write(self, task, given, *, seed=0):
        self.calls.append((f"write {task}", list(given), seed))
        return [{"status": "ok", **self.records[task, one.get("caption", one.get("first"))]} for one in given]


def sentences(text):
    return tuple(part.strip() for part in text.replace("\n", ".").split(".") if part.strip())


def measure(scorer, captions, sample=PICTURE, status="ok"):
    """Context, statistics and the scores of each caption."""
    samples = sample if isinstance(sample, list) else [sample] * len(captions)
    context = scorer.prepare(Corpus(samples))
    stats = scorer.stats([Item(s, c, status) for s, c in zip(samples, captions)], context)
    return context, stats, scorer.finalize(stats.rows)


def scores(scorer, caption, sample=PICTURE):
    """Scores of one caption by name, and its status."""
    context, stats, table = measure(scorer, [caption], sample)
    return dict(zip(context.outputs, table[0].tolist())), stats.status[0]
