"""Tiny, randomly initialized models of real architectures, written to a folder as the hub would hold them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CHAT = (
    "{% for m in messages %}{{ m.role }}: {% for c in m.content %}"
    "{% if c.type == 'image' %}IMAGE{% else %}{{ c.text }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}judge:{% endif %}"
)
WORDS = "A child builds with red and blue blocks. Two children sit on the rug. A geoboard is on the left. describe this"


def tiny_tokenizer(special: tuple[str, ...], image: str, **named: str) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<pad>", "<s>", "</s>", *special], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    core.train_from_iterator([WORDS] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=named or list(special),
    )
    tokenizer.chat_template = CHAT.replace("IMAGE", image)
    return tokenizer


def text_sizes(vocabulary: int, width: int = 32, depth: int = 2) -> dict:
    return dict(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=depth,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip


def write_llava(folder: Path, image_size: int = 32, patch: int = 8, width: int = 32, depth: int = 2) -> Path:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = tiny_tokenizer(("<image>",), "<image>\n")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=width, intermediate_size=2 * width, num_hidden_layers=depth, num_attention_heads=4,
            image_size=image_size, patch_size=patch, projection_dim=width,
        ),
        text_config=LlamaConfig(**text_sizes(len(tokenizer), width, depth)),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(image_size // patch) ** 2, vision_feature_layer=-2, vision_feature_select_strategy="default",
    )  # fmt: skip
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
        ),
        tokenizer=tokenizer, patch_size=patch, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=tokenizer.chat_template,
    )  # fmt: skip
    return _write(LlavaForConditionalGeneration, config, processor, folder)


def write_qwen_processor(folder: Path) -> tuple[int, dict[str, int]]:
    """Tokenizer and image processor of the Qwen-VL family; the vocabulary's size and the configuration's token ids."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    special = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = tiny_tokenizer(special, "<|vision_start|><|image_pad|><|vision_end|>")
    Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    keys = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return len(tokenizer), dict(zip(keys, tokenizer.convert_tokens_to_ids(list(special))))


def write_qwen25vl(folder: Path) -> Path:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vocabulary, ids = write_qwen_processor(folder)
    config = Qwen2_5_VLConfig(
        text_config=text_sizes(vocabulary) | {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}},
        vision_config=dict(
            depth=2, hidden_size=32, intermediate_size=64, num_heads=4, out_hidden_size=32, patch_size=14,
            spatial_merge_size=2, window_size=56, fullatt_block_indexes=[1],
        ),
        **ids,
    )  # fmt: skip
    return _write(Qwen2_5_VLForConditionalGeneration, config, None, folder)


def _write(architecture, config, processor, folder: Path) -> Path:
    torch.manual_seed(0)
    model = architecture(config)
    for parameter in model.parameters():  # random but not degenerate: biases, norms and what starts at zero too
        if parameter.ndim == 1 or not parameter.any():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = 2
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return Path(folder)


def write_qwen3vl(folder: Path) -> Path:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    vocabulary, ids = write_qwen_processor(folder)
    config = Qwen3VLConfig(
        text_config=text_sizes(vocabulary, depth=3)
        | {"head_dim": 8, "rope_scaling": {"rope_type": "default", "mrope_section": [2, 1, 1]}},
        vision_config=dict(
            depth=3, hidden_size=32, intermediate_size=64, num_heads=4, out_hidden_size=32, patch_size=14,
            spatial_merge_size=2, num_position_embeddings=64, deepstack_visual_indexes=[0, 1],
        ),
        **ids,
    )  # fmt: skip
    return _write(Qwen3VLForConditionalGeneration, config, None, folder)


def idefics3_parts(kind):
    """Tokenizer and configuration (of class `kind`) of the family of Idefics3: SmolVLM is built alike."""
    special = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    special += tuple(f"<row_{r}_col_{c}>" for r in range(1, 3) for c in range(1, 3))
    tokenizer = tiny_tokenizer(special, "<image>")
    config = kind(
        vision_config=dict(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            image_size=32, patch_size=8,
        ),
        text_config=text_sizes(len(tokenizer)) | {"model_type": "llama"},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"), scale_factor=2, pad_token_id=0,
    )  # fmt: skip
    return tokenizer, config


def write_idefics3(folder: Path) -> Path:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tokenizer, config = idefics3_parts(Idefics3Config)
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
        tokenizer=tokenizer, image_seq_len=4, chat_template=tokenizer.chat_template,
    )  # fmt: skip
    return _write(Idefics3ForConditionalGeneration, config, processor, folder)


def write_gemma3(folder: Path) -> Path:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    special = ("<start_of_image>", "<end_of_image>", "<image_soft_token>")
    named = dict(zip(("boi_token", "eoi_token", "image_token"), special))
    tokenizer = tiny_tokenizer(special, "<start_of_image>", **named)
    ids = {t: tokenizer.convert_tokens_to_ids(t) for t in special}
    config = Gemma3Config(
        text_config=text_sizes(len(tokenizer))
        | {"head_dim": 8, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
        vision_config=dict(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            image_size=32, patch_size=8,
        ),
        mm_tokens_per_image=4, boi_token_index=ids["<start_of_image>"], eoi_token_index=ids["<end_of_image>"],
        image_token_id=ids["<image_soft_token>"],
    )  # fmt: skip
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": 32, "width": 32}),
        tokenizer=tokenizer, image_seq_length=4, chat_template=tokenizer.chat_template,
    )  # fmt: skip
    return _write(Gemma3ForConditionalGeneration, config, processor, folder)


def write_llava_next(folder: Path) -> Path:
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextProcessor,
    )
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    tokenizer = tiny_tokenizer(("<image>",), "<image>\n")
    grids = [[32, 64], [64, 32], [64, 64]]
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            image_size=32, patch_size=8, projection_dim=32,
        ),
        text_config=LlamaConfig(**text_sizes(len(tokenizer))),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), image_grid_pinpoints=grids,
        image_seq_length=16, vision_feature_layer=-2, vision_feature_select_strategy="default",
    )  # fmt: skip
    processor = LlavaNextProcessor(
        image_processor=LlavaNextImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=grids
        ),
        tokenizer=tokenizer, patch_size=8, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=tokenizer.chat_template,
    )  # fmt: skip
    return _write(LlavaNextForConditionalGeneration, config, processor, folder)


def write_smolvlm(folder: Path) -> Path:
    """Its processor is kept as parts, as on the hub: whole it needs packages for videos."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    tokenizer, config = idefics3_parts(SmolVLMConfig)
    sizes = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    SmolVLMImageProcessorPil(**sizes).save_pretrained(folder)
    return _write_parts(SmolVLMForConditionalGeneration, config, tokenizer, {"image_seq_len": 4}, folder)


def write_internvl(folder: Path) -> Path:
    from transformers import InternVLConfig, InternVLForConditionalGeneration
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    special = ("<img>", "</img>", "<IMG_CONTEXT>", "<video>")
    names = ("start_image_token", "end_image_token", "context_image_token", "video_token")
    tokenizer = tiny_tokenizer(special, "<IMG_CONTEXT>\n", **dict(zip(names, special)))
    config = InternVLConfig(
        vision_config=dict(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            image_size=32, patch_size=8,
        ),
        text_config=text_sizes(len(tokenizer)) | {"model_type": "qwen2"},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"), image_seq_length=4,
    )  # fmt: skip
    images = GotOcr2ImageProcessorPil(
        size={"height": 32, "width": 32}, crop_to_patches=True, min_patches=1, max_patches=4
    )
    images.save_pretrained(folder)
    return _write_parts(InternVLForConditionalGeneration, config, tokenizer, {"image_seq_length": 4}, folder)


def write_paligemma2(folder: Path) -> Path:
    gemma2 = {"model_type": "gemma2", "sliding_window": 16, "query_pre_attn_scalar": 8, "final_logit_softcapping": 3.0}
    return write_paligemma(folder, gemma2)


def write_paligemma(folder: Path, text: dict | None = None) -> Path:
    """No chat template: PaliGemma is asked in its own format."""
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    tokenizer = tiny_tokenizer(("<image>",), "<image>", image_token="<image>")
    tokenizer.chat_template = None
    images = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    processor = PaliGemmaProcessor(image_processor=images, tokenizer=tokenizer)
    config = PaliGemmaConfig(
        vision_config=dict(
            model_type="siglip_vision_model", hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, image_size=32, patch_size=8, vision_use_head=False,
        ),
        text_config=text_sizes(len(tokenizer))
        | {"model_type": "gemma", "head_dim": 8, "initializer_range": 0.1, **(text or {})},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), projection_dim=32, hidden_size=32,
    )  # fmt: skip
    return _write(PaliGemmaForConditionalGeneration, config, processor, folder)


def _write_parts(architecture, config, tokenizer, settings: dict, folder: Path) -> Path:
    tokenizer.save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps(settings))
    return _write(architecture, config, None, folder)
