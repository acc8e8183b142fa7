from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.data import read_vocabulary, write_vocabulary
from capwright.data.vocabulary import shared_names
from capwright.types import LEVELS, DataError, Term, Vocabulary

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).map(str.strip).filter(bool)
TERMS = st.builds(
    Term,
    name=WORDS,
    aliases=st.lists(WORDS, max_size=3).map(tuple),
    plurals=st.lists(WORDS, max_size=2).map(tuple),
    category=st.one_of(st.just(""), WORDS),
    level=st.sampled_from(LEVELS),
    tier=st.one_of(st.just(""), WORDS),
)


def read(tmp_path: Path, text: str | bytes) -> Vocabulary:
    path = tmp_path / "vocabulary.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_vocabulary(path)


def test_every_key_is_optional(tmp_path: Path) -> None:
    text = "geoboard:\npegboard: {}\n"
    text += "tangram: {category: puzzle, aliases: [tangram puzzle], plurals: tangrams, tier: rare}\n"
    vocabulary = read(tmp_path, text)
    assert list(vocabulary) == ["geoboard", "pegboard", "tangram"]
    assert vocabulary["geoboard"] == Term("geoboard")
    assert vocabulary["tangram"] == Term(
        "tangram", ("tangram puzzle",), ("tangrams",), "puzzle", "professional", "rare"
    )


def test_words_are_taken_as_written(tmp_path: Path) -> None:
    assert read(tmp_path, "no: {tier: never}\n7: {category: 1.50}\non: {aliases: [yes]}\n") == {
        "no": Term("no", tier="never"),
        "7": Term("7", category="1.50"),
        "on": Term("on", aliases=("yes",)),
    }


def test_bom_crlf_and_nothing(tmp_path: Path) -> None:
    assert list(read(tmp_path, b"\xef\xbb\xbfgeoboard:\r\n\r\npegboard:\r\n")) == ["geoboard", "pegboard"]
    assert len(read(tmp_path, "")) == len(read(tmp_path, "# nothing yet\n")) == 0


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a:\nb: {categry: x}\n", 2, 'unknown key "categry" of "b" (did you mean "category"?)'),
        ("a:\nb:\na:\n", 3, "given twice"),
        ("a: {tier: x, tier: y}\n", 1, "given twice"),
        ("- a\n- b\n", 1, "must be a mapping"),
        ("a: just words\n", 1, "must be followed by nothing"),
        ("a:\n  aliases: {b: c}\n", 2, "must be a list of words"),
        ("a:\n  aliases: [b, [c]]\n", 2, "must be a word"),
        ("a:\n  category: [b]\n", 2, "must be a word"),
        ("a:\n  level: expert\n", 2, 'level "expert" of "a" is not one of professional'),
        ("a: {b: [}\n", 1, "not valid YAML"),
        ("a:\n\tb:\n", 2, "not valid YAML"),
        ("a:\n? [b]\n: c\n", 2, "must be a word"),
        ("~:\n", 1, "must be a word"),
        ("a: *nowhere\n", 1, "not valid YAML"),
        ("a:\nb\x07:\n", 2, "not valid YAML"),
    ],
)
def test_mistakes_name_the_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'vocabulary.yaml'}:{line}: ")
    assert reason in str(caught.value)


def test_encodings_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"vocabulary\.yaml:2: byte 0xe9 is not UTF-8"):
        read(tmp_path, "a:\ncaf\xe9:\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-16"):
        read(tmp_path, "a:\n".encode("utf-16"))
    with pytest.raises(DataError, match="cannot be read: no such file"):
        read_vocabulary(tmp_path / "none.yaml")
    with pytest.raises(DataError, match="cannot be written"):
        write_vocabulary(Vocabulary({}), tmp_path / "no folder" / "vocabulary.yaml")
    with pytest.raises(DataError, match="surrogate"):
        write_vocabulary(Vocabulary({"a": Term("a\ud800")}), tmp_path / "a.yaml")
    assert not (tmp_path / "a.yaml").exists()


@settings(max_examples=100, deadline=None)
@given(st.lists(TERMS, max_size=5, unique_by=lambda term: term.name))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, terms: list[Term]) -> None:
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.yaml"
    vocabulary = Vocabulary({term.name: term for term in terms})
    write_vocabulary(vocabulary, path)
    again = read_vocabulary(path)
    assert again == vocabulary
    assert list(again) == list(vocabulary)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_pickle_and_shared_names() -> None:
    vocabulary = Vocabulary({"a": Term("a", aliases=("x", "X")), "b": Term("b", aliases=("A",))})
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary
    assert shared_names(vocabulary) == {"a": ["a", "b"]}
