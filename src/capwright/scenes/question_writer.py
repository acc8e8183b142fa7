"""Questions from the facts of the built-in kindergarten: a writer that needs no model.

`scenes.questions` asks everything about a scene once, always in the same way. This writer asks as many as wanted, with
options drawn anew for each seed, from nothing but `meta["facts"]` of a sample. So questions to train on and questions
to test on can differ.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from capwright.scenes.language import NUMBERS, SCENE_KINDS, ask
from capwright.scenes.lexicon import categories, professional_names, vocabulary
from capwright.scenes.sampling import Rng, look_alikes
from capwright.scenes.world import ACTIVITIES, AREAS, COLORS, PLACES
from capwright.types import ModelError


class FactsWriter:
    """Writes four-option questions about facts of the built-in kindergarten. Implements `protocols.Writer`."""

    signature = "facts:1"

    def write(self, task: str, given: Sequence[Mapping[str, Any]], *, seed: int = 0) -> list[Mapping[str, Any]]:
        """{"status": "ok", "questions": [...]} for each of `given`, which has `id`, `facts` and `n`.

        `facts` are records of kind, subject and value as in `meta["facts"]`; `n` is how many questions there are at
        most, drawn from all that the facts allow (0: all). Facts that are not of the built-in world say nothing; where
        nothing is said the status is "unparseable". Raises ModelError for any task but "questions".
        """
        if task != "questions":
            raise ModelError(f'the writer "facts" writes questions, and knows no task "{task}"')
        return [_write(record, seed) for record in given]


def _write(record: Mapping[str, Any], seed: int) -> dict[str, Any]:
    known = _by_subject(record.get("facts"))
    rng = Rng("questions from facts", seed, record.get("id", ""))
    asked = list(ask(dict(sorted(known.items())), rng, _taken_for))
    if not asked:
        return {"status": "unparseable", "reason": 'meta["facts"] has no facts of the built-in kindergarten'}
    n = int(record.get("n", 0))
    if 0 < n < len(asked):
        chosen = Rng("which facts", seed, record.get("id", "")).several(range(len(asked)), n)
        asked = [asked[i] for i in sorted(chosen)]
    return {"status": "ok", "questions": [asdict(question) | {"options": list(question.options)} for question in asked]}


def _by_subject(facts: Any) -> dict[str, dict[str, list[str]]]:
    """subject -> kind -> values. What is about the whole scene has the subject ""."""
    found: dict[str, dict[str, list[str]]] = {}
    for fact in facts if isinstance(facts, (list, tuple)) else ():
        if not isinstance(fact, Mapping):
            continue
        kind, subject, value = (str(fact.get(key, "")) for key in ("kind", "subject", "value"))
        subject = "" if kind in SCENE_KINDS else subject
        if value in _values(kind) and (not subject or subject in professional_names()):
            found.setdefault(subject, {}).setdefault(kind, []).append(value)
    return found


def _values(kind: str) -> Sequence[str]:
    areas = [area for group in AREAS.values() for area in group]
    known = {"area": areas, "children": NUMBERS[1:], "count": NUMBERS[1:], "activity": ACTIVITIES, "color": COLORS}
    return {**known, "place": PLACES, "name": professional_names()}.get(kind, ())


def _taken_for(name: str, here: Collection[str], rng: Rng) -> list[str]:
    """Three other toys: look-alikes first, then toys of the same kind, then any; none that is in the image."""
    found: list[str] = []
    for pool in (look_alikes(name), categories()[vocabulary()[name].category], professional_names()):
        left = [other for other in pool if other not in here and other not in found]
        found += rng.several(left, min(len(left), 3 - len(found)))
    return found
