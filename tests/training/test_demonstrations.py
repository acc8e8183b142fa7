"""Demonstrations: captions beside the sampled ones, and names put where a vague word stood."""

from __future__ import annotations

import pytest
import torch

from capwright.recipes import parse_recipe
from capwright.scorers import Corpus, get_scorer
from capwright.training.demonstrations import Demonstrations, Relabeler, missed_terms, targets
from capwright.training.rewards import Rewards, make_rewards
from capwright.types import NO_IMAGE, Caption, RecipeError, Sample, Term, Vocabulary
from toy_captioner import NAMES, ToyCaptioner, ToyData, Values, says, toy_materials
from toy_trainer import rl, trainer, weights

VOCABULARY = Vocabulary(
    {
        "geoboard": Term("geoboard", category="board"),
        "pegboard": Term("pegboard", category="board", aliases=("peg board",)),
        "abacus": Term("abacus", category="bead toy", plurals=("abacuses", "abaci")),
        "pattern blocks": Term("pattern blocks", category="blocks", plurals=("pattern blocks",)),
        "egg": Term("egg", category="food"),
        "board": Term("board", level="generic"),
        "bead toy": Term("bead toy", level="generic"),
        "blocks": Term("blocks", plurals=("blocks",), level="generic"),
        "food": Term("food", level="generic"),
        "toy": Term("toy", level="vague"),
    }
)


def relabeled(text: str, *names: str) -> str | None:
    sample = Sample("a", NO_IMAGE, terms=tuple(VOCABULARY[name] for name in names))
    scorer = get_scorer("tts")
    context = scorer.prepare(Corpus([sample], VOCABULARY))
    return Relabeler(VOCABULARY)(text, scorer.spans(text, sample, context), sample)


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("A red board.", ["geoboard"], "A red geoboard."),
        ("Two red boards.", ["geoboard"], "Two red geoboards."),
        ("A boy with two bead toys.", ["abacus"], "A boy with two abacuses."),
        ("There is a toy.", ["abacus"], "There is an abacus."),
        ("There is a food and a toy.", ["egg", "abacus"], "There is an egg and an abacus."),
        ("We see blue blocks.", ["pattern blocks"], "We see blue pattern blocks."),
        ("A pegboard on a rug.", ["geoboard"], "A geoboard on a rug."),
        ("A peg board on a rug.", ["geoboard"], "A geoboard on a rug."),
        ("Boards everywhere.", ["geoboard"], "Geoboards everywhere."),
        ("A board and a toy.", ["geoboard", "abacus"], "A geoboard and an abacus."),
        ("A geoboard and a toy.", ["geoboard", "abacus"], "A geoboard and an abacus."),
        ("A toy. Another board.", ["geoboard"], "A toy. Another geoboard."),
        ("We see\na toy.", ["abacus"], "We see\nan abacus."),
        ("A toy.", ["abacus"], "An abacus."),
    ],
)
def test_a_vague_word_becomes_the_name_that_is_meant(text, names, expected):
    assert relabeled(text, *names) == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A board and a board.", ["geoboard", "pegboard"]),  # which is which?
        ("A board and a board.", ["geoboard"]),
        ("A toy and a toy.", ["geoboard"]),
        ("A toy.", ["geoboard", "abacus"]),
        ("A geoboard.", ["geoboard"]),
        ("A geoboard and a board.", ["geoboard"]),  # nothing is missed
        ("Children on a rug.", ["geoboard"]),  # nothing to put it on
        ("A pegboard.", ["abacus"]),  # wrong, but of another kind
        ("A toy.", ["pattern blocks"]),  # a set is no "a"
        ("", ["geoboard"]),
    ],
)
def test_nothing_is_guessed(text, names):
    assert relabeled(text, *names) is None


def test_missed_terms_are_the_professional_names_that_no_span_says():
    sample = Sample("a", NO_IMAGE, terms=(VOCABULARY["geoboard"], VOCABULARY["abacus"], VOCABULARY["toy"]))
    scorer = get_scorer("tts")
    spans = scorer.spans("A geoboard", sample, scorer.prepare(Corpus([sample], VOCABULARY)))
    assert [term.name for term in missed_terms(sample, spans)] == ["abacus"]


def test_targets_are_texts_that_say_something():
    sample = Sample("a", NO_IMAGE, references=("one", " ", "two"), meta={"alt": "three", "n": 4})
    assert targets(sample, "references") == ["one", "two"]
    assert targets(sample, "meta.alt") == ["three"]
    assert targets(sample, "meta.n") == targets(sample, "meta.none") == []


# in the trainer -------------------------------------------------------------------------------------------------------


class Names:
    """A view that pays for the name of the image's thing and knows where it stands; "toy" and "board" are vague."""

    locates = True

    def __call__(self, samples, captions):
        return says()(samples, captions)

    def spans(self, text, sample):
        from capwright.scorers.objects.tts import Span

        right, found, start = NAMES[int(sample.image.stem) % 3], [], 0
        for word in text.split(" "):
            status = "right" if word == right else "wrong" if word in NAMES else "vague" if word == "toy" else None
            if status:
                found.append(Span(start, start + len(word), word, status))
            start += len(word) + 1
        return found


class Captioner(ToyCaptioner):
    """Says the same four captions of every image, and knows where its words stand."""

    said = ("a toy on a rug", "a toy", "a red toy on a rug", "a blue toy")

    def sample(self, prefixes, n, sampling, noise=None):
        return self.tokenize(prefixes, [list(self.said[:n])] * len(prefixes))

    def offsets(self, tokens, text):
        found, start = [], 0
        for word in text.split(" ") if text else []:
            found.append((start, start + len(word)))
            start += len(word) + 1
        return found + [(len(text), len(text))] * (len(tokens) - len(found))


def showing(said=Captioner.said, terms=True, **options):
    materials = toy_materials(views={"tts": Names()})
    materials.policy = Captioner()
    materials.policy.said = said
    if terms:
        with_terms = [Sample(s.id, s.image, s.references, (Term(NAMES[i % 3]),)) for i, s in enumerate(materials.data)]
        materials.data = ToyData(with_terms)
    return trainer(rl(**options), materials)


def logprob(it, text: str, image: int) -> torch.Tensor:
    """Log-probabilities of the tokens of a caption of one image."""
    from capwright.types import Request

    sample = it.data[image]
    prefixes = it.policy.encode([Request(sample)], [[it.worker.open_image(sample.image)]])
    groups = it.policy.tokenize(prefixes, [[text]])
    return it.policy.logprobs(groups)[0, 0].detach()


def test_a_failed_group_is_taught_by_its_reference_and_does_not_wait():
    """Rewards 0, 0, 0, 0 and 1: advantages by hand, over the tokens of all five captions."""
    it = showing(demonstrations=["reference"], images_per_step=1, normalizer="token", inner_epochs=1)
    image = it.order[0][0]
    values = torch.tensor([0.0, 0, 0, 0, 1], dtype=torch.float64)
    advantages = (values - values.mean()) / (values.std() + 1e-4)
    texts = [*Captioner.said, it.data[image].references[0]]
    rows = [logprob(it, text, image) for text in texts]
    tokens = sum(len(row) for row in rows)
    expected = -sum(float(a) * len(row) for a, row in zip(advantages, rows)) / tokens  # the ratio is 1 everywhere
    before = float(rows[-1].sum())
    row = it.step()
    assert row["groups"]["failed"] == 1
    assert (row["imitated"], row["buffer"]) == (0, 0)
    assert row["loss_policy"] == pytest.approx(expected, abs=1e-5)
    assert float(logprob(it, texts[-1], image).sum()) > before


def test_a_demonstration_that_is_not_there_changes_nothing():
    found = []
    for shown in ([], ["reference"]):
        said = ("a geoboard", "a tangram", "a drum", "a toy")
        it = showing(said, demonstrations=shown, on_failed="drop", kind="rl")
        it.data[:] = [Sample(s.id, s.image, (), s.terms) for s in it.data]
        it.step()
        found.append(weights(it))
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name])


def test_a_demonstration_worse_than_the_group_is_not_pushed_away():
    """Its reward counts in the mean; its tokens are in no loss, and its probability does not matter to the update."""
    said = ("a geoboard tangram drum", "a toy", "a geoboard tangram drum", "a toy")
    it = showing(said, demonstrations=["reference"], images_per_step=1)
    image = it.order[0][0]
    it.data[image] = Sample(it.data[image].id, it.data[image].image, ("a red rug",), it.data[image].terms)
    values = torch.tensor([1.0, 0, 1, 0, 0], dtype=torch.float64)
    advantages = ((values - values.mean()) / (values.std() + 1e-4))[:4]
    rows = [logprob(it, text, image) for text in said]
    expected = -sum(float(a) * len(row) for a, row in zip(advantages, rows)) / sum(len(row) for row in rows)
    assert it.step()["loss_policy"] == pytest.approx(expected, abs=1e-5)


def test_relabeled_captions_teach_names_without_any_reference():
    it = showing(demonstrations=["relabeled"], kind="rl", on_failed="drop", learning_rate=0.1, steps=60)
    it.data[:] = [Sample(s.id, s.image, (), s.terms) for s in it.data]
    for _ in range(30):
        row = it.step()
        assert row["imitated"] == 0
    image = 4
    assert float(logprob(it, f"a {NAMES[image % 3]}", image).sum()) > float(logprob(it, "a toy", image).sum())


def test_imitating_names_leaves_all_other_words_alone():
    it = showing(imitation={"tokens": "names", "batch": 1}, images_per_step=1)
    image = it.order[0][0]
    own = logprob(it, it.data[image].references[0], image)  # "a NAME on a rug" and the end
    row = it.step()
    assert row["imitated"] == 1
    assert row["loss_imitation"] == pytest.approx(-float(own[1]), abs=1e-5)


def test_a_live_group_that_misses_a_name_is_imitated_when_terms_fail():
    said = ("a geoboard", "a toy", "a drum", "a tangram")

    def misses(unit):
        it = showing(said, imitation={"unit": unit, "batch": 1}, images_per_step=1)
        image = it.order[0][0]
        sample = it.data[image]
        it.data[image] = Sample(sample.id, sample.image, sample.references, (*sample.terms, Term("abacus")))
        return it.step()

    assert misses("image")["groups"]["live"] == misses("term")["groups"]["live"] == 1
    assert misses("image")["imitated"] == 0
    assert misses("term")["imitated"] == 1


def test_credit_reaches_the_names_alone():
    said = ("a geoboard tangram drum", "a toy on a rug", "a rug", "a toy")
    it = showing(said, credit="names", images_per_step=1, kind="rl", on_failed="drop")
    values = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    advantages = (values - values.mean()) / (values.std() + 1e-4)
    counted = [3, 1, 3, 1]  # three names; "toy"; a caption without names counts whole, its end too; "toy"
    expected = -sum(float(a) * n for a, n in zip(advantages, counted)) / sum(counted)
    assert it.step()["loss_policy"] == pytest.approx(expected, abs=1e-5)


def test_references_are_measured_once_and_together():
    it = showing(demonstrations=["reference"])
    asked = []
    view = it.rewards.views["tts"]

    class Counting(Names):
        def __call__(self, samples, captions):
            asked.append([len(row) for row in captions])
            return view(samples, captions)

    it.rewards.views["tts"] = Counting()
    for _ in range(4):
        it.step()  # two passes of 12 images, 6 a step
    assert [row for row in asked if row == [1] * 6] == [[1] * 6] * 2
    assert len(asked) == 4 + 2


def test_the_best_reference_is_shown_and_ties_are_drawn_by_seed():
    it = showing(demonstrations=["reference"], images_per_step=1)
    image = it.order[0][0]
    sample = it.data[image]
    name = NAMES[image % 3]
    given = ("a toy on a rug", f"a {name}", f"a red {name}", "a red toy")
    it.data[image] = Sample(sample.id, sample.image, given, sample.terms)
    shown = {it.worker.demonstrations(["reference"], [it.data[image]], [[]], f"key {k}")[0][0][0] for k in range(20)}
    assert shown == {f"a {name}", f"a red {name}"}


def test_an_unknown_reference_is_no_demonstration_and_is_asked_for_again():
    it = showing(demonstrations=["reference"], images_per_step=1)
    answers = iter([float("nan"), 1.0])
    it.rewards.views["tts"] = lambda samples, captions: Values([[next(answers)]])
    sample = it.data[0]
    for known in (False, True):
        _, values = it.worker.demonstrations(["reference"], [sample], [[]], "key")
        assert values.isnan().any().item() != known


def test_a_penalty_in_the_reward_goes_with_demonstrations():
    it = showing(demonstrations=["reference"], kl={"beta": 0.1, "place": "reward"}, images_per_step=2)
    it.policy.freeze_reference()
    assert it.step()["loss"] is not None


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"demonstrations": ["relabeled"]}, "demonstrations"),
        ({"credit": "names"}, "credit"),
        ({"imitation": {"unit": "term"}}, "imitation.unit"),
        ({"imitation": {"tokens": "names"}}, "imitation.tokens"),
    ],
)
def test_what_needs_names_is_refused_without_a_reward_that_finds_them(options, key):
    stage = rl(**options).model_dump(exclude_unset=True)
    recipe = {"name": "t", "data": {"path": "x"}, "rewards": {"length": {"output": "words", "range": [0, 9]}}}
    with pytest.raises(RecipeError, match=key):
        make_rewards(parse_recipe(recipe | {"stages": [stage]}), toy_materials().data, VOCABULARY)


def test_one_demonstration_twice_is_an_error():
    with pytest.raises(ValueError, match="twice"):
        rl(demonstrations=["reference", "reference"])


def test_a_corrected_reference_says_the_annotated_names():
    it = showing(demonstrations=["reference", "corrected"], images_per_step=1)
    sample = it.data[4]
    vague = Sample(sample.id, sample.image, ("a toy on a rug",), sample.terms)
    texts, values = it.worker.demonstrations(["reference", "corrected"], [vague], [[]], "key")
    assert texts == [["a toy on a rug", f"a {NAMES[4 % 3]} on a rug"]]
    assert values.flatten().tolist() == [0.0, 1.0]


def test_images_with_the_same_words_and_other_names_are_not_confused():
    it = showing(demonstrations=["corrected"])
    same = [Sample(s.id, s.image, ("a toy on a rug",), s.terms) for s in it.data[:3]]
    texts, values = it.worker.demonstrations(["corrected"], same, [[]] * 3, "key")
    assert [row[0] for row in texts] == [f"a {name} on a rug" for name in NAMES]
    texts, values = it.worker.demonstrations(["reference"], same, [[]] * 3, "key")
    assert values.flatten().tolist() == [0.0] * 3


def test_a_demonstration_that_is_not_there_leaves_a_failed_image_to_imitation():
    """Spread of another reward is no demonstration: the image fails, and waits."""
    it = showing(
        ("a toy", "a toy on a rug", "a red toy", "a blue toy"), demonstrations=["relabeled"], images_per_step=1
    )
    materials = toy_materials(views={"tts": Names(), "rug": says("rug")})
    materials.rewards = Rewards(materials.rewards.views, (1.0, 1.0), (True, False), (0.0, 0.0))
    materials.policy, materials.data = it.policy, ToyData(Sample(s.id, s.image, s.references) for s in it.data)
    stage = rl(demonstrations=["relabeled"], images_per_step=1, imitation={"batch": 1})
    row = trainer(stage, materials).step()
    assert row["groups"]["failed"] == 1
    assert (row["imitated"], row["demonstrated"]) == (1, 0)
    assert "loss_policy" not in row


def test_a_saturated_group_does_not_learn_from_a_worse_demonstration():
    it = showing(("a geoboard tangram drum",) * 4, demonstrations=["reference"], images_per_step=1)
    it.data[:] = [Sample(s.id, s.image, ("a toy",), s.terms) for s in it.data]
    before = weights(it)
    row = it.step()
    assert (row["groups"]["saturated"], row["demonstrated"], row["loss"]) == (1, 0, None)
    assert all(torch.equal(value, before[name]) for name, value in weights(it).items())


def test_a_saturated_group_learns_from_a_better_demonstration():
    it = showing(("a toy",) * 4, demonstrations=["reference"], images_per_step=1)
    row = it.step()
    assert (row["groups"]["failed"], row["demonstrated"], row["buffer"]) == (1, 1, 0)


def test_unknown_groups_never_wait_for_imitation():
    it = showing(imitation={"unit": "term", "batch": 1}, images_per_step=1)

    class Unknown(Names):
        def __call__(self, samples, captions):
            return Values([[float("nan")] * len(row) for row in captions])

    it.rewards.views["tts"] = Unknown()
    row = it.step()
    assert (row["groups"]["unknown"], row["imitated"], row["buffer"]) == (1, 0, 0)


def test_a_caption_that_was_cut_off_is_not_relabeled():
    it = showing(demonstrations=["relabeled"], images_per_step=1)
    sample = it.data[0]
    cut, whole = (Caption("a toy", (), None, finish) for finish in ("length", "stop"))
    assert it.worker.demonstrations(["relabeled"], [sample], [[cut]], "key")[0] == [[None]]
    assert it.worker.demonstrations(["relabeled"], [sample], [[whole]], "key")[0] == [[f"a {NAMES[0]}"]]


def test_a_wrong_name_counts_once_however_often_it_is_said():
    it = showing(demonstrations=["relabeled"], images_per_step=1)
    two, one = Caption("a drum tangram toy"), Caption("a drum drum toy")
    texts, _ = it.worker.demonstrations(["relabeled"], [it.data[0]], [[two, one]], "key")
    assert texts == [[f"a drum drum {NAMES[0]}"]]


def test_demonstrations_do_not_go_with_rewards_in_tokens():
    stage = rl(demonstrations=["reference"]).model_dump(exclude_unset=True)
    rewards = {"length": {"output": "words", "range": [0, 9]}, "short": {"overlong": {"soft": 3, "hard": 9}}}
    recipe = {"name": "t", "data": {"path": "x"}, "rewards": rewards, "stages": [stage]}
    with pytest.raises(RecipeError, match="rewards.short counts tokens"):
        make_rewards(parse_recipe(recipe), toy_materials().data, VOCABULARY)


def test_imitation_takes_every_image_that_has_a_caption_once_a_pass():
    from toy_trainer import sft

    materials = toy_materials()
    materials.data = ToyData(s if i != 2 else Sample(s.id, s.image) for i, s in enumerate(materials.data))
    it = trainer(sft(order="given", images_per_step=4, target="references"), materials)
    seen = [sample.id for _ in range(2) for sample in it._next_images()]
    assert seen == ["s0", "s1", "s3", "s4", "s5", "s6", "s7", "s8"]


def test_demonstrations_without_a_reward_do_not_count_as_captions_that_failed():
    """A quarter of the images has references that cannot be measured: that is no judge that is down."""
    broken = ("s0", "s1", "s2")

    class Half(Names):
        def __call__(self, samples, captions):
            shown = any(not caption.tokens for row in captions for caption in row)
            if shown and any(sample.id in broken for sample in samples):
                raise OSError("no such page")
            return super().__call__(samples, captions)

    said: list[str] = []
    materials = toy_materials(views={"tts": Half()})
    it = trainer(rl(demonstrations=["reference"], images_per_step=12, max_failures=0.1), materials, say=said.append)
    row = it.step()
    assert row["lost_demonstrations"]["tts"] >= len(broken)
    assert "failures" not in row
    assert [text for text in said if "demonstrations without a reward, not shown" in text]
    it.step()
    assert sum("not shown" in text for text in said) == 1  # said once


def test_a_reward_that_is_only_watched_does_not_choose_the_reference():
    it = showing(demonstrations=["reference"])

    class Unknown(Names):
        def __call__(self, samples, captions):
            return Values([[float("nan")] * len(row) for row in captions])

    views = {"tts": Names(), "watched": Unknown()}
    it.worker.demonstrations.rewards = Rewards(views, (1.0, 0.0), (True, False), (0.0, 0.0))
    useful = f"a {NAMES[0]} on a rug"
    sample = Sample("s0", it.data[0].image, ("a toy", useful, "nothing", "a rug"), it.data[0].terms)
    for key in "abcdefgh":
        texts, _ = it.worker.demonstrations(["reference"], [sample], [[]], key)
        assert texts == [[useful]]


def test_a_reference_is_not_held_against_itself():
    """CIDEr-D of a reference against all of them counts how well it copies itself."""
    texts = ("a red drum on a rug", "a red drum on the floor", "nothing like the others at all")
    samples = [Sample("a", NO_IMAGE, texts), Sample("b", NO_IMAGE, ("a dog", "a cat"))]
    recipe = parse_recipe({
        "name": "t", "data": {"path": "x"},
        "rewards": {"ciderD": {"options": {"idf": "coco-val2014"}, "range": [0, 10], "margin": 0.0}},
        "stages": [rl(demonstrations=["reference"]).model_dump(exclude_unset=True)],
    })  # fmt: skip
    rewards = make_rewards(recipe, samples, VOCABULARY)
    shown = Demonstrations(rewards)
    own = [rewards([Sample("a", NO_IMAGE, texts[:i] + texts[i + 1 :])], [[Caption(texts[i])]]) for i in range(3)]
    found, values = shown(["reference"], samples[:1], [[]], "key")
    best = max(float(one.values) for one in own)
    assert float(values) == pytest.approx(best)
    assert found[0][0] in texts[:2]
    assert rewards.floors_of(samples[:1]).item() == pytest.approx(best)
    alone = Sample("c", NO_IMAGE, ("a red drum here",))
    copies = Sample("d", NO_IMAGE, ("a red drum here", "a red drum here"))
    for sample in (alone, copies):  # nothing else to hold it against
        assert shown(["reference"], [sample], [[]], "key")[1].item() == pytest.approx(1.0)


@pytest.mark.parametrize("category", ["boards", "Board", "plank", "board"])
def test_kinds_are_the_same_however_the_vocabulary_writes_them(category):
    words = Vocabulary({"geoboard": Term("geoboard", category=category),
                        "board": Term("board", aliases=("plank",), level="generic")})  # fmt: skip
    sample, scorer = Sample("a", NO_IMAGE, terms=(words["geoboard"],)), get_scorer("tts")
    spans = scorer.spans("A red board.", sample, scorer.prepare(Corpus([sample], words)))
    assert Relabeler(words)("A red board.", spans, sample) == "A red geoboard."
