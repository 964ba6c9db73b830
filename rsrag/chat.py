"""A dialogue: what was said, shown and located before stays known."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rsrag import given
from rsrag.errors import UsageError
from rsrag.types import Answer, Filters, Position, QueryImage

if TYPE_CHECKING:
    from rsrag.engine import Engine

_POINTS_BACK = re.compile(r"\b(?:its?|this|these|they|their|them|here)\b|\bthere\W*$", re.IGNORECASE)
"""Words of a question that is about what was spoken of before, so that no other place can answer it."""


class Chat:
    """A dialogue: later questions see the image, place and turns before them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._image: QueryImage | None = None
        self._where: str | Position | None = None
        self.turns: list[tuple[str, Answer]] = []

    def ask(
        self,
        question: str,
        *,
        image: Any = None,
        where: str | Position | None = None,
        filters: Filters | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Like :meth:`Engine.ask`; an image or place stays until another one is given."""
        given.text("question", question)
        where, before = given.where(where), (self._image, self._where)
        if image is not None:
            self._image, self._where = self._engine.picture(image), None
        if where is not None:
            self._where = where
        try:
            result = self._answered(question, filters, on_text)
        except UsageError:
            # What could not be used must not fail every later question.
            self._image, self._where = before
            raise
        self.turns.append((question, result))
        return result

    def _answered(self, question: str, filters: Filters | None, on_text: Callable[[str], None] | None) -> Answer:
        place = self._where or (None if self._image is not None else self._last_place(question))
        history = [(q, a.text) for q, a in self.turns[-4:]]
        result = self._engine.ask(
            question, image=self._image, where=place, filters=filters, history=history, on_text=on_text
        )
        if result.abstained and place is not None and self._where is None and not _POINTS_BACK.search(question):
            # The question was not about the place of the last answer after all.
            result = self._engine.ask(question, filters=filters, history=history, on_text=on_text)
        return result

    def _last_place(self, question: str) -> str | Position | None:
        """The place of the last answer, for a question that names nothing itself.

        Questions in between that were declined and named nothing do not change what is spoken of.
        """
        if _names(question):
            return None
        for earlier, told in reversed(self.turns):
            if not told.abstained:
                return self._place_of(told)
            if _names(earlier):
                return None
        return None

    def _place_of(self, told: Answer) -> str | Position | None:
        """The name of the first place that an answer cites; its position where others share the name."""
        cited = {n for s in told.sentences for n in s.citations}
        place = next((e.hit.place for e in told.evidence if e.number in cited and e.hit.place is not None), None)
        if place is None:
            return None
        namesakes = self._engine.catalog.places_by_name(place.name)
        return place.name if [p.id for p in namesakes] == [place.id] else (place.lon, place.lat)

    def reset(self) -> None:
        """Forget image, place and turns."""
        self._image, self._where = None, None
        self.turns.clear()


def _names(question: str) -> bool:
    """Whether a question names something, stored values such as NDVI aside."""
    from rsrag.questions import VARIABLES, understand
    from rsrag.words import tokens

    values = {w for words in VARIABLES.values() for phrase in words for w in tokens(phrase)}
    return any(not set(tokens(name)) <= values for name in understand(question).names)
