"""The five tasks on pixels as methods: caption, classify, change, ground, segment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rsrag import given
from rsrag.given import maybe
from rsrag.types import Position, TimeSpan

if TYPE_CHECKING:
    from rsrag.adapters.base import Context
    from rsrag.adapters.caption import Caption
    from rsrag.adapters.change import ChangeResult
    from rsrag.adapters.classify import Classification
    from rsrag.adapters.ground import Grounding
    from rsrag.adapters.segment import Segmentation
    from rsrag.ingest.readers.base import ReadOptions
    from rsrag.progress import Progress


class PixelTasks(ABC):
    """What an open workspace does with the pixels of any image, its own or another."""

    @abstractmethod
    def _context(self, progress: Progress | None) -> Context:
        """What a task works with."""

    def change(
        self,
        *images: Any,
        where: str | Position | None = None,
        between: Sequence[str | TimeSpan] = (),
        questions: Sequence[str] = (),
        method: Literal["auto", "combined", "cva", "irmad", "index", "features"] = "auto",
        threshold: float | None = None,
        min_area_m2: float | None = None,
        register: bool = True,
        mask_clouds: bool | None = None,
        in_order: bool = False,
        options: ReadOptions | None = None,
        progress: Progress | None = None,
    ) -> ChangeResult:
        """What changed between two or more dates: mask, magnitude, outlines with areas, kinds of ground, sentences.

        Args:
            images: path, encoded bytes, uint8 RGB array [H, W, 3], QueryImage, or id of a scene; put in order of time.
            where: name of a place in the archive, or (longitude, latitude), instead of images.
            between: dates that scenes of the place near to are taken, two or more.
            questions: answered in turn; later ones may refer to earlier ones.
            method: detector; see ``docs/change.md``.
            threshold: line between changed and unchanged in the detector's unit; None for the automatic one.
            min_area_m2: smaller changes are left out; None for 16 pixels.
            register: whether a small shift between the dates is corrected.
            mask_clouds: whether clouds are left out; None: in pictures of natural colour with pixels of 8 m or more.
            in_order: compare in the order given, whatever the dates say.
            options: band mapping and the like.
            progress: told of stages and windows.

        Raises:
            SourceError: an image cannot be used.
            UsageError: images that cannot be compared, or no two dates of the place.
        """
        from rsrag.adapters.change import Change, ChangeRequest
        from rsrag.adapters.change.detect import METHODS
        from rsrag.ingest.readers.base import ReadOptions

        given.one_of("method", method, ("auto", *METHODS))
        request = ChangeRequest(
            images,
            given.where(where),
            given.dates("between", between),
            given.texts("questions", questions),
            method,
            maybe(given.number, "threshold", threshold),
            maybe(given.number, "min_area_m2", min_area_m2),
            given.flag("register", register),
            maybe(given.flag, "mask_clouds", mask_clouds),
            in_order=given.flag("in_order", in_order),
            options=ReadOptions() if options is None else given.instance("options", options, ReadOptions),
        )
        return Change().run(request, self._context(progress))

    def caption(
        self,
        image: Any,
        *,
        style: Literal["short", "detailed", "knowledge"] = "short",
        examples: str | Path | None = None,
        captions: str | Path | None = None,
        split: str | None = None,
        seed: int = 0,
        bands: str | None = None,
        progress: Progress | None = None,
    ) -> Caption:
        """What an image shows, in words.

        Args:
            image: path, encoded bytes, uint8 RGB array [H, W, 3], QueryImage, or id of a scene or tile.
            style: "short" for one sentence, "detailed" for parts, kinds of ground and indices, "knowledge" for cited
                facts of the place.
            examples: folder or zip file of captioned pictures whose captions are drawn on.
            captions: their caption file; ``captions.json`` inside of ``examples`` when None.
            split: only this part of the examples.
            seed: of the decoder's drafts, 0 or more.
            bands: which band is what, where the file does not say.
            progress: told of pictures that are encoded.

        Raises:
            UsageError: an unknown style, or examples without captions.
            SourceError: the image or the examples cannot be used.
            ModelError: a model cannot be loaded.
        """
        from rsrag.adapters.caption import CAPTION, CaptionRequest

        request = CaptionRequest(
            image,
            given.text("style", style),
            maybe(given.path, "examples", examples),
            maybe(given.path, "captions", captions),
            maybe(given.text, "split", split),
            given.whole("seed", seed),
            maybe(given.text, "bands", bands),
        )
        return CAPTION.run(request, self._context(progress))

    def classify(
        self,
        image: Any,
        labels: Sequence[str],
        *,
        everywhere: bool = False,
        turns: int = 4,
        unknown: float = 0.0,
        examples: str | Path | None = None,
        knowledge: bool = False,
        bands: str | None = None,
        progress: Progress | None = None,
    ) -> Classification:
        """Probabilities of labels in your own words, and a map of them over the scene.

        Args:
            image: path, encoded bytes, uint8 RGB array [H, W, 3], QueryImage, or id of a scene or tile.
            labels: two or more classes.
            everywhere: also a class raster, a probability raster and areas.
            turns: 1, 2, 4 or 8 turns of the picture whose vectors are averaged.
            unknown: least probability that a class is given for.
            examples: folder of labelled pictures, one folder a class.
            knowledge: weigh the labels by what the archive says of the place.
            bands: which band is what, where the file does not say.
            progress: told of windows.

        Raises:
            SourceError: the image cannot be used.
            UsageError: labels that cannot be used.
        """
        from rsrag.adapters.classify import CLASSIFY, ClassifyRequest

        request = ClassifyRequest(
            image,
            given.texts("labels", labels),
            given.flag("everywhere", everywhere),
            given.whole("turns", turns),
            given.number("unknown", unknown),
            maybe(given.path, "examples", examples),
            given.flag("knowledge", knowledge),
            bands=maybe(given.text, "bands", bands),
        )
        return CLASSIFY.run(request, self._context(progress))

    def ground(
        self,
        image: Any,
        text: str | None = None,
        *,
        box: tuple[float, float, float, float] | None = None,
        labels: Sequence[str] = (),
        method: Literal["auto", "detector", "heat"] = "auto",
        least: float | None = None,
        model: str | None = None,
        boxes: str | None = None,
        bands: str | None = None,
        progress: Progress | None = None,
    ) -> Grounding:
        """Where the things are that a text names, how many there are, or what a box shows.

        Args:
            image: path, encoded bytes, uint8 RGB array [H, W, 3], QueryImage, or id of a scene or tile.
            text: what to look for, such as "the storage tanks near the road" or "how many ships".
            box: left, top, right, bottom in pixels: tell what is there instead.
            labels: what the box is compared with; a list of common things when empty.
            method: "auto" (the detector for what it knows, else the heat map), "detector" or "heat".
            least: lowest score of what is given; chosen by the method when None.
            model: a large model instead: a detector or reader by name, "reader" for the profile's, or a directory.
            boxes: how a reader writes boxes, such as "0-1000"; None as the registry says.
            bands: which band is what, where the file does not say.
            progress: told of stages and windows.

        Raises:
            UsageError: a text without a target, a box outside of the image.
            SourceError: the image cannot be used.
            ModelError: a model cannot be loaded.
        """
        from rsrag.adapters.ground import GROUND, GroundRequest

        request = GroundRequest(
            image,
            maybe(given.text, "text", text),
            maybe(given.pixel_box, "box", box),
            given.texts("labels", () if labels is None else labels),
            given.text("method", method),
            maybe(given.number, "least", least),
            maybe(given.text, "model", model),
            maybe(given.text, "boxes", boxes),
            maybe(given.text, "bands", bands),
        )
        return GROUND.run(request, self._context(progress))

    def segment(
        self,
        image: Any,
        text: str,
        *,
        threshold: float = 0.5,
        method: str = "auto",
        index: bool = True,
        simplify: float | None = None,
        smallest: float | None = None,
        bands: str | None = None,
        model: str | None = None,
        progress: Progress | None = None,
    ) -> Segmentation:
        """Outline what a text names: mask, score, polygons and areas.

        Args:
            image: file, bytes, uint8 RGB array [H, W, 3], or id of a scene or tile of the archive.
            text: what to outline, such as "water".
            threshold: score from which a pixel belongs to it.
            method: "auto", "decoder", "detector", "refined" or "heat"; see ``docs/segment.md``.
            index: use NDWI for water and NDVI for plants where the bands allow.
            simplify: metres (pixels without a scale) that an outline may move; two pixels when None.
            smallest: least area of an outline in m2 (square pixels without a scale).
            bands: which band is what, where the file does not say.
            model: a large segmenter instead: a name of the registry, or the directory of a checkpoint.
            progress: told of windows.

        Raises:
            UsageError: no words, an unknown method, or a number out of range.
            SourceError: the image cannot be used.
        """
        from rsrag.adapters.segment import SEGMENT, SegmentRequest

        request = SegmentRequest(
            image,
            given.text("text", text),
            given.number("threshold", threshold),
            given.text("method", method),
            given.flag("index", index),
            maybe(given.number, "simplify", simplify),
            maybe(given.number, "smallest", smallest),
            maybe(given.text, "bands", bands),
            maybe(given.text, "model", model),
        )
        return SEGMENT.run(request, self._context(progress))
