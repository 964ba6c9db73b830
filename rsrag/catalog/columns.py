"""Column types that mean the same on SQLite and PostgreSQL, and the JSON that is stored in them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect
from sqlalchemy.types import TypeDecorator

_FLOAT = "$float"
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def dumps(value: Any) -> str:
    """JSON text. Floats that JSON has no word for (NaN, infinities) are spelt as ``{"$float": "nan"}``."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_spell(value), allow_nan=False, separators=(",", ":"))


def loads(text: str | bytes) -> Any:
    """The value that :func:`dumps` wrote."""
    if isinstance(text, bytes):
        text = text.decode()
    return json.loads(text, object_hook=_unspell if _FLOAT in text else None)


def _spell(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    if isinstance(value, dict):
        return {key: _spell(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spell(item) for item in value]
    return value


def _unspell(value: dict[str, Any]) -> Any:
    special = value.get(_FLOAT)
    return _SPECIAL[special] if len(value) == 1 and special in _SPECIAL else value


class UtcTime(TypeDecorator[datetime]):
    """A timezone-aware instant, stored and returned in UTC. A time without zone is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time {value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite returns times without zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class UInt64(TypeDecorator[int]):
    """An unsigned 64-bit number in a signed column."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        """Two's complement."""
        if value is None:
            return None
        if not 0 <= value < 1 << 64:
            raise ValueError(f"{value} is not an unsigned 64-bit number")
        return value - (1 << 64) if value >= 1 << 63 else value

    def process_result_value(self, value: int | None, dialect: Dialect) -> int | None:
        """Back to unsigned."""
        return None if value is None else value % (1 << 64)
