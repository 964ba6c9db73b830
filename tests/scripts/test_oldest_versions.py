"""Lower bounds become constraints."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "oldest_versions.py"


def test_a_lower_bound_is_held_at_its_first_release() -> None:
    spec = importlib.util.spec_from_file_location("oldest_versions", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given = ["pillow>=11", "numpy>=2.0", "rasterio>=1.4.3", "qdrant-edge-py==0.9.*"]
    assert module.constraints(given) == [
        "pillow==11.0.0.*",
        "numpy==2.0.0.*",
        "rasterio==1.4.3.*",
        "qdrant-edge-py==0.9.*",
    ]
