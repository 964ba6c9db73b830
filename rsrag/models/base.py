"""Protocols of the models: what the engine needs from an encoder, a re-ranker and a reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from rsrag.types import Evidence

Vectors = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]
"""RGB picture, uint8 of shape [H, W, 3]."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One row of the registry: a model as data.

    Attributes:
        name: what users write, for example "mini-image" or "georsclip-vit-b-32".
        kind: what it does.
        backend: which loader in this package runs it.
        source: hub id, or a path below the package for shipped weights.
        revision: pinned revision on the hub; None for local files.
        dim: size of its vectors (0 for models without vectors).
        input_size: side of the square input in pixels (0 for text).
        bands: band roles of the input in order.
        licence: SPDX id or the words found beside the weights.
        options: further arguments of the backend (architecture name, weights file, pooling, box convention).
    """

    name: str
    kind: Literal["image", "text", "reranker", "reader", "detector", "segmenter"]
    backend: str
    source: str
    revision: str | None = None
    dim: int = 0
    input_size: int = 0
    bands: tuple[str, ...] = ("red", "green", "blue")
    licence: str = "unknown"
    options: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class ImageEncoder(Protocol):
    """Pictures to unit vectors, and words into the same space."""

    name: str
    fingerprint: str
    dim: int
    input_size: int

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        """Unit vectors, float32 of shape [N, dim]; pictures may differ in size."""

    def encode_words(self, texts: Sequence[str]) -> Vectors:
        """Texts as queries against image vectors: float32 of shape [N, dim], unit norm."""


@runtime_checkable
class TextEncoder(Protocol):
    """Texts to unit vectors; questions and passages may be encoded differently."""

    name: str
    fingerprint: str
    dim: int

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 of shape [N, dim]. An empty text gives a zero row, which is never indexed."""

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 of shape [N, dim]."""


@runtime_checkable
class Reranker(Protocol):
    """Scores how well passages answer a question."""

    name: str
    fingerprint: str

    def score(self, question: str, passages: Sequence[str]) -> npt.NDArray[np.float32]:
        """One score in [0, 1] a passage, float32 of shape [N]."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What a reader is given: rendered text parts, the evidence behind the numbers, and pictures.

    Attributes:
        system: rules of the task, from a versioned template.
        user: question and fenced, numbered evidence.
        question: the question alone.
        evidence: what the numbers in ``user`` stand for.
        pictures: query picture first, then evidence thumbnails.
        template: name and version, for provenance.
        max_tokens: room for the answer.
    """

    system: str
    user: str
    question: str
    evidence: tuple[Evidence, ...]
    pictures: tuple[Picture, ...] = ()
    template: str = ""
    max_tokens: int = 400


@runtime_checkable
class Reader(Protocol):
    """Turns a prompt into an answer text with [n] citations, in pieces as they come."""

    name: str
    fingerprint: str

    def read(self, prompt: Prompt) -> Iterator[str]:
        """Pieces of the answer; joined they are the whole. An empty answer means: abstain."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """The models that work together: one image and one text encoder, a reader, perhaps a re-ranker."""

    name: str
    image: ImageEncoder
    text: TextEncoder
    reader: Reader | None = None
    reranker: Reranker | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
