"""The command line. ``main`` is the entry point; the modules beside it hold one group of commands each."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``rsrag`` with the arguments of the process and exit with its code."""
    from rsrag.cli.app import app
    from rsrag.cli.session import crashed
    from rsrag.errors import ExitCode

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        sys.exit(crashed(error))


__all__ = ["main"]
