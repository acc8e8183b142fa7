"""The nine areas as backgrounds: light, quiet, and each told by what stands at its back wall.

Markup fills a 100 by 100 box. Wall or sky ends near y = 52; children stand in the middle, toys on the floor in front.
"""

from __future__ import annotations

from capwright.scenes.world import AREAS
from capwright.types import CapwrightError


def area_shapes(area: str) -> str:
    """The background of an area as SVG markup. Raises CapwrightError for an unknown area."""
    if area not in _AREAS:
        known = ", ".join(name for names in AREAS.values() for name in names)
        raise CapwrightError(f"unknown area {area!r}: choose one of {known}")
    return _AREAS[area]


def _rect(x: float, y: float, width: float, height: float, fill: str, radius: float = 0) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" fill="{fill}"/>'


def _circle(x: float, y: float, radius: float, fill: str) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{fill}"/>'


def _shape(line: str, fill: str) -> str:
    return f'<path d="{line}" fill="{fill}"/>'


def _line(line: str, color: str, width: float = 1) -> str:
    return (
        f'<path d="{line}" fill="none" stroke="{color}" stroke-width="{width:g}" '
        'stroke-linecap="round" stroke-linejoin="round"/>'
    )


def _room(wall: str, floor: str, skirting: str) -> str:
    return _rect(0, 0, 100, 53, wall) + _rect(0, 53, 100, 47, floor) + _rect(0, 51.5, 100, 2.2, skirting)


def _rug(fill: str, edge: str) -> str:
    return (
        f'<ellipse cx="50" cy="80" rx="47" ry="17" fill="{edge}"/>'
        f'<ellipse cx="50" cy="80" rx="43.5" ry="14.5" fill="{fill}"/>'
    )


def _block_corner() -> str:
    blocks = "".join(
        _rect(x, 8.5 + 0.0, 6, 7.5, fill)
        for x, fill in ((10, "#eec9b8"), (17, "#cfe0c6"), (34, "#c6d7ea"), (64, "#f1e0a8"), (84, "#dccbe6"))
    )
    return (
        _room("#f8f0e0", "#efdfc4", "#dcc6a0")
        + _line("M0 64H100M0 76H100M0 89H100M22 53V64M70 64V76M34 76V89M80 53V64M60 89V100", "#e3cfae", 0.7)
        + _rug("#e4ebe6", "#cddad3")
        + _rect(5, 3, 90, 30, "#dcbf92", 1)
        + "".join(_rect(x, y, 20.3, 12, "#f3e4c8") for x in (7, 28.6, 50.2, 71.8) for y in (4.8, 18.8))
        + blocks
        + _rect(31, 22.8, 16, 8, "#eec9b8")
        + _shape("M52 30.800V22.800H68V30.800H63.500A3.5 3.5 0 0 0 56.5 30.800Z", "#c6d7ea")
        + _shape("M73 30.800L80 21L87 30.800Z", "#cfe0c6")
        + _rect(10, 24.8, 6, 6, "#f1e0a8")
        + _rect(17.5, 24.8, 6, 6, "#dccbe6")
        + _rect(1, 43, 9, 12, "#eec9b8")
        + _rect(10, 43, 9, 12, "#c6d7ea")
        + _rect(4, 34, 12, 9, "#f1e0a8")
        + _shape("M3 34L10 25L17 34Z", "#cfe0c6")
        + _rect(82, 43, 16, 12, "#cfe0c6")
        + _rect(85, 35, 10, 8, "#dccbe6")
    )


def _art_studio() -> str:
    papers = "".join(
        _rect(x, 6, 11, 13, "#fffdf8") + _circle(x + 5.5, 12.5, 3.4, fill)
        for x, fill in ((34, "#f0bcae"), (48, "#b9d7ec"), (62, "#f3e09b"))
    )
    jars = "".join(
        _rect(x, 35, 6.5, 9, fill, 1) + _line(f"M{x + 2:g} 35L{x + 1:g} 25M{x + 4.5:g} 35L{x + 6:g} 26", "#c7a173", 1.1)
        for x, fill in ((76, "#f0bcae"), (84, "#b9d7ec"), (92, "#bfe0c0"))
    )
    return (
        _room("#f5eef6", "#e9e5ee", "#d6cbdc")
        + _line("M30 4Q54 8 78 4", "#cdbfd3", 0.8)
        + papers
        + _line("M16 4L5 60M16 4L28 60M16 4V56", "#d0a878", 2)
        + _rect(3, 9, 26, 26, "#fffdf8", 0.5)
        + _rect(3, 26, 26, 9, "#cfe3bf")
        + _circle(21, 17, 4, "#f6d98c")
        + _shape("M6 26L12 16L18 26Z", "#b9d7ec")
        + _rect(1, 35, 30, 2.5, "#d0a878")
        + _rect(72, 44, 28, 3, "#d9bd95")
        + _rect(75, 47, 2.5, 12, "#d9bd95")
        + jars
        + _shape("M8 72Q13 66 18 71Q25 72 20 77Q15 82 10 78Q3 76 8 72Z", "#f3d3c9")
        + _shape("M78 66Q84 62 88 66Q94 70 88 73Q80 76 76 71Z", "#cfe2ee")
        + _shape("M44 90Q51 85 56 90Q62 95 54 97Q44 98 44 90Z", "#f4e9bd")
    )


def _music_corner() -> str:
    keys = "".join(_rect(64.5 + 4.1 * k, 33, 3.5, 6, "#fffdf8") for k in range(8)) + "".join(
        _rect(67 + 4.1 * k, 33, 1.9, 3.4, "#8d8390") for k in (0, 1, 3, 4, 5)
    )

    def note(x: float, y: float) -> str:
        return (
            f'<ellipse cx="{x}" cy="{y}" rx="3.4" ry="2.5" fill="#9fb4c4"/>'
            f'<ellipse cx="{x + 11}" cy="{y - 2}" rx="3.4" ry="2.5" fill="#9fb4c4"/>'
            + _line(f"M{x + 2.7:g} {y}V{y - 13}L{x + 13.7:g} {y - 15}V{y - 2}", "#9fb4c4", 1.6)
        )

    return (
        _room("#e8f1f3", "#e2e4d9", "#c3d3d6")
        + _rug("#efe6e8", "#dfced2")
        + "".join(_line(f"M22 {y}Q42 {y + 5} 62 {y}", "#cddde2", 0.8) for y in (8, 13, 18, 23, 28))
        + note(28, 24)
        + note(46, 19)
        + _rect(60, 10, 40, 44, "#cdae8c", 1.5)
        + _rect(62, 12.5, 36, 15, "#d9bf9f", 1)
        + _rect(62, 31, 38, 9.5, "#b8977a", 1)
        + keys
        + _rect(72, 14, 16, 11, "#fffdf8")
        + _line("M74 17.500H86M74 20H86M74 22.500H82", "#c4c9cf", 0.7)
        + _line("M12 4V28", "#b8977a", 3)
        + _circle(12, 30, 6, "#e3bd8d")
        + _circle(12, 42, 9, "#e3bd8d")
        + _circle(12, 38, 3.2, "#a98563")
        + _line("M12 6V46", "#f6ecdd", 0.7)
    )


def _reading_nook() -> str:
    books = ""
    tints = ("#e6b9a8", "#b9cfe0", "#ecd69a", "#bcd4b4", "#d3c0de")
    for row, y in enumerate((6, 22, 38)):
        x = 5.0
        for k in range(9):
            width = (3.6, 2.8, 4.2)[(k + row) % 3]
            height = (11, 9.5, 12)[(2 * k + row) % 3]
            books += _rect(x, y + 13 - height, width - 0.4, height, tints[(3 * k + 2 * row) % 5])
            x += width
    return (
        _room("#f9ecdc", "#efdcc8", "#dfc3a2")
        + _rug("#ecdde0", "#ddc5cb")
        + _rect(2, 3, 38, 51, "#cfa97c", 1)
        + "".join(_rect(4, y, 34, 14, "#f2dfc3") for y in (5, 21, 37))
        + books
        + _shape("M76 2L54 58H98Z", "#dfe9ea")
        + _shape("M76 2L66 58H60L54 58ZM76 2L86 58H98Z", "#c3d8dc")
        + _shape("M76 20L67 58H85Z", "#f7e5c2")
        + _line("M76 2L73 -2M76 2L79 -2", "#b99a72", 1.5)
        + '<ellipse cx="76" cy="57" rx="11" ry="4" fill="#e6b9a8"/>'
        + _line("M48 0V8", "#b99a72", 1)
        + _shape("M42 16L45 8H51L54 16Z", "#f3d27d")
        + '<ellipse cx="48" cy="17" rx="7" ry="2.2" fill="#fdf3c9"/>'
    )


def _snack_table() -> str:
    tiles = "".join(_rect(20 * c + 10 * (r % 2), 53 + 12 * r, 10, 12, "#e6e9dc") for r in range(4) for c in range(5))
    return (
        _room("#eff5e8", "#f5f3ea", "#cfdac2")
        + tiles
        + _rect(32, 2, 36, 24, "#d7e9f2", 1)
        + _line("M32 14H68M50 2V26M32 2H68V26H32Z", "#fffdf8", 1.6)
        + _shape("M30 0H46Q42 12 30 26Z", "#f3c9c0")
        + _shape("M70 0H54Q58 12 70 26Z", "#f3c9c0")
        + _line("M33 2Q35 10 31 20M67 2Q65 10 69 20", "#fbe3dd", 1.4)
        + _rect(3, 40, 94, 6, "#f7f7f2")
        + _shape(
            "M3 44H97V50" + "l-6 3l-6-3" * 7 + "l-6 3l-4-3Z",
            "#c9dfec",
        )
        + _rect(6, 50, 3, 14, "#d9bd95")
        + _rect(91, 50, 3, 14, "#d9bd95")
        + _circle(10, 31, 4, "#efb3a6")
        + _circle(16.5, 31, 4, "#f3d78c")
        + _circle(22, 31.5, 4, "#bcd9a8")
        + _shape("M4 32.500H28Q26 40.5 16 40.500T4 32.500Z", "#fffdf8")
        + _line("M4 32.500H28", "#cdd3cd", 0.8)
        + _shape("M77 27H86L84.5 40.500H78.500Z", "#f6c99c")
        + _line("M83 27L86 19", "#e39a8d", 1.2)
        + _shape("M88 30H96L94.5 40.500H89.500Z", "#b9d7ec")
        + _shape("M8 4H26V20H8Z", "#fffdf8")
        + _shape("M17 7C20 4 24 7 22 12C21 16 19 18 17 17C15 18 13 16 12 12C10 7 14 4 17 7Z", "#efb3a6")
        + _line("M17 7Q17 5 19 4.5", "#9fb98c", 1)
    )


def _nap_room() -> str:
    def cot(x: float) -> str:
        return (
            _rect(x, 38, 34, 14, "#f4f2fa", 2)
            + _rect(x + 1, 33, 10, 8, "#fffdf8", 3)
            + _shape(f"M{x + 10} 37H{x + 32}Q{x + 35} 37 {x + 35} 41V51H{x + 10}Z", "#bfd0e6")
            + _line(f"M{x + 17} 38V50M{x + 24} 38V50M{x + 31} 38V50", "#d9e4f2", 1.6)
            + _rect(x - 1, 30, 2.5, 30, "#c9b7a0", 1)
            + _rect(x + 34, 36, 2.5, 24, "#c9b7a0", 1)
        )

    stars = "".join(
        _shape(
            f"M{x} {y - 2.6:g}L{x + 0.8:g} {y - 0.8:g}L{x + 2.6:g} {y}L{x + 0.8:g} {y + 0.8:g}L{x} {y + 2.6:g}"
            f"L{x - 0.8:g} {y + 0.8:g}L{x - 2.6:g} {y}L{x - 0.8:g} {y - 0.8:g}Z",
            "#fdf0bd",
        )
        for x, y in ((39, 8), (60, 7), (42, 22), (62, 20), (57, 26))
    )
    return (
        _room("#dcdff0", "#d6d3e6", "#bfc2dd")
        + _rug("#e6e2f1", "#c9c5e0")
        + _rect(32, 1, 36, 30, "#f4f2fa", 1)
        + _rect(34, 3, 32, 26, "#7f8abb")
        + stars
        + _shape("M52 6A9 9 0 1 0 57 21A11 11 0 0 1 52 6Z", "#fdf0bd")
        + cot(2)
        + cot(63)
        + _line("M16 0V10M84 0V8", "#b4b7d6", 0.7)
        + _shape("M9 16Q9 10 15 11Q18 7 22 11Q26 12 24 16Z", "#f6f5fb")
        + _shape("M77 14Q77 8 83 9Q86 5 90 9Q94 10 92 14Z", "#f6f5fb")
    )


def _sandpit() -> str:
    dots = "".join(
        _circle(x, y, 0.7, "#dfc68d")
        for x, y in (
            (8, 62),
            (22, 70),
            (36, 61),
            (52, 68),
            (67, 62),
            (83, 70),
            (94, 63),
            (12, 84),
            (30, 92),
            (48, 86),
            (62, 93),
            (78, 86),
            (92, 91),
            (5, 75),
            (40, 78),
            (60, 78),
            (88, 79),
        )
    )
    return (
        _rect(0, 0, 100, 60, "#e1f1f8")
        + _shape("M0 42Q8 32 18 37Q28 28 40 36Q52 28 64 36Q76 29 86 37Q94 33 100 40V52H0Z", "#c9dfb9")
        + _rect(0, 53, 100, 47, "#f6e7bf")
        + _rect(0, 47, 100, 7, "#d2ab77")
        + _line("M0 50.500H100", "#c0965f", 0.7)
        + _rect(0, 95, 100, 5, "#d2ab77")
        + dots
        + _line("M80 12V56", "#c9a57a", 1.8)
        + _shape("M56 18Q60 0 80 -1Q98 0 104 18Q98 13 92 18Q86 13 80 18Q74 13 68 18Q62 13 56 18Z", "#f5c7b8")
        + _shape("M68 18Q70 4 80 -1Q90 4 92 18Q86 13 80 18Q74 13 68 18Z", "#fff5e4")
        + _shape("M4 57V36H8V39H11V36H15V39H18V36H22V57Z", "#e8cd8f")
        + _shape("M20 57V28H23V31H26V28H29V31H32V28H35V57Z", "#eed69d")
        + _shape("M25 57V50A3 3 0 0 1 31 50V57Z", "#cfae6c")
        + _line("M27.5 28V16", "#b88f5e", 1)
        + _shape("M27.5 16L36 19L27.5 22Z", "#efa99b")
        + _shape("M42 8Q43 4 47 5Q50 2 53 6Q57 7 55 10H43Z", "#fff")
    )


def _garden() -> str:
    pickets = "".join(_shape(f"M{x} 52V30L{x + 3} 26L{x + 6} 30V52Z", "#fffdf6") for x in range(1, 100, 9))
    tufts = "".join(
        _line(f"M{x - 1.5:g} {y - 2}L{x} {y}L{x + 1.5:g} {y - 2}", "#b5d199", 0.9)
        for x, y in ((8, 66), (25, 72), (44, 64), (70, 70), (90, 64), (15, 90), (50, 93), (82, 90), (36, 82), (95, 80))
    )

    def sunflower(x: float, y: float, radius: float) -> str:
        petals = "".join(
            f'<ellipse cx="{x}" cy="{y}" rx="{radius:g}" ry="{radius * 0.42:g}" fill="#f6d873" '
            f'transform="rotate({angle} {x} {y})"/>'
            for angle in (0, 45, 90, 135)
        )
        return (
            _line(f"M{x} {y}V58", "#9dc384", 1.8)
            + _shape(f"M{x} 44Q{x + 7} 36 {x + 9} 41Q{x + 6} 46 {x} 46Z", "#9dc384")
            + petals
            + _circle(x, y, radius * 0.45, "#b58a5a")
        )

    def tulip(x: float, y: float, fill: str) -> str:
        return _line(f"M{x} {y}V58", "#9dc384", 1.4) + _shape(
            f"M{x - 4} {y - 6}L{x - 2} {y - 3}L{x} {y - 7}L{x + 2} {y - 3}L{x + 4} {y - 6}Q{x + 5} {y + 3} {x} {y + 3}"
            f"T{x - 4} {y - 6}Z",
            fill,
        )

    return (
        _rect(0, 0, 100, 60, "#e6f4f6")
        + _circle(50, 8, 6, "#fbe7a2")
        + _shape("M0 40Q12 22 30 34Q44 24 58 34Q76 22 100 36V55H0Z", "#cfe4bd")
        + _rect(0, 34, 100, 2.5, "#f1ecdc")
        + _rect(0, 44, 100, 2.5, "#f1ecdc")
        + pickets
        + _rect(0, 52, 100, 48, "#dcedc8")
        + tufts
        + sunflower(9, 18, 9)
        + sunflower(25, 28, 7.5)
        + tulip(70, 40, "#f0b0b0")
        + tulip(61, 44, "#d9bfe8")
        + _rect(90, 20, 4.5, 36, "#c3a27c")
        + _shape("M78 22Q74 12 82 8Q86 -2 95 1Q104 0 104 10V26Q94 32 84 28Q78 27 78 22Z", "#b5d79d")
        + "".join(_circle(x, y, 2, "#eaa091") for x, y in ((84, 14), (93, 9), (90, 20), (98, 18)))
    )


def _playground() -> str:
    return (
        _rect(0, 0, 100, 60, "#e3eef9")
        + _shape("M34 9Q35 4 40 5Q44 1 48 6Q53 7 51 11H35Z", "#fff")
        + _rect(0, 44, 100, 12, "#d3e5c0")
        + _rect(0, 54, 100, 46, "#f1e2d6")
        + _line("M0 55H100", "#e2c9b8", 1.4)
        + _line("M30 98L38 62H62L70 98M36 71H64M34 81H66.500M32 90H68.500M50 71V81", "#fbf4ee", 1.2)
        # slide
        + _line("M4 58V8M15 58V10M4 20H15M4 29H15M4 38H15M4 47H15", "#d8ae83", 2)
        + _rect(2, 12, 17, 3, "#d8ae83", 1)
        + _shape("M1 3L10 -3L19 3Z", "#efb3a6")
        + _line("M4 3V12M16 3V12", "#d8ae83", 1.6)
        + _line("M19 14C26 18 28 46 44 52", "#c7b15e", 7)
        + _line("M19 14C26 18 28 46 44 52", "#f6dd8c", 5)
        # swings
        + _line("M60 6H96", "#a9b9c9", 2.4)
        + _line("M60 6L55 58M60 6L65 58M96 6L91 58M96 6L101 58", "#a9b9c9", 2)
        + _line("M70 6V40M77 6V40M83 6L80 34M90 6L87 34", "#b7bcc2", 0.9)
        + _rect(68, 39, 11, 3, "#e39a8d", 1)
        + _rect(78, 33.5, 11, 3, "#8fb3d6", 1)
    )


_AREAS: dict[str, str] = {
    "block corner": _block_corner(),
    "art studio": _art_studio(),
    "music corner": _music_corner(),
    "reading nook": _reading_nook(),
    "snack table": _snack_table(),
    "nap room": _nap_room(),
    "sandpit": _sandpit(),
    "garden": _garden(),
    "playground": _playground(),
}
