from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.data import Finding, check_alignment, match_ids, open_dataset, read_predictions, read_references
from capwright.data.alignment import KINDS, some
from capwright.scenes import casual_captions, expert_captions, sample_scene, to_sample
from capwright.types import NO_IMAGE, STATUSES, Caption, Sample
from places import CAPTIONS

WORDS = ["a", "the", "boy", "girl", "dog", "red", "blue", "ball", "plays", "runs", "holds", "on", "near", "with"]
WORDS += ["chair", "table", "window", "garden", "small", "under"]


def told(count: int, seed: int = 0, each: int = 1, words: int = 10) -> dict[str, list[str]]:
    """`count` ids with `each` sentences of random words, all different."""
    draw = random.Random(seed)
    return {str(id): [" ".join(draw.choices(WORDS, k=words)) for _ in range(each)] for id in range(count)}


def samples_of(references: Mapping[str, Sequence[str]], split: str = "test") -> list[Sample]:
    return [Sample(id, NO_IMAGE, tuple(texts), split=split) for id, texts in references.items()]


def kinds(found: list[Finding]) -> list[str]:
    assert all(finding.kind in KINDS and finding.severity in ("error", "warning") for finding in found)
    return [finding.kind for finding in found]


def only(found: list[Finding], kind: str) -> Finding:
    assert kinds(found) == [kind]
    return found[0]


GOOD = {id: texts[0] for id, texts in told(200, seed=1).items()}
SAMPLES = samples_of(told(200, each=3))


def test_nothing_is_said_about_what_is_right() -> None:
    assert check_alignment(GOOD, SAMPLES) == []
    assert check_alignment({id: Caption(text) for id, text in GOOD.items()}, SAMPLES) == []
    assert check_alignment({id: [{"caption": text, "status": "ok"}, text] for id, text in GOOD.items()}, SAMPLES) == []


@pytest.mark.parametrize("name", ["fakecap1000", "val2017_nn", "val2017_human4"])
def test_nothing_is_said_about_the_published_sets(name: str) -> None:
    predictions = read_predictions(CAPTIONS / f"{name}_results.json.gz")
    known = read_references(CAPTIONS / f"{name.split('_')[0]}_references.json.gz")
    if name == "val2017_human4":  # a human caption is scored against the others
        known = samples_of(
            {s.id: [text for text in s.references if text != predictions[s.id]["caption"].strip()] for s in known}  # type: ignore[call-overload]
        )
    assert check_alignment(predictions, known) == []


@pytest.mark.parametrize("name", ["fakecap1000", "val2017_nn", "val2017_human4"])
def test_nothing_is_said_about_tokens_without_punctuation(name: str) -> None:
    path = CAPTIONS / f"{name}_tokens.json.gz"
    assert check_alignment(read_predictions(path), read_references(path)) == []


def test_nothing_is_said_about_the_photos_and_the_kindergarten(photo_dataset: Path) -> None:
    dataset = open_dataset(photo_dataset)
    held = [Sample(s.id, s.image, s.references[1:]) for s in dataset]
    assert check_alignment({s.id: s.references[0] for s in dataset}, held) == []
    scenes = [to_sample(sample_scene(0, index), "x.png") for index in range(300)]
    assert [len(expert_captions(sample_scene(0, 0)))] == [len(scenes[0].references)]
    casual = {s.id: casual_captions(sample_scene(0, index))[0] for index, s in enumerate(scenes)}
    assert check_alignment(casual, scenes) == []


def test_references_scored_against_themselves_are_said_loudly() -> None:
    human = read_predictions(CAPTIONS / "val2017_human4_results.json.gz")
    found = only(check_alignment(human, read_references(CAPTIONS / "val2017_references.json.gz")), "copied")
    assert "5,000 of 5,000 captions (100%)" in found.message
    assert "the scores mean nothing" in found.message
    assert len(found.ids) == 5000


def test_some_copies() -> None:
    copied = {id: SAMPLES[int(id)].references[1].upper() + "." if int(id) < 60 else text for id, text in GOOD.items()}
    found = only(check_alignment(copied, SAMPLES), "copied")
    assert "60 of 200 captions (30%)" in found.message
    assert "did the captioner see them" in found.message
    short = samples_of({id: ["a cat"] for id in GOOD})
    assert "copied" not in kinds(check_alignment(dict.fromkeys(GOOD, "a cat"), short))


def test_several_captions_are_copies_when_all_of_them_are() -> None:
    known = {sample.id: sample.references for sample in SAMPLES}
    for said, expected in (
        ({id: [texts[0], texts[2]] for id, texts in known.items()}, ["copied"]),
        ({id: [texts[0], GOOD[id]] for id, texts in known.items()}, []),
    ):
        assert kinds(check_alignment(said, SAMPLES)) == expected


def test_missing_and_extra_ids() -> None:
    some_said = {id: text for id, text in GOOD.items() if int(id) >= 7} | {"x": "A red dog runs.", "y": "A cat."}
    found = check_alignment(some_said, SAMPLES)
    assert kinds(found) == ["missing", "extra"]
    assert [finding.severity for finding in found] == ["error", "warning"]
    assert found[0].ids == tuple("0123456")
    assert '7 of 200 samples have no caption: "0", "1", "2", "3", "4" and 2 more' in found[0].message
    assert '2 of 195 captions belong to no sample and are not scored: "x", "y"' in found[1].message
    assert str(found[0]).startswith("error: 7 of 200")


def test_captions_of_one_split_say_so() -> None:
    both = samples_of(told(20, each=3), "val") + samples_of({f"t{id}": t for id, t in told(20, each=3).items()})
    found = only(check_alignment({id: GOOD[id] for id in told(20)}, both), "missing")
    assert 'all captions are of the split "val"' in found.message
    assert found.ids[0] == "t0"


def test_no_id_matches() -> None:
    found = only(check_alignment({f"x{id}": text for id, text in GOOD.items()}, SAMPLES), "unmatched")
    assert found.severity == "error"
    assert "another dataset or split" in found.message
    assert '"x0"' in found.message
    assert '"0"' in found.message


COCO = [Sample(str(id), NO_IMAGE, ("a dog",), meta={"file_name": f"{id:012}.jpg"}) for id in (391895, 60623, 483108)]
PLAIN = [Sample(sample.id, NO_IMAGE, sample.references) for sample in COCO]


@pytest.mark.parametrize(
    ("form", "samples", "name"),
    [
        ("{:012}.jpg", COCO, "the file name of the image"),
        ("val2017/{:012}.jpg", COCO, "the file name of the image"),
        ("{:012}", COCO, "the file name of the image"),
        ("{:012}", PLAIN, "the number in a COCO file name"),
        ("COCO_val2014_{:012}.jpg", PLAIN, "the number in a COCO file name"),
        ("images/COCO_val2014_{:012}", COCO, "the number in a COCO file name"),
        ("{}.0", PLAIN, "the whole number of a decimal"),
    ],
)
def test_forms_of_ids(form: str, samples: list[Sample], name: str) -> None:
    said = {form.format(int(sample.id)): f"of {sample.id}" for sample in samples}
    first = next(iter(said))
    found = only([f for f in check_alignment(said, samples) if f.severity == "error"], "unmatched")
    assert f"they would match by {name}" in found.message
    assert f'"{first}" is the caption of "391895"' in found.message
    renamed, what = match_ids(said, samples)
    assert renamed == {sample.id: f"of {sample.id}" for sample in samples}
    assert what.startswith(name)
    backwards = [Sample(form.format(int(sample.id)), NO_IMAGE, ()) for sample in samples]
    if "COCO" in form or ".0" in form or form == "{:012}":
        again, what = match_ids({sample.id: "x" for sample in samples}, backwards)
        assert list(again) == [sample.id for sample in backwards]
        assert what


@pytest.mark.parametrize(
    ("said", "ids"),
    [
        (["007", "008"], ["7", "8"]),  # zeros are never stripped
        (["000000000007", "7"], ["7", "8"]),  # one matches as it stands
        (["COCO_val2014_000000000007", "COCO_train2014_000000000007"], ["7", "8"]),  # two would become one
        (["COCO_val2014_000000000007", "x", "y", "z", "u"], ["7", "1", "2", "3", "4"]),  # too few match
        (["7.0", "8.0", "9.0", "10.0", "11.0"], ["7", "8", "1", "2", "3"]),  # two of five are not half
        (["7.5", "8.25"], ["7", "8"]),
    ],
)
def test_no_form_is_guessed(said: list[str], ids: list[str]) -> None:
    samples = samples_of({id: ["a"] for id in ids})
    assert match_ids({id: id for id in said}, samples) == ({id: id for id in said}, "")


def test_half_of_the_ids_are_enough_for_a_form() -> None:
    renamed, what = match_ids(
        dict.fromkeys(["7.0", "8.0", "9.0", "10.0"], "x"), samples_of({"7": [], "8": [], "1": [], "2": []})
    )
    assert list(renamed) == ["7", "8", "9", "10"]
    assert what.startswith("the whole number of a decimal")


def test_file_names_that_two_samples_share_match_nothing() -> None:
    two = [Sample(id, Path(folder, "1.jpg")) for id, folder in (("a", "x"), ("b", "y"))]
    assert match_ids({"1.jpg": "x"}, two)[1] == ""


def test_swapped_arguments() -> None:
    gts = told(30, each=5)
    found = only(check_alignment(gts, samples_of({id: [text] for id, text in GOOD.items() if id in gts})), "swapped")
    assert "5.0 captions of an image on average, but one reference" in found.message
    assert "Predictions come first" in found.message
    # Two captions of an image against several references each are two samples of one captioner.
    assert check_alignment(told(30, each=2, seed=3), samples_of(gts)) == []


@pytest.mark.parametrize("name", ["fakecap1000", "val2017_nn"])
def test_swapped_with_one_reference_each(name: str) -> None:
    said = read_predictions(CAPTIONS / f"{name}_tokens.json.gz")
    known = read_references(CAPTIONS / f"{name}_tokens.json.gz")
    single = {sample.id: sample.references[0] for sample in known}
    turned = samples_of({id: [row["caption"]] for id, row in said.items()})  # type: ignore[call-overload]
    assert "32% of the references are repeated" in only(check_alignment(single, turned), "swapped").message
    assert check_alignment(said, samples_of({id: [text] for id, text in single.items()})) == []


@pytest.mark.parametrize("mark", ["\r", "\u2028", "\u2029", "\v", "\f", "\x85", "\0", "\x1c", "\x7f"])
def test_control_characters(mark: str) -> None:
    found = only(check_alignment(GOOD | {"17": f"A dog{mark}runs on the table now"}, SAMPLES), "control")
    assert found.ids == ("17",)
    assert "1 of 200 captions hold line breaks or control characters" in found.message
    known = [s if s.id != "3" else Sample("3", NO_IMAGE, ("a dog runs on the table", f"a{mark}b")) for s in SAMPLES]
    found = only(check_alignment(GOOD, known), "control")
    assert (found.ids, "of 599 references" in found.message) == (("3",), True)


def test_line_feeds() -> None:
    assert only(check_alignment(GOOD | {"17": "A dog.\nA red cat on a chair."}, SAMPLES), "control").ids == ("17",)
    assert check_alignment(GOOD | {"17": " A dog and\ta red cat on a chair.\n"}, SAMPLES) == []
    known = [*SAMPLES[:-1], Sample("199", NO_IMAGE, ("a dog\nruns on the table",))]
    assert check_alignment(GOOD, known) == []


def test_empty_captions_and_references() -> None:
    said = GOOD | {"3": " \n", "5": "", "7": {"caption": "", "status": "timeout"}}
    found = only(check_alignment(said, SAMPLES), "empty")
    assert found.ids == ("3", "5")  # a timeout is unknown, not empty
    known = [Sample("0", NO_IMAGE, ("a dog runs near a boy", " ")), *SAMPLES[1:]]
    found = only(check_alignment(GOOD, known), "blank_reference")
    assert found.ids == ("0",)
    assert "count as none" in found.message


def test_samples_without_references() -> None:
    known = [Sample("0", NO_IMAGE), Sample("1", NO_IMAGE), *SAMPLES[2:]]
    found = only(check_alignment(GOOD, known), "no_references")
    assert (found.severity, found.ids) == ("warning", ("0", "1"))
    found = only(check_alignment(GOOD, [Sample(id, NO_IMAGE) for id in GOOD]), "no_references")
    assert found.severity == "error"


def test_one_caption_for_most_images() -> None:
    said = {id: "A dog." if int(id) % 3 else text for id, text in GOOD.items()}
    found = next(f for f in check_alignment(said, SAMPLES) if f.kind == "constant")
    assert 'have the same caption, "a dog"' in found.message
    assert len(found.ids) == sum(id % 3 > 0 for id in range(200))


def test_one_caption_for_just_half_of_the_images_is_not_most_of_them() -> None:
    for same, kinds in ((100, []), (101, ["constant"])):
        said = {id: "A dog." if int(id) < same else text for id, text in GOOD.items()}
        assert [finding.kind for finding in check_alignment(said, SAMPLES)] == kinds


def test_tokenized_text() -> None:
    split = {id: text + " , is n't it ?" if int(id) % 2 else text for id, text in GOOD.items()}
    assert "100 of 200 captions look tokenized" in only(check_alignment(split, SAMPLES), "tokenized").message
    known = samples_of({s.id: [f"{text} -lrb- left -rrb-" for text in s.references] for s in SAMPLES})
    assert "600 of 600 references look tokenized" in only(check_alignment(GOOD, known), "tokenized").message
    few = {id: text + " ." if int(id) < 20 else text for id, text in GOOD.items()}
    assert check_alignment(few, SAMPLES) == []


def test_text_that_was_decoded_wrongly() -> None:
    for wrong in (
        "a dog \ufffd runs",
        "it isn’t".encode().decode("cp1252"),
        "café on the table".encode().decode("latin-1"),
    ):
        assert only(check_alignment(GOOD | {"9": wrong}, SAMPLES), "mojibake").ids == ("9",)
    assert check_alignment(GOOD | {"9": "Ein Käfer für das Café, naïve Ângela, 日本"}, SAMPLES) == []


@pytest.mark.parametrize(("words", "said"), [(30, "3.0 times as long"), (3, "far shorter"), (20, ""), (5, "")])
def test_length_against_the_references(words: int, said: str) -> None:
    found = check_alignment({id: texts[0] for id, texts in told(200, seed=2, words=words).items()}, SAMPLES)
    assert kinds(found) == (["length"] if said else [])
    assert said in "".join(finding.message for finding in found)


def test_some() -> None:
    assert some(["a"]) == '"a"'
    assert some([str(n) for n in range(1005)]).endswith('"4" and 1,000 more')


SAID = st.one_of(
    st.text(),
    st.builds(Caption, st.text()),
    st.fixed_dictionaries({"caption": st.none() | st.text()}, optional={"status": st.sampled_from(STATUSES)}),
)
IDS = st.text(max_size=3)


@given(st.dictionaries(IDS, SAID | st.lists(SAID, max_size=3)), st.dictionaries(IDS, st.lists(st.text(), max_size=3)))
def test_any_captions_and_references_can_be_checked(said: dict[str, Any], known: dict[str, list[str]]) -> None:
    found = check_alignment(said, samples_of(known))
    kinds(found)
    assert [f.severity for f in found] == sorted(f.severity for f in found)
    for finding in found:
        assert set(finding.ids) <= set(said) | set(known)
    missing = {id for f in found if f.kind == "missing" for id in f.ids}
    assert missing in (set(), set(known) - set(said))


def test_findings_do_not_depend_on_the_order(tmp_path: Path) -> None:
    said = {id: text + "\r." * (int(id) < 9) for id, text in GOOD.items()}
    again = json.loads(json.dumps(dict(reversed(said.items()))))
    first, second = check_alignment(said, SAMPLES), check_alignment(again, SAMPLES)
    assert [(f.kind, set(f.ids)) for f in first] == [(f.kind, set(f.ids)) for f in second]
