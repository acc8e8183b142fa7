"""Children of the kindergarten: six postures, six looks, and a shirt in the color the captions name."""

from __future__ import annotations

from dataclasses import dataclass

from capwright.scenes.toybox import shades
from capwright.types import CapwrightError

INK = "#33292f"


@dataclass(frozen=True, slots=True)
class Look:
    """Skin, hair and trousers of a child. `back` and `front` are hair shapes around a head of radius 17 at (0, 0)."""

    skin: str
    hair: str
    trousers: str
    back: str
    front: str


LOOKS: tuple[Look, ...] = (
    # short brown hair
    Look(
        "#fbd9bd",
        "#7a4a2b",
        "#5f7396",
        "",
        '<path d="M-17.5 2C-22-26 22-26 17.5 2C14-6 10-9 4-8C-3-7-6-12-8-9C-11-5-15-4-17.5 2Z"/>',
    ),
    # black bob
    Look(
        "#f2c79b",
        "#2e2630",
        "#7c8b6f",
        '<path d="M-21 16C-25-8-18-22 0-22S25-8 21 16Z"/>',
        '<path d="M-17-1C-18-23 18-23 17-1C8-7-8-7-17-1Z"/>',
    ),
    # round black curls
    Look(
        "#8f5d3f",
        "#2f2320",
        "#8a94a8",
        '<path d="M-19 8A8 8 0 0 1-24-6A9 9 0 0 1-15-19A10 10 0 0 1 0-25'
        'A10 10 0 0 1 15-19A9 9 0 0 1 24-6A8 8 0 0 1 19 8Z"/>',
        '<path d="M-16.5-3C-15-16 15-16 16.5-3C12-8 8-10 5-8C2-11-3-11-5-8C-9-10-13-8-16.5-3Z"/>',
    ),
    # fair pigtails
    Look(
        "#fde2cb",
        "#e9be62",
        "#6b6f9c",
        '<ellipse cx="-23" cy="4" rx="7" ry="12"/><ellipse cx="23" cy="4" rx="7" ry="12"/>',
        '<path d="M-17.5 0C-20-24 20-24 17.5 0C14-5 6-7 0-13C-6-7-14-5-17.5 0Z"/>',
    ),
    # long red hair
    Look(
        "#f9d3b4",
        "#b8512c",
        "#5d8086",
        '<path d="M-20 21Q-28 22-28 14Q-21 10-22-4C-21-16-12-22 0-22S21-16 22-4Q21 10 28 14Q28 22 20 21Z"/>',
        '<path d="M-17.5 4C-21-24 21-24 17.5 2C15-9 6-8-2-11C-6-6-14-6-17.5 4Z"/>',
    ),
    # dark skin, a bun on top
    Look(
        "#6e452f",
        "#201a1f",
        "#a08a6c",
        '<circle cx="0" cy="-22" r="9"/>',
        '<path d="M-17.5 0C-19-24 19-24 17.5 0C12-9-12-9-17.5 0Z"/>',
    ),
)


def child_shapes(activity: str, shirt: str, look: int, variant: str = "") -> str:
    """A child as SVG markup in a 100 by 100 box, feet near the bottom.

    `variant` shifts the shirt's shade a little (see `toybox.shades`). Raises CapwrightError for an unknown activity,
    shirt color or look.
    """
    if activity not in _POSTURES:
        raise CapwrightError(f"unknown activity {activity!r}: choose one of {', '.join(_POSTURES)}")
    if not 0 <= look < len(LOOKS):
        raise CapwrightError(f"unknown look {look!r}: looks go from 0 to {len(LOOKS) - 1}")
    main, dark, _ = shades(shirt, variant)
    posture = _POSTURES[activity](_Figure(LOOKS[look], main, dark))
    return (
        f'<g fill="none" stroke="{INK}" stroke-width="3" stroke-linecap="round" stroke-linejoin="round">{posture}</g>'
    )


class _Figure:
    """Body parts in one child's colors."""

    def __init__(self, look: Look, shirt: str, shade: str) -> None:
        self.look = look
        self.shirt = shirt
        self.shade = shade

    def limb(self, line: str, color: str, width: float = 9) -> str:
        return (
            f'<path d="{line}" stroke-width="{width + 5:g}"/>'
            f'<path d="{line}" stroke="{color}" stroke-width="{width:g}"/>'
        )

    def leg(self, line: str, foot_x: float, foot_y: float) -> str:
        shoe = f'<ellipse cx="{foot_x}" cy="{foot_y}" rx="7.5" ry="4.5" fill="#5a4a4c"/>'
        return self.limb(line, self.look.trousers, 10) + shoe

    def arm(self, line: str, hand_x: float, hand_y: float, radius: float = 5) -> str:
        hand = f'<circle cx="{hand_x}" cy="{hand_y}" r="{radius}" fill="{self.look.skin}"/>'
        return hand + self.limb(line, self.shirt, 8)

    def torso(self, top: float, bottom: float) -> str:
        return (
            f'<path d="M36 {top + 6:g}Q50 {top - 6:g} 64 {top + 6:g}L67 {bottom:g}H33Z" fill="{self.shirt}"/>'
            f'<path d="M37 {bottom - 4:g}H63" stroke="{self.shade}"/>'
        )

    def head(self, x: float, y: float, gaze: float = 0, open_mouth: bool = False) -> str:
        look = self.look
        hair = f'<g fill="{look.hair}">'
        mouth = (
            f'<path d="M{gaze - 5:g} 6Q{gaze:g} 16 {gaze + 5:g} 6Z" fill="#a33d3d" stroke-width="2"/>'
            if open_mouth
            else f'<path d="M{gaze - 5:g} 7Q{gaze:g} 12 {gaze + 5:g} 7" stroke-width="2.5"/>'
        )
        return (
            f'<g transform="translate({x:g} {y:g})">{hair}{look.back}</g>'
            f'<circle r="17" fill="{look.skin}"/>{hair}{look.front}</g>'
            f'<g fill="{INK}" stroke="none"><circle cx="{gaze - 6:g}" cy="1" r="2.3"/>'
            f'<circle cx="{gaze + 6:g}" cy="1" r="2.3"/></g>'
            f'<g fill="#e9736b" fill-opacity=".45" stroke="none"><circle cx="{gaze - 10:g}" cy="6.5" r="3"/>'
            f'<circle cx="{gaze + 10:g}" cy="6.5" r="3"/></g>{mouth}</g>'
        )


def _shadow(rx: float = 26, y: float = 96) -> str:
    return f'<ellipse cx="50" cy="{y:g}" rx="{rx:g}" ry="4" fill="#000" fill-opacity=".13" stroke="none"/>'


def _standing_legs(figure: _Figure) -> str:
    return figure.leg("M43 74V92", 41, 95) + figure.leg("M57 74V92", 59, 95)


def _standing(figure: _Figure) -> str:
    return (
        _shadow()
        + _standing_legs(figure)
        + figure.arm("M38 54L30 70", 28, 75)
        + figure.arm("M62 54L70 70", 72, 75)
        + figure.torso(48, 78)
        + figure.head(50, 27)
    )


def _sitting(figure: _Figure) -> str:
    return (
        _shadow(38)
        + figure.torso(60, 88)
        + figure.limb("M60 87L84 84L70 93L40 94", figure.look.trousers, 10)
        + figure.limb("M40 87L16 84L30 93L60 94", figure.look.trousers, 10)
        + '<ellipse cx="64" cy="95" rx="7" ry="4.5" fill="#5a4a4c"/>'
        + figure.arm("M38 66L27 76", 24, 80)
        + figure.arm("M62 66L73 76", 76, 80)
        + figure.head(50, 40)
    )


def _crawling(figure: _Figure) -> str:
    return (
        _shadow(42)
        + figure.limb("M30 70L38 92H26", figure.look.trousers, 11)
        + figure.arm("M60 68L72 88", 74, 93)
        + figure.limb("M24 70L22 91H8", figure.look.trousers, 11)
        + f'<path d="M20 76C14 60 24 54 38 54H62C74 54 74 74 62 76Z" fill="{figure.shirt}"/>'
        + f'<path d="M24 71H58" stroke="{figure.shade}"/>'
        + figure.arm("M60 66L58 88", 58, 93)
        + figure.head(76, 46, gaze=4)
    )


def _jumping(figure: _Figure) -> str:
    return (
        _shadow(20, 97)
        + figure.leg("M43 62L30 68L32 78", 30, 82)
        + figure.leg("M57 62L70 68L68 78", 70, 82)
        + figure.arm("M38 44L22 30L18 18", 17, 12)
        + figure.arm("M62 44L78 30L82 18", 83, 12)
        + figure.torso(38, 64)
        + figure.head(50, 20, open_mouth=True)
        + '<path d="M40 90V84M50 92V82M60 90V84" stroke-width="2.5"/>'
    )


def _waving(figure: _Figure) -> str:
    return (
        _shadow()
        + _standing_legs(figure)
        + figure.arm("M38 54L30 70", 28, 75)
        + figure.torso(48, 78)
        + figure.arm("M61 55L80 50L83 34", 84, 25, 7)
        + figure.head(50, 27, open_mouth=True)
        + '<path d="M74 12Q78 8 83 8M95 14Q99 19 98 26" stroke-width="3"/>'
    )


def _pointing(figure: _Figure) -> str:
    return (
        _shadow()
        + _standing_legs(figure)
        + figure.limb("M39 55L26 63L37 71", figure.shirt, 8)
        + figure.torso(48, 78)
        + figure.limb("M84 55H96", figure.look.skin, 3.5)
        + figure.arm("M61 56H80", 86, 56, 5.5)
        + figure.head(50, 27, gaze=5)
    )


_POSTURES = {
    "sitting": _sitting,
    "standing": _standing,
    "crawling": _crawling,
    "jumping": _jumping,
    "waving": _waving,
    "pointing": _pointing,
}
