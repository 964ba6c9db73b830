"""The change adapter: two or more dates of the same ground, given or found in the archive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from typing import Any

from rsrag.adapters.base import Context
from rsrag.adapters.change import dialogue, trend
from rsrag.adapters.change.archive import scenes_of
from rsrag.adapters.change.compare import compare
from rsrag.adapters.change.pair import opened_pair
from rsrag.adapters.change.request import ChangeRequest, ChangeResult
from rsrag.adapters.look import opened
from rsrag.errors import UsageError


class Change:
    """What changed, how much, where and into what. See :class:`rsrag.adapters.base.Adapter`."""

    name = "change"

    def run(self, request: ChangeRequest, context: Context) -> ChangeResult:
        """Compare the dates.

        Raises:
            SourceError: an image cannot be used.
            UsageError: fewer than two dates, dates to choose scenes by without a place, images that cannot be
                compared, or an empty question.
            ModelError: a model that was asked for cannot be loaded, or a reader failed.
        """
        dialogue.check_asked(request.questions)
        images, notes = list(request.images), list[str]()
        if request.where is not None:
            if images:
                raise UsageError("images and a place", hint="give one of them")
            found, notes = scenes_of(request.where, request.between, context)
            images = list(found)
        elif request.between:
            hint = "--between chooses among the archive's scenes of a place: add --where PLACE, or leave it out"
            raise UsageError("dates without a place", hint=hint)
        if len(images) < 2:
            raise UsageError("a comparison needs two dates", hint="rsrag change BEFORE AFTER")
        result = self._pair(images[0], images[1], request, context) if len(images) == 2 else self._trend(
            images, request, context
        )  # fmt: skip
        result = replace(result, warnings=(*notes, *result.warnings))
        return dialogue.answered(result, request.questions, context)

    def _pair(self, before: Any, after: Any, request: ChangeRequest, context: Context) -> ChangeResult:
        with opened_pair(before, after, context, options=request.options, in_order=request.in_order) as pair:
            return compare(pair, request, context)

    def _trend(self, images: Sequence[Any], request: ChangeRequest, context: Context) -> ChangeResult:
        """Every step and the whole, in order of time."""
        order, notes = list(range(len(images))), list[str]()
        if not request.in_order:
            order, notes = self._by_time(images, request, context)
        ordered = [images[i] for i in order]
        kept = replace(request, in_order=True)  # the order is chosen here, once for all pairs
        steps = [self._pair(one, two, kept, context) for one, two in pairwise(ordered)]
        whole = self._pair(ordered[0], ordered[-1], kept, context)
        result = trend.joined(whole, steps)
        return replace(result, warnings=(*notes, *result.warnings))

    def _by_time(self, images: Sequence[Any], request: ChangeRequest, context: Context) -> tuple[list[int], list[str]]:
        """The order of the images by their dates, as given when a date is unknown; and notes on it."""
        dates, undated = [], []
        with ExitStack() as stack:
            for image in images:
                view = stack.enter_context(opened(image, context, options=request.options))
                time = view.subject.time
                dates.append(time.start if time is not None else None)
                undated += [view.subject.name] if dates[-1] is None else []
                stack.close()
        given = list(range(len(images)))
        if undated:
            some = len(undated) < len(images)
            note = f"no date is known of {', '.join(undated)}: the images are compared in the order given"
            return given, [note] if some else []
        order = sorted(given, key=lambda i: (dates[i], i))
        return order, ["the images were not in order of time: sorted"] if order != given else []


__all__ = ["Change"]
