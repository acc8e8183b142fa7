"""Captions beside the sampled ones in a group: what an expert says, and what the captioner should have said.

A group of sampled captions can only teach what is in it. A demonstration is one more member of the group, with its own
reward and so its own advantage: imitated as far as it is better than what was sampled, and not at all where it is not
(mixed-policy groups, LUFFY, arXiv 2504.14945).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from capwright.text.plurals import plural_phrases, singulars_of
from capwright.text.term_matching import TermMatcher
from capwright.training.rewards import Rewards, without
from capwright.types import Caption, Sample, Term, Vocabulary


def targets(sample: Sample, where: str) -> list[str]:
    """The captions of a sample that can be imitated: "references" or "meta.<key>" (a list of strings, or one)."""
    given = sample.references if where == "references" else sample.meta.get(where.removeprefix("meta."), ())
    found = [given] if isinstance(given, str) else list(given) if isinstance(given, (list, tuple)) else []
    return [text for text in found if isinstance(text, str) and text.strip()]


def missed_terms(sample: Sample, spans: Sequence[Any]) -> list[Term]:
    """The professional names a sample is annotated with that no span says."""
    said = {span.term for span in spans if span.status == "right"}
    return [term for term in sample.terms if term.level == "professional" and term.name not in said]


class Relabeler:
    """Puts names into captions, by rules and without a model.

    A word for a kind, or a wrong name of that kind, becomes the missed name of the kind; then a word for anything
    ("toy") becomes the one name that is left. Where several could be meant nothing is replaced: a guess would teach
    to confuse them. What the caption does not mention at all is not added. Plurals stay plurals; "a" becomes "an" where
    needed. Words are not weighed: of "two toys" one name is made, and a word for a kind in another name ("the block
    corner") is taken for the kind; read some of what it makes of your captions before you learn from it.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._table = TermMatcher(vocabulary)

    def __call__(self, text: str, spans: Sequence[Any], sample: Sample) -> str | None:
        """The caption with names of the sample in it, or None where nothing can be replaced.

        Args:
            spans: the names in the text, as `Rewards.spans` or the scorer `tts` finds them.
        """
        missed = missed_terms(sample, spans)
        chosen: dict[int, Term] = {}
        kinds = [self._kind_of(span) for span in spans]
        for kind, places in Counter(kind for kind in kinds if kind).items():
            names = [term for term in missed if self._kind(term.category) == kind]
            if places == len(names) == 1 and _fits(text, spans[kinds.index(kind)], names[0]):
                chosen[kinds.index(kind)] = names[0]
        left = [term for term in missed if term not in chosen.values()]
        vague = [i for i, span in enumerate(spans) if span.status == "vague"]
        if len(left) == len(vague) == 1 and _fits(text, spans[vague[0]], left[0]):
            chosen[vague[0]] = left[0]
        if not chosen:
            return None
        for i in sorted(chosen, reverse=True):
            text = _replaced(text, spans[i], chosen[i])
        return text

    def _kind_of(self, span: Any) -> str:
        """The kind that a generic word says, or that a wrong name belongs to; "" for all others."""
        if span.status == "generic":
            return self._kind(span.term)
        term = self._vocabulary.get(span.term) if span.status == "wrong" else None
        return self._kind(term.category) if term else ""

    def _kind(self, category: str) -> str:
        """A kind by one name, however the vocabulary writes it: "boards", "Board" and "board" are one."""
        entry = self._table.lookup(category) if category else None
        return category if entry is None else self._table.entries[entry].name


def _fits(text: str, span: Any, term: Term) -> bool:
    """Whether a name can stand where a word stands: a set ("maracas") not where one thing is meant ("a toy")."""
    return term.name not in term.plurals or bool(singulars_of(text[span.start : span.end].split()[-1].lower()))


def _replaced(text: str, span: Any, term: Term) -> str:
    before, old, after = text[: span.start], text[span.start : span.end], text[span.end :]
    name = term.name
    if singulars_of(old.split()[-1].lower()) and name not in term.plurals:  # "boards"; a set is plural already
        name = term.plurals[0] if term.plurals else " ".join(plural_phrases(tuple(name.split()))[0])
    if article := re.search(r"(?i)\b(an?)(\s+)$", before):
        new = "an" if re.match(r"(?i)[aeio]|u(?!ni|se|su)|hour|honest|heir", name) else "a"
        new = new.capitalize() if article[1][0].isupper() else new
        before = before[: article.start()] + new + article[2]
    if old[0].isupper() and name[0].islower():
        name = name[0].upper() + name[1:]
    return before + name + after


class Demonstrations:
    """Finds the demonstrations of images and what they are worth. References are measured once a run."""

    def __init__(self, rewards: Rewards) -> None:
        self.rewards = rewards
        #: (sample, its texts) -> what those are worth [R, K]; asked for again where a reward is unknown.
        self._worth: dict[tuple[str, tuple[str, ...]], Tensor] = {}
        self.failures: Counter[str] = Counter()
        self.why: dict[str, str] = {}

    def __call__(
        self, kinds: Sequence[str], samples: Sequence[Sample], captions: Sequence[Sequence[Caption]], key: str
    ) -> tuple[list[list[str | None]], Tensor]:
        """Texts, None where an image has no such demonstration, and rewards [P, M, K], NaN there.

        Args:
            kinds: M of "reference", "corrected" (a reference, relabeled), "relabeled" (a sampled caption, relabeled).
            captions: what was sampled of each sample.
            key: with a sample's id, it decides between references that are worth the same.
        """
        self.failures, self.why = Counter(), {}
        found = {
            "reference": lambda: self._best([sample.references for sample in samples], samples, key),
            "corrected": lambda: self._best([self._corrected(sample) for sample in samples], samples, key),
            "relabeled": lambda: self._relabeled(samples, captions),
        }
        columns = [found[kind]() for kind in kinds]
        return [list(row) for row in zip(*(texts for texts, _ in columns))], torch.stack([v for _, v in columns], 1)

    def _best(
        self, texts: Sequence[tuple[str, ...]], samples: Sequence[Sample], key: str
    ) -> tuple[list[str | None], Tensor]:
        """The text of each sample that is worth most; one of them, by seed, where several are."""
        keys = [(sample.id, given) for sample, given in zip(samples, texts)]
        new = [i for i, place in enumerate(keys) if texts[i] and place not in self._worth]
        measured = self._measure_references([samples[i] for i in new], [texts[i] for i in new])
        fresh = {keys[i]: worth for i, worth in zip(new, measured)}
        weights = torch.tensor(self.rewards.weights, dtype=torch.float64)
        counted = weights != 0  # a reward that is only watched decides nothing, known or not
        self._worth |= {place: worth for place, worth in fresh.items() if not worth[:, counted].isnan().any()}
        chosen: list[str | None] = []
        values = torch.full((len(samples), len(weights)), torch.nan, dtype=torch.float64)
        for i, (name, given) in enumerate(keys):
            if not given:
                chosen.append(None)
                continue
            worth = self._worth[name, given] if (name, given) in self._worth else fresh[name, given]
            totals = (worth * weights)[:, counted].sum(-1).nan_to_num(-torch.inf)
            best = (totals >= totals.max()).nonzero().flatten().tolist()
            place = random.Random(f"{key}/{name}").choice(best)
            chosen.append(given[place])
            values[i] = worth[place]
        return chosen, values

    @cached_property
    def _relabel(self) -> Relabeler:
        return Relabeler(self.rewards.vocabulary)

    def _corrected(self, sample: Sample) -> tuple[str, ...]:
        found = self.rewards.spans
        return tuple(self._relabel(t, found(t, sample), sample) or t for t in sample.references)

    def _relabeled(
        self, samples: Sequence[Sample], captions: Sequence[Sequence[Caption]]
    ) -> tuple[list[str | None], Tensor]:
        """The sampled caption of each that names most once it is relabeled, and least that is wrong."""
        texts = [self._best_relabeled(sample, group) for sample, group in zip(samples, captions)]
        places = [i for i, text in enumerate(texts) if text is not None]
        values = torch.full((len(samples), len(self.rewards.weights)), torch.nan, dtype=torch.float64)
        values[places] = self._measure([samples[i] for i in places], [str(texts[i]) for i in places])
        return texts, values

    def _best_relabeled(self, sample: Sample, captions: Sequence[Caption]) -> str | None:
        best, chosen = (0, 0), None
        # What was cut off would be shown with an end that it has not.
        for text in dict.fromkeys(caption.text for caption in captions if caption.finish != "length"):
            new = self._relabel(text, self.rewards.spans(text, sample), sample)
            if new is None:
                continue
            named = {(span.status, span.term) for span in self.rewards.spans(new, sample)}
            right, wrong = (sum(status == kind for status, _ in named) for kind in ("right", "wrong"))
            value = (right, -wrong)
            if value > best:
                best, chosen = value, new
        return chosen

    def _measure_references(self, samples: Sequence[Sample], texts: Sequence[tuple[str, ...]]) -> list[Tensor]:
        """Rewards [R, K] of each sample's references, or of what became of them, each held against the others."""
        asked = [without(sample, number) for sample, group in zip(samples, texts) for number in range(len(group))]
        found = self._measure(asked, [text for group in texts for text in group])
        return list(found.split([len(group) for group in texts]))

    def _measure(self, samples: Sequence[Sample], texts: Sequence[str]) -> Tensor:
        """Rewards [len(texts), K] of one text of each sample."""
        if not texts:
            return torch.empty(0, len(self.rewards.weights), dtype=torch.float64)
        measured = self.rewards(samples, [[Caption(text)] for text in texts])
        self.failures.update(measured.failures)
        self.why |= measured.why
        return measured.values[:, 0]
