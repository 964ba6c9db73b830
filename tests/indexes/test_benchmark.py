"""The recall benchmark runs and reports what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_recall_benchmark(root: Path) -> None:
    script = root / "eval" / "benchmarks" / "index_recall.py"
    command = [sys.executable, str(script), "--points", "1500", "--size", "8", "--queries", "5", "--json"]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert result["suite"] == "index-recall"
    recalls = {name: value for name, value in result["metrics"].items() if name.endswith("recall")}
    assert len(recalls) == 6 and set(recalls.values()) == {1.0}
    assert set(result["rows"]) == {"planner", "graph, ef 100", "graph, ef 400", "exact"}
