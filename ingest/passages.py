"""One knowledge file into the archive: places and passages to the catalogue, passages embedded and indexed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsrag.catalog import Catalog, PassageRow
from rsrag.collections import PASSAGES, passage_point, passage_text
from rsrag.errors import RefusedSource, RsragError
from rsrag.indexes.base import Point, Vector, VectorIndex
from rsrag.ingest.knowledge import read_knowledge
from rsrag.ingest.linking import PlaceIndex
from rsrag.ingest.readers.photo import load_picture
from rsrag.ingest.summary import IngestOptions, Tally
from rsrag.models.base import Profile
from rsrag.progress import Progress
from rsrag.types import BBox, ItemError, Passage, Place

_BATCH = 256
_WORLD = BBox(-180.0, -90.0, 180.0, 90.0)


class KnowledgeWriter:
    """Writes knowledge files; knows the places of the archive so that texts can be linked to them."""

    def __init__(self, catalog: Catalog, index: VectorIndex, profile: Profile) -> None:
        self._catalog = catalog
        self._index = index
        self._profile = profile
        self._places = PlaceIndex(catalog.places_in(_WORLD))

    def forget_places(self) -> None:
        """Places were removed: know those that are left."""
        self._places = PlaceIndex(self._catalog.places_in(_WORLD))

    def write(self, path: Path, options: IngestOptions, tally: Tally, progress: Progress) -> list[ItemError]:
        """Everything of one file; returns the errors of single rows.

        Raises:
            SourceError: nothing of the file can be used.
        """
        errors: list[ItemError] = []
        pending: list[tuple[Passage, Place | None]] = []
        places: list[Place] = []
        own: dict[str, Place] = {}
        saved_document = False
        reading = read_knowledge(
            path, columns=options.columns or None, licence=options.licence, known_places=self._places
        )
        for item in reading:
            if isinstance(item, ItemError):
                errors.append(item)
                continue
            if not saved_document:
                self._catalog.save_document(item.document, str(path))
                saved_document = True
            if item.place is not None:
                tally.places += item.place.id not in own
                places.append(item.place)
                own[item.place.id] = item.place
            pending += [(passage, self._place_of(passage, own)) for passage in item.passages]
            if len(pending) >= _BATCH:
                self._flush(path, places, pending, errors, tally, progress)
        self._flush(path, places, pending, errors, tally, progress)
        return errors

    def _place_of(self, passage: Passage, own: Mapping[str, Place]) -> Place | None:
        """The place of a passage: of this file, or known before."""
        if passage.place_id is None:
            return None
        return own.get(passage.place_id) or self._catalog.place(passage.place_id)

    def _flush(
        self,
        path: Path,
        places: list[Place],
        pending: list[tuple[Passage, Place | None]],
        errors: list[ItemError],
        tally: Tally,
        progress: Progress,
    ) -> None:
        """Index first, then the catalogue: what the catalogue knows is certainly indexed."""
        for added in places:
            self._places.add(added)
        if places:
            self._catalog.save_places(places, str(path))
        if pending:
            text_model, image_model = self._profile.text, self._profile.image
            vectors = text_model.encode_passages([passage_text(p, place) for p, place in pending])
            rows: list[PassageRow] = []
            points: list[Point] = []
            for (passage, place), vector in zip(pending, vectors, strict=True):
                picture = self._picture(path, passage, errors)
                named: Mapping[str, Vector] = {"text": vector} | ({"image": picture} if picture is not None else {})
                points.append(passage_point(passage, place, named))
                kept = vector if np.any(vector) else None
                rows.append(PassageRow(passage, kept, text_model.fingerprint, picture, image_model.fingerprint))
            self._index.upsert(PASSAGES, points)
            self._catalog.save_passages(rows)
        tally.passages += len(pending)
        progress.advance(len(pending))
        places.clear()
        pending.clear()

    def _picture(self, path: Path, passage: Passage, errors: list[ItemError]) -> Vector | None:
        """Vector of a passage's picture, whose path is relative to the knowledge file."""
        if not passage.picture:
            return None
        file = (path.parent / passage.picture).resolve()
        if not file.is_relative_to(path.parent.resolve()):
            errors.append(
                ItemError(str(path), RefusedSource.__name__, f"picture {passage.picture}: outside the folder")
            )
            return None
        try:
            picture = load_picture(file)
        except RsragError as error:
            errors.append(ItemError(str(path), error.code, f"picture {passage.picture}: {error}"))
            return None
        vector: Vector = self._profile.image.encode_images([picture.pixels])[0]
        return vector
