"""``python -m rsrag.train.sources CONFIG [DATA_DIR] [RUN_DIR]``: read all training data once, train nothing.

Prints the counts of the manifest; with RUN_DIR also writes ``manifest.jsonl``, ``manifest_summary.json`` and
``train_manifest.txt.gz`` there. Exit code 3 says that something was skipped.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from rsrag.errors import ExitCode, RsragError


def main(arguments: list[str]) -> int:
    """Read the data of the configuration named on the command line."""
    if not 1 <= len(arguments) <= 3:
        print(__doc__, file=sys.stderr)
        return ExitCode.USAGE
    from rsrag.train.config import load_config
    from rsrag.train.data import load
    from rsrag.train.sources.manifest import write_manifest, write_train_manifest

    data_dir = Path(arguments[1] if len(arguments) > 1 else os.environ.get("RSRAG_DATA", "../shared/data"))
    try:
        config = load_config(Path(arguments[0]))
        data = load(config.data, data_dir, config.seed)
    except RsragError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    facts = data.facts()
    print(json.dumps(facts, indent=1))
    if len(arguments) > 2:
        run_dir = Path(arguments[2])
        run_dir.mkdir(parents=True, exist_ok=True)
        rows = data.manifest()
        write_manifest(rows, facts, run_dir)
        write_train_manifest(rows, run_dir / "train_manifest.txt.gz")
    return ExitCode.PARTIAL if data.problems else ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
