"""Weights on disk: where they lie, their digests, and the way from a pickled checkpoint to safetensors."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rsrag._version import __version__
from rsrag.config import Settings
from rsrag.errors import BadModelFile, MissingExtra, ModelError
from rsrag.models.base import ModelRow

PICKLES = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"})
"""Endings of files whose usual content runs code when read: never loaded at run time."""
PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model")
"""What is fetched of a repository on the hub: weights, settings, vocabularies and chat templates."""
_HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
# Tensors that no encoder needs: temperatures of the loss, masks and counters that are rebuilt.
_OPTIONAL = {"logit_scale", "logit_bias", "attn_mask", "position_ids", "num_batches_tracked"}
# How torch says that a file needs a function or class to be read, or is a program.
_CODE = re.compile(r"(?<=GLOBAL )[\w.]*\w|TorchScript")


# Digests


def file_digest(path: Path) -> str:
    """sha256 of a file in hex, computed once for a file that does not change."""
    stat = path.stat()
    return _file_digest(str(path.resolve()), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _file_digest(path: str, size: int, changed: int) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(root: Path, files: Iterable[Path]) -> str:
    """One sha256 over several files below ``root``, by name and content; their order does not matter."""
    lines = sorted(f"{path.relative_to(root).as_posix()} {file_digest(path)}" for path in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


# Places


def models_home() -> Path:
    """Directory of converted weights: ``rsrag/models`` below the user's data directory (XDG)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "rsrag" / "models"


def converted_path(row: ModelRow) -> Path:
    """Where the converted weights of a model lie when no other place was named."""
    return models_home() / f"{row.name}.safetensors"


def hub_id(row: ModelRow) -> tuple[str, str | None] | None:
    """Repository and revision of a row whose source is a hub id, "owner/name" or "owner/name@revision"."""
    match = _HUB_ID.fullmatch(row.source)
    return (match["id"], match["revision"] or row.revision) if match else None


def locate(row: ModelRow, settings: Settings) -> Path:
    """The local file or directory of a model's weights.

    Looked for in this order: the source as a path; converted weights of that name; the hub's local cache; the hub
    itself, only if ``settings.offline`` is off and the revision is pinned. Offline no socket is opened.

    Raises:
        ModelError: nothing is there; the hint says what to do.
    """
    path = Path(row.source).expanduser()
    if row.source and path.exists():
        return path
    if row.backend == "open_clip" and converted_path(row).is_file():
        return converted_path(row)
    hub = hub_id(row)
    if hub is None:
        hint = f"download {row.options['published']}, then " if "published" in row.options else ""
        hint = "source is the path of a file or folder, or owner/name on the hub" if row.source else hint + _way(row)
        raise ModelError(f"model {row.name}: no weights in {row.source or converted_path(row)}", hint=hint)
    cached = snapshot(*hub, local=True)
    if cached is not None and any(cached.rglob("*.safetensors")):
        return cached
    if settings.offline or "file" in row.options:
        raise ModelError(f"model {row.name}: {hub[0]} is not on this machine", hint=_way(row))
    fetched = snapshot(*hub, local=False)
    if fetched is None:
        raise ModelError(f"model {row.name}: the hub gave no files of {hub[0]}")
    return fetched


def _way(row: ModelRow) -> str:
    convert = f"rsrag models convert FILE --model {row.name}"
    if "file" in row.options and hub_id(row) is None:
        return f"{convert}, where FILE is its {row.options['file']}"
    pull = f"rsrag models pull {row.name}, with offline = false and a network"
    return f"{pull}; or {convert}" if "file" in row.options else pull


def snapshot(repository: str, revision: str | None, *, local: bool) -> Path | None:
    """The directory of a repository in the hub's cache.

    Args:
        repository: "owner/name".
        revision: commit, tag or branch; needed to fetch.
        local: only look into the cache; None when nothing is there.

    Raises:
        ModelError: the fetch failed, or names no revision.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtra("the client of the model hub", extra="models", package=error.name) from error
    if not local and revision is None:
        raise ModelError(f"no revision of {repository} is pinned", hint=f"write {repository}@COMMIT")
    try:
        found = snapshot_download(
            repository, revision=revision, local_files_only=local, allow_patterns=list(PATTERNS), max_workers=4
        )
    except LocalEntryNotFoundError as error:
        if local:
            return None
        raise ModelError(f"cannot fetch {repository} at {revision}: {error}") from error
    except Exception as error:
        raise ModelError(f"cannot fetch {repository} at {revision}: {error}") from error
    return Path(found)


def fetch_file(repository: str, revision: str | None, name: str) -> Path:
    """Fetch one file of a repository into the hub's cache; it is not read.

    Raises:
        ModelError: the fetch failed, or names no revision.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise MissingExtra("the client of the model hub", extra="models", package=error.name) from error
    if revision is None:
        raise ModelError(f"no revision of {repository} is pinned", hint=f"write {repository}@COMMIT")
    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except Exception as error:
        raise ModelError(f"cannot fetch {name} of {repository} at {revision}: {error}") from error


def one_weights_file(path: Path, name: str | None = None) -> Path:
    """The safetensors file of a model that has exactly one.

    Args:
        path: the file itself, or a directory with it.
        name: which one of several in the directory.

    Raises:
        BadModelFile: a pickled checkpoint, no file, or several.
    """
    if path.is_dir() and name is not None and name.endswith(".safetensors"):
        path = path / name
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        if len(files) != 1:
            which = "no .safetensors file" if not files else "several: " + ", ".join(f.name for f in files)
            raise BadModelFile(f"{path} holds {which}", hint="name the file itself, or convert a .pt file first")
        return files[0]
    refuse_pickle(path)
    if not path.is_file():
        raise BadModelFile(f"there is no file {path}")
    return path


def refuse_pickle(path: Path) -> None:
    """Raise BadModelFile unless the file's name ends in .safetensors."""
    if path.suffix in PICKLES:
        raise BadModelFile(
            f"{path} is a pickled checkpoint, which can run code when it is read",
            hint="rsrag models convert turns it into safetensors",
        )
    if path.suffix != ".safetensors":
        raise BadModelFile(f"{path} is not a .safetensors file")


# Keys


@dataclass(frozen=True, slots=True)
class KeyReport:
    """How the tensors of a checkpoint fit an architecture.

    Attributes:
        missing: needed by the network, not in the file.
        unexpected: in the file, below a part of the network that has no such tensor (more layers, say).
        mismatched: of another shape, as "name: found, needed".
        ignored: not part of the network at all (temperatures, masks, heads of other tasks).
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the network would be complete and nothing of its own parts left over."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        parts = []
        for name, keys in asdict(self).items():
            if keys:
                more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
                parts.append(f"{len(keys)} {name}: {', '.join(keys[:5])}{more}")
        return "; ".join(parts) or "every tensor fits"


Shapes = Mapping[str, tuple[int, ...]]


def compare(found: Shapes, needed: Shapes) -> KeyReport:
    """Compare names and shapes of a checkpoint's tensors with those of a network."""
    parts = {key.split(".")[0] for key in needed}
    extra = sorted(set(found) - set(needed))
    foreign = [key for key in extra if _optional(key) or key.split(".")[0] not in parts]
    return KeyReport(
        missing=tuple(sorted(k for k in set(needed) - set(found) if not _optional(k))),
        unexpected=tuple(k for k in extra if k not in foreign),
        mismatched=tuple(
            f"{key}: {found[key]}, {needed[key]} needed"
            for key in sorted(set(found) & set(needed))
            if found[key] != needed[key] and not _optional(key)
        ),
        ignored=tuple(foreign),
    )


def other_layout(keys: Iterable[str]) -> str | None:
    """A hint where tensors are named as transformers names those of CLIP and SigLIP, None elsewhere."""
    if any(key.startswith(("text_model.", "vision_model.")) for key in keys):
        return "these are weights in the layout of transformers; take those for open_clip (open_clip_model.safetensors)"
    return None


def _optional(key: str) -> bool:
    return key.rsplit(".", 1)[-1] in _OPTIONAL


# Conversion


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion wrote: the file, both digests, and how the keys fitted."""

    path: Path
    sha256: str
    source_sha256: str
    tensors: int
    architecture: str
    report: KeyReport


def side_car(path: Path) -> Path:
    """The JSON file beside converted weights."""
    return path.with_suffix(".json")


def convert(source: Path, destination: Path, architecture: str, *, sha256: str | None = None) -> Converted:
    """Turn a published checkpoint of an open_clip model into safetensors.

    Read are plain state dicts (GeoRSCLIP, RemoteCLIP), training checkpoints that hold one under "state_dict", with
    keys prefixed "module." (SkyCLIP), and files of safetensors. A pickle is read with ``weights_only=True``, which
    builds tensors and plain containers and runs no code. Beside the weights lies a JSON file with the architecture and
    both digests.

    Args:
        source: the .pt file.
        destination: the .safetensors file to write; an existing one is replaced once the new one is complete.
        architecture: an open_clip name or JSON file, see :func:`rsrag.models.architectures.read_config`.
        sha256: digest that the source must have.

    Raises:
        MissingExtra: torch or open_clip is not installed.
        BadModelFile: another digest, a file that needs code to be read, tensors that do not fit the architecture.
    """
    from rsrag.models import architectures

    if destination.suffix != ".safetensors":
        raise BadModelFile(f"{destination} must end in .safetensors")
    if not source.is_file():
        raise BadModelFile(f"there is no file {source}")
    source_digest = file_digest(source)
    if sha256 is not None and source_digest != sha256:
        raise BadModelFile(f"{source} has sha256 {source_digest}, not {sha256}", hint="download it again")
    config = architectures.read_config(architecture)
    tensors = _unpickle(source)
    report = compare({k: tuple(t.shape) for k, t in tensors.items()}, architectures.shapes(config))
    if not report.fits:
        raise BadModelFile(f"{source} is no checkpoint of {architecture}: {report}", hint=other_layout(tensors))
    broken = [key for key, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise BadModelFile(f"{source} holds NaN or infinite values in {', '.join(broken[:5])}")
    label = architectures.label(architecture, config)
    kept = {key: t.contiguous().clone() for key, t in tensors.items() if key not in report.ignored}
    about = {
        "architecture": label,
        "config": config,
        "source": {"name": source.name, "sha256": source_digest, "bytes": source.stat().st_size},
        "tensors": len(kept),
        "ignored": report.ignored,
        "rsrag": __version__,
    }
    written = _write(kept, destination, about)
    return Converted(destination, written, source_digest, len(kept), label, report)


def _write(tensors: Mapping[str, Any], destination: Path, about: Mapping[str, Any]) -> str:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    partial = destination.with_name(f".{destination.name}.{os.getpid()}")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(tensors), partial, metadata={"architecture": str(about["architecture"])})
        sha256 = file_digest(partial)
        text = json.dumps({**about, "sha256": sha256}, indent=2) + "\n"
        partial.replace(destination)
        side_car(destination).write_text(text, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot write {destination}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return sha256


def _safetensors(source: Path) -> dict[str, Any] | None:
    """The tensors of a file of safetensors, whatever its name; None where it is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Any] = load_file(source)
    except SafetensorError:
        return None
    return tensors


def _unreadable(source: Path, error: Exception) -> BadModelFile:
    """Why torch cannot read a checkpoint. Its own words are left out: they advise to run the code in the file."""
    with source.open("rb") as stream:
        start = stream.read(32)
    if start.startswith(b"version https://git-lfs"):
        return BadModelFile(f"{source} only tells where the weights are, as Git LFS does", hint="run git lfs pull")
    if not start.startswith((b"PK", b"\x80")):  # an archive of torch, or a pickle
        what = f"it starts with {start[:16]!r}" if start else "it is empty"
        return BadModelFile(f"{source} is no checkpoint of torch: {what}", hint="download it again")
    code = _CODE.search(str(error))
    if code is not None or isinstance(error, pickle.UnpicklingError):
        needed = f": {code[0]}" if code is not None else ""
        hint = "only files of plain tensors are accepted"
        return BadModelFile(f"{source} cannot be read without running code from it{needed}", hint=hint)
    return BadModelFile(f"{source} is damaged or not whole", hint="download it again")


def _unpickle(source: Path) -> dict[str, Any]:
    """The state dict inside a checkpoint: name to torch tensor."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("the conversion of weights", extra="models", package=error.name) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about what it then refuses
            payload = _safetensors(source) or torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises its own, pickle's and zipfile's errors here
        raise _unreadable(source, error) from error
    if isinstance(payload, Mapping) and isinstance(payload.get("state_dict"), Mapping):
        payload = payload["state_dict"]
    if not isinstance(payload, Mapping) or not payload:
        raise BadModelFile(f"{source} holds no state dict")
    strangers = [str(k) for k, v in payload.items() if not (isinstance(k, str) and isinstance(v, torch.Tensor))]
    if strangers:
        raise BadModelFile(f"{source} holds things that are no tensors: {', '.join(strangers[:5])}")
    prefix = "module."
    strip = all(key.startswith(prefix) for key in payload)
    return {key.removeprefix(prefix) if strip else key: tensor for key, tensor in payload.items()}


def read_side_car(path: Path) -> Mapping[str, Any] | None:
    """What a conversion noted beside the weights; None when there is nothing.

    Raises:
        BadModelFile: the note cannot be read, or belongs to another file.
    """
    note = side_car(path)
    if not note.is_file():
        return None
    try:
        about = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadModelFile(f"cannot read {note}: {error}") from error
    if not isinstance(about, dict) or "sha256" not in about or "config" not in about:
        return None
    if about["sha256"] != file_digest(path):
        raise BadModelFile(f"{path} is not the file that {note.name} describes", hint="convert it again")
    return about
