"""An archive as a LangChain retriever (extra ``langchain``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from rsrag.compose import evidence_text
from rsrag.errors import MissingExtra
from rsrag.times import format_span
from rsrag.types import Filters, Hit

try:
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
except ImportError as error:
    raise MissingExtra("the LangChain retriever", extra="langchain", package=error.name) from error

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun


class RsragRetriever(BaseRetriever):
    """Tiles and passages of an open archive as documents.

    Attributes:
        engine: what :func:`rsrag.open` returned; it stays open and belongs to the caller.
        filters: what results are limited to.
        kind: "tile", "passage" or "all".
        limit: most documents.
    """

    engine: Any
    filters: Filters | None = None
    kind: Literal["all", "tile", "passage"] = "all"
    limit: int = 8

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        hits = self.engine.search(query, filters=self.filters, kind=self.kind, limit=self.limit)
        return [document_of(hit) for hit in hits]


def document_of(hit: Hit) -> Document:
    """A hit as a document: what a reader would see of it, with id, place, box, date, score and a citation."""
    area = hit.match or hit.footprint
    span = hit.scene.time if hit.scene else hit.passage.time if hit.passage else None
    source = hit.scene.source if hit.scene else hit.document.source if hit.document else None
    metadata = {
        "id": hit.id,
        "kind": hit.kind,
        "title": hit.title,
        "source": source,
        "place": hit.place.name if hit.place else None,
        "bbox": list(area.bbox) if area else None,
        "datetime": format_span(span) if span else None,
        "score": hit.score,
        "citation": ", ".join(part for part in (hit.title, format_span(span) if span else "", source or "") if part),
    }
    return Document(page_content=evidence_text(hit), metadata=metadata, id=hit.id)
