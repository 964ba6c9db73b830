"""Readers that are vision-language models on this machine, through the Auto classes of transformers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from safetensors import SafetensorError

from rsrag.config import Settings
from rsrag.errors import BadModelFile, MissingExtra, ReaderError
from rsrag.models import pictures, weights
from rsrag.models.base import ModelRow, Prompt
from rsrag.models.checkpoints import must_have_vocabulary
from rsrag.models.devices import LOADING, choose, without_progress_bars
from rsrag.models.streaming import Put, Stopped, pieces

_CHARACTERS_PER_TOKEN = 16


class VlmReader:
    """A chat model that sees pictures (Qwen2.5-VL, Qwen3-VL and what follows their interfaces).

    Weights are safetensors; code from the checkpoint is never run. Decoding is greedy: the same prompt gives the same
    answer. One answer at a time; the next caller waits. The time limit counts from when the model is loaded.
    """

    def __init__(self, row: ModelRow, settings: Settings) -> None:
        """Find the files; weights are read at first use.

        Raises:
            ModelError: the directory is not there or holds no safetensors.
        """
        self.name = row.name
        self._settings = settings
        self._path = weights.locate(row, settings)
        if not self._path.is_dir() or not any(self._path.glob("*.safetensors")):
            raise BadModelFile(
                f"reader {row.name}: {self._path} holds no .safetensors files", hint="pickled weights are not read"
            )
        self._busy = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Digest of weights, settings and chat template."""
        files = [f for pattern in ("*.safetensors", "*.json", "*.jinja") for f in self._path.glob(pattern)]
        return f"transformers_vlm:{weights.digest(self._path, files)[:16]}"

    def read(self, prompt: Prompt) -> Iterator[str]:
        """Pieces of the answer as they come.

        Raises:
            MissingExtra: transformers is not installed.
            BadModelFile: the checkpoint cannot be loaded.
            ReaderError: the prompt is too long for the model, generation failed, or nothing came in time.
        """
        model, processor = self._ready()
        return pieces(
            lambda put: self._generate(model, processor, prompt, put),
            name=f"reader {self.name}",
            seconds=self._settings.endpoint_timeout,
            characters=_CHARACTERS_PER_TOKEN * prompt.max_tokens,
        )

    def _ready(self) -> tuple[Any, Any]:
        with LOADING:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _generate(self, model: Any, processor: Any, prompt: Prompt, put: Put) -> None:
        with self._busy:
            put("")
            from jinja2 import TemplateError

            # The template and the limits of pictures (such as their proportions) are the checkpoint's own.
            try:
                inputs = self._inputs(prompt, model, processor)
                self._run(model, processor, inputs, prompt.max_tokens, put)
            except (RuntimeError, ValueError, IndexError, MemoryError, TemplateError) as error:
                raise ReaderError(f"reader {self.name} failed: {error}") from error

    def _load(self) -> tuple[Any, Any]:
        try:
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ImportError as error:
            raise MissingExtra(f"reader {self.name}", extra="models", package=error.name) from error
        device, dtype = choose(self._settings)
        common = {"local_files_only": True, "trust_remote_code": False}
        try:
            with without_progress_bars():
                model, info = AutoModelForImageTextToText.from_pretrained(
                    self._path, use_safetensors=True, dtype=dtype, output_loading_info=True, **common
                )
                processor = AutoProcessor.from_pretrained(self._path, **common)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise BadModelFile(f"reader {self.name}: cannot load {self._path}: {error}") from error
        except ImportError as error:  # a processor that needs one more package
            raise MissingExtra(f"reader {self.name}", extra="models", package=error.name) from error
        if info["missing_keys"]:
            # transformers fills what is missing with random numbers.
            missing = sorted(info["missing_keys"])
            raise BadModelFile(
                f"reader {self.name}: {self._path} lacks {len(missing)} tensors: {', '.join(missing[:5])}"
            )
        must_have_vocabulary(f"reader {self.name}", self._path)
        if not processor.chat_template:
            raise BadModelFile(f"reader {self.name}: {self._path} has no chat template")
        return model.to(device).eval(), processor

    def _inputs(self, prompt: Prompt, model: Any, processor: Any) -> Any:
        images = pictures.chosen(prompt.pictures)
        messages = [
            {"role": "system", "content": [{"type": "text", "text": prompt.system}]},
            {
                "role": "user",
                "content": [
                    *({"type": "image", "image": image} for image in images),
                    {"type": "text", "text": without_special(prompt.user, _special(processor.tokenizer))},
                ],
            },
        ]
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        inputs = processor(text=[text], images=images or None, return_tensors="pt").to(model.device)
        room = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        length = int(inputs["input_ids"].shape[1])
        if room is not None and length + prompt.max_tokens > room:
            raise ReaderError(
                f"reader {self.name} has room for {room} tokens; the prompt needs {length} + {prompt.max_tokens}",
                hint="lower token_budget",
            )
        return inputs

    def _run(self, model: Any, processor: Any, inputs: Any, tokens: int, put: Put) -> None:
        import torch
        from transformers import TextStreamer

        class Streamer(TextStreamer):  # type: ignore[misc]
            """Hands over text at word boundaries, and asks at every token whether to go on."""

            came = False

            def put(self, value: Any) -> None:
                put("")
                super().put(value)

            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
                self.came = self.came or bool(text)
                put(text)

        def defined(_tokens: Any, scores: Any) -> Any:
            if scores.isnan().any():  # the likeliest of them is token 0, whatever was asked
                raise ValueError("it gave undefined scores; its weights may be damaged")
            return scores

        streamer = Streamer(processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        with torch.inference_mode():
            found = model.generate(
                **inputs,
                streamer=streamer,
                logits_processor=[defined],
                max_new_tokens=tokens,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
            )
        said = found[0, inputs["input_ids"].shape[1] :].tolist()
        if len(said) >= tokens and said[-1] not in _ends(model):
            if not streamer.came:
                raise ReaderError(f"reader {self.name} gave no answer in {tokens} tokens")
            raise Stopped(f"after {tokens} tokens")


def _ends(model: Any) -> list[int]:
    """Tokens that end an answer."""
    ends = model.generation_config.eos_token_id
    return [] if ends is None else ends if isinstance(ends, list) else [ends]


def _special(tokenizer: Any) -> set[str]:
    return {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}


def without_special(text: str, special: set[str]) -> str:
    """Text in which no marker of the chat template stands: a space after its first character breaks each."""
    for token in sorted(special, key=len, reverse=True):
        if len(token) > 1:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
