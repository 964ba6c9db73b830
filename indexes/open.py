"""The index at a place: a URL is a Qdrant server, anything else a directory of the embedded engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsrag.errors import ConfigError
from rsrag.indexes.base import VectorIndex


def open_index(location: str | Path, **options: Any) -> VectorIndex:
    """Open the index.

    Args:
        location: ``http(s)://host[:port]`` or a directory, which is created if need be.
        options: keyword arguments of :class:`~rsrag.indexes.server.ServerIndex` or
            :class:`~rsrag.indexes.edge.EdgeIndex`.

    Raises:
        ConfigError: a URL of another kind.
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
    from rsrag.indexes.edge import EdgeIndex

    return EdgeIndex(Path(location), **options)
