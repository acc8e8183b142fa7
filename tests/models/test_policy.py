"""The packed layout, the shared prefill and the policy around them, on tiny random models of real architectures."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import tiny_models
from capwright.models import load_policy, packing_error
from capwright.models.decoding.sampling import top_k_top_p_filter
from capwright.types import ModelError, Request, Sample, SamplingParams

WRITERS = {"llava": tiny_models.write_llava, "qwen2.5-vl": tiny_models.write_qwen25vl}
TEXTS = [
    ["A child builds with red blocks.", "Two children", "A geoboard is on the left of the rug", "blue"],
    ["One child", "A tangram and a xylophone and a drum on the floor", "red", "Two geoboards are on the right."],
]


def uniform_noise(seed: int, width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(3 * width * height))


@pytest.fixture(scope="module", params=sorted(WRITERS))
def folder(request, tmp_path_factory) -> Path:
    return WRITERS[request.param](tmp_path_factory.mktemp("tiny") / request.param)


@pytest.fixture
def policy(folder):
    return load_policy(folder, train_vision=True)


@pytest.fixture
def asked():
    """Two requests of different sizes and prompts, so that prefixes need padding."""
    requests = [
        Request(Sample("a", Path("a.png")), "Describe this image."),
        Request(Sample("b", Path("b.png")), "What do the children build? Say it in one sentence."),
    ]
    return requests, [uniform_noise(1, 60, 60), uniform_noise(2, 112, 84)]


def both_layouts(policy, asked):
    """Log-probabilities and gradients of one random weighting of them, packed and repeated."""
    results = []
    for layout in ("packed", "repeated"):
        policy.layout = layout
        policy.model.zero_grad()
        groups = policy.tokenize(policy.encode(*asked), TEXTS)
        values = policy.logprobs(groups)
        weights = torch.randn(values.shape, generator=torch.Generator().manual_seed(5))
        (values * weights).sum().backward()
        gradients = {n: p.grad.clone() for n, p in policy.model.named_parameters() if p.grad is not None}
        results.append((values.detach(), gradients))
    return results


def test_packed_equals_repeated_in_values_and_gradients(policy, asked):
    (packed, packed_grads), (repeated, repeated_grads) = both_layouts(policy, asked)
    assert (packed - repeated).abs().max() < 1e-5
    assert packed_grads.keys() == repeated_grads.keys()
    assert any("vis" in name for name in packed_grads)
    norm = torch.cat([g.flatten() for g in repeated_grads.values()]).norm()
    difference = torch.cat([(packed_grads[n] - repeated_grads[n]).flatten() for n in packed_grads]).norm()
    assert difference / norm < 1e-5


def test_logprobs_are_the_models_own(policy, asked):
    """Against nothing of ours: the plain Hugging Face forward pass of one caption."""
    requests, images = [asked[0][1]], [asked[1][1]]
    groups = policy.tokenize(policy.encode(requests, images), [TEXTS[1][:1]])
    inputs = dict(groups.prefixes.inputs[0])
    tokens = groups.tokens[0]
    length = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], tokens], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(tokens).int()], 1)
    logits = policy.inner(**inputs).logits[0, length - 1 : -1]
    logits[:, policy.head.suppressed] = float("-inf")
    expected = logits.log_softmax(-1).gather(-1, tokens[0][:, None]).squeeze(-1)
    assert (policy.logprobs(groups)[0, 0] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("layout", ["packed", "repeated"])
def test_prefill_and_cache_give_the_same_next_token_distribution(policy, asked, layout):
    """Sampling equals scoring: after every token said, the cached logits are those of the repeated layout."""
    groups = policy.tokenize(policy.encode(*asked), [t[:2] for t in TEXTS])
    images, captions, tokens = groups.tokens.shape
    policy.layout = layout
    with torch.no_grad():
        hidden = policy._repeated(groups)
        first, step = policy._start(groups.prefixes, captions)
        flat = groups.tokens.view(images * captions, tokens)
        rows = torch.arange(images * captions)
        seen = [first] + [step(flat[:, t], rows, t + 1) for t in range(tokens - 1)]
        cached = torch.stack(seen, 1).view(images, captions, tokens, -1).log_softmax(-1)
        scored = policy.head.logits(hidden).log_softmax(-1)
    mask = groups.mask
    finite = torch.isfinite(scored[mask])
    assert (cached[mask] - scored[mask])[finite].abs().max() < 1e-5


def test_reported_logprob_is_the_scored_one(policy, asked):
    prefixes = policy.encode(*asked)
    groups = policy.sample(prefixes, 3, SamplingParams(temperature=1.0, max_tokens=12, seed=3))
    scored = policy.logprobs(groups).sum(-1)
    reported = torch.tensor([[c.logprob for c in group] for group in groups.captions])
    assert (scored - reported).abs().max() < 1e-4


def test_sampling_is_seeded_and_greedy_is_the_likeliest(policy, asked):
    prefixes = policy.encode(*asked)
    draw = lambda seed, t: policy.sample(prefixes, 2, SamplingParams(temperature=t, max_tokens=8, seed=seed)).tokens  # noqa: E731
    assert torch.equal(draw(1, 1.0), draw(1, 1.0))
    assert not torch.equal(draw(1, 1.0), draw(2, 1.0))
    greedy = draw(1, 0.0)
    assert torch.equal(greedy[:, 0], greedy[:, 1])
    first, _ = policy._start(prefixes.detach(), 1)
    assert torch.equal(greedy[:, 0, 0], first.argmax(-1))


def test_image_and_padding_tokens_are_never_sampled(policy, asked):
    """Even when the model wants nothing else."""
    forbidden = set(policy.head.suppressed.tolist())
    assert {policy.tokenizer.pad_token_id, policy.inner.config.image_token_id} <= forbidden
    assert not forbidden & set(policy.eos_ids.tolist())
    with torch.no_grad():
        policy.inner.get_output_embeddings().weight[policy.head.suppressed] *= 50
    groups = policy.sample(policy.encode(*asked), 8, SamplingParams(max_tokens=20, seed=0))
    assert not forbidden & set(groups.tokens[groups.mask].tolist())


def test_a_caption_that_spells_a_special_token_is_plain_text(policy, asked):
    image = policy.tokenizer.convert_ids_to_tokens(policy.inner.config.image_token_id)
    groups = policy.tokenize(policy.encode(*asked), [[f"a {image} b"], ["</s> c"]])
    assert not set(policy.head.suppressed.tolist()) & set(groups.tokens[groups.mask].tolist())
    assert (groups.tokens == policy.eos_ids[0]).sum() == 2


def test_chunks_change_nothing(policy, asked, monkeypatch):
    groups = policy.tokenize(policy.encode(*asked), TEXTS)
    whole = policy.logprobs(groups)
    monkeypatch.setattr("capwright.models.lm_head.CHUNK_ENTRIES", 1)
    assert torch.allclose(whole, policy.logprobs(groups), atol=1e-6)


def test_logits_exist_only_for_caption_tokens(policy, asked):
    """The output embedding never sees a prompt token."""
    groups = policy.tokenize(policy.encode(*asked), TEXTS)
    rows = []
    hook = policy.inner.get_output_embeddings().register_forward_hook(lambda m, i, o: rows.append(o.shape[0]))
    policy.logprobs(groups)
    hook.remove()
    assert sum(rows) == int(groups.mask.sum())


def test_vision_tower_runs_once_an_image(policy, asked):
    tower = next(m for n, m in policy.inner.named_modules() if n.rpartition(".")[2] in ("vision_tower", "visual"))
    calls = []
    hook = tower.register_forward_hook(lambda *a: calls.append(1))
    prefixes = policy.encode(*asked)
    groups = policy.sample(prefixes, 4, SamplingParams(max_tokens=4, seed=0))
    policy.logprobs(groups).sum().backward()
    hook.remove()
    assert len(calls) == 1


def test_blind_scores_do_not_depend_on_the_image(policy, asked):
    requests, images = asked
    a = policy.logprobs(policy.tokenize(policy.encode(requests, images), TEXTS), blind=True)
    b = policy.logprobs(policy.tokenize(policy.encode(requests, images[::-1]), TEXTS), blind=True)
    seeing = policy.logprobs(policy.tokenize(policy.encode(requests, images), TEXTS))
    assert torch.equal(a, b)
    assert not torch.allclose(a, seeing)


def test_select_keeps_each_images_own_values(policy, asked):
    groups = policy.tokenize(policy.encode(*asked), TEXTS)
    whole, second = policy.logprobs(groups), policy.logprobs(groups.select([1]))
    width = second.shape[-1]
    assert torch.allclose(whole[1:, :, :width], second, atol=1e-5)


def test_select_cuts_the_padding_that_the_selected_share(policy, asked):
    groups = policy.tokenize(policy.encode(*asked), TEXTS)
    lengths = groups.prefixes.mask.sum(1)
    short = int(lengths.argmin())
    assert groups.select([short]).prefixes.embeds.shape[1] == lengths[short]
    assert groups.select([1 - short, short, short]).prefixes.embeds.shape[1] == lengths.max()
    assert groups.select([]).prefixes.mask.shape[0] == 0
    whole = policy.logprobs(groups)
    assert torch.allclose(policy.logprobs(groups.select([short]))[0], whole[short], atol=1e-5)
    drawn = policy.sample(groups.prefixes, 2, SamplingParams(max_tokens=6, seed=0))
    again = policy.sample(groups.prefixes.select([short]), 2, SamplingParams(max_tokens=6, seed=0))
    assert drawn.captions[short][0].tokens == again.captions[0][0].tokens


def test_row_tokens_are_what_the_language_model_reads(policy, asked):
    groups = policy.tokenize(policy.encode(*asked), TEXTS)
    read = []
    hook = policy.decoder.register_forward_pre_hook(
        lambda m, a, k: read.append(k["inputs_embeds"].shape), with_kwargs=True
    )
    for p in range(2):
        policy.logprobs(groups.select([p]))
    hook.remove()
    assert policy.row_tokens(groups) == [shape[1] for shape in read]
    policy.layout = "repeated"
    prefix, tokens = groups.prefixes.mask.sum(1), groups.tokens.shape[-1]
    assert policy.row_tokens(groups) == (4 * (prefix + tokens)).tolist()


def test_groups_of_different_sizes(policy, asked):
    groups = policy.tokenize(policy.encode(*asked), [TEXTS[0], TEXTS[1][:1]])
    values = policy.logprobs(groups)
    alone = policy.logprobs(policy.tokenize(policy.encode(*asked), [TEXTS[0][:1], TEXTS[1][:1]]))
    assert (values[1, 1:] == 0).all()
    assert torch.allclose(values[1, 0, : alone.shape[-1]], alone[1, 0], atol=1e-5)


def test_save_and_load_keep_every_logprob(policy, asked, tmp_path):
    policy.prompt_processor.prompt = "Name the toys."
    policy.save(tmp_path / "saved")
    again = load_policy(tmp_path / "saved")
    groups = policy.tokenize(policy.encode(*asked), TEXTS)
    other = again.tokenize(again.encode(*asked), TEXTS)
    assert again.prompt_processor.prompt == "Name the toys."
    assert torch.equal(policy.logprobs(groups), again.logprobs(other))


def test_lora_trains_only_the_adapter_whose_start_is_the_reference(folder, asked, tmp_path):
    plain, policy = load_policy(folder), load_policy(folder, lora={"r": 4})
    trained = [n for n, p in policy.model.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    groups = policy.tokenize(policy.encode(*asked), TEXTS)
    base = plain.logprobs(plain.tokenize(plain.encode(*asked), TEXTS))
    start = policy.logprobs(groups).detach()
    assert not torch.allclose(start, base, atol=1e-2)
    policy.freeze_reference()
    assert set(policy._reference._kept) == set(trained)
    with torch.no_grad():
        for name in trained:
            policy.model.get_parameter(name).add_(0.3)
    today = policy.logprobs(groups).detach()
    assert not torch.allclose(today, start, atol=1e-2)
    assert torch.equal(policy.reference_logprobs(groups), start)
    assert torch.equal(policy.logprobs(groups), today)
    policy.save(tmp_path / "adapter")
    again = load_policy(tmp_path / "adapter")
    assert torch.equal(again.logprobs(again.tokenize(again.encode(*asked), TEXTS)), policy.logprobs(groups))


def test_reference_is_the_frozen_start(policy, asked):
    groups = policy.tokenize(policy.encode(*asked), TEXTS)
    before = policy.logprobs(groups).detach()
    with pytest.raises(ModelError, match="freeze_reference"):
        policy.reference_logprobs(groups)
    policy.freeze_reference()
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.05)
    assert torch.allclose(policy.reference_logprobs(groups), before, atol=1e-6)


def test_self_check_measures_and_falls_back(folder, asked, monkeypatch, caplog):
    policy = load_policy(folder)
    assert policy.layout == "packed"
    assert packing_error(policy, asked[0][0], asked[1][0]) < 1e-5
    import capwright.models.policy as module

    right = module.packed_mask
    monkeypatch.setattr(module, "packed_mask", lambda p, c: right(p, c) | True)  # a model that looks ahead
    fallen = load_policy(folder)
    assert fallen.layout == "repeated"
    assert "using the repeated layout" in caplog.text


def test_gradient_checkpointing_changes_nothing(folder, asked):
    values = []
    for checkpointing in (False, True):
        policy = load_policy(folder, gradient_checkpointing=checkpointing)
        policy.model.train()
        out = policy.logprobs(policy.tokenize(policy.encode(*asked), TEXTS))
        out.sum().backward()
        grad = next(
            p.grad for n, p in policy.model.named_parameters() if n.endswith("q_proj.weight") and p.grad is not None
        )
        values.append((out.detach(), grad))
    assert torch.allclose(values[0][0], values[1][0], atol=1e-6)
    assert torch.allclose(values[0][1], values[1][1], atol=1e-5)


def test_windows_longer_than_the_self_check_are_seen(tmp_path, caplog):
    folder = tiny_models.write_llava(tmp_path / "windowed")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"model_type": "mistral", "sliding_window": 512}
    (folder / "config.json").write_text(json.dumps(config))
    assert load_policy(folder).layout == "repeated"
    assert "window" in caplog.text


def test_placeholders_that_the_tokenizer_calls_text_are_not_said_either(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    saved = json.loads((copy / "tokenizer.json").read_text())
    for token in saved["added_tokens"]:
        token["special"] = token["content"] in ("<s>", "</s>")
    (copy / "tokenizer.json").write_text(json.dumps(saved))
    policy = load_policy(copy)
    assert {policy.tokenizer.pad_token_id, policy.inner.config.image_token_id} <= set(policy.head.suppressed.tolist())


@pytest.mark.parametrize("broken", ["model.safetensors", "config.json", "capwright.json", "adapter_config.json"])
def test_a_broken_file_is_named(folder, tmp_path, broken):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / broken).write_bytes(b"\x00 half a file")
    with pytest.raises(ModelError, match="cannot be (loaded|read)"):
        load_policy(copy)


def test_a_configuration_that_describes_far_more_than_there_is(folder, tmp_path):
    """No memory is taken for weights that nobody has."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    settings = json.loads((copy / "config.json").read_text())
    settings["text_config"]["intermediate_size"] = 10**9
    (copy / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"config.json describes [\d,]+ weights, but the files of weights hold"):
        load_policy(copy)


def test_nucleus_keeps_the_likeliest():
    logits = torch.tensor([[3.0, 1.0, 0.0, -1.0]])
    assert torch.isfinite(top_k_top_p_filter(logits, top_p=1e-6)).tolist() == [[True, False, False, False]]
    assert torch.isfinite(top_k_top_p_filter(logits, top_k=2)).sum() == 2
    assert torch.equal(top_k_top_p_filter(logits), logits)


@pytest.mark.parametrize("name", ["no/such-model", "nowhere"])
def test_unknown_models_say_so(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_policy(name)
