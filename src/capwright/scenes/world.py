"""A scene of the built-in kindergarten: what is in the image, known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

from capwright.types import DataError

#: Scenario categories and their areas.
AREAS = {
    "learning centers": ("block corner", "art studio", "music corner"),
    "daily routines": ("reading nook", "snack table", "nap room"),
    "outdoor play": ("sandpit", "garden", "playground"),
}
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
#: Where a toy stands, from the viewer.
PLACES = ("left", "middle", "right")
#: What a child does; each is a posture one can see.
ACTIVITIES = ("sitting", "standing", "crawling", "jumping", "waving", "pointing")


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """How far the kindergarten is from a world in which imitation cannot fail. The defaults change nothing.

    What people leave out (`naming`, `omission`, `experts`, `label_noise`) they leave out of the train split alone: val
    and test keep the whole truth, so that all worlds are measured with the same ruler.

    Attributes:
        tail: exponent s of the frequencies of toys, 1 / rank^s: 0 is uniform, 1 is Zipf's law. Ranks are spread evenly
            over the tiers, so that a toy may be frequent in images and never named, or the other way round.
        naming: the probability that an expert's caption names a toy professionally; labels stay complete.
        omission: the share of the toys not named that the caption leaves out; the others are called by their kind.
        variety: how much expert captions differ from each other, 0 to 1: the probability of another name for the same
            toy, of a look at it, of a sentence about the mood, and of a free choice of the sentence frame.
        experts: how many train scenes have expert captions, those with the lowest indices; None means all.
        label_noise: the probability that a label of a train scene is wrong: half are missing, half name another toy,
            a look-alike or one of the same kind where there is one.

    Raises:
        DataError: a value is out of its range; the message names it.
    """

    tail: float = 0.0
    naming: float = 1.0
    omission: float = 0.0
    variety: float = 0.0
    experts: int | None = None
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tail) and self.tail >= 0):
            raise DataError(f"tail must be a number >= 0, not {self.tail!r}")
        for name in ("naming", "omission", "variety", "label_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} must be from 0 to 1, not {getattr(self, name)!r}")
        if self.experts is not None and self.experts < 0:
            raise DataError(f"experts must be 0 or more, not {self.experts!r}")


#: The kindergarten as it is when nothing is said.
PLAIN = WorldOptions()


@dataclass(frozen=True, slots=True)
class PlacedToy:
    """A teaching toy: vocabulary name, main color, how many of it (1 to 3), and where.

    `x` and `y` are the center of its spot in the unit square (x right, y down), `size` its height there.
    """

    name: str
    color: str
    count: int
    place: str
    x: float
    y: float
    size: float


@dataclass(frozen=True, slots=True)
class Child:
    """A child: posture, shirt color, looks (0 to 5, skin and hair), and where it is, as for a toy."""

    activity: str
    shirt: str
    look: int
    x: float
    y: float
    size: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One image's whole truth. `seed` and `index` make it again, in a world of the same `tail`."""

    seed: int
    index: int
    category: str
    area: str
    children: tuple[Child, ...]
    toys: tuple[PlacedToy, ...]
