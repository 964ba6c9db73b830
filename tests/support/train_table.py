"""Train a table of settings: ``python train_table.py TABLE.json RUN_DIR DATA_DIR [KILL_AT]``.

With KILL_AT the process kills itself with SIGKILL when so many steps are done: nothing can be saved any more.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from rsrag.progress import Silent
from rsrag.train import train_encoder
from rsrag.train.config import parse_config


class Killer(Silent):
    """Ends the process at a step, as a power cut would."""

    def __init__(self, at: int) -> None:
        self.left = at

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        self.left -= steps
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    table, run_dir, data_dir = (Path(argument) for argument in sys.argv[1:4])
    train_encoder(
        parse_config(json.loads(table.read_text(encoding="utf-8"))),
        run_dir=run_dir,
        data_dir=data_dir,
        steps=Killer(int(sys.argv[4])) if len(sys.argv) > 4 else None,
        export=False,
    )
