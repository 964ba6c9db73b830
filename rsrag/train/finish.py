"""What a finished run leaves: curves, a summary, and the encoder in the form that the rest of rsrag loads."""

from __future__ import annotations

import json
import logging
import platform
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rsrag._version import __version__
from rsrag.errors import MissingExtra
from rsrag.models import weights
from rsrag.replacing import replacing
from rsrag.train import adapters, restore
from rsrag.train.config import TrainConfig
from rsrag.train.curves import draw_curves
from rsrag.train.written import write_tensors

_log = logging.getLogger("rsrag.train")
EXPORT, PROFILE, SUMMARY = "export", "profile.toml", "summary.json"
WEIGHTS = "model.safetensors"


def finish(run_dir: Path, facts: dict[str, Any], metrics: dict[str, Any], *, export: bool) -> dict[str, Any]:
    """Draw the curves, export the averaged weights, and write ``summary.json``.

    Args:
        run_dir: folder of a run.
        facts: what else the summary tells.
        metrics: the last line of ``metrics.jsonl``.
        export: write the encoder: for an open_clip model ``export/model.safetensors`` with what was added by tuning
            merged in, for the mini tower the files of :func:`rsrag.train.export.export_encoder`; and ``profile.toml``,
            which names it. After tuning with few weights these also lie alone in ``adapter/adapter.safetensors``.

    Returns:
        The content of ``summary.json``.

    Raises:
        UsageError: a file cannot be written; checkpoint and earlier files of the run stay.
    """
    if find_spec("matplotlib") is not None:
        draw_curves(run_dir)
    config, tower = restore.load_tower(run_dir, merged=False)
    written: list[str] = []
    if export:
        if config.tuning.method != "full":
            written.append(str(adapters.save(tower, config, run_dir / adapters.NAME).relative_to(run_dir)))
        written += (
            _export_open_clip(config, run_dir) if config.model.kind == "open_clip" else _export_mini(config, run_dir)
        )
    summary = {
        "name": config.name,
        "version": config.version,
        "model": config.model.kind,
        "architecture": getattr(tower, "label", config.model.architecture),
        "start": getattr(tower, "start", config.model.pretrained or "random"),
        "method": config.tuning.method,
        "locked": config.tuning.lock,
        **facts,
        "metrics": metrics,
        "export": written,
        "profile": PROFILE if (run_dir / PROFILE).exists() else None,
        "versions": _versions(),
    }
    with replacing(run_dir / SUMMARY) as new:
        new.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _versions() -> dict[str, str]:
    found = {"rsrag": __version__, "python": platform.python_version()}
    for name in ("torch", "open_clip_torch", "timm"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _export_open_clip(config: TrainConfig, run_dir: Path) -> list[str]:
    """Weights and architecture as :class:`rsrag.models.openclip.OpenClipEncoder` reads them."""
    _, tower = restore.load_tower(run_dir)
    found: Any = tower
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in found.network.state_dict().items()}
    if tower.logit_bias is not None:
        tensors["logit_bias"] = tower.logit_bias.detach().clone()
    folder = run_dir / EXPORT
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / WEIGHTS
    write_tensors(tensors, target, {"architecture": found.label})
    about = {
        "architecture": found.label,
        "config": found.architecture,
        "source": {"name": config.name, "version": config.version, "start": found.start},
        "tensors": len(tensors),
        "rsrag": __version__,
        "sha256": weights.file_digest(target),
    }
    with replacing(weights.side_car(target)) as new:
        new.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    from rsrag.train.towers.openclip import RESIZE

    write_profile(config, run_dir, "open_clip", target, {"resize": RESIZE})
    return [str(path.relative_to(run_dir)) for path in (target, weights.side_car(target))]


def _export_mini(config: TrainConfig, run_dir: Path) -> list[str]:
    """The ONNX graph of the mini tower, where the exporter is installed."""
    try:
        for module in ("onnx", "onnxscript"):
            if find_spec(module) is None:
                raise MissingExtra("the export to ONNX", extra="train", package=module)
        from rsrag.train.export import export_encoder
    except MissingExtra as error:
        _log.warning("the run is not exported: %s", error)
        return []
    export_encoder(run_dir, run_dir / EXPORT)
    if not config.model.text_model:  # the loader of mini towers knows the shipped text model alone
        write_profile(config, run_dir, "mini_image", run_dir / EXPORT, {})
    return sorted(str(path.relative_to(run_dir)) for path in (run_dir / EXPORT).iterdir())


def write_profile(config: TrainConfig, run_dir: Path, backend: str, source: Path, options: dict[str, str]) -> Path:
    """A profile with the exported encoder and the text models of the default one, for ``--profile``.

    Args:
        config: settings of the run.
        run_dir: where ``profile.toml`` goes.
        backend: loader of the image encoder.
        source: its file or folder.
        options: of the loader.
    """
    text = partial(json.dumps, ensure_ascii=False)  # TOML knows no pairs of surrogates
    lines = [
        'text = "mini-text"',
        'reranker = "mini-ranker"',
        'reader = "extractive"',
        "",
        "[image]",
        f"name = {text(config.name)}",
        f"backend = {text(backend)}",
        f"source = {text(str(source.resolve()))}",
        'licence = "that of the training data and the start"',
    ]
    if options:
        lines += ["", "[image.options]", *(f"{key} = {text(value)}" for key, value in options.items())]
    path = run_dir / PROFILE
    with replacing(path) as new:
        new.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
