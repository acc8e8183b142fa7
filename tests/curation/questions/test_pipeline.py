"""The pipeline on the built-in kindergarten: what is kept, what is counted, and going on after a kill."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.curation import Filter, QuestionMaker, write_new
from capwright.data import open_dataset
from capwright.judges.protocols import Answer, Reader, Writer
from capwright.scenes import build, facts, questions, sample_scene
from capwright.scenes.lexical_judge import LexicalJudge
from capwright.scenes.question_writer import FactsWriter
from capwright.types import CapwrightError, DataError, Question
from exact_judges import KNOWN, Guesser, Killed, Says, Writes, scenes

KNOWN_TEXT = next(iter(KNOWN))
BLIND = {"question": KNOWN_TEXT, "options": ["eight", "two", "four", "six"], "answer": "eight"}


def written(record):
    """What `FactsWriter` wrote, with one question that anybody can answer, one whose answer is wrong, one repeated."""
    found = FactsWriter().write("questions", [{**record, "n": 0}])[0]["questions"]
    first = next(entry for entry in found if entry["kind"] == "children")
    wrong = first | {"answer": next(option for option in first["options"] if option != first["answer"])}
    return {"questions": [*found, BLIND, wrong, first]}


def maker(reader=None, writer=None, **options):
    return QuestionMaker(reader or Guesser(), writer or FactsWriter(), evidence="references", **options)


def test_good_questions_stay_and_planted_ones_go():
    samples = scenes(30)
    step = maker(writer=Writes(written), per_image=99)
    made = list(step(samples))
    good = [entry["questions"] for entry in FactsWriter().write("questions", [_given(sample) for sample in samples])]
    for sample, expected in zip(made, good):
        assert [(q.text, q.options, q.answer) for q in sample.questions] == [
            (q["text"], tuple(q["options"]), q["answer"]) for q in expected
        ]
    assert step.tally.dropped == {"blind": 30, "not_seen": 30, "duplicate": 30}
    assert step.tally.written == sum(map(len, good)) + 90 == step.tally.kept + 90
    assert step.tally.without == 0


def _given(sample):
    return {"id": sample.id, "facts": sample.meta["facts"], "n": 99}


def test_the_writer_of_facts_asks_what_scenes_ask():
    """Every question of `scenes.questions` comes, with the same text and answer; options are drawn anew by the seed."""
    for index in range(60):
        scene = sample_scene(0, index)
        (record,) = FactsWriter().write("questions", [{"id": "x", "facts": list(map(asdict, facts(scene))), "n": 0}])
        drawn = {(q["kind"], q["text"], q["answer"]) for q in record["questions"] if q["kind"] != "activity"}
        assert drawn == {(q.kind, q.text, q.answer) for q in questions(scene) if q.kind != "activity"}


def test_the_writer_of_facts_draws_by_seed_and_sample_alone():
    a, b = (_given(sample) | {"n": 4} for sample in scenes(2))
    writer = FactsWriter()
    assert isinstance(writer, Writer)
    assert writer.write("questions", [a, b], seed=1)[1] == writer.write("questions", [b], seed=1)[0]
    assert writer.write("questions", [a], seed=1) != writer.write("questions", [a], seed=2)
    assert len(writer.write("questions", [a])[0]["questions"]) == 4
    strange = [{"facts": None}, {"facts": [1, {"kind": "color", "subject": "spaceship", "value": "red"}]}, {}]
    assert [record["status"] for record in writer.write("questions", strange)] == ["unparseable"] * 3
    with pytest.raises(CapwrightError, match="corruptions"):
        writer.write("corruptions", [])


def test_the_lexical_judge_keeps_all_questions_from_facts():
    """It is exact on references and knows nothing without them, so nothing that facts tell is left out."""
    step = maker(LexicalJudge())
    made = list(step(scenes(40)))
    assert step.tally.kept == step.tally.written == 200
    assert isinstance(Guesser(), Reader)
    assert all(len(sample.questions) == 5 for sample in made)


def test_provenance_says_everything():
    (sample,) = maker(writer=Writes(written))(scenes(1))
    provenance = sample.meta["questions_provenance"]
    assert provenance["writer"] == "writes:1"
    assert provenance["reader"] == provenance["blind_reader"] == "guesser:1"
    assert (provenance["rotations"], provenance["seen"], provenance["blind"], provenance["seed"]) == (4, 0.75, 0.25, 0)
    assert provenance["dropped"] == {"blind": 1, "duplicate": 1, "not_seen": 1}
    assert provenance["accuracies"] == [{"seen": 1.0, "blind": 0.0}] * len(sample.questions)
    assert provenance["written"] == len(sample.questions) + 3
    assert sample.meta["facts"], "what was there stays"
    json.dumps(provenance)


def test_own_questions_can_be_filtered():
    sample = scenes(1)[0]
    planted = Question(KNOWN_TEXT, ("eight", "two", "four", "six"), "eight")
    step = QuestionMaker(Guesser(), None, evidence="references")
    (made,) = step([replace(sample, questions=(*sample.questions, planted, Question("Open?")))])
    assert made.questions == sample.questions
    assert step.tally.dropped == {"blind": 1, "options": 1}
    assert made.meta["questions_provenance"]["writer"] == "dataset"


# Resuming -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_dataset(build(40, 0, tmp_path_factory.mktemp("world") / "world", size=24))


def run(world, out, journal, reader=None, **options):
    step = maker(reader, Writes(written), journal=journal, data=world.fingerprint, chunk=4, **options)
    write_new(step(world), out, world.vocabulary)
    return step


def test_killed_and_gone_on_with_gives_the_same_bytes(world, tmp_path):
    run(world, tmp_path / "whole", tmp_path / "whole.jsonl")
    reader = Guesser(kill_after=9)  # in the middle of the fifth chunk
    with pytest.raises(Killed):
        run(world, tmp_path / "broken", tmp_path / "broken.jsonl", reader)
    assert not (tmp_path / "broken").exists()
    left = tmp_path / ".broken.partial" / "images"
    left.mkdir(parents=True)
    (left / world[0].image.name).write_bytes(b"half a pict")  # what a power cut leaves of a copy
    with open(tmp_path / "broken.jsonl", "ab") as journal:
        journal.write(b'{"id": "scene-000')  # a kill in the middle of a write
    step = run(world, tmp_path / "broken", tmp_path / "broken.jsonl")
    assert step.tally.resumed == 16
    for name in ("whole", "broken"):
        assert (tmp_path / f"{name}.jsonl").read_bytes().count(b"\n") == 41
    assert (tmp_path / "whole.jsonl").read_bytes() == (tmp_path / "broken.jsonl").read_bytes()
    whole, broken = (open_dataset(tmp_path / name) for name in ("whole", "broken"))
    assert (whole.root / "samples.jsonl").read_bytes() == (broken.root / "samples.jsonl").read_bytes()
    assert whole.fingerprint == broken.fingerprint
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "broken", "whole.jsonl", "broken.jsonl"}
    for one, other in zip(whole, broken, strict=True):
        assert one.image.read_bytes() == other.image.read_bytes()


def test_a_folder_with_something_in_it_is_left_alone(world, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(DataError, match="already exists and is not empty"):
        run(world, tmp_path / "out", tmp_path / "j.jsonl")
    assert not (tmp_path / "j.jsonl").exists(), "before anybody is asked"
    with pytest.raises(DataError, match="there are no samples"):
        write_new(maker()([]), tmp_path / "none")


def test_a_finished_journal_asks_nobody(world, tmp_path):
    run(world, tmp_path / "one", tmp_path / "j.jsonl")
    reader = Guesser()
    again = run(world, tmp_path / "two", tmp_path / "j.jsonl", reader)
    assert reader.asked == []
    assert again.tally.resumed == again.tally.samples == 40


def test_chunks_change_nothing():
    samples = scenes(7)
    assert list(maker(chunk=1)(samples)) == list(maker(chunk=3)(samples)) == list(maker(chunk=100)(samples))


def test_another_setting_is_refused(tmp_path):
    list(maker(journal=tmp_path / "j.jsonl")(scenes(2)))
    with pytest.raises(DataError, match=r"j\.jsonl: was made with seen 0\.75, not 0\.5"):
        list(maker(rules=Filter(seen=0.5), journal=tmp_path / "j.jsonl")(scenes(2)))
    with pytest.raises(DataError, match="was made with data '', not 'abc'"):
        list(maker(journal=tmp_path / "j.jsonl", data="abc")(scenes(2)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"id": "1"}\n', "is not a journal of questions"),
        ("[1]\n", "is not a journal of questions"),
        ("not json\n", r"j\.jsonl:1: not valid JSON"),
    ],
)
def test_another_file_is_left_alone(text, says, tmp_path):
    place = tmp_path / "j.jsonl"
    place.write_text(text)
    with pytest.raises(DataError, match=says):
        list(maker(journal=place)(scenes(1)))
    assert place.read_text() == text


def test_two_jobs_on_one_journal(tmp_path):
    pytest.importorskip("fcntl", reason="locks of files are of Unix")
    first = maker(journal=tmp_path / "j.jsonl", chunk=1)(scenes(2))
    next(first)
    with pytest.raises(DataError, match="another job is writing it"):
        list(maker(journal=tmp_path / "j.jsonl")(scenes(2)))
    assert len(list(first)) == 1


def test_what_failed_is_counted_and_tried_again(tmp_path):
    down = Says(lambda evidence, question: Answer(None, status="timeout"))
    down.signature = "guesser:1"
    works = [maker(journal=tmp_path / "j.jsonl", writer=FactsWriter()) for _ in range(2)]
    failing = QuestionMaker(down, FactsWriter(), evidence="references", journal=tmp_path / "j.jsonl")
    with pytest.raises(DataError, match="no question was kept:\n0 of 15 questions kept"):
        list(failing(scenes(3)))
    assert failing.tally.dropped == {"unknown": 15}
    assert len(list(works[0](scenes(3)))) == 3
    assert (works[0].tally.kept, works[0].tally.resumed) == (15, 0)
    list(works[1](scenes(3)))
    assert works[1].tally.resumed == 3


def test_images_and_references_that_are_not_there():
    sample = scenes(1)[0]
    blank = replace(sample, id="blank", references=(" ",))
    step = maker()
    made = list(step([sample, blank]))
    assert [len(each.questions) for each in made] == [5, 0]
    assert step.tally.unwritten == {"missing_image": 1}
    assert step.tally.failures == [("blank", "it has no references")]
    assert "1 sample could not be asked about (status missing_image)" in "\n".join(step.tally.lines())
    writer = Writes(written)
    with pytest.raises(DataError, match="no question was kept"):
        list(QuestionMaker(Guesser(), writer)([sample]))
    assert writer.given == [], "no judge is asked to look at an image that is not there"


def test_the_image_is_the_evidence(world):
    seen = []

    def look(evidence, question):
        seen.append(evidence)
        return Answer(question.options.index("eight")) if evidence else Answer(None, abstained=True)

    writer = Writes(lambda record: {"questions": [BLIND]})
    made = list(QuestionMaker(Says(look), writer)(world[:3]))
    assert [len(sample.questions) for sample in made] == [1, 1, 1]
    assert seen[:12:4] == [sample.image for sample in world[:3]] == [record["image"] for record in writer.given]
    assert set(seen[12:]) == {""}


anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=10) | st.sampled_from(["ok", "timeout", "A"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["status", "questions", "question", "options", "answer", "text"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(anything | st.just({"questions": [BLIND, 3]}), min_size=2, max_size=4))
def test_no_writer_breaks_the_job_or_another_sample(records):
    """The first sample is written well, the others anyhow: the first is as ever, and everything is counted."""
    samples = scenes(1 + len(records))
    said = dict(zip((sample.id for sample in samples[1:]), records))
    step = maker(writer=Writes(lambda record: said[record["id"]] if record["id"] in said else written(record)))
    made = list(step(samples))
    assert made[0].questions == next(iter(maker(writer=Writes(written))(samples[:1]))).questions
    assert [sample.id for sample in made] == [sample.id for sample in samples]
    assert step.tally.written == step.tally.kept + step.tally.dropped.total()
    json.dumps([dict(sample.meta) for sample in made])
