"""Files of a model beside a ``config.json`` that holds their digests and, for a part, the encoder it was trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rsrag.errors import BadModelFile
from rsrag.models.base import ModelRow, Vectors
from rsrag.models.weights import file_digest

PARTED_FROM = "parted_from"
"""Key of the digest of the graph that :mod:`rsrag.train.halves` rewrote: the vectors, the same, go by its name."""
_HERE = Path(__file__).parent


def directory_of(row: ModelRow) -> Path:
    """Where a model lies: an absolute path, or a folder that ships with the package.

    Raises:
        BadModelFile: there is no ``config.json``.
    """
    path = _HERE / row.source  # an absolute path stays what it is
    if not (path / "config.json").is_file():
        raise BadModelFile(f"model {row.name}: no config.json in {path}")
    return path


def read_config(directory: Path) -> Mapping[str, Any]:
    """The ``config.json`` of a model.

    Raises:
        BadModelFile: it is unreadable, or no object with an object of digests.
    """
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadModelFile(f"cannot read {directory / 'config.json'}: {error}") from error
    if not isinstance(config, dict):
        raise BadModelFile(f"{directory / 'config.json'} is not an object")
    if not isinstance(config.get("sha256", {}), dict):
        raise BadModelFile(f"{directory / 'config.json'}: sha256 is not an object")
    return config


def checked_bytes(directory: Path, name: str, digests: Mapping[str, str]) -> bytes:
    """A file of a model, whose sha256 is the one that its config states.

    Raises:
        BadModelFile: it cannot be read, or is another file.
    """
    try:
        data = (directory / name).read_bytes()
    except OSError as error:
        raise BadModelFile(f"cannot read {directory / name}: {error}") from error
    if digests.get(name, "") != hashlib.sha256(data).hexdigest():
        raise BadModelFile(f"{directory / name} is not the file its config describes", hint="install rsrag again")
    return data


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


def of_size(batches: Iterable[Vectors], dim: int, directory: Path) -> Iterator[Vectors]:
    """Vectors as a model's graph gives them, float32 of shape [N, dim] a batch.

    Raises:
        BadModelFile: they have another size than its config says.
    """
    for batch in batches:
        if batch.shape[1] != dim:
            where = directory / "config.json"
            raise BadModelFile(f"{where}: dim is {dim}, but the graph gives vectors of {batch.shape[1]}")
        yield batch
