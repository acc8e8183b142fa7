"""The original PTB tokenizer of Stanford CoreNLP 3.4.1, in Java: bit for bit what COCO captions are scored with."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from capwright.text.java.locate import Java, require
from capwright.text.java.process import JAVA_OPTIONS, run_once
from capwright.types import ScorerError

#: What stands in signatures.
VERSION = "ptb-java-3.4.1"

#: Tokens that are dropped. Brackets stay, because the tokenizer writes them in lower case and this list does not.
PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)

_START = 120.0
_EACH = 0.05


def tokenize(texts: Sequence[str]) -> list[list[str]]:
    """Tokens of each text, in lower case and without punctuation, from one run of Java.

    A token may hold a no-break space ("1 1/2"). A text without words gives an empty list.

    Args:
        texts: without line ends of any kind (`tokens.collapse`).

    Raises:
        NotInstalledError: Java or the jar is missing.
        ScorerError: a text has a line end, Java broke or took too long, or gave back another number of lines.
    """
    if not texts:
        return []
    for text in texts:
        if len(text.splitlines()) > 1:
            raise ScorerError(f"ptb-java: a line end in a text would mix up captions: {text[:80]!r}; collapse it first")
    java, jar = require("ptb-java")
    return _cut(java, jar, [text.encode("utf-8", "replace").decode("utf-8") for text in texts])


def _cut(java: Java, jar: Path, texts: Sequence[str]) -> list[list[str]]:
    with tempfile.TemporaryDirectory(prefix="capwright-java-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "texts").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8", newline="\n")
        command = [
            str(java.path),
            *JAVA_OPTIONS,
            *("-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"),
            *("-preserveLines", "-lowerCase", "-encoding", "UTF-8", "texts"),
        ]
        printed = run_once("ptb-java", command, folder, _START + _EACH * len(texts))
    lines = printed.decode("utf-8").split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    if len(lines) != len(texts):
        if len(texts) == 1:
            raise ScorerError(f"ptb-java: made {len(lines)} lines of one text: {texts[0][:80]!r}")
        # Some text runs into its neighbour or falls apart: halves find it, and no other text moves.
        middle = len(texts) // 2
        return _cut(java, jar, texts[:middle]) + _cut(java, jar, texts[middle:])
    return [[token for token in line.rstrip().split(" ") if token and token not in PUNCTUATION] for line in lines]
