from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from capwright.models.text_encoder import Embedding, Memory, TransformersEmbedder
from capwright.scorers import Corpus, Item, RewardView, get_scorer
from capwright.scorers.embedding.bertscore import BERTScore, Similarity
from capwright.types import NO_IMAGE, Caption, DataError, NotInstalledError, Sample, ScorerError

VECTORS = {
    "cat": (1.0, 0.0, 0.0),
    "dog": (0.6, 0.8, 0.0),
    "mat": (0.0, 1.0, 0.0),
    "on": (0.0, 0.0, 1.0),
    "not": (-1.0, 0.0, 0.0),
}


class Plane:
    """An encoder of five words in three dimensions; other words are nothing. Reads three words, adds [END]."""

    name = "plane#1"

    def __init__(self) -> None:
        self.settings = {"max": 3}
        self.read: list[str] = []

    def tokenize(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        return [(*[word for word in text.split() if word in VECTORS][:3], "[END]") for text in texts]

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        self.read += texts
        return [self._embed(text, tokens) for text, tokens in zip(texts, self.tokenize(texts))]

    def _embed(self, text: str, tokens: tuple[str, ...]) -> Embedding:
        vectors = np.array([VECTORS.get(token, (0.0, 0.0, 0.0)) for token in tokens], dtype=np.float32) * 5
        special = np.array([token == "[END]" for token in tokens])
        return Embedding(tokens, vectors, special, cut=len(text.split()) > 3)


def sample(name: str, *references: str) -> Sample:
    return Sample(name, NO_IMAGE, references)


def scores(scorer, pairs: dict[str, tuple[str, ...]]) -> list[list[float]]:
    """Outputs of each caption beside its references, rounded."""
    items = [Item(sample(str(number), *references), text) for number, (text, references) in enumerate(pairs.items())]
    stats = scorer.stats(items, scorer.prepare(Corpus([item.sample for item in items])))
    return scorer.finalize(stats.rows).round(6).tolist()


# ---- matching, on the plane ------------------------------------------------------------------------------------------


def test_greedy_matching_by_hand():
    """cat-cat 1, cat-mat 0, dog-cat .6, dog-mat .8: precision of "cat dog" and recall of "cat mat" are (1 + .8) / 2."""
    assert scores(BERTScore(embedder=Plane()), {"cat dog": ("cat mat",)}) == [[0.9, 0.9, 0.9, 0.0]]
    # "on" has no partner but nothing: precision (1 + 0) / 2, recall 1.
    assert scores(BERTScore(embedder=Plane()), {"cat on": ("cat",)}) == [[round(2 * 0.5 / 1.5, 6), 0.5, 1.0, 0.0]]
    assert scores(BERTScore(embedder=Plane()), {"cat mat on": ("cat mat on",)}) == [[1.0, 1.0, 1.0, 0.0]]


def test_each_value_is_of_the_best_reference():
    """Against "cat" precision is 1/2 and recall 1; against "cat on mat" precision 1 and recall 2/3."""
    f1, precision, recall, _ = scores(BERTScore(embedder=Plane()), {"cat on": ("cat", "cat on mat", "not")})[0]
    assert (precision, recall, f1) == (1.0, 1.0, round(2 * (2 / 3) / (1 + 2 / 3), 6))
    assert scores(Similarity(embedder=Plane()), {"cat": ("mat", "dog")}) == [[0.6, 0.0]]


def test_opposites_have_no_harmonic_mean():
    """A special token is a partner like others, as in the authors' program: "not" takes [END] at 0, not cat at -1."""
    assert scores(BERTScore(embedder=Plane()), {"not": ("cat",)}) == [[0.0, 0.0, 0.0, 0.0]]
    assert scores(Similarity(embedder=Plane()), {"not": ("cat",)}) == [[-1.0, 0.0]]


def test_rare_tokens_weigh_more():
    """Of three references two have cat, one has mat: weights log(4/3) and log(4/2)."""
    scorer = BERTScore(embedder=Plane(), weights="idf")
    corpus = Corpus([sample("a", "cat mat"), sample("b", "cat", "dog")])
    context = scorer.prepare(corpus)
    item = Item(corpus.samples[0], "cat on")
    _, precision, recall, _ = scorer.finalize(scorer.stats([item], context).rows)[0]
    cat, mat, unseen = math.log(4 / 3), math.log(4 / 2), math.log(4)
    assert precision == pytest.approx(cat / (cat + unseen))
    assert recall == pytest.approx(cat / (cat + mat))
    assert "|weights:idf@3#" in scorer.signature(context)


def test_a_baseline_is_mapped_to_zero():
    pairs = {"cat on": ("cat",)}
    scorer = BERTScore(embedder=Plane(), baseline=(0.5, 0.2, 0.4))
    f1, precision, recall, _ = scores(scorer, pairs)[0]
    assert (f1, precision, recall) == pytest.approx(((2 / 3 - 0.4) / 0.6, 0, 1), abs=1e-6)
    assert scorer.spec.range_of("f1") == pytest.approx((-0.4 / 0.6, 1))
    assert scores(BERTScore(embedder=Plane(), baseline=0.2), pairs)[0][1] == pytest.approx(0.375)


def test_pooling_by_hand():
    """The mean of cat, mat and an [END] of zeros points between cat and mat."""
    assert scores(Similarity(embedder=Plane()), {"cat mat": ("cat",)}) == [[round(math.sqrt(0.5), 6), 0.0]]
    assert scores(Similarity(embedder=Plane(), pool="cls"), {"cat mat": ("cat",)}) == [[1.0, 0.0]]


@pytest.mark.parametrize("make", [BERTScore, Similarity])
def test_empty_and_unknown_captions_and_missing_references(make):
    scorer = make(embedder=Plane())
    items = [
        Item(sample("a", "cat"), " "),
        Item(sample("b", "cat"), "word"),
        Item(sample("c", "cat"), "cat", "timeout"),
        Item(sample("d"), "cat"),
        Item(sample("e", " ", "word"), "cat"),
        Item(sample("f", " ", "cat"), "cat"),
    ]
    stats = scorer.stats(items, scorer.prepare(Corpus([item.sample for item in items])))
    assert stats.status == ("empty", "empty", "timeout", "ok", "ok", "ok")
    np.testing.assert_allclose(scorer.finalize(stats.rows)[:, 0], [0, 0, np.nan, np.nan, np.nan, 1])
    with pytest.raises(DataError, match="reference"):
        scorer.prepare(Corpus([sample("d")]))


@pytest.mark.parametrize("make", [BERTScore, Similarity])
def test_cut_texts_are_counted_and_named(make):
    scorer = make(embedder=Plane())
    items = [
        Item(sample("a", "cat", "cat cat cat dog"), "cat"),
        Item(sample("a", "cat"), "cat mat mat mat"),
        Item(sample("b", "cat"), "mat"),
    ]
    stats = scorer.stats(items, scorer.prepare(Corpus([item.sample for item in items])))
    assert scorer.finalize(stats.rows.sum(0))[-1] == pytest.approx(2 / 3)
    assert stats.evidence == ({"truncated": ["reference 2"]}, {"truncated": ["caption"]}, None)


def test_references_are_embedded_once():
    plane = Plane()
    scorer = BERTScore(embedder=plane)
    corpus = Corpus([sample("a", "cat", "mat")])
    context = scorer.prepare(corpus)
    for caption in ("dog", "on", "cat"):
        scorer.stats([Item(corpus.samples[0], caption)] * 2, context)
    assert plane.read == ["cat", "mat", "dog", "on"]


def test_the_memory_is_dropped_when_it_is_full(monkeypatch):
    monkeypatch.setattr("capwright.models.text_encoder._REMEMBERED", 30)
    plane = Plane()
    memory = Memory(plane.embed)
    for _ in range(3):
        assert list(memory.embed(["cat"], ["on"])) == ["cat", "on"]
    assert plane.read == ["cat", "on", "on", "on"]
    memory.embed(["mat"], [])
    assert memory.embed(["cat"], [])["cat"].tokens == ("cat", "[END]")
    assert plane.read[-2:] == ["mat", "cat"]


def test_white_space_is_collapsed():
    plane = Plane()
    scorer = BERTScore(embedder=plane)
    one = sample("a", "cat\u2028 mat\r\n")
    scorer.stats([Item(one, "\x0bcat\x85mat ")], scorer.prepare(Corpus([one])))
    assert plane.read == ["cat mat"]


def test_what_a_caption_was_matched_with():
    scorer = BERTScore(embedder=Plane())
    one = sample("a", "on", "cat mat")
    found = scorer.explain([Item(one, "dog cat"), Item(one, "", "timeout")], scorer.prepare(Corpus([one])))
    matches = [["dog", "mat", 0.8], ["cat", "cat", 1.0]]
    assert found == [{"reference": ["cat", "mat"], "matches": matches, "truncated": []}, None]


def test_as_rewards():
    one = sample("a", "cat")
    captions = [[Caption("cat"), Caption("dog"), Caption("not"), Caption("")]]
    for scorer, expected in (
        (BERTScore(embedder=Plane()), [1, 0.6, 0, 0]),
        (Similarity(embedder=Plane()), [1, 0.8, 0, 0.5]),
    ):
        reward = RewardView(scorer, scorer.prepare(Corpus([one])))([one], captions)
        np.testing.assert_allclose(reward.values, [expected], atol=1e-6)


def test_contexts_are_not_mixed_up():
    bertscore, similarity = BERTScore(embedder=Plane()), Similarity(embedder=Plane())
    context = similarity.prepare(Corpus([sample("a", "cat")]))
    with pytest.raises(ScorerError, match=r"bertscore: needs a context made by its own prepare"):
        bertscore.stats([], context)


# ---- a real encoder, tiny and untrained ------------------------------------------------------------------------------

TEXTS = ["a cat sits on the mat .", "two children play with red blocks", "the bus", "a dog on a mat", "blocks"]
WORDS = sorted({*" ".join(TEXTS).split(), "build", "##s"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A BERT of two layers that reads 16 tokens."""
    from transformers import BertConfig, BertModel, BertTokenizer

    path = tmp_path_factory.mktemp("models") / "tiny-bert"
    path.mkdir()
    (path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    tokenizer = BertTokenizer(str(path / "vocab.txt"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=16, initializer_range=0.5,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_what_the_encoder_gives(folder):
    embedder = TransformersEmbedder(str(folder))
    short, long, empty = embedder.embed(["a cat builds", "a " * 40, ""])
    assert short.tokens == ("[CLS]", "a", "cat", "build", "##s", "[SEP]")
    assert short.special.tolist() == [True, False, False, False, False, True]
    assert (short.vectors.shape, short.vectors.dtype, short.cut) == ((6, 32), np.float32, False)
    assert (len(long.tokens), long.cut, long.special.sum()) == (16, True, 2)
    assert empty.tokens == ("[CLS]", "[SEP]")
    assert embedder.tokenize(["a cat"]) == [("[CLS]", "a", "cat", "[SEP]")]
    assert embedder.name.startswith("tiny-bert#")
    assert embedder.settings == {"layer": 2, "max": 16}


def test_encoders_of_other_families(tmp_path):
    """RoBERTa counts positions from 2 and writes words after a space as others; of T5 the encoder is taken."""
    from transformers import RobertaConfig, RobertaModel, T5Config, T5Model

    from tiny_models import tiny_tokenizer

    tokenizer = tiny_tokenizer((), "")
    size = len(tokenizer)
    roberta = RobertaConfig(
        vocab_size=size, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=12, pad_token_id=1,
    )  # fmt: skip
    t5 = T5Config(vocab_size=size, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, decoder_start_token_id=0)
    for name, model, limit in (("roberta", RobertaModel(roberta), 10), ("t5", T5Model(t5), 2**16)):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        embedder = TransformersEmbedder(str(tmp_path / name), prefix_space=True)
        assert embedder.settings == {"layer": 1, "max": limit}
        assert embedder.tokenize(["red and"]) == [("Ġred", "Ġand")]
        assert TransformersEmbedder(str(tmp_path / name)).tokenize(["red and"])[0][0] != "Ġred"
        found = embedder.embed(["red red red", " ".join(["red"] * 30), "red", ""])
        assert [len(text.tokens) for text in found] == [3, min(limit, 30), 1, 0]
        assert all(text.vectors.shape == (len(text.tokens), 32) for text in found)
        assert np.isfinite(found[1].vectors).all()


def test_layers(folder):
    from transformers import AutoModel, AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(folder)("the bus", return_tensors="pt")
    states = AutoModel.from_pretrained(folder).eval()(**inputs, output_hidden_states=True).hidden_states
    for layer in (0, 1, 2):
        ours = TransformersEmbedder(str(folder), layer=layer).embed(["the bus"])[0].vectors
        np.testing.assert_allclose(ours, states[layer][0].detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("make", [BERTScore, Similarity])
def test_a_caption_like_its_reference_scores_one(folder, make):
    scorer = make(model=str(folder))
    samples = [sample(text, text, "the red bus sits") for text in TEXTS]
    context = scorer.prepare(Corpus(samples))
    found = scorer.finalize(scorer.stats([Item(one, one.references[0]) for one in samples], context).rows)
    np.testing.assert_allclose(found[:, :-1], 1, atol=1e-12)
    others = scorer.finalize(scorer.stats([Item(one, "a dog play .") for one in samples], context).rows)
    assert (others[:, 0] < 0.999).all()


@pytest.mark.parametrize("make", [BERTScore, Similarity])
def test_scores_do_not_depend_on_the_batch(folder, make):
    samples = [sample(text, "the red bus sits", text + " on a mat") for text in TEXTS]
    items = [Item(one, text) for one in samples for text in TEXTS]
    tables = []
    for batch, together in ((64, True), (3, True), (1, False)):
        scorer = make(model=str(folder), batch=batch)
        context = scorer.prepare(Corpus(samples))
        parts = [items] if together else [[item] for item in items]
        tables.append(np.concatenate([scorer.finalize(scorer.stats(part, context).rows) for part in parts]))
    np.testing.assert_allclose(tables[1], tables[0], atol=2e-6)
    np.testing.assert_allclose(tables[2], tables[0], atol=2e-6)


def test_signatures_say_which_weights_these_are(folder, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    def signed(path: Path, **options) -> tuple[str, str]:
        scorer = get_scorer("bertscore", model=str(path), **options)
        context = scorer.prepare(Corpus([sample("a", "the bus")]))
        return scorer.signature(context), context.fingerprint

    first, mark = signed(folder)
    name, _, rest = first.partition("#")
    assert name == "bertscore|model:tiny-bert"
    assert rest[8:] == "|layer:2|max:16|weights:equal|baseline:0|ws:collapse|refs:1|v:1"
    assert signed(folder) == (first, mark)
    assert signed(folder, layer=1, max_tokens=8)[0].partition("#")[2][8:].startswith("|layer:1|max:8|")
    other = tmp_path / "tiny-bert"
    model = AutoModel.from_pretrained(folder)
    model.get_input_embeddings().weight.data[0, 0] += 1
    model.save_pretrained(other)
    AutoTokenizer.from_pretrained(folder).save_pretrained(other)
    assert signed(other)[0] != first
    assert signed(other)[1] != mark


def test_models_that_can_not_be_used(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    corpus = Corpus([sample("a", "the bus")])
    with pytest.raises(NotInstalledError, match="similarity: not installed: model 'nobody/nothing' is no folder"):
        Similarity(model="nobody/nothing").prepare(corpus)
    with pytest.raises(ScorerError, match=f"bertscore: model '{tmp_path}' cannot be loaded"):
        BERTScore(model=str(tmp_path)).prepare(corpus)
    with pytest.raises(ScorerError, match="layer must be from 0 to 2"):
        BERTScore(model=str(folder), layer=3).prepare(corpus)
    with pytest.raises(ScorerError, match="reads 16 tokens; max_tokens cannot be 17"):
        BERTScore(model=str(folder), max_tokens=17).prepare(corpus)
    with pytest.raises(ScorerError, match="cannot encode text on 'nowhere'"):
        BERTScore(model=str(folder), device="nowhere").prepare(corpus)


def test_an_encoder_without_weights_is_refused(folder, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = load_file(broken / "model.safetensors")
    save_file(
        {name: w for name, w in weights.items() if "layer.1" not in name},
        broken / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ScorerError, match=r"bertscore: model .* has no weights for encoder.layer.1"):
        BERTScore(model=str(broken)).prepare(Corpus([sample("a", "the bus")]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "bertscore: needs a text encoder"),
        ({"model": "x", "embedder": Plane()}, "bertscore: needs a text encoder"),
        ({"model": "x", "layer": -1}, "layer: must be a whole number, 0 or more"),
        ({"model": "x", "batch": 0}, "batch: must be a whole number, 1 or more"),
        ({"model": "x", "max_tokens": 2}, "max_tokens: must be a whole number, 8 or more"),
        ({"model": "x", "weights": "tfidf"}, 'weights: must be "equal" or "idf"'),
        ({"model": "x", "baseline": (0.1, 0.2)}, "baseline: must be one number, or three"),
        ({"model": "x", "baseline": 1.0}, "baseline: must be at least 0 and below 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ScorerError, match=message):
        BERTScore(**options)
    with pytest.raises(ScorerError, match="pool: must be"):
        Similarity(model="x", pool="max")
