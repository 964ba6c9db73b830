"""``docs/cli.md`` is what the program says about itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def reference(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("cli_reference", root / "scripts" / "cli_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_is_current(root: Path) -> None:
    current = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    assert current == reference(root).page(), "python scripts/cli_reference.py"


def test_every_option_says_what_it_takes_and_means(root: Path) -> None:
    rows = [row for row in reference(root).page().splitlines() if row.startswith("| `")]
    assert len(rows) > 60
    for row in rows:
        names, about = row.removesuffix(" |").split(" | ", 1) if " | " in row else (row, "")
        assert about.strip(), row
        assert "--no-" not in names, row
