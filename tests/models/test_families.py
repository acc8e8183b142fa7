"""Every family does everything: scores, samples, learns, is saved, takes an adapter; with one image and with several.

In each batch one request has one image and the other two, of different sizes.
"""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

import tiny_models
from capwright.models import load_policy
from capwright.types import ImageError, ModelError, Request, Sample, SamplingParams

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # PaliGemma's processor

#: Gemma 3 and PaliGemma 2 have layers that see only a window of the past, which the packed layout does not know.
LAYOUTS = {
    "llava": "packed",
    "llava_next": "packed",
    "qwen25vl": "packed",
    "qwen3vl": "packed",
    "idefics3": "packed",
    "smolvlm": "packed",
    "gemma3": "repeated",
    "paligemma": "packed",
    "paligemma2": "repeated",
    "internvl": "packed",
}
PACKED = [name for name, layout in LAYOUTS.items() if layout == "packed"]
GOOD, BAD = "A geoboard is on the left.", "Two children sit on the rug."
TEXTS = [[GOOD, BAD, "blue"], ["Two children", "red and blue blocks", GOOD]]


def uniform_noise(seed: int, width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(3 * width * height))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """name -> the folder of the tiny model, written once."""
    written: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in written:
            written[name] = getattr(tiny_models, f"write_{name}")(tmp_path_factory.mktemp("families") / name)
        return written[name]

    return folder


@pytest.fixture(params=LAYOUTS)
def name(request) -> str:
    return request.param


@pytest.fixture
def asked():
    requests = [
        Request(Sample("a", Path("a.png")), "Describe this image."),
        Request(Sample("b", Path("b.png"), more_images=(Path("c.png"),)), "What do the children build?"),
    ]
    return requests, [uniform_noise(1, 60, 60), [uniform_noise(2, 112, 84), uniform_noise(3, 40, 72)]]


def scores(policy, asked, texts=TEXTS):
    return policy.logprobs(policy.tokenize(policy.encode(*asked), texts))


def climb(policy, objective):
    """One small step of gradient ascent."""
    objective.backward()
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.grad is not None:
                parameter.add_(1e-3 * parameter.grad / (parameter.grad.norm() + 1e-9))
                parameter.grad = None


def test_layout_and_scores(name, folders, asked):
    """The self-check finds the right layout; scores are those of the plain forward pass of each caption alone."""
    policy = load_policy(folders(name))
    assert policy.layout == LAYOUTS[name]
    groups = policy.tokenize(policy.encode(*asked), TEXTS)
    values = policy.logprobs(groups)
    for row, inputs in enumerate(groups.prefixes.inputs):
        tokens = groups.tokens[row, 1:2, : int(groups.mask[row, 1].sum())]
        plain = dict(inputs)
        length = plain["input_ids"].shape[1]
        ones, zeros = torch.ones_like(tokens), torch.zeros_like(tokens)
        tails = {"input_ids": tokens, "attention_mask": ones, "mm_token_type_ids": zeros}
        tails["token_type_ids"] = ones if name.startswith("paligemma") else zeros
        for key in tails.keys() & plain.keys():
            plain[key] = torch.cat([plain[key], tails[key].to(plain[key].dtype)], 1)
        with torch.no_grad():
            logits = policy.inner(**plain).logits[0, length - 1 : -1]
        logits[:, policy.head.suppressed] = float("-inf")
        expected = logits.log_softmax(-1).gather(-1, tokens[0][:, None]).squeeze(-1)
        assert (values[row, 1, : len(expected)] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", PACKED)
def test_packed_equals_repeated(name, folders, asked):
    policy = load_policy(folders(name), train_vision=True)
    found = []
    for policy.layout in ("packed", "repeated"):
        policy.model.zero_grad()
        values = scores(policy, asked)
        weights = torch.randn(values.shape, generator=torch.Generator().manual_seed(5))
        (values * weights).sum().backward()
        found.append(
            (values.detach(), torch.cat([p.grad.flatten() for p in policy.model.parameters() if p.grad is not None]))
        )
    (packed, gradient), (repeated, expected) = found
    assert (packed - repeated).abs().max() < 1e-5
    assert (gradient - expected).norm() / expected.norm() < 1e-5


def test_sampling(name, folders, asked):
    """The likeliest captions are the same in both layouts, and a caption's reported log-probability is its score."""
    policy = load_policy(folders(name))
    prefixes = policy.encode(*asked)
    groups = policy.sample(prefixes, 2, SamplingParams(max_tokens=6, seed=0))
    reported = torch.tensor([[caption.logprob for caption in group] for group in groups.captions])
    assert (policy.logprobs(groups).sum(-1) - reported).abs().max() < 1e-4
    greedy = policy.sample(prefixes, 1, SamplingParams(temperature=0.0, max_tokens=6)).tokens
    policy.layout = "repeated"
    assert torch.equal(policy.sample(prefixes, 1, SamplingParams(temperature=0.0, max_tokens=6)).tokens, greedy)


def test_every_image_counts(name, folders, asked):
    requests, (first, pair) = asked
    policy = load_policy(folders(name), layout="repeated")
    with torch.no_grad():
        values = scores(policy, asked)
        for others in (pair[:1], pair[::-1], [pair[0], first]):
            assert (scores(policy, (requests, [first, others]))[1] - values[1]).abs().max() > 1e-4
        assert torch.equal(
            policy.logprobs(policy.tokenize(policy.encode(*asked), TEXTS), blind=True),
            policy.logprobs(policy.tokenize(policy.encode(requests, [first, first]), TEXTS), blind=True),
        )


def test_imitation_and_reinforcement(name, folders, asked):
    policy = load_policy(folders(name))
    before = scores(policy, asked, [[GOOD], [BAD]]).sum()
    climb(policy, before)
    assert scores(policy, asked, [[GOOD], [BAD]]).sum() > before

    pairs = [[GOOD, BAD]] * 2  # the first is rewarded, the second is not
    before = scores(policy, asked, pairs).sum(-1)
    climb(policy, (before * torch.tensor([1.0, -1.0])).sum())
    assert ((scores(policy, asked, pairs).sum(-1) - before).detach() * torch.tensor([1.0, -1.0])).sum() > 0


def test_saved_and_loaded(name, folders, asked, tmp_path):
    policy = load_policy(folders(name))
    climb(policy, scores(policy, asked).sum())
    policy.save(tmp_path / "saved")
    again = load_policy(tmp_path / "saved")
    assert again.layout == policy.layout
    assert torch.equal(scores(again, asked), scores(policy, asked))


def test_adapter(name, folders, asked, tmp_path):
    """It learns, is saved, is loaded; merged into the weights it says the same and is a plain model."""
    policy = load_policy(folders(name), lora={"r": 4})
    for _ in range(3):  # the first step moves only half of the adapter
        before = scores(policy, asked).sum()
        climb(policy, before)
        assert scores(policy, asked).sum() > before
    learned = scores(policy, asked)
    policy.save(tmp_path / "adapter")
    assert torch.equal(scores(load_policy(tmp_path / "adapter"), asked), learned)
    merged = load_policy(tmp_path / "adapter", merge=True)
    assert sum(p.requires_grad for p in merged.model.parameters()) > 10
    merged.save(tmp_path / "merged")
    plain = load_policy(tmp_path / "merged")
    for each in (merged, plain):
        assert not hasattr(each.model, "peft_config")
        assert (scores(each, asked) - learned).abs().max() < 1e-5


def test_images_are_read_from_the_sample(name, folders, asked, tmp_path):
    requests, images = asked
    flat = [images[0], *images[1]]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, flat):
        image.save(path)
    samples = [Sample("a", paths[0]), Sample("b", paths[1], more_images=(paths[2],))]
    requests = [Request(sample, request.prompt) for sample, request in zip(samples, requests)]
    policy = load_policy(folders(name), layout="packed")
    with torch.no_grad():
        assert torch.equal(policy.encode(requests).embeds, policy.encode(requests, images).embeds)
    paths[2].unlink()
    with pytest.raises(ImageError, match=r"2\.png: does not exist"):
        policy.encode(requests)


def test_a_model_without_a_place_for_the_images(folders, asked):
    """A chat template for one image, or for none, or that refuses; an instruction that holds a placeholder."""
    policy = load_policy(folders("llava"))
    template = policy.prompt_processor.processor.chat_template
    for broken in ("<image> {{ messages[0].content[-1].text }}", "{{ messages[0].content[-1].text }}"):
        policy.prompt_processor.processor.chat_template = broken
        with pytest.raises(
            ModelError, match=r"sample 'b' \(b.png, c.png\): for 2 image\(s\) the prompt has [01] placeholder"
        ):
            policy.encode([asked[0][1]], [asked[1][1]])
    policy.prompt_processor.processor.chat_template = "{{ raise_exception('one image only') }}"
    with pytest.raises(ModelError, match="sample 'b' .*one image only"):
        policy.encode([asked[0][1]], [asked[1][1]])
    policy.prompt_processor.processor.chat_template = template
    with pytest.raises(ModelError, match=r"sample 'a' .*: for 1 image\(s\) the prompt has 2 placeholder"):
        policy.encode([Request(asked[0][0].sample, "What is <image>?")], asked[1][:1])


def test_the_embedded_captioner_takes_several_images(asked):
    """It was trained on one, so what it says of two is of little worth; but nothing breaks."""
    policy = load_policy("embedded")
    with torch.no_grad():
        packed = scores(policy, asked)
        policy.layout = "repeated"
        assert (scores(policy, asked) - packed).abs().max() < 1e-4


def test_kinds_of_attention(folders, asked, monkeypatch):
    eager, sdpa = (load_policy(folders("paligemma"), attention=kind) for kind in ("eager", "sdpa"))
    assert eager.layout == "packed"
    assert (scores(eager, asked) - scores(sdpa, asked)).abs().max() < 1e-5
    with pytest.raises(ModelError, match="use one of auto, sdpa, eager, flex"):
        load_policy(folders("llava"), attention="flash")
    with pytest.raises(ModelError, match="needs a GPU"):
        load_policy(folders("llava"), attention="flex", device="cpu")
    with pytest.raises(ModelError, match=r"\(gemma3\) cannot do attention 'flex'; use 'sdpa'"):
        load_policy(folders("gemma3"), attention="flex", device="cuda:0")
    monkeypatch.setattr(LlavaForConditionalGeneration, "_supports_sdpa", False)
    with pytest.raises(ModelError, match="cannot do attention 'sdpa'; use 'auto'"):
        load_policy(folders("llava"), attention="sdpa")


def test_a_device_that_is_not_there(folders):
    with pytest.raises(ModelError, match="device 'cuda:99' cannot be used"):
        load_policy(folders("llava"), device="cuda:99")


def test_smolvlm_leaves_no_trace_in_transformers(folders):
    """Its processor is made without num2words; afterwards transformers knows again that it is missing."""
    load_policy(folders("smolvlm"), layout="packed")
    module = importlib.import_module("transformers.models.smolvlm.processing_smolvlm")
    assert (module.num2words is None) == (importlib.util.find_spec("num2words") is None)
