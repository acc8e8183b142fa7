"""The embedded captioner: a small LLaVA for the built-in kindergarten, built here, trained by `make base`.

    python -m capwright.scenes.captioner new FOLDER --scenes DATASET   tokenizer, language model from nothing, and a
                                                                      vision tower that has learned to see
    python -m capwright.scenes.captioner pack CHECKPOINT               into the package, in half precision

It exists so that every command of capwright runs without a download. It knows nothing but the drawn kindergarten.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from capwright.console import show
from capwright.data import Dataset, load_image, open_dataset
from capwright.models.loading import EMBEDDED, load_policy
from capwright.models.policy import HFPolicy
from capwright.models.processor import PromptProcessor
from capwright.scenes import casual_captions, expert_captions, sample_scene
from capwright.scenes.word_detectors import teach_to_see
from capwright.text.tables import read_tables

IMAGE_SIZE, PATCH = 96, 12
PROMPT = "Describe this image."
CHAT_TEMPLATE = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}\n{% endif %}{% endfor %}{% endfor %}"
)


def build_tokenizer(scenes: int = 3000, entries: int = 1024) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of the kindergarten's language; any other text falls apart into bytes."""
    texts = [t for i in range(scenes) for s in [sample_scene(1, i)] for t in expert_captions(s) + casual_captions(s)]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=entries,
        special_tokens=["<pad>", "<s>", "</s>", "<image>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator([*texts, PROMPT], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build(seed: int = 0) -> HFPolicy:
    """An untrained embedded captioner: a CLIP-style vision tower, a projector and a small Llama, 3.4 M parameters."""
    tokenizer = build_tokenizer()
    sizes = read_tables("capwright.scenes", "captioner.yaml")
    ends = {f"{end}_token_id": getattr(tokenizer, f"{end}_token_id") for end in ("pad", "bos", "eos")}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=IMAGE_SIZE, patch_size=PATCH, **sizes["vision"]),
        text_config=LlamaConfig(vocab_size=len(tokenizer), **sizes["text"], **ends),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(IMAGE_SIZE // PATCH) ** 2,
        **sizes["llava"],
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    return HFPolicy(model, PromptProcessor(processor, PROMPT))


def see(policy: HFPolicy, dataset: Dataset, steps: int = 2400) -> None:
    """Teaches the vision tower the words that casual captions of `dataset` use; see `word_detectors`."""
    image_processor = policy.prompt_processor.processor.image_processor
    pixels = [image_processor(load_image(s.image), return_tensors="pt").pixel_values.half() for s in dataset]
    teach_to_see(
        policy.inner.model.vision_tower,
        torch.cat(pixels),
        [sample.meta["casual"] for sample in dataset],
        steps=steps,
        progress=lambda step, total, loss: show(f"seeing {step}/{total} · loss {loss:.2f}"),
    )


def pack(checkpoint: Path, folder: Path = EMBEDDED) -> int:
    """Writes a trained captioner into the package with float16 weights; returns its size in bytes."""
    policy = load_policy(checkpoint, device="cpu", layout="packed")
    policy.inner.half()
    policy.save(folder)
    return sum(path.stat().st_size for path in folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["new", "pack"])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--scenes", type=Path, help="dataset whose train split teaches the vision tower; none: it stays blind"
    )
    arguments = parser.parse_args()
    if arguments.action == "new":
        policy = build()
        if arguments.scenes:
            see(policy, open_dataset(arguments.scenes, "train"))
        policy.save(arguments.folder)
        show(f"an untrained embedded captioner is in {arguments.folder}")
    else:
        show(f"packed: {pack(arguments.folder) / 1e6:.1f} MB in {EMBEDDED}")


if __name__ == "__main__":
    main()
