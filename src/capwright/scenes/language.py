"""What people say about a scene: captions by experts and by casual speakers, facts, questions.

Experts call every toy by its professional name. A casual speaker knows a name only with the probability of its tier,
and else says the kind of thing ("a red board"), or just "toy", sometimes with what can be seen ("with pegs and a rubber
band"). Both use the same sentence frames: to swap the noun is to turn a casual caption into an expert one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from capwright.scenes.lexicon import VAGUE, categories, is_set, plural, plural_name, professional_names, vocabulary
from capwright.scenes.sampling import Rng, look_alikes
from capwright.scenes.world import ACTIVITIES, AREAS, COLORS, PLACES, PLAIN, PlacedToy, Scene, WorldOptions
from capwright.text.tables import read_tables
from capwright.types import Question

#: How often a casual speaker uses the professional name of a toy, by tier.
TIER_PROBABILITY = {"frequent": 0.60, "common": 0.30, "occasional": 0.10, "rare": 0.03, "never": 0.0}
#: Without a name: how often the kind is said rather than "toy", and how often a look at it follows.
GENERIC_PROBABILITY = 0.6
FEATURE_PROBABILITY = 0.5
#: A casual speaker adds no feature that would make the caption longer than this many words. No caption of either kind
#: has more than 40 words and punctuation marks.
MAX_WORDS = 36

NUMBERS = ("no", "one", "two", "three", "four")
#: Facts of these kinds are about the whole scene, the others about a toy.
SCENE_KINDS = ("area", "children", "activity")


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is so. `kind` is area, children, activity, name, color, count or place.

    `subject` is what it is about (a toy name; for an activity, how many children), `value` what is said of it, and
    `sentence` says it in English, on its own.
    """

    kind: str
    subject: str
    value: str
    sentence: str


@lru_cache(maxsize=1)
def grammar() -> dict[str, Any]:
    """The phrases of `grammar.yaml`."""
    return read_tables("capwright.scenes", "grammar.yaml")


def expert_captions(scene: Scene, options: WorldOptions = PLAIN) -> list[str]:
    """Two captions by experts, with color, count and place of the toys, and area and children.

    They name every toy professionally, in the same two frames, unless the `options` say otherwise (`naming`,
    `omission`, `variety`). A caption never leaves out all toys.
    """
    return [_expert(scene, k, options) for k in range(2)]


def _expert(scene: Scene, k: int, options: WorldOptions) -> str:
    frame = scene.index + 2 * k
    if (options.naming, options.variety) == (1.0, 0.0):
        return _caption(scene, [noun_phrase(toy) for toy in scene.toys], frame)
    rng = Rng("expert", scene.seed, scene.index, k)
    words, features, kept = [], [], []
    for toy in scene.toys:
        term = vocabulary()[toy.name]
        named, left_out = rng.chance(options.naming), rng.chance(options.omission)
        alias, described = rng.chance(options.variety / 2), rng.chance(options.variety / 2)
        other, feature = rng.pick(term.aliases or (toy.name,)), rng.pick(grammar()["features"][toy.name])
        # The alias of a set must be a set as well: "math balance" is one thing, "number rods" are several.
        name = other if alias and is_set(toy.name) == other.endswith("s") else toy.name
        words.append(name if named else term.category)
        features.append(feature if described else "")
        kept.append(named or not left_out)
    if not any(kept):
        kept[0] = True
    scene = replace(scene, toys=tuple(toy for toy, keep in zip(scene.toys, kept) if keep))
    nouns = [_noun(toy, word) for toy, word in zip(scene.toys, (w for w, keep in zip(words, kept) if keep))]
    if rng.chance(options.variety):
        frame = rng.pick(range(len(grammar()["frames"])))
    caption = _described(scene, nouns, [f for f, keep in zip(features, kept) if keep], frame)
    mood = rng.pick(grammar()["moods"])
    fits = len(caption.split()) + len(mood.split()) <= MAX_WORDS
    return f"{caption} {mood}" if rng.chance(options.variety) and fits else caption


def _described(scene: Scene, nouns: list[str], features: Sequence[str], frame: int) -> str:
    """A caption whose toys have their features behind them, as long as it does not get longer than `MAX_WORDS`."""
    caption = _caption(scene, nouns, frame)
    for i, feature in enumerate(features):
        if feature and len(caption.split()) + len(feature.split()) <= MAX_WORDS:
            nouns[i] = f"{nouns[i]} {feature}"
            caption = _caption(scene, nouns, frame)
    return caption


def paraphrases(scene: Scene) -> list[str]:
    """The expert caption in every sentence frame: the same content in other words."""
    nouns = [noun_phrase(toy) for toy in scene.toys]
    return [_caption(scene, nouns, scene.index + k) for k in range(len(grammar()["frames"]))]


def casual_captions(scene: Scene) -> list[str]:
    """Four captions by casual speakers, one in each sentence frame, who each choose their words for each toy anew."""
    captions = []
    for k in range(4):
        rng = Rng("casual", scene.seed, scene.index, k)
        spoken = [_casual(toy, rng) for toy in scene.toys]
        nouns, features = [noun for noun, _ in spoken], [feature for _, feature in spoken]
        captions.append(_described(scene, nouns, features, scene.index + k))
    return captions


def facts(scene: Scene) -> tuple[Fact, ...]:
    """Everything that is so in a scene and that captions tell, one thing at a time."""
    found = [fact("area", "", scene.area), fact("children", "", NUMBERS[len(scene.children)])]
    alone = len(scene.children) == 1
    found += [fact("activity", NUMBERS[n], activity, many=not alone) for activity, n in _doing(scene)]
    for toy in scene.toys:
        many = toy.count > 1
        found.append(fact("name", toy.name, toy.name, many))
        found.append(fact("color", toy.name, toy.color, many))
        if not is_set(toy.name):
            found.append(fact("count", toy.name, NUMBERS[toy.count]))
        found.append(fact("place", toy.name, toy.place, many))
    return tuple(found)


def fact(kind: str, subject: str, value: str, many: bool = False) -> Fact:
    """A fact with its sentence.

    `many` says, of a toy (`subject` may also be a category word or "toy"), that there are several; of an activity, that
    there are more children than one.
    """
    words = grammar()["facts"]
    if kind == "area":
        sentence = words[kind].format(value=value)
    elif kind == "children":
        sentence = words["children_one" if value == "one" else kind].format(value=value)
    elif kind == "activity":
        variant = "_alone" if not many else "_some" if not subject else "_one" if subject == "one" else ""
        text = words[kind + variant].format(subject=subject, value=value)
        sentence = text[0].upper() + text[1:]
    else:
        if kind == "count":
            many = value != "one"
            template = words["count" if many else "count_one"]
        else:
            many = many or plural_form(subject) == subject
            template = words[f"{kind}_many" if many else kind]
        noun = plural_form(subject) if many else subject
        shown = grammar()["places"][value] if kind == "place" else value
        sentence = _article(template.format(name=noun, value=shown))
    return Fact(kind, subject, value, sentence)


def questions(scene: Scene) -> tuple[Question, ...]:
    """Multiple-choice questions with four options, each answered by an expert caption.

    One on area, children and activity each; for every toy one on its name (with its look-alikes among the options),
    color, place, and count unless it is a set.
    """
    known: dict[str, dict[str, list[str]]] = {}
    for one in facts(scene):
        about = "" if one.kind in SCENE_KINDS else one.subject
        known.setdefault(about, {}).setdefault(one.kind, []).append(one.value)
    return tuple(ask(known, Rng("questions", scene.seed, scene.index), _kin))


def ask(
    known: Mapping[str, Mapping[str, Sequence[str]]],
    rng: Rng,
    wrong_names: Callable[[str, Collection[str], Rng], Sequence[str]],
) -> Iterator[Question]:
    """Questions about what is known: subject -> kind -> values, the whole scene under "".

    `wrong_names(name, names in the image, rng)` gives three other toys for the question on the name of a toy.
    """
    words, places = grammar()["questions"], grammar()["places"]
    scene = known.get("", {})
    alone = scene.get("children") == ["one"]
    areas = [area for group in AREAS.values() for area in group]
    for area in scene.get("area", ()):
        yield _question("area", words["area_one" if alone else "area"], area, areas, rng)
    for number in scene.get("children", ()):
        yield _question("children", words["children"], number, NUMBERS[1:], rng)
    if doing := scene.get("activity", ()):
        text = words["activity_one" if alone else "activity" if len(doing) == 1 else "activity_some"]
        others = [activity for activity in ACTIVITIES if activity not in doing]
        yield _question("activity", text, rng.pick(doing), others, rng)
    for name in filter(None, known):
        about = {kind: values[0] for kind, values in known[name].items()}
        many = "_many" if is_set(name) or about.get("count", "one") != "one" else ""
        noun = plural_name(name) if many else name
        if {"name", "color", "place"} <= about.keys():
            text = words["name"].format(color=about["color"], place=places[about["place"]])
            yield _question("name", text, name, wrong_names(name, known.keys(), rng), rng)
        if "color" in about:
            yield _question("color", words["color" + many].format(name=noun), about["color"], COLORS, rng)
        if "count" in about:
            text = words["count"].format(name=plural_name(name))
            yield _question("count", text, about["count"], NUMBERS[1:], rng)
        if "place" in about:
            options = [*places.values(), words["absent"]]
            yield _question("place", words["place" + many].format(name=noun), places[about["place"]], options, rng)


def plural_form(word: str) -> str:
    """The plural of a professional name, a category word, or "toy"."""
    return plural_name(word) if word in vocabulary() else plural(word)


# Nouns ----------------------------------------------------------------------------------------------------------------


def noun_phrase(toy: PlacedToy) -> str:
    """How an expert says a toy: "a red geoboard", "two red geoboards", "red maracas" (a set)."""
    return _noun(toy, toy.name)


def _casual(toy: PlacedToy, rng: Rng) -> tuple[str, str]:
    """A casual speaker's noun phrase and the feature to add to it ("" for none). Always throws the dice four times."""
    term = vocabulary()[toy.name]
    named = rng.chance(TIER_PROBABILITY[term.tier])
    kind = rng.chance(GENERIC_PROBABILITY)
    described = rng.chance(FEATURE_PROBABILITY)
    feature = rng.pick(grammar()["features"][toy.name])
    if named:
        return _noun(toy, toy.name), ""
    return _noun(toy, term.category if kind else VAGUE), feature if described else ""


def _noun(toy: PlacedToy, word: str) -> str:
    """ "a red geoboard", "two red geoboards"; a set takes no article: "red maracas", "red instruments"."""
    if is_set(toy.name):
        return f"{toy.color} {plural_form(word)}"
    if toy.count > 1:
        return f"{NUMBERS[toy.count]} {toy.color} {plural_form(word)}"
    return _article(f"a {toy.color} {word}")


# Sentences ------------------------------------------------------------------------------------------------------------


def _caption(scene: Scene, nouns: Sequence[str], frame: int) -> str:
    frames = grammar()["frames"]
    sentences = []
    for part in frames[frame % len(frames)]:
        text = _PARTS[part](scene, nouns)
        sentences.append(f"{text[0].upper()}{text[1:]}.")
    return " ".join(sentences)


def _children_whole(scene: Scene, nouns: Sequence[str]) -> str:
    n = len(scene.children)
    doing = _doing(scene)
    where = grammar()["where"][scene.area]
    who = "a child is" if n == 1 else f"{NUMBERS[n]} children are"
    if len(doing) == 1:
        return f"{who} {doing[0][0]} {where}"
    return f"{who} {where}, " + _join([f"{NUMBERS[count]} {activity}" for activity, count in doing])


def _children_parts(scene: Scene, nouns: Sequence[str]) -> str:
    parts: list[str] = []
    for activity, count in _doing(scene):
        noun = "" if parts else "child " if count == 1 else "children "
        parts.append(f"{NUMBERS[count]} {noun}{'is' if count == 1 else 'are'} {activity}")
    return f"{grammar()['where'][scene.area]} {_join(parts)}"


def _toys_stand(scene: Scene, nouns: Sequence[str]) -> str:
    groups = _grouped(scene, nouns)
    clauses: list[str] = []
    for group, place in groups:
        verb = "" if clauses else " are" if _are(scene, len(group)) else " is"
        clauses.append(f"{_join(group)}{verb} {place}")
    return _join(clauses)


def _toys_there(scene: Scene, nouns: Sequence[str]) -> str:
    verb = "are" if _are(scene) else "is"
    return f"there {verb} " + _join([f"{_join(group)} {place}" for group, place in _grouped(scene, nouns)])


def _toys_placed(scene: Scene, nouns: Sequence[str]) -> str:
    clauses: list[str] = []
    for group, place in _grouped(scene, nouns):
        verb = "" if clauses else " are" if _are(scene, len(group)) else " is"
        clauses.append(f"{place}{verb} {_join(group)}")
    return _join(clauses)


def _toys_seen(scene: Scene, nouns: Sequence[str]) -> str:
    return "we see " + _join([f"{_join(group)} {place}" for group, place in _grouped(scene, nouns)])


_PARTS: dict[str, Callable[[Scene, Sequence[str]], str]] = {
    "children_whole": _children_whole,
    "children_parts": _children_parts,
    "toys_stand": _toys_stand,
    "toys_there": _toys_there,
    "toys_placed": _toys_placed,
    "toys_seen": _toys_seen,
}


def _doing(scene: Scene) -> list[tuple[str, int]]:
    """Activities with their numbers of children, in the order of the world."""
    done = [child.activity for child in scene.children]
    return [(activity, done.count(activity)) for activity in ACTIVITIES if activity in done]


def _grouped(scene: Scene, nouns: Sequence[str]) -> list[tuple[list[str], str]]:
    """Noun phrases by place, left to right."""
    groups = []
    for place in PLACES:
        group = [noun for toy, noun in zip(scene.toys, nouns) if toy.place == place]
        if group:
            groups.append((group, grammar()["places"][place]))
    return groups


def _are(scene: Scene, together: int = 1) -> bool:
    """Whether the verb before or after the first toys is plural."""
    first = scene.toys[0]
    return together > 1 or first.count > 1 or is_set(first.name)


def _join(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _article(text: str) -> str:
    """Turns "a" into "an" before a vowel."""
    words = text.split(" ")
    for i in range(len(words) - 1):
        if words[i] == "a" and words[i + 1][0] in "aeio":  # "a unit block", "a xylophone"
            words[i] = "an"
    return " ".join(words)


# Questions ------------------------------------------------------------------------------------------------------------


def _question(kind: str, text: str, answer: str, options: Iterable[str], rng: Rng) -> Question:
    wrong = rng.several([option for option in options if option != answer], 3)
    return Question(text=text, options=tuple(rng.several([answer, *wrong], 4)), answer=answer, kind=kind)


def _kin(name: str, here: Collection[str], rng: Rng) -> list[str]:
    """Three toys that are not in the image: look-alikes first, then those of the same kind, then any."""
    kin = [other for other in look_alikes(name) if other not in here]
    for pool in (categories()[vocabulary()[name].category], professional_names()):
        left = [other for other in pool if other not in here and other not in kin]
        kin += rng.several(left, len(left))
    return kin[:3]
