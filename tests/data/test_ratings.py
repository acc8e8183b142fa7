from __future__ import annotations

import csv
import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.data.ratings import Rating, ratings_by_caption, read_ratings
from capwright.types import DataError


def write(folder, text, name="ratings.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


WANTED = [Rating("391895", 4, "rsrs", "ann"), Rating("391895", 3.5, "rsrs", "ben"), Rating("007", 1, "base", "ann")]
ROWS = [("391895", "rsrs", "ann", "4"), ("391895", "rsrs", "ben", "3.5"), ("007", "base", "ann", "1")]
NAMES = ("id", "system", "rater", "rating")


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.CSV", ",")])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tables(tmp_path, name, separator, ending, mark):
    text = mark + ending.join(separator.join(row) for row in [NAMES, *ROWS]) + ending * 2
    assert read_ratings(write(tmp_path, text, name)) == WANTED


def test_jsonl_and_packed_files(tmp_path):
    rows = [dict(zip(NAMES, row)) for row in ROWS]
    rows[0] |= {"id": 391895, "rating": 4, "note": ["not", "read"]}
    text = "\n".join(map(json.dumps, rows)).encode()
    assert read_ratings(write(tmp_path, text, "a.jsonl")) == WANTED
    assert read_ratings(write(tmp_path, gzip.compress(text), "a.jsonl.gz")) == WANTED


def test_what_is_packed_shows_in_the_bytes_not_in_the_name(tmp_path):
    assert read_ratings(write(tmp_path, "id,rating\n1,2\n", "a.csv.gz")) == [Rating("1", 2)]
    assert read_ratings(write(tmp_path, gzip.compress(b"id,rating\n1,2\n"))) == [Rating("1", 2)]


def test_other_names_of_columns_and_few_of_them(tmp_path):
    assert read_ratings(write(tmp_path, "image_id,Score\n1,2\n1,2\n")) == [Rating("1", 2), Rating("1", 2)]
    names = "sample_id,label,model,worker_id\n1,2,x,w\n"
    assert read_ratings(write(tmp_path, names)) == [Rating("1", 2, "x", "w")]


def test_a_row_without_a_rating_is_unknown_not_zero(tmp_path):
    assert read_ratings(write(tmp_path, "id,rating\n1,\n2,0\n3\n")) == [Rating("2", 0)]
    assert read_ratings(write(tmp_path, '{"id": 1, "rating": null}\n{"id": 2, "rating": 0}', "a.jsonl")) == [
        Rating("2", 0)
    ]


def test_all_ratings_of_a_caption_are_gathered():
    assert ratings_by_caption(WANTED) == {("rsrs", "391895"): (4, 3.5), ("base", "007"): (1,)}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "id,rating\n1,2\n2,good\n", r'a\.csv:3: rating "good" is not a number'),
        ("a.csv", "id;rating\n1;3,5\n", r'a\.csv:2: rating "3,5" is not a number; write it with a point'),
        ("a.csv", "id,rating\n1,nan\n", r'a\.csv:2: rating "nan"'),
        ("a.csv", "id,rating\n,2\n", r'a\.csv:2: the row has no "id"'),
        ("a.csv", "id,ratings\n1,2\n", r'a\.csv:1: there is no column "rating" among id, ratings \(did you mean "rat'),
        ("a.csv", "name,rating\n1,2\n", r'a\.csv:1: there is no column "id"'),
        ("a.csv", "id,rating\n1,2,3\n", r"a\.csv:2: there are 3 cells, but the first line names 2"),
        ("a.csv", 'id,rating\n"1,2\n', r"a\.csv:2: a quote is opened here and not closed"),
        ("a.csv", b"id,rating\n1,2\n\xff,2\n", r"a\.csv:3: byte 0xff is not UTF-8"),
        ("a.csv", "id,rating\n", "there is no rating in it"),
        ("a.csv", "", "there is no rating in it"),
        ("a.csv", "id,rater,rating\n1,ann,2\n2,ann,2\n1,ann,3\n", r':4: "ann" has rated the caption of "1" on line 2'),
        ("a.jsonl", '{"id": 1, "rating": 2}\n\n{"id": 1', r"a\.jsonl:3: not valid JSON"),
        ("a.csv", "id,rating,rating\n1,2,3\n", r"a\.csv:1: the first line names the column \"rating\" twice"),
        ("a.jsonl", "[1, 2]", r"a\.jsonl:1: a row must be an object"),
        ("a.jsonl", '{"id": 1, "rating": [1, 2]}', r'a\.jsonl:1: "rating" must be one text or number'),
        ("a.jsonl", '{"id": 1, "rating": true}', r'a\.jsonl:1: rating "True" is not a number'),
        ("a.jsonl", '{"id": 1, "rated": 2}', r'a\.jsonl:1: there is no column "rating" among id, rated'),
        ("a.xlsx", "id,rating\n1,2\n", r"rename or convert"),
        ("a.csv.gz", gzip.compress(b"id,rating\n1,2\n", mtime=0)[:-9], "the archive is cut off or damaged"),
    ],
)
def test_errors_name_the_line_and_what_to_do(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        read_ratings(write(tmp_path, text, name))


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        read_ratings(tmp_path / "none.csv")


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(lambda t: t.strip() == t)


@given(rows=st.lists(st.tuples(TEXT, st.floats(-5, 5), TEXT), min_size=1, max_size=5))
def test_what_was_written_is_read(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("ratings")
    wanted = [Rating(id, rating, system) for id, rating, system in rows]
    table = io.StringIO()
    csv.writer(table).writerows([("id", "rating", "system"), *((id, repr(r), system) for id, r, system in rows)])
    assert read_ratings(write(folder, table.getvalue())) == wanted
    lines = "\n".join(json.dumps({"id": id, "rating": r, "system": s}, ensure_ascii=False) for id, r, s in rows)
    assert read_ratings(write(folder, lines, "a.jsonl")) == wanted
