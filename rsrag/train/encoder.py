"""A whole run of training: run folder, signals, epochs, export."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from rsrag.errors import ConfigError
from rsrag.progress import Progress, Silent
from rsrag.replacing import replacing
from rsrag.train import adapters, checkpoint
from rsrag.train.config import TrainConfig, TrainResult, parse_config
from rsrag.train.data import load
from rsrag.train.finish import EXPORT, PROFILE, SUMMARY, finish
from rsrag.train.parallel import Parallel
from rsrag.train.trainer import Trainer

_log = logging.getLogger("rsrag.train")
METRICS, MANIFEST = "metrics.jsonl", "manifest.jsonl"


class Interrupt:
    """Within it, SIGINT and SIGTERM ask for an end at the next step; a second one ends at once.

    Outside the main thread nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._put_back()

    def _ask(self, *_: object) -> None:
        self.asked = True
        self._put_back()

    def _put_back(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())


def prepare_run(config: TrainConfig, run_dir: Path) -> None:
    """Write the settings into the run folder, or check that they are those of the run being continued.

    ``optim.epochs`` may differ (a longer or shorter schedule from where the run stands), and what does not change the
    result: ``optim.save_steps``, ``data.workers`` and ``data.memory_mb``.

    Raises:
        ConfigError: the folder belongs to a run with other settings.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / "config.json"
    table = json.loads(json.dumps(dataclasses.asdict(config)))
    if path.exists() and (run_dir / checkpoint.NAME).exists():
        try:
            old = dataclasses.asdict(parse_config(json.loads(path.read_text(encoding="utf-8"))))
        except ValueError as error:
            raise ConfigError(f"cannot read {path}: {error}", hint="begin anew (--fresh)") from error
        different = _differences(json.loads(json.dumps(old)), table)
        if different:
            raise ConfigError(
                f"{run_dir} holds a run with other settings: {', '.join(different[:5])}",
                hint="use another run folder, or begin anew (--fresh)",
            )
    with replacing(path) as new:
        new.write_text(json.dumps(table, indent=1), encoding="utf-8")


_FREE = ("optim.epochs", "optim.save_steps", "data.workers", "data.memory_mb")


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Paths at which two settings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        return [p for key in keys for p in _differences(old.get(key), new.get(key), f"{where}.{key}".lstrip("."))]
    return [where] if old != new and where not in _FREE else []


def _clear(run_dir: Path) -> None:
    """Remove what an earlier run left, lest its encoder be taken for one that the new manifest speaks of."""
    for name in (checkpoint.NAME, PROFILE, SUMMARY):
        (run_dir / name).unlink(missing_ok=True)
    shutil.rmtree(run_dir / EXPORT, ignore_errors=True)
    shutil.rmtree((run_dir / adapters.NAME).parent, ignore_errors=True)


def _keep_manifest(run_dir: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write the manifest, or check that a run which goes on reads the pictures that it began with.

    Raises:
        ConfigError: it would read others, and the manifest would no longer tell what the weights have seen.
    """
    path = run_dir / MANIFEST
    if path.exists() and (run_dir / checkpoint.NAME).exists():
        try:
            with path.open(encoding="utf-8") as handle:
                both = zip_longest(_read(map(json.loads, handle)), _read(rows))
                other = next((old or new for old, new in both if old != new), None)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"cannot read {path}: {error}", hint="begin anew (--fresh)") from error
        if other is not None:
            raise ConfigError(
                f"{run_dir} holds a run on other pictures: {other[1]} of {other[0]} was changed, added or taken away",
                hint="put the training data back, use another run folder, or begin anew (--fresh)",
            )
    with replacing(path) as new, new.open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows)


def _read(rows: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, ...]]:
    """Set, file, digest and use of the pictures in a manifest that were learned from or held out."""
    kept = (row for row in rows if row["use"] in ("train", "held-out"))
    return (tuple(row[name] for name in ("source", "file", "sha256", "use")) for row in kept)


def _keep_metrics(path: Path, epoch: int) -> None:
    """Drop lines of epochs that are about to be repeated, and one that a crash left unfinished."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["epoch"] <= epoch]
    with replacing(path) as new:
        new.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def train_encoder(
    config: TrainConfig,
    *,
    run_dir: Path,
    data_dir: Path,
    resume: bool = True,
    progress: Callable[[dict[str, Any]], None] | None = None,
    steps: Progress | None = None,
    export: bool = True,
) -> TrainResult:
    """Train a dual encoder.

    The run folder gets ``config.json``, ``manifest.jsonl``, ``metrics.jsonl`` (one line an epoch), ``checkpoint.pt``,
    ``curves.png``, ``summary.json`` and, with ``export``, the finished encoder (:func:`rsrag.train.finish.finish`). A
    run that was stopped, however, continues from its last checkpoint to the same result. SIGINT and SIGTERM write a
    checkpoint at the next step and end the run.

    Args:
        config: the settings.
        run_dir: run folder, made if missing.
        data_dir: where the paths of the configuration begin.
        resume: continue a run found in the folder; otherwise it is begun anew.
        progress: called with every line of ``metrics.jsonl``.
        steps: told of every step.
        export: write the finished encoder at the end.

    Returns:
        Where the run is and its last measures.

    Raises:
        ConfigError: the folder holds a run with other settings or on other pictures.
        SourceError: training data is missing or damaged.
        ModelError: weights are missing or damaged, or the run diverged.
        KeyboardInterrupt: SIGINT or SIGTERM came; the state is saved.
    """
    begun = time.monotonic()
    parallel = Parallel()
    run_dir, data_dir = Path(run_dir), Path(data_dir)
    if parallel.main and resume:
        prepare_run(config, run_dir)
    if config.optim.threads:
        torch.set_num_threads(config.optim.threads)
    data = load(config.data, data_dir, config.seed)
    trainer = Trainer(config, data, parallel)
    if parallel.main:
        if not resume:  # now that all settings and data are known to be good
            _clear(run_dir)
            prepare_run(config, run_dir)
        _keep_manifest(run_dir, data.manifest())
    parallel.wait()
    state = checkpoint.load(run_dir)
    if state is not None:
        trainer.restore(state)
    _Run(trainer, run_dir, progress, steps or Silent()).finish_epochs()
    line = _last_line(run_dir / METRICS)
    if parallel.main:
        facts = {"parameters": trainer.tower.counts(), "devices": parallel.world, "data": data.facts()}
        finish(run_dir, facts, line, export=export)
    parallel.wait()
    return TrainResult(run_dir, trainer.step, time.monotonic() - begun, line)


class _Run:
    """The epochs of a run, with its files."""

    def __init__(
        self, trainer: Trainer, run_dir: Path, progress: Callable[[dict[str, Any]], None] | None, steps: Progress
    ) -> None:
        self.trainer, self.run_dir, self.progress, self.steps = trainer, run_dir, progress, steps
        self.main = trainer.parallel.main

    def finish_epochs(self) -> None:
        """Train until the last epoch is done."""
        trainer, epochs = self.trainer, self.trainer.config.optim.epochs
        if self.main:
            _keep_metrics(self.run_dir / METRICS, trainer.epoch)
        self.steps.start("training", trainer.total, done=trainer.step, unit="steps")
        try:
            with Interrupt() as interrupt:
                while trainer.epoch < epochs:
                    self._epoch(interrupt)
        finally:
            self.steps.finish()

    def _epoch(self, interrupt: Interrupt) -> None:
        trainer, begun, first = self.trainer, time.monotonic(), self.trainer.step
        losses = trainer.run_epoch(lambda: self._after_step(interrupt))
        seconds = max(1e-9, time.monotonic() - begun)
        views = trainer.config.optim.views * trainer.batch * (trainer.step - first)
        line: dict[str, Any] = {}
        if self.main:
            values = {**losses, **trainer.evaluate()}
            line = {
                "epoch": trainer.epoch,
                "step": trainer.step,
                "seconds": round(seconds, 2),
                "views_per_s": round(views / seconds, 1),
                **{key: round(value, 5) for key, value in values.items()},
            }
            with (self.run_dir / METRICS).open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(line) + "\n")
        self._save()
        if self.main and self.progress is not None:
            self.progress(line)

    def _after_step(self, interrupt: Interrupt) -> None:
        trainer = self.trainer
        self.steps.advance(1, f"epoch {trainer.epoch + 1}")
        asked = trainer.parallel.any(interrupt.asked)
        if asked or trainer.step % trainer.config.optim.save_steps == 0:
            self._save()
        if asked:
            _log.info("stopped at step %d of %d; the state is in %s", trainer.step, trainer.total, self.run_dir)
            raise KeyboardInterrupt

    def _save(self) -> None:
        if self.main:
            checkpoint.save(self.run_dir, self.trainer.state())
        self.trainer.parallel.wait()


def _last_line(path: Path) -> dict[str, Any]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    line: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return line
