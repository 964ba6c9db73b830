"""What is asked of the change adapter, and what it hands back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rsrag.adapters.base import TaskResult
from rsrag.adapters.change.pair import Acquisition
from rsrag.config import expanded
from rsrag.ingest.readers.base import ReadOptions
from rsrag.types import Position, TimeSpan

NONE = Acquisition("", None, "")
"""No date."""
Chosen = Literal["auto", "combined", "cva", "irmad", "index", "features"]


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """What to compare, and what to say about it.

    Attributes:
        images: two or more images (path, bytes, array, QueryImage, Scene or id); empty with ``where``.
        where: name of a place in the archive, or (longitude, latitude), whose scenes are compared.
        between: dates that scenes near to are looked for, two or more.
        questions: asked in turn; later ones may refer to earlier ones.
        method: detector; "auto" takes the trained network for colour pictures of about a metre a pixel, IR-MAD for
            all others.
        threshold: line between changed and unchanged in the detector's own unit; None for the automatic one.
        min_area_m2: smaller changes are left out; None for 16 pixels.
        register: whether a small shift between the dates is corrected.
        mask_clouds: whether clouds are left out; None: in pictures of natural colour with pixels of 8 m or more.
        kinds: whether kinds of ground before and after are told.
        in_order: compare in the order given, whatever the dates say.
        options: band mapping and the like.
    """

    images: Sequence[Any] = ()
    where: str | Position | None = None
    between: Sequence[TimeSpan] = ()
    questions: Sequence[str] = ()
    method: Chosen = "auto"
    threshold: float | None = None
    min_area_m2: float | None = None
    register: bool = True
    mask_clouds: bool | None = None
    kinds: bool = True
    in_order: bool = False
    options: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True, slots=True)
class Transition:
    """Ground that turned from one kind into another.

    Attributes:
        before: kind of ground at the earlier date.
        after: kind at the later one.
        count: areas of this kind of change.
        pixels: how many in all.
        area_m2: on the ellipsoid; None without scale.
        cells: cells of the 3×3 grid that hold some of it, most first.
    """

    before: str
    after: str
    count: int
    pixels: int
    area_m2: float | None
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """One turn.

    Attributes:
        question: as asked.
        intent: what it was understood to ask for.
        answer: in words.
        by: "statistics", or the name of the reader that saw the pictures.
    """

    question: str
    intent: str
    answer: str
    by: str = "statistics"


@dataclass(frozen=True, slots=True, eq=False)
class ChangeResult(TaskResult):
    """What changed between two dates; ``subject`` is the overlap on the grid of the comparison.

    Layers: the mask of changes, their magnitude, and the kinds of ground of changed pixels before and after, where
    they can be told.

    Attributes:
        before: the earlier date.
        after: the later one.
        method: the detector that was used.
        threshold: where it drew the line, in ``unit``.
        unit: of the magnitude.
        changed: whether anything did.
        share: of the compared pixels that changed, 0 to 1.
        compared: share of the grid's pixels that both dates have and no cloud covers.
        area_m2: that changed; None without scale.
        count: areas that changed.
        cells: changed share of each cell of a 3×3 grid, by name.
        transitions: by kind, the largest first; empty where kinds cannot be told.
        shift_px: shift that was corrected, columns and rows.
        answers: to the questions, in order.
        steps: for more than two dates, the comparison of every neighbouring pair.
    """

    before: Acquisition = NONE
    after: Acquisition = NONE
    method: str = ""
    threshold: float = 0.0
    unit: str = "1"
    changed: bool = False
    share: float = 0.0
    compared: float = 0.0
    area_m2: float | None = None
    count: int = 0
    cells: dict[str, float] = field(default_factory=dict)
    transitions: tuple[Transition, ...] = ()
    shift_px: tuple[float, float] = (0.0, 0.0)
    answers: tuple[QuestionAnswer, ...] = ()
    steps: tuple[ChangeResult, ...] = ()
    looks: tuple[Any, Any] | None = field(default=None, repr=False)

    def to_png(self, path: str | Path) -> None:
        """Draw all dates side by side, and what changed in each step below.

        Raises:
            UsageError: the file cannot be written, or is one of the images that were compared.
        """
        from PIL import Image

        from rsrag.adapters.change.trend import multiples
        from rsrag.adapters.outputs import check_spared
        from rsrag.replacing import replacing

        check_spared(path := expanded(path), self)
        with replacing(path) as partial:
            Image.fromarray(multiples(self)).save(partial, "PNG")
