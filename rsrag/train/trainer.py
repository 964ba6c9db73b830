"""One run of training: its state and its steps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsrag.errors import ConfigError, ModelError
from rsrag.train import cached, checkpoint, restore, thaw, tuning
from rsrag.train.augment import training_view
from rsrag.train.batches import Batch, epoch_batches, steps_per_epoch
from rsrag.train.config import TrainConfig
from rsrag.train.data import Collection
from rsrag.train.objective import Objective
from rsrag.train.parallel import Parallel
from rsrag.train.probe import held_out_metrics, to_tensor
from rsrag.train.schedule import learning_rate, optimiser
from rsrag.train.towers import build_tower

_log = logging.getLogger("rsrag.train")
_SETTLING = 512
"""Pictures that an exported tower sees before it is trained again."""
_BAD_STEPS = 10
"""Steps without a finite gradient, one after the other, that end a run."""


class Trainer:
    """The state of a run: network, average, optimiser and position.

    Attributes:
        epoch: whole epochs done.
        within: steps done of the present one.
        step: steps done in all.
        skipped: how many of all were left out, because their gradient was not finite.
        counted: how many of the present epoch were not; ``sums`` are the losses of these.
        batch: pictures a step, over all devices: ``optim.batch``, or all that an epoch has.
    """

    def __init__(self, config: TrainConfig, data: Collection, parallel: Parallel) -> None:
        parallel.check(config.optim.batch)
        members = len(data.members(config.seed, 0)) + sum(data.crops)
        if members < 2:
            raise ConfigError(
                f"nothing to learn from: {len(data.train)} pictures, {len(data.held)} more held out",
                hint="name sets in data.sources, or lower data.holdout",
            )
        if not config.optim.instance_weight and not data.texts.sentences:
            raise ConfigError(
                f"nothing to learn from: none of {len(data.train)} pictures has a caption or a class",
                hint="name the keys of captions and classes in data.sources: captions = [...], label = ...",
            )
        self.config, self.data, self.parallel = config, data, parallel
        self.tower = build_tower(config)
        tuning.apply(self.tower, config.tuning)
        self.tower.set_checkpointing(config.optim.checkpointing)
        self.tower.to(parallel.device)
        self._settle()
        self.frozen = checkpoint.frozen_digest(self.tower)
        rows = self._prepare_texts()
        self.objective = Objective(config.optim, data.texts, rows, parallel.device)
        self.network, self.optimiser = parallel.prepare(self.tower, optimiser(self.tower, config.optim))
        self.average = checkpoint.Average(self.tower, config.optim.ema)  # of the weights as they lie after that
        self.batch = min(config.optim.batch, members)
        if self.batch < config.optim.batch:
            _log.warning(
                "optim.batch is %d, but an epoch has %d pictures: a step takes all", config.optim.batch, members
            )
        self.per_epoch = steps_per_epoch(data, config.optim.batch)
        self.total = self.per_epoch * config.optim.epochs
        self.epoch = self.within = self.step = self.skipped = self.counted = 0
        self.sums: dict[str, float] = {}
        self._bad = 0

    def _settle(self) -> None:
        """Show a tower that was exported before some of the pictures, so that its batch norms have statistics."""
        if not getattr(self.tower, "unsettled", False):
            return
        size, items = self.config.optim.size_at(0.0), self.data.train
        rng = np.random.default_rng(self.config.seed)
        chosen = rng.choice(len(items), min(_SETTLING, len(items)), replace=False)
        pixels = np.stack([training_view(items[row].pixels, size, rng) for row in chosen])
        thaw.settle(self.tower, to_tensor(pixels, str(self.parallel.device)))

    def _prepare_texts(self) -> Tensor:
        """Rows of all sentences; finished vectors when their side does not change."""
        sentences = self.data.texts.sentences
        if self.tower.trains("text") or not sentences:
            return self.tower.prepare_texts(sentences)
        self.tower.eval()
        vectors = torch.from_numpy(self.tower.embed_texts(sentences))
        self.tower.given_vectors = True
        return vectors

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs."""
        return {
            "network": checkpoint.moving(self.tower),
            "average": self.average.state,
            "optimiser": self.optimiser.state_dict(),
            "frozen": self.frozen,
            "epoch": self.epoch,
            "within": self.within,
            "step": self.step,
            "skipped": self.skipped,
            "counted": self.counted,
            "sums": dict(self.sums),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            BadModelFile: it belongs to another network.
        """
        restore.check_frozen(self.tower, state.get("frozen", ""), "the run")
        checkpoint.load_moving(self.tower, state["network"], "the checkpoint")
        self.average.restore(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.within, self.skipped = state.get("within", 0), state.get("skipped", 0)
        self.counted = state.get("counted", self.within)
        self.sums = dict(state.get("sums", {}))

    @property
    def size(self) -> int:
        """Side of the pictures at present, px."""
        return self.tower.input_size or self.config.optim.size_at(self.epoch / self.config.optim.epochs)

    def run_epoch(self, after_step: Callable[[], None]) -> dict[str, float]:
        """What is left of an epoch; returns mean losses over all of its steps that moved something.

        Args:
            after_step: called when the state may be saved.

        Raises:
            ModelError: the gradient was not finite for too many steps in a row.
        """
        config, parallel = self.config, self.parallel
        self.tower.train()
        size = self.size
        source = epoch_batches(
            self.data,
            batch=config.optim.batch,
            size=size,
            seed=config.seed,
            epoch=self.epoch,
            workers=config.data.workers,
            wild=config.optim.wild,
            views=config.optim.views,
            start=self.within,
            rank=parallel.rank,
            devices=parallel.world,
        )
        for batch in source:
            seeds = np.random.SeedSequence([config.seed, self.step])
            losses = self._gradient(batch, seeds)
            if self._move():
                self.counted += 1
                for name, value in losses.items():
                    self.sums[name] = self.sums.get(name, 0.0) + float(value)
            self.step += 1
            self.within += 1
            after_step()
        self.epoch, self.within = self.epoch + 1, 0
        sums, self.sums = self.sums, {}
        counted, self.counted = self.counted, 0
        values = parallel.mean(list(sums.values()))
        means = {name: value / counted for name, value in zip(sums, values, strict=True)}
        result = {**means, "size": size, "scale": float(self.tower.scale().detach())}
        return {**result, "skipped": self.skipped} if self.skipped else result

    def _gradient(self, batch: Batch, seeds: np.random.SeedSequence) -> dict[str, Tensor]:
        optim, device = self.config.optim, self.parallel.device
        inputs = self.objective.inputs(batch, np.random.default_rng(seeds))
        self.optimiser.zero_grad(set_to_none=True)
        bf16 = optim.precision == "bf16"
        return cached.backward(
            self.network,
            inputs.pixels,
            inputs.texts,
            partial(self.objective.losses, inputs),
            parts=optim.accumulate,
            seed=int(seeds.generate_state(1)[0]),
            autocast=lambda: torch.autocast(device.type, torch.bfloat16, enabled=bf16),
            alone=lambda: self.parallel.alone(self.network),
        )

    def _move(self) -> bool:
        """Take the step, unless its gradient is not finite: then nothing moves, which is counted."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config.optim, self.step, self.total)
        trained = [p for p in self.tower.parameters() if p.requires_grad]
        norm = nn.utils.clip_grad_norm_(trained, self.config.optim.clip)
        if torch.isfinite(norm):
            self.optimiser.step()
            self.average.update(self.step)
            self._bad = 0
            return True
        self._bad += 1
        self.skipped += 1
        _log.warning("step %d left out: its gradient is not finite", self.step)
        if self._bad >= _BAD_STEPS:
            raise ModelError(
                f"training diverged: no finite gradient in {_BAD_STEPS} steps up to step {self.step}",
                hint="lower optim.lr, or set optim.precision = 'f32'; the last checkpoint is from before",
            )
        return False

    def evaluate(self) -> dict[str, float]:
        """Measures of the averaged weights on held-out pictures at the last training size."""
        if not self.data.held:
            return {}
        size = self.tower.input_size or self.config.optim.size_at(1.0)
        self.tower.eval()
        with self.average.in_place():
            alphas = (0.0, 0.5, 1.0) if self.config.optim.instance_weight else (1.0,)
            return held_out_metrics(
                self.tower.embed_images,
                self.tower.embed_texts,
                self.data.held,
                self.data.names,
                size,
                device=str(self.parallel.device),
                alphas=alphas,
                resize=self.tower.resized,
            )
