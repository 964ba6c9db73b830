"""A dialogue: what was said, shown and located before stays known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rsrag.types import Answer, Filters, Position, QueryImage

if TYPE_CHECKING:
    from rsrag.engine import Engine


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
        if image is not None:
            self._image, self._where = self._engine.picture(image), None
        if where is not None:
            self._where = where
        place = self._where or (None if self._image is not None else self._last_place(question))
        history = [(q, a.text) for q, a in self.turns[-4:]]
        result = self._engine.ask(
            question, image=self._image, where=place, filters=filters, history=history, on_text=on_text
        )
        if result.abstained and place is not None and self._where is None:
            # The question was not about the place of the last answer after all.
            result = self._engine.ask(question, filters=filters, history=history, on_text=on_text)
        self.turns.append((question, result))
        return result

    def _last_place(self, question: str) -> str | None:
        """The place of the last answer, for a question that names nothing itself."""
        from rsrag.questions import understand

        if not self.turns or understand(question).names or self.turns[-1][1].abstained:
            return None
        last = self.turns[-1][1]
        cited = {n for s in last.sentences for n in s.citations}
        return next((e.hit.place.name for e in last.evidence if e.number in cited and e.hit.place is not None), None)

    def reset(self) -> None:
        """Forget image, place and turns."""
        self._image, self._where = None, None
        self.turns.clear()
