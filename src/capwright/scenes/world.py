"""A scene of the built-in kindergarten: what is in the picture, known exactly."""

from __future__ import annotations

from dataclasses import dataclass

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
    """One picture's whole truth. `seed` and `index` make it again."""

    seed: int
    index: int
    category: str
    area: str
    children: tuple[Child, ...]
    toys: tuple[PlacedToy, ...]
