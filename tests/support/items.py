"""What a knowledge file holds: its items, and its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsrag.ingest.knowledge import KnowledgeItem, read_knowledge
from rsrag.types import ItemError


def read(path: Path, **options: Any) -> tuple[list[KnowledgeItem], list[ItemError]]:
    items, errors = [], []
    for item in read_knowledge(path, **options):
        (items if isinstance(item, KnowledgeItem) else errors).append(item)
    return items, errors  # type: ignore[return-value]
