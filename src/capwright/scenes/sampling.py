"""Making scenes up: everything in an image follows from a seed and an index, each scene on its own."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

from capwright.scenes.lexicon import is_set, professional_names, vocabulary
from capwright.scenes.toybox import LOOK_ALIKES
from capwright.scenes.world import ACTIVITIES, AREAS, COLORS, PLACES, Child, PlacedToy, Scene

T = TypeVar("T")

#: How many toys a scene has, and how many of each (a set is always one; a crowded scene has one of each).
TOY_NUMBERS = {1: 0.25, 2: 0.40, 3: 0.25, 4: 0.10}
COPIES = {1: 0.53, 2: 0.28, 3: 0.19}
CHILDREN = {1: 0.30, 2: 0.35, 3: 0.20, 4: 0.15}
#: How often a second toy is a look-alike of the first, so that both must be told apart in one image.
CONTRAST = 0.25

#: The width and height of what is drawn in a spot, in units of its size, by copies (drawing.py arranges them).
SPOT_WIDTHS = {1: 1.0, 2: 1.62, 3: 2.24}
SPOT_HEIGHTS = {1: 1.0, 2: 0.98, 3: 0.98}
#: Size of a lone spot by copies (each copy is smaller than its spot), and how it shrinks with the number of toys.
_SIZES = {1: 0.36, 2: 0.31, 3: 0.27}
_CROWDING = {1: 1.0, 2: 0.94, 3: 0.84, 4: 0.7}
#: Size of the children by their number.
_HEIGHTS = {1: 0.44, 2: 0.41, 3: 0.37, 4: 0.33}
_ANCHORS = {"left": 0.2, "middle": 0.5, "right": 0.8}
_MARGIN = 0.015


class Rng:
    """Random choices built on `random.Random.random` alone, whose values never change between Python versions."""

    def __init__(self, *key: object) -> None:
        self._random = random.Random("/".join(str(part) for part in key))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._random.random() < probability

    def between(self, low: float, high: float) -> float:
        """A number from low to high, to three decimals, so that it prints and compares the same everywhere."""
        return round(low + (high - low) * self._random.random(), 3)

    def pick(self, items: Sequence[T]) -> T:
        """One of the items, uniformly."""
        return items[int(self._random.random() * len(items))]

    def weighted(self, weights: dict[T, float]) -> T:
        """One of the keys, with probability in proportion to its value."""
        left = self._random.random() * sum(weights.values())
        for item, weight in weights.items():
            left -= weight
            if left < 0:
                return item
        return item

    def several(self, items: Sequence[T], n: int) -> list[T]:
        """`n` different items, in random order."""
        pool = list(items)
        return [pool.pop(int(self._random.random() * len(pool))) for _ in range(n)]


def sample_scene(seed: int, index: int, tail: float = 0.0) -> Scene:
    """Scene `index` of the world `seed`: the same on every machine, and independent of all other scenes.

    `tail` is the exponent of the frequencies of toys (`WorldOptions`); 0 makes all equally frequent.

    One to four children, one to four toys with different names and different colors. Toys are listed from left to
    right. Four toys stand left, middle, middle and right; then all children do the same, so that a caption
    of the whole scene stays short.
    """
    rng = Rng("scene", seed, index)
    category, area = rng.pick([(category, area) for category, areas in AREAS.items() for area in areas])
    toys = _toys(rng, tail)
    children = _children(rng, activities=1 if len(toys) == 4 else 2)
    return Scene(seed=seed, index=index, category=category, area=area, children=children, toys=toys)


def look_alikes(name: str) -> tuple[str, ...]:
    """The toys that are easily taken for this one, in the order of `LOOK_ALIKES`."""
    return tuple(b if a == name else a for a, b in LOOK_ALIKES if name in (a, b))


@lru_cache(maxsize=1)
def ranked_names() -> tuple[str, ...]:
    """The professional names by rank in a world with a tail, the most frequent first.

    Of every five names in a row there is one of each tier, in another order each time: how often a toy is in the
    image says nothing about how often people know its name.
    """
    tiers: dict[str, list[str]] = defaultdict(list)
    for name in professional_names():
        tiers[vocabulary()[name].tier].append(name)
    # Shifted against each other, for names of one kind follow each other in the vocabulary.
    columns = [names[2 * i :] + names[: 2 * i] for i, names in enumerate(tiers.values())]
    turns = range(max(map(len, columns)))
    rows = [columns[turn % len(columns) :] + columns[: turn % len(columns)] for turn in turns]
    return tuple(column[turn] for turn in turns for column in rows[turn] if turn < len(column))


def _names(n: int, rng: Rng, tail: float) -> list[str]:
    """The names of the toys of a scene, in random order; in some scenes two of them are look-alikes."""
    weights = {name: (rank + 1) ** -tail for rank, name in enumerate(ranked_names())}
    if tail:
        names: list[str] = []
        for _ in range(n):
            names.append(rng.weighted({name: weight for name, weight in weights.items() if name not in names}))
    else:
        names = rng.several(professional_names(), n)
    partners = [name for name in look_alikes(names[0]) if name not in names]
    if n > 1 and partners and rng.chance(CONTRAST):
        partner = rng.pick(partners)
        # A rare toy is not dragged into the image by a frequent one that looks like it.
        if not tail or rng.chance(weights[partner] / weights[names[0]]):
            names[1] = partner
            names = rng.several(names, n)
    return names


def _toys(rng: Rng, tail: float) -> tuple[PlacedToy, ...]:
    n = rng.weighted(TOY_NUMBERS)
    names = _names(n, rng, tail)
    colors = rng.several(COLORS, n)
    counts = [1 if is_set(name) or n == 4 else rng.weighted(COPIES) for name in names]
    if counts == [3, 3]:  # three toys leave room for one pair, two toys for one group of three
        counts[0] = 2
    elif n == 3:
        groups = [i for i, count in enumerate(counts) if count > 1]
        pair = rng.pick(groups) if groups else None
        counts = [2 if i == pair else 1 for i in range(n)]
    places = sorted(rng.several(PLACES, min(n, 3)), key=PLACES.index)
    if n == 4:
        places.insert(1, "middle")
    elif n == 2 and sum(counts) > 2:  # groups are wide: keep them apart
        places = ["left", "right"]
    sizes = [_SIZES[count] * _CROWDING[n] for count in counts]
    widths = [SPOT_WIDTHS[count] for count in counts]
    sizes, centers = _spots(sizes, widths, [_ANCHORS[place] for place in places], rng)
    toys = []
    for i in range(n):
        low, high = (0.77, 0.82) if n < 4 else ((0.75, 0.77), (0.82, 0.84))[i % 2]
        y = rng.between(low, max(low, min(high, 0.985 - sizes[i] / 2)))
        toys.append(PlacedToy(names[i], colors[i], counts[i], places[i], centers[i], y, sizes[i]))
    return tuple(toys)


def _spots(sizes: list[float], widths: list[float], anchors: list[float], rng: Rng) -> tuple[list[float], list[float]]:
    """Sizes and centers of spots that stay in the image and beside each other, near where they would like to be."""
    room = 1 - 2 * _MARGIN
    shrink = min(1.0, room / sum(size * width for size, width in zip(sizes, widths)))
    sizes = [int(1000 * size * shrink * rng.between(0.95, 1.0)) / 1000 for size in sizes]
    halves = [size * width / 2 for size, width in zip(sizes, widths)]
    centers = [anchor + rng.between(-0.03, 0.03) for anchor in anchors]
    edge = _MARGIN
    for i, half in enumerate(halves):
        centers[i] = max(centers[i], edge + half)
        edge = centers[i] + half
    edge = 1 - _MARGIN
    for i in reversed(range(len(halves))):
        centers[i] = min(centers[i], edge - halves[i])
        edge = centers[i] - halves[i]
    return sizes, [round(center, 3) for center in centers]


def _children(rng: Rng, activities: int) -> tuple[Child, ...]:
    n = rng.weighted(CHILDREN)
    seen = rng.several(ACTIVITIES, activities)
    # The first two children show both activities; the rest join either.
    doing = [seen[i] if i < activities else rng.pick(seen) for i in range(n)]
    if n > 1 and activities > 1 and rng.chance(0.3):
        doing = [seen[0]] * n
    doing = rng.several(doing, n)
    looks = rng.several(range(6), n)
    children = []
    for i in range(n):
        size = _HEIGHTS[n] + rng.between(-0.01, 0.015)
        center = (i + 0.5) / n if n > 1 else rng.between(0.35, 0.65)
        x = min(max(center + rng.between(-0.025, 0.025), size / 2), 1 - size / 2)
        y = rng.between(0.43, 0.48)
        children.append(Child(doing[i], rng.pick(COLORS), looks[i], round(x, 3), y, round(size, 3)))
    return tuple(children)
