"""``python -m rsrag.train CONFIG RUN_DIR [DATA_DIR]``: train, printing one line an epoch."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from rsrag.train import load_config, train_encoder


def main(arguments: list[str]) -> int:
    """Run the training named on the command line."""
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    config, run_dir = load_config(Path(arguments[0])), Path(arguments[1])
    data_dir = Path(arguments[2] if len(arguments) == 3 else os.environ.get("RSRAG_DATA", "../shared/data"))
    train_encoder(config, run_dir=run_dir, data_dir=data_dir, progress=lambda row: print(json.dumps(row), flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
