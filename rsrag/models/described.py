"""Files of a trained part beside a ``config.json`` that holds their digests and the encoder they were trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsrag.errors import BadModelFile
from rsrag.models.weights import file_digest

PARTED_FROM = "parted_from"
"""Key of the digest of the graph that :mod:`rsrag.train.halves` rewrote: the vectors, the same, go by its name."""


def read_described(directory: Path, files: Sequence[str], what: str) -> Mapping[str, Any]:
    """The config of a directory, after the digests of its files were checked.

    Args:
        directory: holds ``config.json`` and the files.
        files: their names.
        what: the part, for the error: "object detector".

    Raises:
        BadModelFile: something is missing or unreadable, or a file is not the one described.
    """
    try:
        config: Mapping[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        wrong = [name for name in files if file_digest(directory / name) != config["sha256"][name]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadModelFile(f"no {what} in {directory}: {error}") from error
    if wrong:
        raise BadModelFile(f"{directory / wrong[0]} is not the file its config describes", hint="install rsrag again")
    return config


def check_encoder(directory: Path, config: Mapping[str, Any], fingerprint: str, module: str) -> None:
    """Refuse a part that was trained on the maps of another encoder.

    Args:
        directory: of the part.
        config: its config, whose ``encoder`` is what it was trained on.
        fingerprint: of the encoder at hand.
        module: that trains the part.

    Raises:
        BadModelFile: they differ.
    """
    trained_on = config.get("encoder")
    if trained_on != fingerprint:
        raise BadModelFile(
            f"the network in {directory.name} was trained on {trained_on}, not on {fingerprint}",
            hint=f"python -m {module} makes one for this encoder",
        )
