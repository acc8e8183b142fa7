"""A PTB tokenizer without Java: the tokens that caption metrics count, as Stanford's PTBTokenizer 3.4.1 cuts them.

Captions have been scored for years on the output of `PTBTokenizer -preserveLines -lowerCase`, with punctuation removed;
another tokenizer gives other numbers. This one was written from the outputs of that program, not from its source.
docs/methods/tokenizer.md says how often the two differ.

A piece of text between spaces is nearly always cut the same wherever it stands, so pieces are remembered. Within a
piece all rules are tried where the last token ended and the longest match wins, as in the lexer that is imitated; of
equally long ones the first. A rule is a pattern whose group is the token: what it only looked at counts as length, too.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from functools import cache, lru_cache

from capwright.text.tables import read_tables

_Rule = Callable[[str, int], "re.Match[str] | None"]

#: Changes whenever a text could be cut otherwise; it is part of the signature of every number made from the tokens.
VERSION = "ptb-py.1"

#: What it knows by heart: kinds of characters, and abbreviations that keep their dot; each a text with spaces between.
TABLES: dict[str, str] = read_tables("capwright.text", "ptb_tables.yaml")

#: Tokens that caption metrics leave out. Brackets are not among them: the list of the original has "-LRB-", and
#: lower-casing has turned that into "-lrb-", which stays.
_DROPPED = frozenset(
    {"''", "'", "``", "`", '"', ".", "...", "…", "?", "!", ",", ":", ";", "-", "--", "—", "‐", "‑", "֊"}
)

_RENAMED = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-", "---": "", "----": ""}
_RENAMED |= {"£": "#", "€": "$", "₠": "$", "¤": "$", "¢": "cents"}
_RENAMED |= {"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}

_QUOTES = str.maketrans({"‘": "`", "’": "'", "“": "``", "”": "''"})

_ENTITIES = {"amp": "&", "lt": " < ", "gt": " > ", "quot": '"', "apos": "'", "nbsp": " ", "mdash": "—", "ndash": "—"}
_ENTITY = re.compile(rf"&({'|'.join(_ENTITIES)});")

#: Where a token depends on what is behind a space: tags, mixed and telephone numbers, "no. 5", a letter before a dot.
_ACROSS = re.compile(
    r"[<0-9).](?:(?<=<)[A-Za-z_!?/]|(?<=[0-9)]) \(?[0-9]|(?<=\.)(?: [0-9]"
    r"|(?<=[A-Za-z]\.)(?<![A-Za-z0-9.][A-Za-z]\.)(?: [A-Z]| *$)))"
)

#: Words that are two tokens, and those that keep a dot behind them. Any other word is one token, and a dot or comma
#: behind it none.
_TWO_WORDS = "cannot gonna gotta lemme gimme wanna"
_UNLIKE_OTHERS = frozenset(
    " ".join([_TWO_WORDS, TABLES["abbreviations"], TABLES["states"], TABLES["companies"]]).split()
)

# What rules are made of, after `_Looks` has put two letters for all those beyond ASCII: a letter, a letter or digit, an
# apostrophe, and a hyphen.
_L, _A, _Q, _H = "[A-Za-zéÉ]", "[A-Za-z0-9éÉ]", "['’]", "[-‐‑֊]"

#: 's and its like, which are tokens after any word.
_SHORT = r"(?i:'(?:[smd]|re|ve|ll)(?![A-Za-z])|’(?:[smd]|re|ve|ll))"
_WITH_APOSTROPHE = re.compile(rf"{_SHORT}|(?i:n['’]t)")


def tokenize(text: str) -> list[str]:
    """Lower-case tokens without punctuation. Any string has some, or none; nothing raises.

    No token holds white space but the no-break space, which stands for a space inside a mixed number ("1 1/2"), a
    telephone number or a tag. Characters that the original does not know (emoji) are lost and separate tokens.

    >>> tokenize("A man (left) isn't riding the red/white bike, it's 5:30pm.")
    ['a', 'man', '-lrb-', 'left', '-rrb-', 'is', "n't", 'riding', 'the', 'red/white', 'bike', 'it', "'s", '5:30', 'pm']
    """
    if "&" in text:
        text = _ENTITY.sub(lambda match: _ENTITIES[match[1]], text)
    if _ACROSS.search(text):
        # The original reads on into the next caption, and captions begin with "A" more often than not.
        return list(_lex(" ".join(text.split()), " A "))
    found: list[str] = []
    for piece in text.split():
        found += cut_piece(piece)
    return found


def is_by_pieces(text: str) -> bool:
    """Whether the tokens of a text with single spaces are surely those of its pieces, one after the other."""
    return "&" not in text and not _ACROSS.search(text)


@lru_cache(maxsize=1 << 16)
def cut_piece(piece: str) -> tuple[str, ...]:
    """Tokens of a piece of text without white space."""
    word = piece[:-1] if len(piece) > 2 and piece[-1] in ".," else piece
    if word.isascii() and word.isalpha() and (lower := word.lower()) not in _UNLIKE_OTHERS:
        return (lower,)
    return _lex(piece)


def _lex(text: str, after: str = "") -> tuple[str, ...]:
    """Tokens of a text in which the only white space is single spaces, as if `after` followed it."""
    scanned = (text if text.isascii() else text.translate(_looks())) + after
    word, other = _rules()
    found = []
    position, end = 0, len(text)
    while position < end:
        first = scanned[position]
        if first == " ":
            position += 1
            continue
        longest, stop = position, position + 1
        for rule in word if first.isalnum() else other:
            match = rule(scanned, position)
            if match is not None and match.end() > longest:
                longest, stop = match.end(), match.end(1)
        token = _finish(text[position:stop], scanned[position:stop])
        if token:
            found.append(token)
        position = stop
    return tuple(found)


def _finish(token: str, scanned: str) -> str:
    """The token as it is written in the end; empty when it is left out."""
    if token in _RENAMED:
        return _RENAMED[token]
    if scanned[0] in "‘’“”„‟‚`" and (len(scanned) == 1 or not scanned[1].isalnum()):
        token = scanned = scanned.translate(_QUOTES)
    if scanned in _DROPPED or (scanned[0] in ".—" and not scanned.strip(".—")):
        return ""
    if scanned[0] != "<":
        token = token.replace("(", "-lrb-").replace(")", "-rrb-")
    if "’" in scanned and _WITH_APOSTROPHE.fullmatch(scanned):
        token = token[: scanned.index("’")] + "'" + token[scanned.index("’") + 1 :]
    token = token.replace("\xad", "")
    return "" if token in _DROPPED else token.lower().replace(" ", "\xa0")


@cache
def _rules() -> tuple[list[_Rule], list[_Rule]]:
    """Rules for what starts with a letter or digit, and for what starts with anything else."""
    # A name (B'Elanna), an elision (d'oeuvre, o'clock), or just letters and digits.
    part = rf"(?:[A-HJ-XZÉ]{_Q}{_L}{{2,}}|(?:[dlnoDLNO]{_Q}(?={_A}{{2}}))?{_A}+)"
    word = rf"{_L}{_A}*(?:[.!?]{_L}{_A}*)*"  # "bus.The": no space after a full stop
    joined = rf"{part}(?:[-_‐‑֊]{part})*"
    initials = r"(?:(?i:ph|ed)\.[Dd]|[A-Za-z](?:\.[A-Za-z])*)\."  # J., U.S. and Ph.D.
    simple = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
    number = r"[0-9]*(?:[.,:][0-9]+)+"
    fraction = r"[0-9]+[/⁄][0-9]+"
    telephone = r"[0-9]{3,4}[- .]?[0-9]{3,5}"
    rest = r"""(?:/[^\s"<>|()]+[^\s"<>|.!?(){},-])?"""  # of an address
    listed = "|".join(TABLES["abbreviations"].split())
    capital = "|".join([*map(str.capitalize, TABLES["states"].split()), *map(str.upper, TABLES["states"].split())])
    company = "|".join([*map(str.capitalize, TABLES["companies"].split()), *TABLES["companies"].split()])
    numbered = "|".join(TABLES["numbered"].split())
    endings = "|".join(TABLES["files"].split())
    starts = "|".join(f"{word[0].upper()}(?i:{word[1:]})" for word in TABLES["starts"].split())
    words = [
        # Contractions.
        rf"({_L}{_A}*){_SHORT}",
        r"([A-Za-z][A-Za-z0-9]*?)(?i:n['’`]t)",
        r"((?i:n['’`]t))",
        rf"((?i:can(?=not)|gon(?=na)|wan(?=na)|got(?=ta)|lem(?=me)|gim(?=me)))[A-Za-z]{{2,3}}(?!{_A})",
        rf"((?i:[dlj]{_Q}|(?:y|qu){_Q}(?={_L})))",
        # Words, joined words, and words with an apostrophe in them.
        rf"({word})",
        rf"({joined})",
        rf"((?:{part}[-_‐‑֊])*?{part}-[A-Za-z]\.{initials})",
        rf"({_A}[A-Za-z0-9éÉ.,]{{0,99}}(?:{_H}{part})+(?:[-_]{part})*)",
        rf"({simple}(?:\\?/{simple}){{1,2}})",
        rf"({_L}+[AEIOUYaeiouy]['’`][aeiouA-ZÉ]{_L}*)",
        rf"((?i:cap{_Q}n|c{_Q}mon|s{_Q}mores|nor{_Q}easter|[eon]e?{_Q}er|nat{_Q}l|ol{_Q}|dunkin{_Q}|somethin{_Q}))",
        # Dots that stay.
        rf"([A-Za-z])\. (?:{starts}) ",
        rf"({initials})",
        rf"((?:{word}|{joined})\.)[,;:]",
        rf"((?i:{listed})\.|(?:{capital}|{company})\.)",
        rf"((?i:{numbered})\.) ?[0-9]",
        # Numbers.
        rf"({number}|[0-9]+)",
        rf"([0-9]+ {fraction}|(?:[0-9]{{1,4}}-)?{fraction})",
        r"((?:[0-9]{2} )?[0-9]{2,4}[- ][0-9]{3,4}[- .][0-9]{3,5})",
        # AT&T, US$, C++, and addresses.
        r"([A-Z]+(?:[&+][A-Z]+)+|[A-Z]+\$|[Cc]\+\+|[CcFf]#|x_[-'<=>^~])",
        r"""([A-Za-z0-9][^\s"<>|()]{0,99}?@(?:[^\s"<>|(){}.]+\.)*[^\s"<>|(){}.]+)""",
        r"""(https?://[^\s"<>|(){}]+[^\s"<>|.!?(){},-])""",
        rf"""(www\.(?:[^\s"<>|.!?(){{}},]+\.)+[A-Za-z]{{2,4}}{rest})""",
        rf"((?:{_L}+\.)+(?:com|net|org|edu){rest})",
        rf"({_A}+(?:\.{_A}+)*\.(?i:{endings}))(?![^ .,!?])",
    ]
    others = [
        rf"({_SHORT})",
        r"((?i:['’](?:em|till?|cause|n['’])|'n(?![^ ])|’n))",
        r"('[Tt])(?i:is|was)",
        rf"({_Q}[0-9]0s|{_Q}[0-9][0-9](?![^ ]))",
        rf"([-+]?{number}|[-+][0-9]+)",
        rf"((?:\+[0-9]{{2}} )?\([0-9]{{2,4}}\)[- ]?{telephone}|\+[0-9]{{2}} [0-9]{{2,4}}[- ]{telephone})",
        r"(#[A-Za-zéÉ]+|@[A-Za-z_][A-Za-z0-9_]*)",
        # Tags, smileys, entities, brackets as this tokenizer writes them, and an escaped asterisk.
        r"(<(?:!--.{0,9999}?--|[!?][A-Za-z][^>]{0,999}|[A-Za-z0-9][^\s<>\"|()]{0,99}@[^\s<>\"|()]+)>)",
        r"""(</?[A-Za-z_][\w:.-]*(?: +[A-Za-z][\w:.-]*(?: *= *(?:'[^']*'|"[^"]*"))?)* */?>)""",
        r"([<>]?[:;=][-o*']?[()DPdpO{@|\\\[\]])(?![A-Za-z0-9])",
        r"(\(?[-'<=>^~]_[-'<=>^~x]\)?|\([-'<=>^~]\.[-'<=>^~]\))",
        r"(&(?:[AEIOUaeiou](?:acute|grave|uml)|#[0-9]+);|-(?i:[lr][crs]b)-|\\\*)",
        # Runs of one mark, and pairs of quotes.
        r"(\.\.\.+|\*+|_+|#+|<{1,2}|>{1,2}|@+|²+|-+|—+|[!?]+|''|[`‘’“”„‟‚]{1,2})",
    ]
    return [re.compile(rule).match for rule in words], [re.compile(rule).match for rule in others]


class _Looks(dict[int, str]):
    """What a character counts as: é a letter, É a capital, 0 a digit, • a token by itself, a space a gap between two.

    Characters that rules name count as themselves. There are as many characters after `str.translate` as before.
    """

    def __init__(self) -> None:
        super().__init__({i: chr(i) for i in range(128)})
        self.update({ord(c): c for c in "‘’“”„‟‚‐‑֊⁄—…"})
        self.update(zip(map(ord, "«»‹›‛\x91\x92\x93\x94"), "“”‘’‘‘’“”"))
        self.update({ord(c): "—" for c in "–―\x96\x97"})
        self.update({ord(c): "²" for c in "²³¹⁰⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉"})
        self.update({ord(c): "•" for c in _RENAMED if c > "\x7f"})
        self[0xAD] = "é"  # the soft hyphen: inside words, and gone in the end
        self._letters = _bounds(TABLES["letters"])
        self._symbols = _bounds(TABLES["symbols"])

    def __missing__(self, code: int) -> str:
        if bisect_right(self._letters, code) % 2:
            kind = "0" if chr(code).isdecimal() else "É" if chr(code).isupper() else "é"
        else:
            kind = "•" if bisect_right(self._symbols, code) % 2 else " "
        self[code] = kind
        return kind


def _bounds(ranges: str) -> list[int]:
    """Where ranges of code points start and where they are over, in order: inside after an odd number of them."""
    bounds = []
    for entry in ranges.split():
        first, _, last = entry.partition("-")
        bounds += [int(first, 16), int(last or first, 16) + 1]
    return bounds


@cache
def _looks() -> _Looks:
    return _Looks()
