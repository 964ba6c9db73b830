"""Trains the caption decoder on the frozen image encoder: ``python -m rsrag.train.captioner --data DIR --out DIR``.

The encoder's vectors of some turns of every picture are cached; a picture's neighbours (itself left out) tell what
their captions say, and half of the time nothing, so that the decoder also works alone. Trained on train splits only;
one picture in ten of them, in blocks of consecutive pictures, is held out to watch the loss, and joins for the last
passes, so that what ships has seen all of train. The decoder is written after every pass.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from rsrag.config import Settings
from rsrag.ingest.readers.photo import load_picture
from rsrag.models.captioner import END, LONGEST, SHIPPED, SPECIAL, START, UNKNOWN, words_of
from rsrag.models.registry import load_profile
from rsrag.models.vectors import unit
from rsrag.models.weights import file_digest
from rsrag.train.augment import turned
from rsrag.train.sources.captions import parse_json
from rsrag.train.sources.files import ANNOTATION_BYTES, open_files

SETS = ("ucm_captions.zip", "rsicd.zip")
NEIGHBOURS = 5
PAD = -1
_BLOCK = 5
"""Consecutive pictures that are held out together: neighbours in UCM show the same scene."""
_BATCH = 64
_RATE = 3e-3


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Captioned pictures of train splits.

    Attributes:
        vectors: of the encoder, float32 [views, N, dim], unit length.
        told: mean text vector of the neighbours' captions, float32 [N, dim of the text encoder].
        captions: of every picture, as words.
        held: whether a picture is held out, bool [N].
    """

    vectors: npt.NDArray[np.float32]
    told: npt.NDArray[np.float32]
    captions: list[list[list[str]]]
    held: npt.NDArray[np.bool_]


class CaptionNet(nn.Module):  # type: ignore[misc, unused-ignore]
    """Soft tokens from picture and neighbours, then a GRU whose output embedding is its input embedding."""

    def __init__(self, words: int, picture: int, told: int, width: int = 256, layers: int = 1, soft: int = 4) -> None:
        super().__init__()
        self.width, self.layers, self.told = width, layers, told
        self.map_picture = nn.Linear(picture, soft * width)
        self.map_told = nn.Linear(told, width)
        self.words = nn.Embedding(words, width)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        self.recur = nn.GRU(width, width, layers, batch_first=True)
        self.out = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(words))
        self.drop = nn.Dropout(0.3)

    def start(self, picture: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """State [L, B, d] after the soft tokens, and their mean [B, d], from unit vectors [B, dim] of both."""
        mapped = self.map_picture(picture * 8.0).unflatten(1, (-1, self.width))
        tokens = torch.cat([mapped, self.map_told(told * 8.0)[:, None]], dim=1).tanh()
        soft = self.drop(tokens)
        nothing = (soft[None, :, 0] * 0).repeat(self.layers, 1, 1)  # computed, so that an export leaves the batch free
        _, state = self.recur(soft, nothing)
        return state, tokens.mean(dim=1)

    def step(self, word: Tensor, soft: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, T, V] and the next state for words [B, T]."""
        seen = self.drop(self.words(word)) + soft[:, None]
        hidden, state = self.recur(seen, state)
        return functional.linear(self.drop(self.out(hidden)), self.words.weight, self.bias), state

    def forward(self, picture: Tensor, told: Tensor, word: Tensor, kept: Tensor) -> Tensor:
        """Logits [N, V] where ``kept`` [B, T] is true, for words [B, T]."""
        state, soft = self.start(picture, told)
        hidden, _ = self.recur(self.drop(self.words(word)) + soft[:, None], state)
        return functional.linear(self.drop(self.out(hidden[kept])), self.words.weight, self.bias)


class _Start(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, net: CaptionNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        return self.net.start(picture, told)


class _Step(nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self, net: CaptionNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, word: Tensor, soft: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        logits, after = self.net.step(word[:, None], soft, state)
        return functional.log_softmax(logits[:, 0], dim=-1), after


def gather(data: Path, cache: Path, *, sets: Sequence[str] = SETS, views: int = 2, limit: int | None = None) -> Told:
    """Read the train splits, encode what is not cached, and look up the neighbours.

    Args:
        data: folder with the sets, each a zip file or folder with ``captions.json``.
        cache: where vectors are kept, named by set, encoder and view.
        sets: their names.
        views: turns of every picture, at most 8; view 0 is the picture itself.
        limit: only so many pictures a set.
    """
    profile = load_profile(Settings())
    encoder, mark = profile.image, profile.image.fingerprint.replace(":", "-")
    cache.mkdir(parents=True, exist_ok=True)
    vectors: list[Any] = []
    captions: list[list[list[str]]] = []
    held: list[Any] = []
    for name in sets:
        files = open_files(data / name)
        rows = parse_json(files.read("captions.json", ANNOTATION_BYTES), name)
        rows = [row for row in rows if row.get("split") == "train"][:limit]
        found = []
        for view in range(views):
            kept = cache / f"{name.split('.')[0]}-{mark}-{view}-{len(rows)}.npy"
            if not kept.exists():
                parts = []
                for start in range(0, len(rows), _BATCH):
                    batch = [load_picture(files.read(r["file"], 2**27)).pixels for r in rows[start : start + _BATCH]]
                    parts.append(encoder.encode_images([turned(p, view) for p in batch]))
                np.save(kept, np.concatenate(parts).astype(np.float16))
                print(f"{name}: view {view} of {len(rows)} pictures encoded", flush=True)
            found.append(np.load(kept).astype(np.float32))
        vectors.append(np.stack(found))
        captions += [[w for w in map(words_of, row["captions"]) if w] for row in rows]
        held.append(np.arange(len(rows)) // _BLOCK % 10 == 9)
    pictures = unit(np.concatenate(vectors, axis=1))
    own = np.stack([profile.text.encode_passages([" ".join(w) for w in c]).mean(axis=0) for c in captions])
    told, step = np.zeros_like(own), 512
    for start in range(0, len(own), step):
        rows_ = np.arange(start, min(start + step, len(own)))
        likeness = pictures[0][rows_] @ pictures[0].T
        likeness[np.arange(len(rows_)), rows_] = -1
        told[rows_] = own[np.argpartition(-likeness, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]].mean(axis=1)
    return Told(pictures, told.astype(np.float32), captions, np.concatenate(held))


def vocabulary(captions: Sequence[Sequence[Sequence[str]]], least: int = 4) -> list[str]:
    """Words that at least so many pictures' captions use, the most frequent first."""
    counts = Counter(word for sentences in captions for word in {w for s in sentences for w in s})
    return [word for word, count in sorted(counts.items(), key=lambda p: (-p[1], p[0])) if count >= least]


def train(
    data: Told,
    *,
    epochs: int,
    width: int = 256,
    layers: int = 1,
    seed: int = 0,
    batch: int = 32,
    ship: bool = True,
    each: Callable[[CaptionNet, list[str], list[float]], None] | None = None,
) -> tuple[CaptionNet, list[str], list[float]]:
    """Train; returns the network, its words and the held-out loss (nats a word) after every epoch.

    Args:
        data: see :func:`gather`.
        epochs: passes in which every picture shows one of its captions.
        width: of embedding and state.
        layers: of the GRU.
        seed: of everything random.
        batch: pictures a step.
        ship: the held-out pictures join for the last sixth of the passes, so that what ships has seen all of train.
        each: called after every pass with network, words and losses so far.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    words = vocabulary(data.captions)
    index = {word: number + SPECIAL for number, word in enumerate(words)}
    coded = [[[index.get(w, UNKNOWN) for w in s[: LONGEST - 1]] for s in sentences] for sentences in data.captions]
    net = CaptionNet(len(words) + SPECIAL, data.vectors.shape[2], data.told.shape[1], width, layers)
    learn, test = np.flatnonzero(~data.held), np.flatnonzero(data.held)
    everything = np.arange(len(data.captions))
    joined = max(1, epochs // 6) if ship else 0
    passes = [everything if epoch >= epochs - joined else learn for epoch in range(epochs)]
    steps = sum(-(-len(rows) // batch) for rows in passes)
    optimiser = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps + 1, pct_start=0.1)
    losses: list[float] = []
    for epoch, rows in enumerate(passes):
        began = time.perf_counter()
        net.train()
        order = rng.permutation(rows)
        for start in range(0, len(order), batch):
            loss = _loss(net, data, coded, order[start : start + batch], rng, training=True)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        net.eval()
        if len(rows) < len(everything) and len(test):
            with torch.no_grad():
                fixed = np.random.default_rng(0)
                parts = [
                    _loss(net, data, coded, test[s : s + 256], fixed, training=False) for s in range(0, len(test), 256)
                ]
            losses.append(float(torch.stack(parts).mean()))
        print(f"pass {epoch + 1} of {epochs}: held-out {losses[-1:]}, {time.perf_counter() - began:.0f} s", flush=True)
        if each is not None:
            each(net, words, losses)
    return net, words, losses


def _loss(
    net: CaptionNet, data: Told, coded: list[list[list[int]]], rows: Any, rng: np.random.Generator, *, training: bool
) -> Tensor:
    chosen = [coded[n][int(rng.integers(len(coded[n])))] for n in rows]
    longest = max(map(len, chosen)) + 1
    words = np.full((len(rows), longest), START)
    wanted = np.full((len(rows), longest), PAD)
    for number, sentence in enumerate(chosen):
        words[number, 1 : len(sentence) + 1] = sentence
        wanted[number, : len(sentence) + 1] = [*sentence, END]
    view = rng.integers(data.vectors.shape[0], size=len(rows)) if training else np.zeros(len(rows), dtype=np.int64)
    picture = data.vectors[view, rows]
    told = data.told[rows] * ((rng.random(len(rows)) < 0.5)[:, None] if training else 1.0)
    if training:
        picture = picture + rng.normal(0, 0.015, picture.shape)
    kept = torch.from_numpy(wanted != PAD)
    logits = net(torch.from_numpy(picture).float(), torch.from_numpy(told).float(), torch.from_numpy(words), kept)
    return functional.cross_entropy(logits, torch.from_numpy(wanted)[kept], label_smoothing=0.05 if training else 0.0)


def save(net: CaptionNet, words: list[str], folder: Path, about: dict[str, Any]) -> None:
    """Write ``start.onnx``, ``step.onnx``, ``words.json`` and ``config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    net.eval()
    picture = torch.zeros(2, net.map_picture.in_features)
    told, state = torch.zeros(2, net.told), torch.zeros(net.layers, 2, net.width)
    soft, word = torch.zeros(2, net.width), torch.zeros(2, dtype=torch.int64)
    graphs: dict[str, Any] = {
        "start.onnx": (_Start(net), (picture, told), ["picture", "told"], ["state", "soft"]),
        "step.onnx": (_Step(net), (word, soft, state), ["word", "soft", "state"], ["odds", "next"]),
    }
    for name, (module, inputs, names, outputs) in graphs.items():
        axes = {n: {1 if n in ("state", "next") else 0: "batch"} for n in (*names, *outputs)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer speaks of shapes that are fixed here
            torch.onnx.export(
                module.eval(), inputs, str(folder / name), input_names=names, output_names=outputs, dynamic_axes=axes,
                opset_version=17, dynamo=False,
            )  # fmt: skip
    (folder / "words.json").write_text(json.dumps(words), encoding="utf-8")
    digests = {name: file_digest(folder / name) for name in ("start.onnx", "step.onnx", "words.json")}
    parameters = sum(p.numel() for p in net.parameters())
    config = {"name": "mini-caption", **about, "layers": net.layers, "width": net.width, "told": net.told,
              "parameters": parameters, "sha256": digests}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m rsrag.train.captioner", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the captioned sets")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the encoder's vectors")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder for the decoder")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    told = gather(given.data, given.cache, sets=given.sets, views=given.views)
    about = {
        "encoder": load_profile(Settings()).image.fingerprint,
        "trained_on": [f"{name.split('.')[0]} train" for name in given.sets],
        "pictures": len(told.captions),
        "views": given.views,
        "epochs": given.epochs,
        "seed": given.seed,
    }

    def keep(net: CaptionNet, words: list[str], losses: list[float]) -> None:
        save(net, words, given.out, {**about, "held_out_loss": [round(loss, 4) for loss in losses]})

    _, words, _ = train(
        told, epochs=given.epochs, width=given.width, layers=given.layers, seed=given.seed, each=keep
    )  # fmt: skip
    print(f"written to {given.out}: {len(words)} words", flush=True)


if __name__ == "__main__":
    main()
