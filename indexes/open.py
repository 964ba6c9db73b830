"""The index at a place: a URL is a Qdrant server, anything else a directory of the embedded engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rsrag.errors import ConfigError
from rsrag.indexes.base import VectorIndex

_HOST = re.compile(r"[\w.-]+:\d+(/.*)?")
"""A host with its port, which someone forgot to write ``http://`` before."""


def open_index(location: str | Path, **options: Any) -> VectorIndex:
    """Open the index.

    Args:
        location: ``http(s)://host[:port]`` or a directory, which is created if need be.
        options: keyword arguments of :class:`~rsrag.indexes.server.ServerIndex` or
            :class:`~rsrag.indexes.edge.EdgeIndex`.

    Raises:
        ConfigError: a URL of another kind, or a server's options or port with something that is no URL.
        WorkspaceBusy: another process has the directory.
        MissingExtra: a URL, and qdrant-client is not installed.
    """
    text = str(location)
    if isinstance(location, str) and "://" in text:
        if not text.startswith(("http://", "https://")):
            scheme = text.partition("://")[0]
            raise ConfigError(f"index URL of kind {scheme!r}", hint="http:// or https://; gRPC is used beside it")
        from rsrag.indexes.server import ServerIndex

        return ServerIndex(text, **options)
    if isinstance(location, str) and (any(v is not None for v in options.values()) or _HOST.fullmatch(text)):
        raise ConfigError(f"{text!r} is no URL of a Qdrant server", hint="such as http://localhost:6333")
    from rsrag.indexes.edge import EdgeIndex

    return EdgeIndex(Path(location), **{name: value for name, value in options.items() if value is not None})
