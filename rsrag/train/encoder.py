"""The training loop of the dual encoder."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rsrag.errors import ConfigError
from rsrag.train import checkpoint
from rsrag.train.batches import Batch, epoch_batches, steps_per_epoch
from rsrag.train.config import OptimConfig, TrainConfig, TrainResult
from rsrag.train.data import Collection, load
from rsrag.train.losses import multi_positive_nce, nt_xent, prompt_classes
from rsrag.train.probe import Vectors, held_out_metrics, to_tensor
from rsrag.train.textmodel import load_text
from rsrag.train.tower import DualEncoder


def optimiser(network: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW without weight decay on norms, biases and single numbers."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98), eps=1e-6)


def learning_rate(config: OptimConfig, step: int, total: int) -> float:
    """Linear warm-up, then a cosine to a thousandth of the peak."""
    warm = max(1, round(config.warmup * total))
    if step < warm:
        return config.lr * (step + 1) / warm
    share = (step - warm) / max(1, total - warm)
    return config.lr * (0.001 + 0.999 * (1 + math.cos(math.pi * share)) / 2)


def text_encoder(
    network: DualEncoder, frozen: Callable[[list[str]], Vectors], device: str
) -> Callable[[list[str]], Vectors]:
    """Sentences through the frozen vectors and the text head of ``network``."""

    def encode(texts: list[str]) -> Vectors:
        with torch.inference_mode():
            vectors: Vectors = network.text(torch.from_numpy(frozen(texts)).to(device)).cpu().numpy()
        return vectors

    return encode


class Trainer:
    """The state of a run: networks, average, optimiser and position."""

    def __init__(self, config: TrainConfig, run_dir: Path, data: Collection, device: str) -> None:
        self.config, self.run_dir, self.data, self.device = config, run_dir, data, device
        torch.manual_seed(config.seed)
        self.network = DualEncoder(config.model).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = checkpoint.Average(self.network, config.optim.ema)
        self.optimiser = optimiser(self.network, config.optim)
        self.frozen = load_text(config.model.text_model)
        self.texts = torch.from_numpy(self.frozen(data.texts.sentences)).to(device)
        self.groups = torch.from_numpy(data.texts.groups).to(device)
        sets = [key.split("/", 1)[0] for key in data.texts.classes]
        self.sets = torch.tensor([sorted(set(sets)).index(name) for name in sets], device=device)
        self.per_epoch = steps_per_epoch(data, config.optim.batch)
        self.total = self.per_epoch * config.optim.epochs
        self.epoch = self.step = 0

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state,
            "optimiser": self.optimiser.state_dict(),
            "rng": torch.get_rng_state(),
            "epoch": self.epoch,
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.network.load_state_dict(state["network"])
        self.average.state = {key: value.to(self.device) for key, value in state["average"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["rng"])
        self.epoch, self.step = state["epoch"], state["step"]

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Text, class and instance loss of a batch."""
        config = self.config.optim
        views = to_tensor(np.concatenate(batch.views), self.device)
        with torch.autocast(self.device, torch.bfloat16, enabled=config.precision == "bf16"):
            semantic, instance = self.network.image(views)
        count = batch.views.shape[1]
        result = {"instance": nt_xent(instance[:count], instance[count:], config.instance_temperature)}
        text, classes = semantic.new_zeros(()), semantic.new_zeros(())
        scale = self.network.scale()
        prompts = self.class_prompts() if config.class_weight else None
        for view, (rows, texts, labels) in enumerate(zip(batch.rows, batch.texts, batch.labels, strict=True)):
            if not len(rows):
                continue
            vectors = semantic[torch.from_numpy(rows).to(self.device) + view * count]
            chosen = torch.from_numpy(texts).to(self.device)
            words = self.network.text(self.texts[chosen])
            text = text + multi_positive_nce(vectors, words, self.groups[chosen], scale) / 2
            known = torch.from_numpy(labels >= 0).to(self.device)
            if prompts is not None and bool(known.any()):
                numbers = torch.from_numpy(labels).to(self.device)[known]
                loss = prompt_classes(vectors[known], prompts, numbers, self.sets, scale, config.smoothing)
                classes = classes + loss / 2
        result |= {"text": text, "class": classes}
        result["loss"] = text + config.class_weight * classes + config.instance_weight * result["instance"]
        return result

    def class_prompts(self, each: int = 3) -> torch.Tensor:
        """Vectors of ``each`` prompts drawn for every class, float32 [C, each, D]."""
        of_class = self.data.texts.of_class
        draws = torch.rand(len(of_class), each)
        chosen = [
            [own[int(draw * len(own))] for draw in row] for own, row in zip(of_class, draws.tolist(), strict=True)
        ]
        vectors: torch.Tensor = self.network.text(self.texts[torch.tensor(chosen, device=self.device).flatten()])
        return vectors.view(len(of_class), each, -1)

    def run_epoch(self) -> dict[str, float]:
        """One pass; returns mean losses."""
        config = self.config.optim
        self.network.train()
        size = config.size_at(self.epoch / config.epochs)
        sums: dict[str, float] = {}
        batches = epoch_batches(
            self.data,
            batch=config.batch,
            size=size,
            seed=self.config.seed,
            epoch=self.epoch,
            workers=self.config.data.workers,
            wild=config.wild,
        )
        for batch in batches:
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(config, self.step, self.total)
            losses = self.losses(batch)
            self.optimiser.zero_grad(set_to_none=True)
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
            if not torch.isfinite(norm):
                raise FloatingPointError(f"gradient is not finite at step {self.step}")
            self.optimiser.step()
            self.average.update(self.network, self.step)
            self.step += 1
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
        self.epoch += 1
        means = {name: value / self.per_epoch for name, value in sums.items()}
        return {**means, "size": size, "scale": float(self.network.scale().detach())}

    def evaluate(self) -> dict[str, float]:
        """Held-out measures of the averaged weights at the present training size."""
        if not self.data.held:
            return {}
        network = DualEncoder(self.config.model).to(self.device)
        network.load_state_dict(self.average.state)
        network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        size = self.config.optim.size_at(1.0)
        encode = text_encoder(network, self.frozen, self.device)
        return held_out_metrics(network.image, encode, self.data.held, self.data.names, size, device=self.device)


def prepare_run(config: TrainConfig, run_dir: Path) -> None:
    """Write the settings into the run folder, or check that they are those of the run being continued.

    Only ``optim.epochs`` may differ: a longer or shorter schedule from where the run stands.

    Raises:
        ConfigError: the folder belongs to a run with other settings.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / "config.json"
    table = dataclasses.asdict(config)
    if path.exists() and (run_dir / checkpoint.NAME).exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        old["optim"]["epochs"] = table["optim"]["epochs"]
        if old != json.loads(json.dumps(table)):
            raise ConfigError(f"{run_dir} holds a run with other settings", hint="use another run folder")
    path.write_text(json.dumps(table, indent=1), encoding="utf-8")


def _keep_metrics(path: Path, epoch: int) -> None:
    """Drop lines of epochs that are about to be repeated."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if json.loads(line)["epoch"] <= epoch]
    path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def train_encoder(
    config: TrainConfig,
    *,
    run_dir: Path,
    data_dir: Path,
    resume: bool = True,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> TrainResult:
    """Train the image tower and the text head.

    The run folder gets ``config.json``, ``manifest.jsonl``, ``metrics.jsonl`` (one line an epoch) and
    ``checkpoint.pt``. A run that was stopped continues from its last whole epoch to the same result.

    Args:
        config: the settings.
        run_dir: run folder, made if missing.
        data_dir: where the paths of the configuration begin.
        resume: continue a run found in the folder; otherwise it is begun anew.
        progress: called with every line of ``metrics.jsonl``.

    Returns:
        Where the run is and its last measures.

    Raises:
        ConfigError: the folder holds a run with other settings.
        SourceError: training data is missing or damaged.
    """
    begun = time.monotonic()
    if not resume:
        (run_dir / checkpoint.NAME).unlink(missing_ok=True)
    prepare_run(config, run_dir)
    if config.optim.threads:
        torch.set_num_threads(config.optim.threads)
    data = load(config.data, Path(data_dir), config.seed)
    with (run_dir / "manifest.jsonl").open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in data.manifest())
    trainer = Trainer(config, run_dir, data, "cuda" if torch.cuda.is_available() else "cpu")
    state = checkpoint.load(run_dir)
    if state is not None:
        trainer.restore(state)
    metrics_path = run_dir / "metrics.jsonl"
    _keep_metrics(metrics_path, trainer.epoch)
    line: dict[str, Any] = {}
    while trainer.epoch < config.optim.epochs:
        start = time.monotonic()
        losses = trainer.run_epoch()
        seconds = time.monotonic() - start
        line = {
            "epoch": trainer.epoch,
            "step": trainer.step,
            "seconds": round(seconds, 2),
            "views_per_s": round(2 * trainer.per_epoch * config.optim.batch / seconds, 1),
            **{key: round(value, 5) for key, value in {**losses, **trainer.evaluate()}.items()},
        }
        with metrics_path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        checkpoint.save(run_dir, trainer.state())
        if progress is not None:
            progress(line)
    if not line:
        lines = metrics_path.read_text(encoding="utf-8").splitlines()
        line = json.loads(lines[-1]) if lines else {}
    return TrainResult(run_dir, trainer.step, time.monotonic() - begun, line)
