"""A head for words fitted to a finished image tower: ``python -m rsrag.train.refit CONFIG TOWER OUT [DATA]``.

Locked-image tuning (Zhai et al. 2022) of the head alone. The image tower stays, so every picture is encoded once and a
pass over a set takes seconds; vectors of archives stay valid, words meet them better. The head that the tower was
trained against stays as well, for its cells. Of the configuration the sets, their names of classes and some of
``optim`` count: epochs, batch, lr, weight_decay, ema, class_weight and smoothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rsrag.errors import BadModelFile, ConfigError, ExitCode, RsragError
from rsrag.models.mini import WORDS_HEAD
from rsrag.models.weights import file_digest
from rsrag.replacing import replacing
from rsrag.train.checkpoint import Average
from rsrag.train.config import OptimConfig, TrainConfig, load_config
from rsrag.train.data import Collection, load
from rsrag.train.evaluate import Exported
from rsrag.train.export import CONFIG_NAME, HEAD_NAME, ONNX_NAME
from rsrag.train.losses import multi_positive_nce, prompt_classes
from rsrag.train.objective import PROMPTS, set_numbers
from rsrag.train.probe import of_sets
from rsrag.train.tower import TextHead

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

TEMPERATURE = 0.05
"""Fixed: a tower tells the pictures that it was trained on apart too well to learn it from them."""
SHARE = 0.5
"""Of the fitted weights in what is written: the mean with those before is as good on the sets themselves and better on
others (Wortsman et al. 2022)."""
TOLD = 0.7
"""How often a picture that has captions meets one of them; otherwise a prompt of its class."""
_log = logging.getLogger("rsrag.train")


def read_head(path: Path) -> TextHead:
    """The head of an export.

    Raises:
        BadModelFile: the file is missing or holds something else.
    """
    try:
        state = load_file(path)
        hidden, width = state["first.weight"].shape
        head = TextHead(width, hidden)
        head.load_state_dict(state)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise BadModelFile(f"{path} holds no text head: {error}") from error
    return head


class Fitting:
    """Pictures and texts as vectors, and the losses that bring them together.

    Args:
        images: semantic vectors of ``data.train``, float32 [N, D], unit length.
        sentences: static vectors of ``data.texts.sentences``, float32 [T, D], unit length.
        data: says which pictures an epoch has, and their texts.
        config: see the module.
        seed: of batches and texts.
    """

    def __init__(self, images: Vectors, sentences: Vectors, data: Collection, config: OptimConfig, seed: int) -> None:
        self.images, self.sentences = torch.from_numpy(images), torch.from_numpy(sentences)
        self.data, self.texts, self.config, self.seed = data, data.texts, config, seed
        self.sets = set_numbers(data.texts)

    def train(self, head: TextHead) -> None:
        """Fit a head in place; in the end it has the averaged weights.

        Raises:
            ConfigError: no picture has a text.
        """
        torch.manual_seed(self.seed)
        count = len(self._members(0))
        if not count:
            raise ConfigError("nothing to fit: no picture has a caption or a class")
        batch = min(self.config.batch, count)
        steps = self.config.epochs * (count // batch)
        optimiser = torch.optim.AdamW(head.parameters(), lr=self.config.lr, weight_decay=self.config.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        average = Average(head, self.config.ema)
        step = 0
        for epoch in range(self.config.epochs):
            rng = np.random.default_rng([self.seed, epoch])
            order = rng.permutation(self._members(epoch))
            for start in range(0, count - batch + 1, batch):
                loss = self.loss(head, order[start : start + batch], rng)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                average.update(step)
                step += 1
            _log.info("step %d of %d, loss %.3f", step, steps, float(loss.detach()))
        head.load_state_dict(average.state)

    def _members(self, epoch: int) -> Numbers:
        """Pictures of an epoch that have a text."""
        rows = self.data.members(self.seed, epoch)
        return rows[[len(self.texts.captions[row]) > 0 for row in rows]]

    def loss(self, head: TextHead, rows: Numbers, rng: np.random.Generator) -> Tensor:
        """Text loss and weighted class loss of some pictures, nats, float32 scalar; ``rng`` draws their texts."""
        scale = 1 / TEMPERATURE
        images, told = self.images[rows], rng.random(len(rows)) < TOLD
        own = [(self.texts.captions if said else self.texts.prompts)[row] for row, said in zip(rows, told, strict=True)]
        drawn = np.array([rng.choice(texts) for texts in own])
        words = head(self.sentences[drawn])
        loss = multi_positive_nce(images, words, torch.from_numpy(self.texts.groups[drawn]), scale)
        labels = torch.from_numpy(self.texts.labels[rows])
        known = labels >= 0
        if not self.config.class_weight or not known.any():
            return loss
        prompts = np.concatenate([rng.choice(texts, PROMPTS) for texts in self.texts.of_class])
        classes = head(self.sentences[prompts]).view(len(self.sets), PROMPTS, -1)
        smoothing = self.config.smoothing
        extra = prompt_classes(images[known], classes, labels[known], self.sets, scale, smoothing)
        return loss + self.config.class_weight * extra


def refit(
    config: TrainConfig, tower: Path, out_dir: Path, data_dir: Path, *, share: float = SHARE, threads: int = 1
) -> dict[str, Any]:
    """Copy an export, with a head for words fitted to its own vectors of the training pictures.

    Args:
        config: see the module; ``version`` is that of the result.
        tower: folder of an export.
        out_dir: where the files of the export and ``words_head.safetensors`` go.
        data_dir: where the paths of the sets begin.
        share: of the fitted weights beside those before, 0 to 1.
        threads: of the processor.

    Returns:
        ``config`` as written, and the figures of the held-out pictures ``before`` and ``after``
        (:func:`rsrag.train.probe.of_sets`); none without such pictures.

    Raises:
        BadModelFile: no export.
        ConfigError: no share, or no picture with a text.
        SourceError: training data is missing.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"a share of {share:g}", hint="from 0, the head before, to 1, the fitted one")
    head = read_head(tower / HEAD_NAME)
    old = {key: value.clone() for key, value in head.state_dict().items()}
    encoder = Exported(tower, text_dir=config.model.text_model, threads=threads)
    data = load(config.data, data_dir, config.seed)
    torch.set_num_threads(threads)
    _log.info("encoding %d pictures", len(data.train) + len(data.held))
    images = encoder.images([item.pixels for item in data.train])[0]
    held = encoder.images([item.pixels for item in data.held])[0] if len(data.held) else images[:0]
    encoder.head = {key: value.numpy() for key, value in old.items()}
    before = of_sets(held, data.held, data.names, encoder.words)
    Fitting(images, encoder.frozen(list(data.texts.sentences)), data, config.optim, config.seed).train(head)
    state = {key: old[key].lerp(value, share).contiguous() for key, value in head.state_dict().items()}
    out_dir.mkdir(parents=True, exist_ok=True)
    if out_dir.resolve() != tower.resolve():
        for name in (ONNX_NAME, HEAD_NAME):
            shutil.copyfile(tower / name, out_dir / name)
    with replacing(out_dir / WORDS_HEAD) as path:
        save_file(state, path)
    table = {**encoder.config, "version": config.version}
    table["sha256"] = {name: file_digest(out_dir / name) for name in (ONNX_NAME, HEAD_NAME, WORDS_HEAD)}
    with replacing(out_dir / CONFIG_NAME) as path:
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    encoder.head = {key: value.numpy() for key, value in state.items()}
    return {"config": table, "before": before, "after": of_sets(held, data.held, data.names, encoder.words)}


def main(arguments: list[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m rsrag.train.refit", description=__doc__.split("\n\n")[0])
    parser.add_argument("config", type=Path, help="TOML, such as rsrag/train/configs/mini_head.toml")
    parser.add_argument("tower", type=Path, help="folder of an export")
    parser.add_argument("out", type=Path)
    default = Path(os.environ.get("RSRAG_DATA", "../shared/data"))
    parser.add_argument("data", type=Path, nargs="?", default=default, help="default: %(default)s")
    parser.add_argument("--share", type=float, default=SHARE, help="of the fitted weights; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    options = {"share": given.share, "threads": given.threads}
    try:
        made = refit(load_config(given.config), given.tower, given.out, given.data, **options)
    except (RsragError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, RsragError) else ExitCode.NOTHING
    print(json.dumps(made, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
