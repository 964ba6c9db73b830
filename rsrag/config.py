"""Settings: argument over environment over ``rsrag.toml`` in the workspace over default, and where each came from."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from rsrag.errors import ConfigError

FILE_NAME = "rsrag.toml"
ENV_PREFIX = "RSRAG_"
_PASSWORD = re.compile(r"(?<=://)([^:/@\s]*:)\S*(?=@)|(?<=[?&])(password=)[^&\s]+")
_HOST = re.compile(r"[\w.-]+:\d+(/.*)?")
"""A host with its port, which someone forgot to write ``http://`` before."""
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^/:?][^?]*)(.*)")
"""The address of a SQLite file by a path that is not absolute."""
_PREFIX = re.compile(r"[A-Za-z0-9_-]{0,64}")
Source = Literal["argument", "environment", "file", "default"]
RUNTIMES = ("auto", "ort", "openvino-f32", "openvino-bf16", "torch-f32", "torch-bf16", "torch-f16")
"""What image encoders can run in; see docs/fast-inference.md."""


def _setting(default: Any, about: str, *, secret: bool = False, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"about": about, "secret": secret, "choices": choices})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set for a workspace. The names are the same in Python, in the file, in the environment
    (``RSRAG_`` and capitals) and, with dashes, on the command line."""

    profile: str = _setting("mini", "models that work together: mini, base or large, or a TOML file naming them")
    index: str = _setting("", "Qdrant server URL; empty: embedded in the workspace")
    index_api_key: str = _setting("", "key of the Qdrant server", secret=True)
    index_shards: int = _setting(0, "shards of a new collection on a server; 0: the server's default")
    index_replicas: int = _setting(0, "replicas of a new collection on a server; 0: the server's default")
    index_prefix: str = _setting("rsrag_", "begin of collection names on a server; one for every archive there")
    catalog: str = _setting("", "SQLAlchemy URL of the catalogue; empty: SQLite in the workspace")
    tile_size: int = _setting(0, "side of a tile in pixels, 32 to 4096; 0: the image model's input, 256 for small ones")
    overlap: float = _setting(0.0, "share of a tile that the next one repeats, 0 to 0.75")
    max_tiles: int = _setting(100_000, "most tiles one scene may give")
    fusion: str = _setting("rrf", "how channels become one ranking", choices=("rrf", "alpha"))
    alpha: float = _setting(0.5, "weight of the image in --fusion alpha, 0 to 1")
    limit: int = _setting(8, "evidence a question gets")
    verify_candidates: int = _setting(160, "most image hits that are verified by geometry; 0: none")
    reader: str = _setting("", "reader other than the profile's: a model directory, hub id or 'endpoint'")
    endpoint_url: str = _setting("", "OpenAI-compatible server, such as http://localhost:8000/v1")
    endpoint_model: str = _setting("", "model name at the endpoint")
    endpoint_api_key: str = _setting("", "key of the endpoint", secret=True)
    endpoint_timeout: float = _setting(120.0, "seconds an answer may take")
    token_budget: int = _setting(3000, "tokens of evidence in a prompt")
    device: str = _setting("auto", "where torch models run: auto, cpu, cuda, cuda:1")
    runtime: str = _setting("auto", "what runs the image encoder; auto: the fastest with its vectors", choices=RUNTIMES)
    offline: bool = _setting(True, "open no socket for models; False lets hub ids be fetched")


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings and, for each, where its value came from."""

    settings: Settings
    sources: Mapping[str, Source]
    path: Path | None = None

    def rows(self) -> list[tuple[str, str, Source, str]]:
        """Name, value (secrets masked), source and meaning of every setting."""
        rows = []
        for item in fields(Settings):
            value = getattr(self.settings, item.name)
            shown = "•••" if item.metadata["secret"] and value else without_password(str(value))
            rows.append((item.name, shown, self.sources[item.name], item.metadata["about"]))
        return rows


def expanded(path: str | Path) -> Path:
    """A path with ``~`` replaced by the home folder; of a user that does not exist it is kept, as in a shell."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def from_anywhere(name: str, value: Any, folder: Path) -> Any:
    """A setting that means the same from every working directory: a relative path counts from ``folder``.

    Only profile, catalogue and index are paths, and only where they are no name, URL or address of a server.
    """
    if name not in ("profile", "catalog", "index") or not isinstance(value, str):
        return value
    scheme, path, rest = "", value, ""
    if "://" in value:
        found = _SQLITE.fullmatch(value)
        if found is None:
            return value
        scheme, path, rest = found.groups()
    elif not value or (name == "profile" and not value.endswith(".toml")) or (name == "index" and ":" in value):
        return value
    return f"{scheme}{(folder / expanded(path)).absolute()}{rest}"


def without_password(address: str) -> str:
    """An address that may be shown: a password within it is masked."""
    return _PASSWORD.sub(r"\1\2•••", address)


def resolve(
    workspace: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Resolved:
    """Settings by precedence. Relative paths in the file count from its folder, others from the working directory.

    Args:
        workspace: directory that may hold ``rsrag.toml``.
        arguments: values given in the call; None means not given.
        environ: environment to read instead of the process's.

    Raises:
        ConfigError: an unknown name, a value of the wrong type, an unreadable file.
    """
    environ = os.environ if environ is None else environ
    path = workspace / FILE_NAME if workspace else None
    layers: list[tuple[Source, Mapping[str, Any]]] = [
        ("argument", {k: v for k, v in (arguments or {}).items() if v is not None}),
        ("environment", {k: environ[e] for k in _names() if (e := ENV_PREFIX + k.upper()) in environ}),
        ("file", {k: from_anywhere(k, v, path.parent) for k, v in _read(path).items()} if path else {}),
    ]
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for source, layer in layers:
        for name in layer:
            if name not in _names():
                known = ", ".join(_names())
                raise ConfigError(f"unknown setting {name!r} in the {source}", hint=f"known settings: {known}")
    for item in fields(Settings):
        for source, layer in layers:
            if item.name in layer:
                values[item.name] = _value(item, layer[item.name], source)
                sources[item.name] = source
                break
        else:
            sources[item.name] = "default"
    settings = Settings(**values)
    _check(settings)
    return Resolved(settings, sources, path if path and path.exists() else None)


def _names() -> tuple[str, ...]:
    return tuple(item.name for item in fields(Settings))


def _read(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def _value(item: Any, value: Any, source: Source) -> Any:
    kind = type(item.default)
    try:
        if kind is bool and isinstance(value, str):
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[value.lower()]
        if kind in (int, float) and isinstance(value, str | int | float) and not isinstance(value, bool):
            converted = kind(value)
            if kind is float or float(value) == converted:
                return converted
            raise ValueError
        if isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
            return value
        raise ValueError
    except (KeyError, ValueError, OverflowError) as error:
        shown = "•••" if item.metadata["secret"] else repr(value)
        raise ConfigError(f"setting {item.name!r} from the {source} must be {kind.__name__}, not {shown}") from error


def _check(settings: Settings) -> None:
    for item in fields(Settings):
        choices = item.metadata["choices"]
        if choices and getattr(settings, item.name) not in choices:
            got = getattr(settings, item.name)
            raise ConfigError(f"setting {item.name!r} is {got!r}", hint=f"one of {', '.join(choices)}")
    bounds = {
        "tile_size": (32 if settings.tile_size else 0, 4096),
        "overlap": (0.0, 0.75),
        "alpha": (0.0, 1.0),
        "limit": (1, 1000),
        "max_tiles": (1, 100_000_000),
        "verify_candidates": (0, 1000),
        "token_budget": (100, 1_000_000),
        "endpoint_timeout": (0.001, 1_000_000.0),
        "index_shards": (0, 10_000),
        "index_replicas": (0, 1000),
    }
    for name, (least, most) in bounds.items():
        if not least <= getattr(settings, name) <= most:
            raise ConfigError(f"setting {name!r} is {getattr(settings, name)}", hint=f"between {least} and {most}")
    if not _PREFIX.fullmatch(settings.index_prefix):
        what = "letters, digits, '_' and '-', at most 64"
        raise ConfigError(f"setting 'index_prefix' is {settings.index_prefix!r}", hint=what)
    if _HOST.fullmatch(settings.index):
        raise ConfigError(f"{settings.index!r} is no URL of a Qdrant server", hint="such as http://localhost:6333")
