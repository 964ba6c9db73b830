"""Constraints that hold every dependency of the base install at its lower bound, for ``make test-oldest``.

python scripts/oldest_versions.py > constraints.txt
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def constraints(requirements: list[str]) -> list[str]:
    """``name>=1.2`` becomes ``name==1.2.0.*``; whatever is not a lower bound stays as it is."""
    return [re.sub(r">=([\d.]+)$", _first_of, requirement) for requirement in requirements]


def _first_of(bound: re.Match[str]) -> str:
    parts = bound[1].split(".")
    return "==" + ".".join([*parts, *["0"] * (3 - len(parts)), "*"])


def main() -> None:
    """Print them."""
    print("\n".join(constraints(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"])))


if __name__ == "__main__":
    main()
