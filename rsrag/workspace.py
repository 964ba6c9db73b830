"""A workspace: the directory that holds settings, catalogue and embedded index, and how it is created and opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsrag.config import FILE_NAME, Resolved, from_anywhere, resolve
from rsrag.errors import UsageError, WorkspaceError, WorkspaceNotFound
from rsrag.replacing import replacing

CATALOG_NAME = "catalog.sqlite"
INDEX_NAME = "index"

_TEMPLATE = """\
# Settings of this workspace. `rsrag config show` lists all of them with their meaning and where each value comes from.
# Arguments and environment variables (RSRAG_PROFILE, RSRAG_INDEX, ...) take precedence over this file.

{lines}
"""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where things are: ``catalog`` is a SQLAlchemy URL or a path, ``index`` a server URL or a directory."""

    path: Path
    resolved: Resolved

    @property
    def catalog(self) -> str | Path:
        return self.resolved.settings.catalog or self.path / CATALOG_NAME

    @property
    def index(self) -> str | Path:
        return self.resolved.settings.index or self.path / INDEX_NAME


def create(path: Path, arguments: Mapping[str, Any] | None = None) -> Workspace:
    """Make a workspace; one that exists already is left as it is.

    Raises:
        UsageError: the path is a file, a directory that holds something else, or cannot be written.
        ConfigError: a setting with a wrong value.
    """
    given = {k: from_anywhere(k, v, Path.cwd()) for k, v in (arguments or {}).items() if v is not None}
    resolve(None, given)
    file = path / FILE_NAME
    lines = "\n".join(f"{name} = {_toml(value)}" for name, value in given.items()) or '# profile = "mini"'
    try:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file", hint="name a directory for the workspace")
        if path.is_dir() and not file.exists() and any(path.iterdir()):
            raise UsageError(f"{path} is not empty and no workspace", hint="name a new directory")
        path.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            with replacing(file) as partial:
                partial.write_text(_TEMPLATE.format(lines=lines), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot make a workspace at {path}: {error}") from error
    return locate_workspace(path)


def locate_workspace(path: Path, arguments: Mapping[str, Any] | None = None) -> Workspace:
    """Find the workspace at a path.

    Raises:
        WorkspaceNotFound: no ``rsrag.toml`` there.
        WorkspaceError: the operating system refuses the path.
    """
    try:
        there = (path / FILE_NAME).is_file()
    except OSError as error:
        raise WorkspaceError(f"cannot open the workspace {path}: {error.strerror or error}") from error
    if not there:
        raise WorkspaceNotFound(f"no workspace at {path}", hint=f"rsrag init {path}")
    return Workspace(path, resolve(path, arguments))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    # A JSON string is a TOML string, but for DEL, which TOML wants escaped too.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
