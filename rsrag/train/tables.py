"""From parsed TOML to frozen dataclasses: unknown keys refused with the nearest known one, types checked."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import typing
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

from rsrag.errors import ConfigError

Table = dict[str, Any]


def build(kind: Any, value: Any, where: str) -> Any:
    """Turn parsed TOML into ``kind``: a dataclass, ``list[...]``, ``dict[str, ...]`` or a plain type.

    Args:
        kind: what is wanted.
        value: what was parsed.
        where: names the place in messages.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin is list:
        if not isinstance(value, list):
            raise ConfigError(f"{where}: expected a list")
        (inner,) = typing.get_args(kind)
        return [build(inner, item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table")
        inner = typing.get_args(kind)[1]
        return {key: build(inner, item, f"{where}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a table")
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            raise ConfigError(f"{where}: unknown key {key!r}", hint=nearest(key, hints))
    try:
        return kind(**{key: build(hints[key], item, f"{where}.{key}") for key, item in value.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the known word nearest to ``name``, or all of them when none is near."""
    words = list(known)
    close = difflib.get_close_matches(name, words, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(words)}"


def one_of(value: str, known: Sequence[str], where: str) -> None:
    """Refuse a word that is not among the known ones.

    Raises:
        ConfigError: with the nearest known word.
    """
    if value not in known:
        raise ConfigError(f"{where} must be one of {', '.join(known)}, not {value!r}", hint=nearest(value, known))


def override(table: Table, settings: Sequence[str]) -> Table:
    """A copy of a parsed table with single values replaced.

    Args:
        table: parsed TOML.
        settings: ``"optim.lr=1e-4"``, ``"data.sources.0.split=train"``: a path of keys (numbers count from 0 in lists)
            and a TOML value; what is no TOML value is taken as a string.

    Raises:
        ConfigError: no ``=``, or the path leads through something that is no table or list.
    """
    result = deepcopy(table)
    for setting in settings:
        path, equals, text = setting.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"{setting!r} is no setting", hint="write key=value, for example optim.lr=1e-4")
        place: Any = result
        for key in keys[:-1]:
            place = _step(place, key, setting)
        if isinstance(place, list):
            place[_index(place, keys[-1], setting)] = _value(text.strip())
        elif isinstance(place, dict):
            place[keys[-1]] = _value(text.strip())
        else:
            raise ConfigError(f"{setting!r}: {'.'.join(keys[:-1])} is no table")
    return result


def _step(place: Any, key: str, setting: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, key, setting)]
    if isinstance(place, dict):
        return place.setdefault(key, {})
    raise ConfigError(f"{setting!r}: {key!r} leads nowhere")


def _index(place: list[Any], key: str, setting: str) -> int:
    if not key.isdecimal() or int(key) >= len(place):
        raise ConfigError(f"{setting!r}: {key!r} is no number of an entry", hint=f"0 to {len(place) - 1}")
    return int(key)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
