"""Reading text of the kindergarten: which children, toys, colors, numbers and places it mentions.

Words are looked up, longest phrase first; nothing is guessed. Whatever is not in the lexicon is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

from capwright.scenes.language import NUMBERS, grammar
from capwright.scenes.lexicon import VAGUE, is_set, plural, plural_name, vocabulary
from capwright.scenes.world import ACTIVITIES, AREAS, COLORS

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?|[.,;:!?\n]")
_NOUNS = ("professional", "generic", "vague")
_STOPS = frozenset(".;:!?\n")
_PLACES = {
    "left": ("on the left", "on its left", "at the left", "to the left", "left side"),
    "middle": ("in the middle", "at the middle", "in the center", "in the centre"),
    "right": ("on the right", "at the right", "to the right", "right side"),
}
_CHILDREN = ("child", "children", "kid", "kids")
_DENIALS = ("no", "not", "without", "neither", "nor", "never", "isn't", "aren't")


@dataclass(slots=True)
class Mention:
    """A toy as a text mentions it; None where the text does not say.

    `name` is a professional name, a category word, or "toy"; `level` is that of the vocabulary term. `count` is a
    number word ("one" for "a"), and None for sets and bare plurals.
    """

    name: str
    level: str
    count: str | None = None
    color: str | None = None
    place: str | None = None

    def fits(self, subject: str) -> bool:
        """Whether the mention can be called `subject`: by its name, its category word, or "toy"."""
        return subject in (self.name, vocabulary()[self.name].category, VAGUE)


@dataclass(slots=True)
class Scan:
    """What a text says. `children` is None when their number is not told or told in two ways.

    `activities` is (number word or None, activity) in text order.
    """

    areas: list[str] = field(default_factory=list)
    children: str | None = None
    activities: list[tuple[str | None, str]] = field(default_factory=list)
    toys: list[Mention] = field(default_factory=list)

    def complete(self) -> bool:
        """Whether the activities account for all the children."""
        if self.children is None or any(number is None for number, _ in self.activities):
            return False
        return sum(NUMBERS.index(number) for number, _ in self.activities if number) == NUMBERS.index(self.children)


@dataclass(frozen=True, slots=True)
class Token:
    """A lexicon entry found in a text. `plural` matters for nouns."""

    kind: str
    value: str
    plural: bool = False


@lru_cache(maxsize=4096)
def scan(text: str) -> Scan:
    """Everything a text mentions, not to be changed. Any text will do; an empty one gives an empty scan."""
    found = Scan()
    totals: list[str] = []
    for sentence in _sentences(text):
        _read_children(sentence, found, totals)
        _read_toys(sentence, found)
        for token in sentence:
            if token.kind == "area" and token.value not in found.areas:
                found.areas.append(token.value)
    found.children = totals[0] if len(set(totals)) == 1 else None
    return found


def _sentences(text: str) -> Iterator[list[Token]]:
    for is_stop, tokens in groupby(_tokens(text), lambda token: token.kind == "stop"):
        if not is_stop:
            yield list(tokens)


def _tokens(text: str) -> Iterator[Token]:
    words = _words(text)
    lexicon, longest = _lexicon()
    at = 0
    while at < len(words):
        for length in range(min(longest, len(words) - at), 0, -1):
            token = lexicon.get(tuple(words[at : at + length]))
            if token is not None:
                yield token
                at += length
                break
        else:
            yield Token("stop" if words[at] in _STOPS else "comma" if words[at] == "," else "other", words[at])
            at += 1


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold().replace("’", "'"))


@lru_cache(maxsize=1)
def _lexicon() -> tuple[dict[tuple[str, ...], Token], int]:
    """Phrases as tuples of words -> what they mean; and the number of words of the longest."""
    entries: dict[str, Token] = {}
    for phrases in grammar()["features"].values():
        entries.update((phrase, Token("feature", phrase)) for phrase in phrases)
    for name, term in vocabulary().items():
        if term.level == "professional":
            several = (plural_name(name), *term.plurals, *(plural(alias) for alias in term.aliases))
            one: tuple[str, ...] = () if is_set(name) else (name,)
            one += tuple(alias for alias in term.aliases if alias != plural(alias))
        else:
            several, one = (plural(name),), (name,) if name != plural(name) else ()
        entries.update((phrase, Token(term.level, name, plural=True)) for phrase in several)
        entries.update((phrase, Token(term.level, name)) for phrase in one)
    entries.update((area, Token("area", area)) for areas in AREAS.values() for area in areas)
    entries.update((color, Token("color", color)) for color in COLORS)
    entries.update((activity, Token("activity", activity)) for activity in ACTIVITIES)
    entries.update((phrase, Token("place", place)) for place, phrases in _PLACES.items() for phrase in phrases)
    entries.update((number, Token("number", number)) for number in NUMBERS[1:])
    entries.update((str(i), Token("number", number)) for i, number in enumerate(NUMBERS) if i)
    entries.update((word, Token("number", "one")) for word in ("a", "an"))
    entries.update((word, Token("child", "child", plural=word != "child")) for word in _CHILDREN)
    entries.update((word, Token("denial", word)) for word in _DENIALS)
    entries["and"] = Token("and", "and")
    phrases = {tuple(_words(phrase)): token for phrase, token in entries.items()}
    return phrases, max(len(phrase) for phrase in phrases)


def _read_children(sentence: list[Token], found: Scan, totals: list[str]) -> None:
    """Adds the groups of children that a sentence tells, and their total when it tells that.

    "Two children are there, one sitting and one waving" counts, then divides; "one child is sitting and two are waving"
    divides, and the parts add up; "one of the children is sitting" tells a part alone.
    """
    first = next((i for i, token in enumerate(sentence) if token.kind == "child"), len(sentence))
    counts = [i for i, token in enumerate(sentence[:first]) if token.kind in ("number", "denial")]
    if counts and sentence[counts[-1]].kind == "denial":
        return
    follows = next((token.kind for token in sentence[first + 1 :] if token.kind in ("number", "activity")), "")
    groups: list[tuple[str | None, str]] = []
    number: str | None = None
    for i, token in enumerate(sentence):
        if token.kind == "number":
            number = token.value
        elif token.kind == "activity":
            groups.append((number if first < len(sentence) else None, token.value))
            number = None
        elif token.kind in ("professional", "generic", "vague", "color") or (i == first and follows != "activity"):
            number = None
        if i == first and follows == "activity" and not counts and not token.plural:
            number = "one"  # "the child is sitting"
    found.activities += [group for group in groups if group not in found.activities]
    if first == len(sentence) or not counts or any(token.value == "of" for token in sentence[counts[-1] : first]):
        return
    total = NUMBERS.index(sentence[counts[-1]].value)
    if follows == "activity":
        if any(size is None for size, _ in groups):
            return
        total = sum(NUMBERS.index(size) for size, _ in groups if size)
    if total < len(NUMBERS):
        totals.append(NUMBERS[total])


def _read_toys(sentence: list[Token], found: Scan) -> None:
    """Adds the toys of a sentence.

    A place belongs to the toys before it as far back as "and" joins them; in a sentence that starts with a place ("on
    the left is ...") it belongs to the toys after it, up to the next place. A color belongs to the noun that follows
    it, and else to the toy before it ("the geoboard is red").
    """
    leading = next((token.kind for token in sentence if token.kind in (*_NOUNS, "place")), "") == "place"
    place: str | None = None
    waiting: list[Mention] = []
    last: Mention | None = None
    count: str | None = None
    color: str | None = None
    denied = -9
    for i, token in enumerate(sentence):
        if token.kind == "number":
            count = token.value
        elif token.kind == "color":
            upcoming = [later.kind for later in sentence[i + 1 : i + 4] if later.kind != "other"]
            if upcoming and upcoming[0] in _NOUNS:
                color = token.value
            elif last is not None and last.color is None:
                last.color = token.value
        elif token.kind == "denial":
            denied = i
        elif token.kind in _NOUNS:
            here = None if is_set(token.value) else count
            last = Mention(token.value, token.kind, here, color, place if leading else None)
            if i - denied <= 3:
                last = None
            else:
                found.toys.append(last)
                waiting.append(last)
            count, color, denied = None, None, -9
        elif token.kind == "place":
            if leading:
                place = token.value
            else:
                for mention in waiting:
                    mention.place = token.value
            waiting = []
        elif token.kind == "comma":
            waiting, count = [], None
        elif token.kind in ("child", "activity"):
            count = None
        if token.kind in ("and", "comma", "place"):
            denied = -9
