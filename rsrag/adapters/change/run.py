"""The change adapter: two or more dates of the same ground, given or found in the archive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rsrag.adapters.base import Context
from rsrag.adapters.change.compare import compare
from rsrag.adapters.change.pair import opened_pair
from rsrag.adapters.change.request import ChangeRequest, ChangeResult
from rsrag.errors import UsageError


class Change:
    """What changed, how much, where and into what. See :class:`rsrag.adapters.base.Adapter`."""

    name = "change"

    def run(self, request: ChangeRequest, context: Context) -> ChangeResult:
        """Compare the dates.

        Raises:
            SourceError: an image cannot be used.
            UsageError: fewer than two dates, or images that cannot be compared.
            ModelError: a model that was asked for cannot be loaded.
        """
        images = list(request.images)
        if len(images) < 2:
            raise UsageError("a comparison needs two dates", hint="rsrag change BEFORE AFTER")
        return self._pair(images[0], images[1], request, context)

    def _pair(self, before: Any, after: Any, request: ChangeRequest, context: Context) -> ChangeResult:
        with opened_pair(before, after, context, options=request.options, in_order=request.in_order) as pair:
            return compare(pair, request, context)


__all__: Sequence[str] = ["Change"]
