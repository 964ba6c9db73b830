"""What every command shares: which workspace, which consoles, how results and errors leave the process."""

from __future__ import annotations

import errno
import json
import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import typer

from rsrag.config import FILE_NAME
from rsrag.errors import ExitCode, RsragError, RsragWarning, WorkspaceNotFound

if TYPE_CHECKING:
    from rich.console import Console

    from rsrag.engine import Engine

DEFAULT_WORKSPACE = "archive.rsrag"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Of a device that takes nothing more."""


@dataclass
class Session:
    """State of one run of the command line; commands find it as ``ctx.obj``."""

    workspace: Path | None = None
    verbose: bool = False
    as_json: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    emitted: bool = False
    """Whether the one JSON object is out."""

    @cached_property
    def out(self) -> Console:
        """Results go here: standard output."""
        from rich.console import Console

        return Console(highlight=False)

    @cached_property
    def err(self) -> Console:
        """Everything else goes here: standard error."""
        from rich.console import Console

        return Console(stderr=True, highlight=False)

    def locate(self) -> Path:
        """The workspace to use: the one named, else the nearest folder upwards that holds one, else ./archive.rsrag.

        Raises:
            WorkspaceNotFound: none of them is there.
        """
        path = self.workspace or nearest(Path.cwd())
        if path is None:
            raise WorkspaceNotFound(
                f"no workspace here, in a folder above, or in ./{DEFAULT_WORKSPACE}",
                hint="rsrag ingest SOURCES makes one; name another with --workspace or RSRAG_WORKSPACE",
            )
        return path

    def open(self, *, create: bool = False) -> Engine:
        """The engine on the workspace, with the settings given on the command line.

        Args:
            create: make the workspace when there is none, and say so.
        """
        from rsrag.engine import open as open_engine

        if create:
            path = self.workspace or nearest(Path.cwd()) or Path(DEFAULT_WORKSPACE)
            if not holds_workspace(path):
                self.note(f"new workspace {path}")
            return open_engine(path, create=True, **self.settings)
        return open_engine(self.locate(), **self.settings)

    def note(self, text: str) -> None:
        """A line for people, on standard error."""
        from rsrag.cli.text import line

        self.err.print(line(text), style="dim")

    def warn(self, text: str) -> None:
        """A warning, on standard error."""
        from rsrag.cli.text import line

        self.err.print(line("warning: ", style="yellow").append_text(line(text)))

    def emit(self, value: Any) -> None:
        """The one JSON object of a command with ``--json``, on one line; ASCII only, so nothing steers a terminal."""
        from rsrag.cli.jsonform import plain

        text = json.dumps(plain(value), allow_nan=False)
        self.emitted = True
        sys.stdout.write(text + "\n")

    def fail(self, error: RsragError) -> None:
        """Say what went wrong and what to do about it; with ``--json`` also as the one object."""
        from rsrag.cli.text import line

        if self.verbose:
            traceback.print_exception(error)
        self.err.print(line("error: ", style="bold red").append_text(line(error.message)), soft_wrap=True)
        if error.hint:
            self.err.print(line("hint: ", style="cyan").append_text(line(error.hint)), soft_wrap=True)
        if self.as_json:
            self.emit({"error": error_table(error)})


def error_table(error: RsragError) -> dict[str, str | None]:
    """What the one JSON object says of an error."""
    return {"code": error.code, "message": error.message, "hint": error.hint}


def fault_table(error: Exception) -> dict[str, str | None]:
    """What the one JSON object says of an error that is none of rsrag's own: a full device, or a fault of its code."""
    if _cannot_write(error):
        hint = "make room, or send the output and temporary files (TMPDIR) elsewhere"
        where = f": {error.filename}" if error.filename is not None else ""
        message = f"the output cannot be written: {error.strerror}{where}"
        return {"code": "CannotWrite", "message": message, "hint": hint}
    hint = "add --verbose before the command for the traceback"
    return {"code": "UnexpectedFault", "message": f"{type(error).__name__}: {error}", "hint": hint}


def _cannot_write(error: Exception) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno in _FULL


def nearest(start: Path) -> Path | None:
    """The nearest folder upwards from ``start`` that is a workspace or holds ``archive.rsrag``."""
    for folder in (start, *start.parents):
        for candidate in (folder, folder / DEFAULT_WORKSPACE):
            if holds_workspace(candidate):
                return candidate
    return None


def holds_workspace(folder: Path) -> bool:
    """Whether a folder is a workspace; one that may not be looked into is none."""
    try:
        return (folder / FILE_NAME).is_file()
    except OSError:
        return False


def session(ctx: typer.Context, *, as_json: bool = False, **settings: Any) -> Session:
    """The session of a command, told how it shall answer and which settings were given."""
    found: Session = ctx.obj
    found.as_json = as_json
    found.settings = {name: value for name, value in settings.items() if value is not None}
    return found


class _Lines(logging.Handler):
    """Log records as short lines on standard error."""

    def __init__(self, state: Session) -> None:
        super().__init__()
        self._say = {False: state.note, True: state.warn}

    def emit(self, record: logging.LogRecord) -> None:
        self._say[record.levelno >= logging.WARNING](record.getMessage())


def prepare_messages(state: Session) -> Callable[[], None]:
    """Warnings and log records of rsrag become short lines; those of other libraries only with ``--verbose``.

    Returns:
        What undoes it.
    """
    own, root = logging.getLogger("rsrag"), logging.getLogger()
    before = (own.level, own.propagate, warnings.showwarning)
    lines = _Lines(state)
    others: logging.Handler = lines if state.verbose else logging.NullHandler()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if state.verbose or issubclass(category, RsragWarning):
            state.warn(str(message))

    own.addHandler(lines)
    own.setLevel(logging.INFO if state.verbose else logging.WARNING)
    own.propagate = False
    root.addHandler(others)
    warnings.showwarning = show  # type: ignore[assignment]

    def undo() -> None:
        own.removeHandler(lines)
        root.removeHandler(others)
        own.level, own.propagate, warnings.showwarning = before

    return undo


def crashed(error: Exception) -> int:
    """An error that is none of rsrag's own: one line, and the traceback with ``--verbose``. Returns the exit code."""
    if {"-v", "--verbose"} & set(sys.argv):
        traceback.print_exception(error)
    told = fault_table(error)
    text = ascii(told["message"])[1:-1]
    what = "" if _cannot_write(error) else "unexpected fault: "
    sys.stderr.write(f"error: {what}{text}\nhint: {told['hint']}\n")
    return ExitCode.NOTHING
