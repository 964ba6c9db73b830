"""``python -m rsrag.train CONFIG RUN_DIR [DATA_DIR]``: train, printing one line an epoch.

Also what launchers of several processes start: ``accelerate launch -m rsrag.train CONFIG RUN_DIR DATA_DIR``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from rsrag.errors import ExitCode, RsragError
from rsrag.train import load_config, train_encoder


def main(arguments: list[str]) -> int:
    """Run the training named on the command line."""
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return ExitCode.USAGE
    run_dir = Path(arguments[1])
    data_dir = Path(arguments[2] if len(arguments) == 3 else os.environ.get("RSRAG_DATA", "../shared/data"))
    try:
        config = load_config(Path(arguments[0]))
        train_encoder(
            config, run_dir=run_dir, data_dir=data_dir, progress=lambda row: print(json.dumps(row), flush=True)
        )
    except RsragError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"interrupted: resume with the same command; the state is in {run_dir}", file=sys.stderr)
        return ExitCode.INTERRUPTED
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
