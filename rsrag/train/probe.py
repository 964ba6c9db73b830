"""Measures on embeddings, used on the pictures held out of training (and by the model card's evaluation)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from rsrag.models.vectors import unit
from rsrag.train.augment import QUERY, plain, view
from rsrag.train.data import Item
from rsrag.train.landscape import Landscapes
from rsrag.train.prompts import TEMPLATES, normal

if TYPE_CHECKING:
    from collections.abc import Callable

    Tower = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    """From float32 [N, 3, S, S] in 0..1 to semantic and instance vectors."""

Vectors = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


def to_tensor(pixels: Pixels, device: str = "cpu") -> torch.Tensor:
    """uint8 [N, S, S, 3] to float32 [N, 3, S, S] in 0..1, channels last in memory."""
    tensor = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
    return tensor.float().div_(255).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()  # type: ignore[untyped-decorator]
def embed(
    tower: Tower,
    pictures: Sequence[Pixels],
    size: int,
    device: str = "cpu",
    resize: Callable[[Pixels, int], Pixels] = plain,
) -> tuple[Vectors, Vectors]:
    """Semantic and instance vectors of pictures resized to ``size``.

    Args:
        tower: in evaluation mode.
        pictures: uint8 [H, W, 3] each.
        size: side in px.
        device: torch device.
        resize: from a picture and a side to a square one.

    Returns:
        float32 [N, semantic_dim] and float32 [N, instance_dim].
    """
    parts = []
    for start in range(0, len(pictures), 128):
        block = np.stack([resize(picture, size) for picture in pictures[start : start + 128]])
        parts.append([part.float().cpu().numpy() for part in tower(to_tensor(block, device))])
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def class_vectors(names: Sequence[str], encode: Callable[[list[str]], Vectors]) -> Vectors:
    """One prompt-averaged unit vector a class, float32 [C, D]."""
    return unit(np.stack([encode([t.format(name) for t in TEMPLATES]).mean(axis=0) for name in names]))


def recall(scores: npt.NDArray[Any], relevant: npt.NDArray[np.bool_], ks: Sequence[int] = (1, 5, 10)) -> list[float]:
    """Share of rows with a relevant column among the best k, for every k.

    Args:
        scores: [N, M], larger is better.
        relevant: bool [N, M].
        ks: ranks.
    """
    top = np.argsort(-scores, axis=1, kind="stable")[:, : max(ks)]
    hits = np.take_along_axis(relevant, top, axis=1)
    return [float(hits[:, :k].any(axis=1).mean()) for k in ks]


def caption_recall(images: Vectors, items: Sequence[Item], encode: Callable[[list[str]], Vectors]) -> dict[str, float]:
    """Retrieval both ways over all captions; any picture or text with an equal caption counts.

    Args:
        images: float32 [N, D].
        items: the N pictures, all with captions.
        encode: sentences to unit vectors in the same space.

    Returns:
        ``i2t_r1``, ..., ``t2i_r10`` and their mean ``mr``, 0..1.
    """
    pairs = [(row, text) for row, item in enumerate(items) for text in item.captions]
    keys = {key: number for number, key in enumerate(dict.fromkeys(normal(text) for _, text in pairs))}
    column_key = np.array([keys[normal(text)] for _, text in pairs])
    has = np.zeros((len(items), len(keys)), dtype=bool)
    for (row, _), key in zip(pairs, column_key, strict=True):
        has[row, key] = True
    relevant = has[:, column_key]
    scores = images @ encode([text for _, text in pairs]).T
    names = [f"{way}_r{k}" for way in ("i2t", "t2i") for k in (1, 5, 10)]
    values = recall(scores, relevant) + recall(scores.T, relevant.T)
    result = dict(zip(names, values, strict=True))
    result["mr"] = float(np.mean(values))
    return result


def zero_shot(
    images: Vectors, items: Sequence[Item], names: dict[str, list[str]], encode: Callable[[list[str]], Vectors]
) -> float:
    """Top-1 share of pictures whose own class has the best prompt-averaged vector among the classes of their set."""
    classes = sorted({item.label for item in items})
    vectors = class_vectors([names[key][0] for key in classes], encode)
    best = (images @ vectors.T).argmax(axis=1)
    return float(np.mean([classes[b] == item.label for b, item in zip(best, items, strict=True)]))


def twin_views(items: Sequence[Item], size: int, seed: int = 0) -> tuple[list[Pixels], list[Pixels]]:
    """Two altered views of every picture, as a query against an archive would be: turned, cropped, recoloured."""
    both = [np.random.default_rng([seed, row]) for row in range(len(items))]
    first = [view(item.pixels, size, QUERY, rng) for item, rng in zip(items, both, strict=True)]
    second = [view(item.pixels, size, QUERY, rng) for item, rng in zip(items, both, strict=True)]
    return first, second


def dated_views(size: int, places: int = 60, seed: int = 0) -> tuple[list[Pixels], list[Pixels]]:
    """Four neighbouring windows of every invented place: altered on one date, as they are on another.

    The places are not those of training: their seeds are counted from a million.
    """
    stock = Landscapes(places, 2, 320, seed=1_000_000 + seed)
    asked, stored = [], []
    for number, (one, two) in enumerate(stock.pictures):
        rng = np.random.default_rng([seed, number])
        side = int(rng.uniform(80, 140))
        for top in (0, int(0.8 * side)):
            for left in (0, int(0.8 * side)):
                window = slice(top, top + side), slice(left, left + side)
                asked.append(view(one[window], size, QUERY, rng))
                stored.append(plain(two[window], size))
    return asked, stored


def twin_hits(first: tuple[Vectors, Vectors], second: tuple[Vectors, Vectors], alpha: float) -> list[float]:
    """hit@1 and hit@5 of finding the other view of a picture among all, with cosines mixed by ``alpha``."""
    scores = alpha * first[0] @ second[0].T + (1 - alpha) * first[1] @ second[1].T
    return recall(scores, np.eye(len(scores), dtype=bool), (1, 5))


def same_class_map(vectors: tuple[Vectors, Vectors], labels: Sequence[str], alpha: float) -> float:
    """Mean average precision of finding pictures of the same class, every picture a query."""
    scores = alpha * vectors[0] @ vectors[0].T + (1 - alpha) * vectors[1] @ vectors[1].T
    np.fill_diagonal(scores, -np.inf)
    classes = np.array(labels)
    order = np.argsort(-scores, axis=1)[:, :-1]
    hits = classes[order] == classes[:, None]
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    counts = hits.sum(axis=1)
    kept = counts > 0
    return float(((precision * hits).sum(axis=1)[kept] / counts[kept]).mean())


def of_sets(
    semantic: Vectors, items: Sequence[Item], names: dict[str, list[str]], encode: Callable[[list[str]], Vectors]
) -> dict[str, float]:
    """Zero-shot top-1 (``top1/SET``) and caption recall (``mr/SET``) of every set that has classes or captions, 0..1.

    Args:
        semantic: vectors of the pictures, float32 [N, D].
        items: the pictures.
        names: class names in words.
        encode: sentences to unit vectors of the same space.
    """
    result: dict[str, float] = {}
    for source in sorted({item.source for item in items}):
        rows = [row for row, item in enumerate(items) if item.source == source]
        labelled = [row for row in rows if items[row].label]
        if labelled:
            result[f"top1/{source}"] = zero_shot(semantic[labelled], [items[r] for r in labelled], names, encode)
        told = [row for row in rows if items[row].captions]
        if told:
            result[f"mr/{source}"] = caption_recall(semantic[told], [items[r] for r in told], encode)["mr"]
    return result


def held_out_metrics(
    tower: Tower,
    encode: Callable[[list[str]], Vectors],
    items: Sequence[Item],
    names: dict[str, list[str]],
    size: int,
    *,
    device: str = "cpu",
    alphas: Sequence[float] = (0.0, 0.5, 1.0),
    resize: Callable[[Pixels, int], Pixels] = plain,
) -> dict[str, float]:
    """Class, caption and place measures over held-out pictures.

    Args:
        tower: in evaluation mode.
        encode: sentences to unit vectors of the semantic space.
        items: held-out pictures.
        names: class names in words.
        size: side of the pictures in px.
        device: torch device.
        alphas: mixtures for the place measure.
        resize: from a picture and a side to a square one, as the finished encoder does it.

    Returns:
        ``top1/SET``, ``mr/SET`` (0..1), ``twin@1/ALPHA``.
    """
    semantic, _ = embed(tower, [item.pixels for item in items], size, device, resize)
    result = of_sets(semantic, items, names, encode)
    first, second = (embed(tower, views, size, device) for views in twin_views(items, size))
    for alpha in alphas:
        result[f"twin@1/{alpha:g}"] = twin_hits(first, second, alpha)[0]
    return result
