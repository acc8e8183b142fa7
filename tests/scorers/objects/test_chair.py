from __future__ import annotations

import gzip
import json
from collections import defaultdict

import numpy as np
import pytest

from capwright.data import read_coco
from capwright.scorers import Corpus, Item, RewardView, Span, get_scorer
from capwright.scorers.objects._object_table import coco_objects, read_objects
from capwright.types import NO_IMAGE, Caption, DataError, Sample, ScorerError, Term, Vocabulary
from places import CAPTIONS, PHOTOS

BENCH = Sample("bench", NO_IMAGE, ("A man with his dog.", "Someone walks."), (Term("bench"), Term("person")))


@pytest.fixture(scope="module")
def photos():
    return read_coco(PHOTOS / "annotations.json", PHOTOS)


def found(text):
    return [mention.object for mention in coco_objects().find(text)]


def measure(scorer, samples, captions, vocabulary=None):
    context = scorer.prepare(Corpus(samples, vocabulary or Vocabulary({})))
    return context, scorer.stats([Item(s, c) for s, c in zip(samples, captions)], context)


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("Two women and a child", ["person", "person"]),
        ("A hot dog beside a dog", ["hot dog", "dog"]),
        ("hot dogs and puppies", ["hot dog", "dog"]),
        ("a teddy bear and a polar bear", ["teddy bear", "bear"]),
        ("a Teddy-Bear", ["teddy bear"]),
        ("a toilet seat and toilet paper", ["toilet"]),
        ("two baseball bats, a baseball", ["baseball bat"]),
        ("the home plate", []),
        ("an orange cat with orange slices and oranges", ["cat", "orange", "orange"]),
        ("a bus stop, a train station, train tracks", []),
        ("the bus driver drives a bus", ["person", "bus"]),
        ("train cars and race cars", ["train", "car"]),
        ("glasses of red wine", ["wine glass"]),
        ("a flower bed and a bed of lettuce", []),
        ("a baby elephant with its mother", ["elephant", "person"]),
        ("a baby and a mother duck", ["person", "bird"]),
        ("fire engines", ["truck"]),
        ("knives, mice, sheep, geese, calves", ["knife", "mouse", "sheep", "bird", "cow"]),
        ("the catcher’s mitt", ["baseball glove"]),
        ("a ski on a ski slope", ["skis"]),
        ("a TV, a cellphone and a doughnut", ["tv", "cell phone", "donut"]),
        ("a wiener dog", ["dog"]),
        ("a Mickey Mouse watch", []),
        ("a carwash", []),
    ],
)
def test_words_of_coco_objects(text, objects):
    assert found(text) == objects


def test_every_category_of_coco_is_found_by_its_name(photos):
    _, vocabulary = photos
    table = coco_objects()
    assert set(table.objects) == set(vocabulary)
    assert len(table) == 80
    for name in vocabulary:
        assert table.lookup(name) == name
        assert found(f"There is a {name} here") == ([name] if name != "orange" else [])


def test_counts_by_hand():
    scorer = get_scorer("chair")
    caption = "A man and a boy sit on a bench with two cats; one cat sleeps by the dog."
    context, stats = measure(scorer, [BENCH], [caption])
    # man, boy (person), bench: boxed. dog: in a reference. cats, cat: nowhere.
    assert stats.rows.tolist() == [[2, 6, 1, 1, 4, 3, 3]]
    np.testing.assert_allclose(scorer.finalize(stats.rows[0]), [2 / 6, 1, 3 / 3])
    np.testing.assert_allclose(scorer.shape(stats.rows)[0], [2 * 3 / (4 + 3), 3 / 4, 1])
    (evidence,) = stats.evidence
    assert [(caption[s.start : s.end], s.term, s.status) for s in evidence["spans"]] == [
        ("man", "person", "right"),
        ("boy", "person", "right"),
        ("bench", "bench", "right"),
        ("cats", "cat", "wrong"),
        ("cat", "cat", "wrong"),
        ("dog", "dog", "right"),
    ]
    assert isinstance(evidence["spans"][0], Span)
    assert {**evidence, "spans": None} == {"spans": None, "missed": [], "hallucinated": 2, "mentions": 6}
    assert context.truth == "terms+refs"


def test_references_count_only_when_they_are_asked():
    scorer = get_scorer("chair", references=False)
    context, stats = measure(scorer, [BENCH], ["A dog on a bench."])
    assert stats.rows.tolist() == [[1, 2, 1, 1, 2, 1, 2]]
    assert stats.evidence[0]["missed"] == ["person"]
    assert "|truth:terms|" in scorer.signature(context)


def test_a_corpus_is_a_ratio_of_sums():
    scorer = get_scorer("chair")
    captions = ["A cat, a cat and a cat.", "A man on a bench.", "It is sunny.", ""]
    _, stats = measure(scorer, [BENCH] * 4, captions)
    np.testing.assert_allclose(scorer.finalize(stats.rows.sum(0)), [3 / 5, 1 / 4, 2 / 12])
    each = scorer.finalize(stats.rows)
    assert np.isnan(each[2:, 0]).all()
    assert each[2:, 1:].tolist() == [[0, 0], [0, 0]]
    assert stats.status == ("ok", "ok", "ok", "empty")


def test_a_sample_of_which_nothing_is_known_is_unknown():
    scorer = get_scorer("chair")
    bare = Sample("bare", NO_IMAGE)
    empty = Sample("empty", NO_IMAGE, ("A sunny day.",))
    context = scorer.prepare(Corpus([BENCH, bare, empty]))
    items = [Item(bare, "A cat."), Item(empty, "A cat."), Item(BENCH, "I cannot see it.", "refusal")]
    stats = scorer.stats(items, context)
    assert stats.status == ("ok", "ok", "refusal")
    assert not stats.rows[[0, 2]].any()
    scores = scorer.finalize(stats.rows)
    assert np.isnan(scores[[0, 2]]).all()
    assert scores[1, :2].tolist() == [1, 1]  # known to be empty: the cat is made up
    assert np.isnan(scores[1, 2])
    with pytest.raises(DataError, match="no sample says what is in its image; add instances"):
        scorer.prepare(Corpus([bare]))
    with pytest.raises(DataError, match="or set references to true"):
        get_scorer("chair", references=False).prepare(Corpus([empty]))


def test_photos_people_describe_rarely_hold_what_is_not_boxed(photos):
    samples, vocabulary = photos
    boxes_only = get_scorer("chair", references=False)
    captions = [text for sample in samples for text in sample.references]
    owners = [sample for sample in samples for _ in sample.references]
    context, stats = measure(boxes_only, owners, captions, vocabulary)
    own = boxes_only.finalize(stats.rows.sum(0))
    assert stats.rows[:, 1].sum() > 250  # mentions
    assert own[0] < 0.04
    assert own[2] > 0.35
    hallucinated = {s.term for e in stats.evidence for s in e["spans"] if s.status == "wrong"}
    assert hallucinated == {"backpack", "car", "carrot", "dining table", "pizza"}  # all in the image, without a box
    # The captions of the next photo name other things.
    other = boxes_only.stats([Item(s, r) for s, r in zip(owners, captions[5:] + captions[:5])], context)
    assert boxes_only.finalize(other.rows.sum(0))[0] > 0.85
    # A reference is true of its own image.
    _, trusting = measure(get_scorer("chair"), owners, captions, vocabulary)
    assert trusting.rows[:, 0].sum() == 0


def test_a_caption_of_another_image_hallucinates_more_than_a_human_one():
    with gzip.open(CAPTIONS / "val2017_references.json.gz") as file:
        references = defaultdict(list)
        for note in sorted(json.load(file)["annotations"], key=lambda note: note["id"]):
            references[note["image_id"]].append(note["caption"])
    scores = {}
    for name, last in (("val2017_human4", -1), ("val2017_nn", None)):
        with gzip.open(CAPTIONS / f"{name}_results.json.gz") as file:
            rows = json.load(file)
        samples = [Sample(str(r["image_id"]), NO_IMAGE, tuple(references[r["image_id"]][:last])) for r in rows]
        scorer = get_scorer("chair")
        context, stats = measure(scorer, samples, [row["caption"] for row in rows])
        scores[name] = scorer.finalize(stats.rows.sum(0))
        assert "|truth:refs|" in scorer.signature(context)
    assert scores["val2017_human4"][0] < 0.07
    assert scores["val2017_nn"][0] > 0.2


def test_auto_takes_coco_only_for_coco(photos):
    samples, vocabulary = photos
    scorer = get_scorer("chair")
    assert "|objects:coco80#" in scorer.signature(scorer.prepare(Corpus(samples, vocabulary)))
    assert "|objects:coco80#" in scorer.signature(scorer.prepare(Corpus(samples)))
    part = Vocabulary({name: vocabulary[name] for name in ("person", "bench")})
    context, stats = measure(scorer, [BENCH], ["A man, a dog and a cat on a bench."], part)
    assert "|objects:coco2#" in scorer.signature(context)
    assert stats.rows[0, :2].tolist() == [0, 2]  # nothing is said about dogs and cats
    toys = Vocabulary({"geoboard": Term("geoboard", aliases=("geo board",), category="board")})
    context, stats = measure(scorer, [BENCH], ["A geo board."], toys)
    assert "|objects:vocabulary3#" in scorer.signature(context)
    assert "|objects:coco80#" in scorer.signature(get_scorer("chair", objects="coco").prepare(Corpus([BENCH], toys)))


def test_objects_of_a_domain():
    toys = Vocabulary(
        {
            "geoboard": Term("geoboard", aliases=("geo board",), category="board"),
            "tangram": Term("tangram", category="puzzle"),
            "toy": Term("toy", level="vague"),
        }
    )
    sample = Sample("a", NO_IMAGE, terms=(toys["geoboard"], Term("toy", level="vague")))
    scorer = get_scorer("chair")
    _, stats = measure(scorer, [sample], ["Two geo boards, a board, a puzzle, a toy, a tangram and a dog."], toys)
    assert stats.rows.tolist() == [[1, 2, 1, 1, 2, 1, 1]]  # generic and vague names are no objects
    context = scorer.prepare(Corpus([sample], toys))
    with pytest.raises(DataError, match="'b': the term 'abacus' is not in the vocabulary that chair was prepared with"):
        scorer.stats([Item(Sample("b", NO_IMAGE, terms=(Term("abacus"),)), "An abacus.")], context)
    with pytest.raises(DataError, match="no objects to look for"):
        get_scorer("chair", objects="vocabulary").prepare(Corpus([Sample("c", NO_IMAGE, ("A dog.",))]))


def test_rewards_are_bounded_and_silence_does_not_pay():
    scorer = get_scorer("chair")
    context = scorer.prepare(Corpus([BENCH]))
    texts = ["A man and a dog on a bench.", "A man.", "A man and a cat.", "It is nice.", ""]
    captions = [[Caption(text) for text in texts]]
    reward = RewardView(scorer, context)([BENCH], captions)
    np.testing.assert_allclose(reward.values, [[1, 2 / 4, 2 / 5, 0, 0]])
    assert reward.known.all()
    faithful = RewardView(scorer, context, "faithful")([BENCH], captions)
    np.testing.assert_allclose(faithful.values, [[1, 1, 1 / 2, np.nan, np.nan]])
    np.testing.assert_allclose(faithful.parts["recall"], [[1, 1 / 3, 1 / 3, 0, 0]])  # higher is better, not turned
    np.testing.assert_allclose(faithful.parts["chairS"], [[1, 1, 0, 1, 1]])  # lower is better, turned around


def test_repeating_what_is_right_thins_mentions_but_not_the_reward():
    scorer = get_scorer("chair")
    _, stats = measure(scorer, [BENCH] * 2, ["A man and a cat.", "A man, a man, a man, a man and a cat."])
    assert scorer.finalize(stats.rows)[:, 0].tolist() == [1 / 2, 1 / 5]
    assert scorer.shape(stats.rows)[0].tolist() == scorer.shape(stats.rows)[1].tolist()


def test_a_table_of_ones_own(tmp_path):
    path = tmp_path / "tools.yaml"
    path.write_text(
        "objects:\n  hammer: [mallet]\n  no: [on]\n  saw: [hacksaw]\nignore: [saw, hammer drill]\n"
        "attached: {claw: [hammer]}\n"
    )
    table = read_objects(path)
    text = "I saw a claw hammer, two mallets, a hammer drill, hacksaws and no"
    assert [(text[m.start : m.end], m.object) for m in table.find(text)] == [
        ("claw hammer", "hammer"),
        ("mallets", "hammer"),
        ("hacksaws", "saw"),
        ("no", "no"),
    ]
    assert table.lookup("saw") == "saw"
    assert table.lookup("hammer drill") is None
    scorer = get_scorer("chair", objects=str(path))
    sample = Sample(
        "a", NO_IMAGE, terms=(Term("hammer"), Term("workbench"))
    )  # terms of no object here count as nothing
    context, stats = measure(scorer, [sample], ["A mallet and a hacksaw."])
    assert stats.rows.tolist() == [[1, 2, 1, 1, 2, 1, 1]]
    assert scorer.signature(context).startswith("chair|objects:tools3#")
    (tmp_path / "tools.json").write_text(json.dumps({"objects": {"hammer": ["mallet"], "saw": []}}))
    assert read_objects(tmp_path / "tools.json").objects == ("hammer", "saw")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objects: {dog: [puppy], cat: [puppy]}", '"puppy" belongs to both "dog" and "cat"'),
        ("objects: {dog: [puppy]}\nignore: [Puppy]", '"puppy" belongs to "dog" and to what is ignored'),
        ("objects: {dog: []}\nignore: [dog]", 'the name "dog" is ignored and has no other words'),
        ("objects: {dog: puppy}", ':1: "dog" must be a list of words'),
        ("objects:\n  dog: [puppy]\n  dog: [hound]", ':3: "dog" is given twice'),
        ("objects: {dog: [{a: b}]}", 'each word of "dog" must be text'),
        ("objects: {dog: ['!']}", 'each word of "dog" must be text with letters or digits'),
        ("objects: [dog]", '"objects" must be a mapping'),
        ("object: {dog: [puppy]}", 'unknown key "object" \\(did you mean "objects"\\?\\)'),
        ("objects: {dog: []}\nattached: {baby: [dgo]}", '"attached" baby: "dgo" is no object \\(did you mean "dog"'),
        ("ignore: [hot dog]", "has no objects"),
        ("", "has no objects"),
        ("objects: {dog: [", "not valid YAML or JSON"),
    ],
)
def test_errors_in_a_table_name_the_file_and_the_key(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        get_scorer("chair", objects=path)
    assert str(caught.value).startswith(str(path))


def test_bad_options_are_errors(tmp_path):
    with pytest.raises(ScorerError, match="there is no file 'cocoo'; or use auto, coco, vocabulary"):
        get_scorer("chair", objects="cocoo")
    with pytest.raises(ScorerError, match="objects: must be"):
        get_scorer("chair", objects=3)
    with pytest.raises(ScorerError, match="references: must be true or false"):
        get_scorer("chair", references="no")
    scorer = get_scorer("chair")
    with pytest.raises(ScorerError, match="its own prepare"):
        scorer.stats([], get_scorer("length").prepare(Corpus([])))
