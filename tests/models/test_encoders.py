"""Encoders of texts and images, and vectors that are kept on disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from capwright.models.encoders import CachedEncoder, ClipEncoder, Encoding, PooledEncoder, unit
from capwright.models.text_encoder import Embedding
from capwright.scorers import Corpus, Item
from capwright.scorers.embedding.bertscore import Similarity
from capwright.types import NO_IMAGE, ImageError, Sample, ScorerError

TEXTS = ["a red block", "two blue blocks on a rug", "", "a geoboard " * 40]


class Letters:
    """The share of each letter in a text; images by their size. Remembers what it was asked."""

    name = "letters#1"

    def __init__(self) -> None:
        self.read: list[object] = []

    def texts(self, texts):
        self.read += texts
        counts = [np.array([text.count(letter) for letter in "abcde"]) for text in texts]
        return [Encoding(unit(count), len(text) > 20, not text) for text, count in zip(texts, counts)]

    def images(self, images):
        self.read += images
        return [Encoding(unit(np.array(Image.open(path).size))) for path in images]


def equal(ours: list[Encoding], theirs: list[Encoding]) -> bool:
    return len(ours) == len(theirs) and all(
        np.array_equal(a.vector, b.vector) and (a.cut, a.empty) == (b.cut, b.empty) for a, b in zip(ours, theirs)
    )


# ---- kept on disk ----------------------------------------------------------------------------------------------------


def test_nothing_is_encoded_twice_and_comes_back_bit_for_bit(tmp_path):
    plain, first = Letters(), Letters()
    texts = ["bad cab", "abcde" * 7, "", "bad cab", "dada"]
    assert equal(CachedEncoder(first, tmp_path).texts(texts), plain.texts(texts))
    assert first.read == ["bad cab", "abcde" * 7, "", "dada"]
    second = Letters()
    assert equal(CachedEncoder(second, tmp_path).texts([*texts, "ebb"]), plain.texts([*texts, "ebb"]))
    assert second.read == ["ebb"]
    assert CachedEncoder(second, tmp_path).texts([]) == []


def test_another_encoder_has_vectors_of_its_own(tmp_path):
    CachedEncoder(Letters(), tmp_path).texts(["bad"])
    other = Letters()
    other.name = "letters#2"
    CachedEncoder(other, tmp_path).texts(["bad"])
    assert other.read == ["bad"]


def test_images_are_known_by_their_bytes(tmp_path):
    for name, size in (("a.png", (3, 4)), ("copy.png", (3, 4)), ("b.png", (4, 3))):
        Image.new("RGB", size).save(tmp_path / name)
    places = [tmp_path / name for name in ("a.png", "copy.png", "b.png")]
    letters = Letters()
    cached = CachedEncoder(letters, tmp_path / "cache")
    assert [one.vector.tolist() for one in cached.images(places)] == [[0.6, 0.8], [0.6, 0.8], [0.8, 0.6]]
    assert letters.read == places[1:]
    Image.new("RGB", (4, 3), "red").save(places[0])  # another image in the same place
    assert cached.images(places[:1])[0].vector.tolist() == [0.8, 0.6]
    (tmp_path / "c.png").write_bytes(b"no image")
    for bad in ("c.png", "gone.png"):
        with pytest.raises(ImageError, match=bad):
            cached.images([tmp_path / bad])


def test_trouble_with_the_file_costs_no_result(tmp_path):
    plain = Letters().texts(["bad", "cab"])
    CachedEncoder(Letters(), tmp_path).texts(["bad"])
    (file,) = tmp_path.glob("*.sqlite")
    file.write_bytes(b"no database" * 500)
    with pytest.warns(RuntimeWarning, match="was broken"):
        assert equal(CachedEncoder(Letters(), tmp_path).texts(["bad", "cab"]), plain)
    (tmp_path / "file").touch()
    with pytest.warns(RuntimeWarning, match="are not kept"):
        assert equal(CachedEncoder(Letters(), tmp_path / "file").texts(["bad", "cab"]), plain)
    assert equal(CachedEncoder(Letters(), None).texts(["bad", "cab"]), plain)


def test_several_processes_share_the_file_and_may_be_killed(tmp_path):
    """Three write the same and other texts at once, one is killed while it does."""
    code = (
        "import sys; sys.path[:0] = sys.argv[3:]\n"
        "from pathlib import Path\nfrom test_encoders import Letters\n"
        "from capwright.models.encoders import CachedEncoder\n"
        "cached = CachedEncoder(Letters(), Path(sys.argv[1]))\n"
        "for i in range(int(sys.argv[2])):\n"
        "    cached.texts([f'bad {i}', f'cab {i} {sys.argv[2]}'])\n"
        "    print(i, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [
        subprocess.Popen([*command, str(n), *sys.path], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
        for n in (30, 31, 100_000)
    ]
    assert started[2].stdout is not None
    started[2].stdout.readline()
    for one in started[:2]:
        one.communicate(timeout=120)
        assert one.returncode == 0
    started[2].kill()
    started[2].communicate()
    letters = Letters()
    wanted = [f"bad {i}" for i in range(30)] + [f"cab {i} 31" for i in range(31)]
    assert equal(CachedEncoder(letters, tmp_path).texts(wanted), Letters().texts(wanted))
    assert letters.read == []


# ---- the first user --------------------------------------------------------------------------------------------------


class Random:
    """Random token vectors of a text."""

    name, settings = "random#1", {"max": 9}

    def tokenize(self, texts):
        return [tuple(text.split()) for text in texts]

    def embed(self, texts):
        made = []
        for tokens in self.tokenize(texts):
            rng = np.random.default_rng(sum(map(ord, "".join(tokens))))
            vectors = rng.normal(size=(len(tokens), 37)).astype(np.float32)
            made.append(Embedding(tokens, vectors, np.zeros(len(tokens), dtype=bool)))
        return made


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_pooling_is_the_formula_bit_for_bit(pool):
    """Scaled and stacked one by one: the cosines are those of a matrix of references, scaled at once."""
    texts = ["a b c", "d e", "f g h i", "j"]
    vectors = [found.vectors for found in Random().embed(texts)]
    pooled = [v[0] if pool == "cls" else v.mean(0, dtype=np.float64) for v in vectors]
    found = PooledEncoder(Random(), pool).texts(texts)
    right = unit(np.stack(pooled[1:])) @ unit(pooled[0])
    assert np.array_equal(np.stack([one.vector for one in found[1:]]) @ found[0].vector, right)
    assert PooledEncoder(Random(), pool).name == f"random#1|max:9|pool:{pool}"
    with pytest.raises(ScorerError, match="is an encoder of texts"):
        PooledEncoder(Random(), pool).images([Path("a.png")])


def test_similarity_with_kept_vectors_says_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPWRIGHT_CACHE", str(tmp_path))
    samples = [Sample(str(i), NO_IMAGE, (f"a b {i}", f"{i} c d e")) for i in range(5)]
    items = [Item(sample, f"b {sample.id} d") for sample in samples]
    tables = []
    for cache in (False, True, True):
        embedder = Random()
        scorer = Similarity(embedder=embedder, cache=cache)
        context = scorer.prepare(Corpus(samples))
        if tables and cache and len(tables) == 2:
            embedder.embed = None  # nothing is left to encode
        tables.append((scorer.signature(context), scorer.stats(items, context).rows))
    for signature, rows in tables[1:]:
        assert signature == tables[0][0]
        assert np.array_equal(rows, tables[0][1])


# ---- a CLIP, tiny and untrained --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from tiny_models import tiny_tokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    tokenizer = tiny_tokenizer((), "")
    tokenizer.backend_tokenizer.post_processor = _ends(tokenizer)
    tokenizer.model_max_length = 16
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=sizes
        | dict(vocab_size=len(tokenizer), max_position_embeddings=16, eos_token_id=tokenizer.eos_token_id),
        vision_config=sizes | dict(image_size=32, patch_size=8),
        projection_dim=24,
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def _ends(tokenizer):
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(single="$A </s>", special_tokens=[("</s>", tokenizer.eos_token_id)])


@pytest.fixture
def images(tmp_path) -> list[Path]:
    paths = []
    for i, (width, height) in enumerate([(40, 60), (32, 32), (90, 50)]):
        paths.append(tmp_path / f"{i}.png")
        noise = np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(paths[-1])
    return paths


def test_clip_vectors_are_the_models_own(clip, images):
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    model, tokenizer = CLIPModel.from_pretrained(clip).eval(), AutoTokenizer.from_pretrained(clip)
    processor = AutoImageProcessor.from_pretrained(clip, backend="pil")
    encoder = ClipEncoder(str(clip), batch=2)
    with torch.no_grad():
        logits = model(
            **tokenizer(TEXTS[:2], return_tensors="pt", padding=True),
            **processor(images=[Image.open(path) for path in images], return_tensors="pt"),
        ).logits_per_image
    texts, shown = encoder.texts(TEXTS), encoder.images(images)
    assert [(one.cut, one.empty) for one in texts] == [(False, False), (False, False), (False, True), (True, False)]
    ours = np.stack([one.vector for one in shown]) @ np.stack([one.vector for one in texts[:2]]).T
    np.testing.assert_allclose(ours, (logits / model.logit_scale.exp()).detach().numpy(), atol=1e-5)
    assert np.ptp(ours) > 1e-3
    for one in (*texts, *shown):
        assert one.vector.shape == (24,)
        assert one.vector.dtype == np.float64
        assert np.linalg.norm(one.vector) == pytest.approx(1)
    alone = encoder.texts(TEXTS[1:2]) + encoder.images(images[2:])
    np.testing.assert_allclose(alone[0].vector, texts[1].vector, atol=1e-6)
    np.testing.assert_allclose(alone[1].vector, shown[2].vector, atol=1e-6)
    assert (encoder.texts([]), encoder.images([])) == ([], [])


def test_clip_says_which_model_it_is_and_how_images_are_read(clip, images, tmp_path):
    import json
    import shutil

    name = ClipEncoder(str(clip)).name
    assert name.startswith("tiny-clip#")
    assert ClipEncoder(str(clip)).name == name
    other = shutil.copytree(clip, tmp_path / "tiny-clip")
    settings = json.loads((other / "preprocessor_config.json").read_text())
    settings["image_mean"] = [0.1, 0.2, 0.3]
    (other / "preprocessor_config.json").write_text(json.dumps(settings))
    assert ClipEncoder(str(other)).name != name
    kept = CachedEncoder(ClipEncoder(str(clip)), tmp_path / "cache")
    assert equal(kept.images(images), kept.images(images))


def test_models_that_encode_no_images_are_refused(tmp_path):
    from transformers import T5Config, T5Model

    from tiny_models import tiny_tokenizer

    tokenizer = tiny_tokenizer((), "")
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, decoder_start_token_id=0
    )
    T5Model(config).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    with pytest.raises(ScorerError, match="does not encode images"):
        ClipEncoder(str(tmp_path / "t5"))
