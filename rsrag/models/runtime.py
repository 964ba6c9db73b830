"""Which runtime a model's image tower runs in: measured on this machine, and only one that gives the model's vectors.

A candidate is taken when it is pinned by the setting ``runtime`` or clearly the fastest, and in both cases only after
its vectors of a fixed set of drawn pictures were compared with those in float32. What was measured is kept in the
user's cache folder for the model, this machine and these versions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from rsrag._version import __version__
from rsrag.config import RUNTIMES
from rsrag.errors import ConfigError, ModelError, RsragError
from rsrag.models.devices import cpu_has_bfloat16
from rsrag.models.towers import Batch, Features, Tower, run, usable_cores
from rsrag.models.vectors import unit

_log = logging.getLogger("rsrag.models")

LEAST_MEAN, LEAST = 0.999, 0.995
"""Mean and smallest cosine to float32 from which vectors count as the same: at 0.995 the similarity of two pictures
moves by a few thousandths, far less than by a change of light or season."""
GAIN = 1.2
"""How many times faster than float32 another runtime must be to be worth its rounding."""
PICTURES = 8
_ROUNDS = 3
_KEPT = 64
_VERSIONED = ("torch", "onnxruntime", "openvino")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A runtime that could run a model, and what makes it ready."""

    runtime: str
    make: Callable[[], Tower]


@dataclass(frozen=True, slots=True)
class Measured:
    """A candidate's time a picture in milliseconds, and its mean and smallest cosine to the reference."""

    runtime: str
    ms: float
    mean: float = 1.0
    least: float = 1.0

    @property
    def faithful(self) -> bool:
        """Whether its vectors may stand beside those of the reference."""
        return self.mean >= LEAST_MEAN and self.least >= LEAST


def openvino_numbers() -> tuple[str, ...]:
    """Number formats that OpenVINO offers here; none where it is not installed."""
    if find_spec("openvino") is None:
        return ()
    return ("f32", "bf16") if cpu_has_bfloat16() else ("f32",)


def choose(
    candidates: Sequence[Candidate],
    wanted: str,
    model: str,
    side: int,
    *,
    reference: Features | None = None,
) -> Tower:
    """The runtime of a model, ready to run.

    Args:
        candidates: the reference in float32 first.
        wanted: the setting ``runtime``: "auto", or one of the candidates.
        model: fingerprint of the model, under which results are kept.
        side: of the model's input in pixels.
        reference: unit vectors of :func:`drawn` pictures that every candidate is compared with, float32 of shape
            [PICTURES, D], where they were made elsewhere (exported models); the first candidate's by default.

    Raises:
        ConfigError: a runtime is pinned that cannot run this model.
        ModelError: it can, but its vectors are not those of the model.
    """
    names = [candidate.runtime for candidate in candidates]
    if wanted != "auto" and wanted not in names:
        unknown = "" if wanted in RUNTIMES else ", which is none"
        raise ConfigError(f"setting 'runtime' is {wanted!r}{unknown}", hint=f"here: auto, {', '.join(names)}")
    open_to = list(candidates) if wanted == "auto" else [c for c in candidates[:1] if c.runtime != wanted]
    open_to += [c for c in candidates if c.runtime == wanted]
    if len(open_to) == 1 and reference is None:
        return open_to[0].make()
    key = _key(model, side, [c.runtime for c in open_to])
    known = _read().get(key)
    if known is None:
        found = measure(open_to, side, reference)
        known = [asdict(m) for m in found]
        _keep(key, known)
    measured = [Measured(**row) for row in known]
    chosen = _pick(measured, wanted, reference is not None)
    _log.info("%s: %s of %s", model, chosen.runtime, "; ".join(_told(m) for m in measured))
    return next(c for c in open_to if c.runtime == chosen.runtime).make()


def _pick(measured: Sequence[Measured], wanted: str, foreign: bool) -> Measured:
    first = measured[0]
    if wanted != "auto" or len(measured) == 1:
        chosen = next(m for m in measured if wanted in ("auto", m.runtime))
        if not chosen.faithful:
            raise ModelError(
                f"{_told(chosen)}: these are not the vectors of the model",
                hint="export it again on this machine" if foreign else "set runtime = 'auto', or export a model int8",
            )
        return chosen
    fit = [m for m in measured if m.faithful and (m is first or m.ms * GAIN <= first.ms)]
    if not fit:
        hint = "export it again" if foreign else "its weights may be damaged"  # only NaN differs from itself
        raise ModelError(f"{_told(first)}: these are not the vectors of the model", hint=hint)
    return min(fit, key=lambda m: m.ms)


def _told(measured: Measured) -> str:
    return f"{measured.runtime} {measured.ms:.2f} ms, cosine {measured.mean:.5f} (least {measured.least:.5f})"


def measure(candidates: Sequence[Candidate], side: int, reference: Features | None = None) -> list[Measured]:
    """Time and fidelity of each candidate that can be made ready; one after the other, so that only one is in memory.

    Raises:
        RsragError: the first one cannot be made ready.
    """
    pictures = drawn(side)
    found: list[Measured] = []
    for candidate in candidates:
        try:
            tower = candidate.make()
            features = unit(run(tower, pictures))
            seconds = min(_timed(tower, pictures) for _ in range(_ROUNDS))
        except (RsragError, RuntimeError, ValueError) as error:
            if not found:
                raise
            _log.warning("runtime %s is left out: %s", candidate.runtime, error)
            continue
        reference = features if reference is None else reference
        cosines = (features * reference).sum(axis=1)
        found.append(
            Measured(candidate.runtime, 1000 * seconds / len(pictures), float(cosines.mean()), float(cosines.min()))
        )
    return found


def _timed(tower: Tower, pictures: Batch) -> float:
    start = time.perf_counter()
    run(tower, pictures)
    return time.perf_counter() - start


def drawn(side: int, count: int = PICTURES) -> Batch:
    """Pictures that are the same everywhere, of fields, stripes and noise: uint8 of shape [count, side, side, 3]."""
    import cv2

    made = []
    for number in range(count):
        rng = np.random.default_rng(number)
        picture = np.zeros((side, side, 3), dtype=np.float32)
        for cells in (2, 5, 11, 29):
            field = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
            picture += cv2.resize(field, (side, side), interpolation=cv2.INTER_NEAREST) * (60 / cells**0.3)
        if number % 2:
            rows, cols = np.mgrid[0:side, 0:side].astype(np.float32)
            turn = rng.uniform(0, np.pi)
            wave = np.sin((rows * np.sin(turn) + cols * np.cos(turn)) * rng.uniform(0.1, 0.8))
            picture += (wave * 40)[..., None]
        picture += rng.normal(0, 6, picture.shape) + rng.uniform(70, 180, 3)
        made.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack(made)


# --- what is kept ---------------------------------------------------------------------------------------------------


def cache_home() -> Path:
    """Folder of what can be measured again: ``rsrag`` below the user's cache directory (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rsrag"


def _file() -> Path:
    return cache_home() / "runtimes.json"


def _read() -> dict[str, list[dict[str, Any]]]:
    """What was measured before; nothing where the file is missing or damaged."""
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
        return {str(key): [asdict(Measured(**row)) for row in rows] for key, rows in kept.items() if rows}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(key: str, measured: list[dict[str, Any]]) -> None:
    """Note a result; a folder that cannot be written costs a measurement the next time, nothing else."""
    kept = {**_read(), key: measured}
    kept = dict(list(kept.items())[-_KEPT:])
    try:
        cache_home().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache_home(), encoding="utf-8", delete=False) as file:
            json.dump(kept, file, indent=1)
        Path(file.name).replace(_file())
    except OSError as error:
        _log.info("what was measured is not kept: %s", error)


def _key(model: str, side: int, runtimes: Sequence[str]) -> str:
    parts: Mapping[str, Any] = {
        "model": model, "side": side, "runtimes": list(runtimes), "machine": machine(), "rsrag": __version__,
        "versions": {name: _installed(name) for name in _VERSIONED},
    }  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Processor with its instructions, usable cores and GPUs: what a measurement is good for."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    gpus = [path.read_text(errors="replace") for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]
    return "|".join([platform.machine(), platform.processor(), *told, str(usable_cores()), *gpus])
