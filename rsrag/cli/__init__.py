"""The command line. ``main`` is the entry point; the modules beside it hold one group of commands each."""

from __future__ import annotations

import os
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
        try:
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # what cannot be written is told here, not when the interpreter has ended
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _give_up_output()
        sys.exit(ExitCode.NOTHING)
    except Exception as error:
        code = crashed(error)
        if isinstance(error, OSError):
            _give_up_output()
        sys.exit(code)


def _give_up_output() -> None:
    """What standard output still holds goes nowhere, so that the interpreter does not try once more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


__all__ = ["main"]
