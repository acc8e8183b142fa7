"""From requests to model inputs: images and prompt in, tensors out, for any Hugging Face processor."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, PaliGemmaProcessor, processing_utils
from transformers.models.auto import processing_auto

from capwright.types import ModelError, Request

#: What capwright keeps beside a model's own files.
SETTINGS = "capwright.json"
DEFAULT_PROMPT = "Describe this image."
#: The decoded images of one request: one, several, or none (the prompt stands alone).
ImageInput = Image.Image | Sequence[Image.Image] | None
#: Inputs with one entry a token; they are padded on the left. Everything else is stacked image by image.
TOKEN_KEYS = {"input_ids": None, "attention_mask": 0, "token_type_ids": 0, "mm_token_type_ids": 0}


def load_processor(folder: str | Path, model_type: str, trust_remote_code: bool = False) -> Any:
    """The model's processor; where torchvision is missing, the same processor without its video half.

    Several processors (Qwen-VL, InternVL, SmolVLM) refuse to load without torchvision although only their video part
    needs it. Captioners see images, so we build the processor from its image processor (PIL) and its tokenizer. Code
    that the folder brings is executed only with `trust_remote_code`.
    """
    try:
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=trust_remote_code)
        if isinstance(processor, processing_utils.ProcessorMixin):
            return processor
    except Exception as error:  # every library below has errors of its own for a broken file
        if not any(word in str(error).lower() for word in ("torchvision", "video processor", "num2words")):
            raise ModelError(f"{folder}: the processor cannot be loaded: {error}") from error
    name = processing_auto.PROCESSOR_MAPPING_NAMES.get(model_type)
    family = getattr(__import__("transformers"), name, None) if name else None
    if family is None:
        raise ModelError(f"{folder}: a {model_type} processor needs torchvision: pip install 'capwright[vision]'")
    try:
        trust: dict[str, Any] = {"trust_remote_code": trust_remote_code}
        tokenizer = AutoTokenizer.from_pretrained(folder, **trust)
        parts = [AutoImageProcessor.from_pretrained(folder, backend="pil", **trust), tokenizer]
        settings = {"chat_template": tokenizer.chat_template} | family.get_processor_dict(folder)[0]
        tokenizer.chat_template = settings["chat_template"]  # where it is saved
        with _without_number_words(family):
            return images_only(family).from_args_and_dict(parts, settings, video_processor=None)
    except Exception as error:
        raise ModelError(
            f"{folder}: its {model_type} processor needs torchvision (pip install 'capwright[vision]'): {error}"
        ) from error


def images_only(family: type[processing_utils.ProcessorMixin]) -> type[processing_utils.ProcessorMixin]:
    """`family` without video and audio: its parts are the image processor and the tokenizer."""

    class ImagesOnly(family):
        without_video = True

        @classmethod
        def get_attributes(cls) -> list[str]:
            return ["image_processor", "tokenizer"]

    ImagesOnly.__name__ = family.__name__
    return ImagesOnly


@contextlib.contextmanager
def _without_number_words(family: type) -> Iterator[None]:
    """SmolVLM's processor asks for num2words when it is made, and uses it only in prompts about videos."""
    module = sys.modules[family.__module__]
    missing = getattr(module, "num2words", str) is None
    try:
        if missing:
            vars(module)["num2words"] = str
        yield
    finally:
        if missing:
            vars(module)["num2words"] = None


class PromptProcessor:
    """Turns requests into model inputs with a processor.

    Attributes:
        processor: the Hugging Face processor; `tokenizer` is its tokenizer.
        prompt: the instruction used when a request brings none.
        max_pixels: images are scaled down to at most this many pixels; None leaves them to the processor.
        caption_type: what a caption token says in `token_type_ids`. PaliGemma's 0 is for the prompt, whose tokens all
            see each other, and 1 for what follows.
    """

    def __init__(self, processor: Any, prompt: str = DEFAULT_PROMPT, max_pixels: int | None = None) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.prompt = prompt
        self.max_pixels = max_pixels
        self.caption_type = int(isinstance(processor, PaliGemmaProcessor))

    def text(self, prompt: str, images: int = 1) -> str:
        """The prompt in the model's chat format, with a placeholder for each image."""
        content = [{"type": "image"}] * images + [{"type": "text", "text": prompt or self.prompt}]
        messages = [{"role": "user", "content": content}]
        template = self._template
        if template is None:
            return self._plain_text(prompt or self.prompt, images)
        text = self.tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=True
        )
        bos = self.tokenizer.bos_token  # a template that writes it must not get a second one from the tokenizer
        return text.removeprefix(bos) if bos and self._adds_bos() else text

    def turn_end(self, ends: Sequence[int]) -> int | None:
        """Which of these tokens the chat template puts after what the model says; None where it has none of them."""
        word = "capwright"
        asked = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}
        for said in ([{"type": "text", "text": word}], word):  # templates differ in which form they take
            messages = [asked, {"role": "assistant", "content": said}]
            try:
                text = self.tokenizer.apply_chat_template(messages, chat_template=self._template, tokenize=False)
            except (ValueError, TypeError, TemplateError):
                continue
            if word in text:
                after = self.tokenizer(text.rpartition(word)[2], add_special_tokens=False).input_ids
                return next((token for token in after if token in ends), None)
        return None

    @property
    def has_template(self) -> bool:
        """Whether prompts have a chat format, or the one that PaliGemma's processor writes."""
        return self._template is not None or isinstance(self.processor, PaliGemmaProcessor)

    @property
    def _template(self) -> Any:
        return getattr(self.processor, "chat_template", None) or self.tokenizer.chat_template

    def _plain_text(self, prompt: str, images: int) -> str:
        """The prompt for a model without a chat template. PaliGemma's processor writes the same frame by itself."""
        if not isinstance(self.processor, PaliGemmaProcessor):
            return self._placeholder() * images + f"{prompt}\n"
        return self._placeholder() * images + prompt if images else f"{self.tokenizer.bos_token}{prompt}\n"

    def _placeholder(self) -> str:
        return str(getattr(self.processor, "image_token", "<image>"))

    def _adds_bos(self) -> bool:
        return bool(self.tokenizer("").input_ids)

    def prepare(self, request: Request, image: ImageInput) -> dict[str, Tensor]:
        """Inputs for one request, batch size 1. Without an image the prompt stands alone (blind).

        Raises:
            ModelError: the processor refuses the images or the prompt, or has no place for so many; names the sample.
        """
        given = [] if image is None else [image] if isinstance(image, Image.Image) else list(image)
        where = f"sample {request.sample.id!r} ({', '.join(map(str, request.sample.images))})"
        try:
            text = self.text(request.prompt, len(given))
            if (places := text.count(self._placeholder())) != len(given):
                raise ModelError(
                    f"{where}: for {len(given)} image(s) the prompt has {places} placeholder(s) "
                    f"{self._placeholder()}; check the model's chat template and the instruction"
                )
            if given:
                images = [self._fit(one) for one in given]
                inputs = dict(self.processor(text=[text], images=images, return_tensors="pt"))
            else:
                inputs = self._blind(text)
        except (ValueError, RuntimeError, IndexError, TypeError, TemplateError) as error:
            raise ModelError(f"{where}: not accepted by the model: {error}") from error
        inputs.pop("labels", None)  # PaliGemma's processor writes some
        return {name: value for name, value in inputs.items() if isinstance(value, Tensor)}

    def _blind(self, text: str) -> dict[str, Tensor]:
        inputs = dict(self.tokenizer([text], return_tensors="pt"))
        if getattr(self.processor, "return_mm_token_type_ids", False):
            inputs["mm_token_type_ids"] = torch.zeros_like(inputs["input_ids"])
        if self.caption_type:
            inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
        return inputs

    def save(self, folder: str | Path) -> None:
        """Writes the parts as the hub holds them, so that a machine with torchvision finds its video half too."""
        self.tokenizer.save_pretrained(folder)
        if getattr(self.processor, "without_video", False):
            self.processor.image_processor.save_pretrained(folder)
            own = {name: value for name, value in self.processor.to_dict().items() if name != "image_processor"}
            (Path(folder) / "processor_config.json").write_text(json.dumps(own, indent=2) + "\n", encoding="utf-8")
        else:
            self.processor.save_pretrained(folder)
        settings = {"prompt": self.prompt, "max_pixels": self.max_pixels}
        (Path(folder) / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def _fit(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        if self.max_pixels and width * height > self.max_pixels:
            scale = (self.max_pixels / (width * height)) ** 0.5
            image = image.resize((max(1, int(width * scale)), max(1, int(height * scale))), Image.Resampling.BICUBIC)
        return image


def collate(rows: Sequence[dict[str, Tensor]], pad_id: int) -> dict[str, Tensor]:
    """Joins single-request inputs: token inputs padded on the left, pixel inputs concatenated image by image."""
    batch: dict[str, Tensor] = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        if key in TOKEN_KEYS:
            fill = TOKEN_KEYS[key]
            batch[key] = _pad_left(values, pad_id if fill is None else fill)
        else:
            batch[key] = torch.cat(_same_shape(values))
    return batch


def _pad_left(values: Sequence[Tensor], fill: int) -> Tensor:
    width = max(value.shape[1] for value in values)
    return torch.cat([torch.nn.functional.pad(value, (width - value.shape[1], 0), value=fill) for value in values])


def _same_shape(values: Sequence[Tensor]) -> list[Tensor]:
    """Pads every axis but the first at its end to the largest (tiles of Idefics3, sizes of LLaVA-Next)."""
    shape = [max(sizes) for sizes in zip(*(value.shape[1:] for value in values))]
    padded = []
    for value in values:
        margins = [(0, full - size) for full, size in zip(shape, value.shape[1:])]
        padded.append(torch.nn.functional.pad(value, [n for pair in reversed(margins) for n in pair]))
    return padded
