"""Where torch models run, and in which number format."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from rsrag.config import Settings
from rsrag.errors import ConfigError, ModelError

LOADING = threading.Lock()
"""Held while a model is read: transformers changes torch's default number format meanwhile, for every thread."""


def choose(settings: Settings) -> tuple[Any, Any]:
    """Device and floating-point type for inference.

    ``auto`` is the GPU where there is one. On a GPU the type is bfloat16 (float16 on those without it); on a CPU it is
    bfloat16 where the instructions AVX512_BF16 or AMX make it faster, float32 elsewhere: emulated bfloat16 is slower.

    Returns:
        A ``torch.device`` and a ``torch.dtype``.

    Raises:
        ConfigError: the setting names no device.
        ModelError: it names one that this machine lacks.
    """
    import torch

    wanted = settings.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(f"setting 'device' is {wanted!r}", hint="auto, cpu, cuda or cuda:1") from error
    if device.type == "cuda":
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise ModelError(f"there is no device {wanted!r} here", hint="set device = 'auto' or 'cpu'")
        return device, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return device, torch.bfloat16 if device.type == "cpu" and cpu_has_bfloat16() else torch.float32


@lru_cache(maxsize=1)
def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bfloat16 in hardware (Linux on x86; elsewhere the answer is no)."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing bars on the user's terminal while it reads weights."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()
