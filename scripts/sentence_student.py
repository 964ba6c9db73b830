"""The small sentence encoder in torch: a few layers of its teacher and a factorised word table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """The student's shape; width, heads and feed-forward width are the teacher's."""

    layers: tuple[int, ...] = (0, 4, 5)
    rank: int = 144
    width: int = 384
    heads: int = 12
    inner: int = 1536
    words: int = 30522
    positions: int = 256


class Layer(nn.Module):
    """One post-norm transformer layer, as in BERT."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.norm1 = nn.LayerNorm(shape.width, eps=1e-12)
        self.up = nn.Linear(shape.width, shape.inner)
        self.down = nn.Linear(shape.inner, shape.width)
        self.norm2 = nn.LayerNorm(shape.width, eps=1e-12)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """States [N, T, width] to states; ``bias`` [N, 1, 1, T] is added to the attention's logits."""
        n, t, width = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        x = self.norm1(x + self.out(mixed.transpose(1, 2).reshape(n, t, width)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Alone(nn.Module):
    """The student as it is shipped: one text a call, so that quantised activations never depend on a neighbour."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids [1, T] to a unit vector [1, width]."""
        return self.student(ids, torch.ones_like(ids))  # type: ignore[no-any-return]


class Student(nn.Module):
    """A short BERT with a factorised word table."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.table = nn.Embedding(shape.words, shape.rank)
        self.expand = nn.Linear(shape.rank, shape.width)  # its bias is the teacher's token type
        self.position = nn.Parameter(torch.zeros(shape.positions, shape.width))
        self.norm = nn.LayerNorm(shape.width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(shape) for _ in shape.layers)

    def states(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Last hidden states, [N, T, width]."""
        x = self.norm(self.expand(self.table(ids)) + self.position[: ids.shape[1]])
        bias = (1.0 - mask[:, None, None, :].to(x.dtype)) * -1e4
        for layer in self.layers:
            x = layer(x, bias)
        return x

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Unit vectors, [N, width]: the mean of the states under the mask."""
        return pool(self.states(ids, mask), mask)


def pool(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens of each text, unit length."""
    weights = mask[:, :, None].to(states.dtype)
    return F.normalize((states * weights).sum(dim=1) / weights.sum(dim=1), dim=1)


def from_teacher(weights: dict[str, torch.Tensor], shape: Shape, counts: npt.NDArray[np.int64] | None) -> Student:
    """The teacher's layers that the shape names, and its word table factorised, frequent tokens kept best.

    Args:
        weights: the teacher's tensors by name.
        shape: what the student keeps.
        counts: how often each token occurs in the texts; None weighs them alike.
    """
    student = Student(shape)
    words = weights["embeddings.word_embeddings.weight"].float()
    weigh = torch.ones(len(words)) if counts is None else torch.from_numpy(counts + 3.0).float().sqrt()
    *_, right = torch.linalg.svd(words * weigh[:, None].sqrt(), full_matrices=False)
    basis = right[: shape.rank]
    scale = (words @ basis.T).std()
    state = {
        "table.weight": words @ basis.T / scale * 0.05,
        "expand.weight": basis.T * scale / 0.05,
        "expand.bias": weights["embeddings.token_type_embeddings.weight"][0],
        "position": weights["embeddings.position_embeddings.weight"][: shape.positions],
        "norm.weight": weights["embeddings.LayerNorm.weight"],
        "norm.bias": weights["embeddings.LayerNorm.bias"],
    }
    parts = {
        "out": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm2": "output.LayerNorm",
    }
    for ours, theirs in enumerate(shape.layers):
        prefix = f"encoder.layer.{theirs}."
        for kind in ("weight", "bias"):
            qkv = [weights[f"{prefix}attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
            state[f"layers.{ours}.qkv.{kind}"] = torch.cat(qkv)
            state |= {f"layers.{ours}.{to}.{kind}": weights[f"{prefix}{source}.{kind}"] for to, source in parts.items()}
    student.load_state_dict(state)
    return student


def full_teacher(weights: dict[str, torch.Tensor]) -> Student:
    """The teacher itself in the same code: all layers, the word table at full rank."""
    words, width = weights["embeddings.word_embeddings.weight"].shape
    positions = len(weights["embeddings.position_embeddings.weight"])
    inner = len(weights["encoder.layer.0.intermediate.dense.bias"])
    layers = tuple(range(len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})))
    return from_teacher(weights, Shape(layers, width, width, Shape.heads, inner, words, positions), None).eval()
