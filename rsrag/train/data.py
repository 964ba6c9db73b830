"""All training sets of a configuration as one collection, with their texts and their manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import ConfigError, SourceError
from rsrag.train.landscape import Landscapes
from rsrag.train.prompts import read_labels, templates_for, words
from rsrag.train.sources.config import DataConfig, SourceConfig
from rsrag.train.sources.duplicates import near_groups, unite
from rsrag.train.sources.hard import HardBatches
from rsrag.train.sources.layouts import list_source, set_name
from rsrag.train.sources.manifest import Manifest, summary
from rsrag.train.sources.mosaic import Mosaic, find_mosaic
from rsrag.train.sources.pictures import decode, dhash
from rsrag.train.sources.record import Problem
from rsrag.train.sources.scans import read_all
from rsrag.train.sources.store import Item, Items, Store, Tier
from rsrag.train.sources.texts import Texts, build_texts

__all__ = [
    "Collection",
    "Item",
    "Mosaic",
    "Texts",
    "build_texts",
    "class_names",
    "decode",
    "dhash",
    "find_mosaic",
    "load",
    "read_source",
]


def read_source(source: SourceConfig, data_dir: Path) -> Items:
    """Decode one set whole, as an evaluation needs it.

    Raises:
        SourceError: the set is missing, or a picture in it cannot be used.
    """
    listing = list_source(source, Path(data_dir))
    items, unread = Store(2**62).read(listing.records, source.max_pixels, workers=1)
    for problem in (*listing.problems, *unread):
        if problem.what == "picture":
            raise SourceError(f"{Path(data_dir) / source.path}: {problem.key}: {problem.reason}")
    return items


def class_names(
    sources: Sequence[SourceConfig], items: Sequence[Item], data_dir: Path | None = None
) -> dict[str, list[str]]:
    """For every class key ``source/class``, its names in words, the main one first.

    Args:
        sources: of the items.
        items: whose classes are named.
        data_dir: where the paths of ``labels_file`` begin.
    """
    present = {key for item in items for key in item.labels}
    names: dict[str, list[str]] = {}
    for source in sources:
        known = read_labels((data_dir or Path()) / source.labels_file) if source.labels_file else {}
        known = {**known, **source.labels}
        for key in sorted(key for key in present if key.split("/", 1)[0] == set_name(source)):
            raw = key.split("/", 1)[1]
            names[key] = known.get(raw) or [words(raw)]
    return names


@dataclass
class Collection:
    """Everything a run reads.

    Attributes:
        train: items to learn from.
        held: items kept aside for choices and metrics.
        names: class names in words.
        texts: texts of ``train``.
        mosaic: unlabelled pictures, if any.
        landscapes: invented places, if any.
        crops: crops an epoch from the mosaic and from the invented places.
        repeats: times an item is shown in an epoch, by set.
        copies: files equal to one that was kept, and that one.
        problems: what was left out, and why.
        tier: how the pictures are kept.
        near: int64 [train + held], group of near copies, -1 for none; see :func:`near_groups`.
        augment: ``"full"``, ``"mild"`` or ``"mixed"``.
        hard: places hard negatives, if asked for.
    """

    train: Items
    held: Items
    names: dict[str, list[str]]
    texts: Texts
    mosaic: Mosaic | None
    landscapes: Landscapes | None
    crops: tuple[int, int]
    repeats: dict[str, float] = field(default_factory=dict)
    copies: Sequence[tuple[Item, Item]] = ()
    problems: list[Problem] = field(default_factory=list)
    tier: Tier = "decoded"
    near: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    augment: str = "full"
    hard: HardBatches | None = None

    def members(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """Items of an epoch, int64 [M]: M is the same in every epoch.

        A set that is shown 2.5 times has every item twice and another half of them a third time in every epoch.
        """
        times = np.ones(len(self.train), dtype=np.int64)
        for name, repeat in self.repeats.items():
            own = self.train.of_source(name)
            whole = int(repeat)
            times[own] = whole
            extra = round((repeat - whole) * len(own))
            if extra:
                turn = np.random.default_rng([seed, len(own)]).permutation(own)
                times[turn[(epoch * extra + np.arange(extra)) % len(own)]] += 1
        return np.repeat(np.arange(len(times)), times)

    def manifest(self) -> Manifest:
        """One row a picture: source, file, sha256, dhash, use, note; see :mod:`rsrag.train.sources.manifest`."""
        mosaic = self.mosaic.rows if self.mosaic else []
        return Manifest(self.train, self.held, self.near, self.copies, mosaic, self.problems)

    def facts(self) -> dict[str, Any]:
        """Counts for the summary of the manifest: pictures by set and use, texts, groups, near copies, memory."""
        grouped = self.near[self.near >= 0]
        held = {int(group) for group in self.near[len(self.train) :] if group >= 0}
        return {
            "pictures": summary(self.manifest()),
            "kept": self.tier,
            "captions": sum(len(item.captions) for item in self.train),
            "texts": len(self.texts.sentences),
            "text_groups": len(np.unique(self.texts.groups)),
            "classes": len(self.names),
            "near_copies": {
                "pictures": len(grouped),
                "groups": len(np.unique(grouped)),
                "train_like_held_out": int(np.isin(self.near[: len(self.train)], list(held)).sum()),
            },
            "landscapes": self.crops[1],
        }


def load(config: DataConfig, data_dir: Path, seed: int = 0) -> Collection:
    """Read all sets of a configuration; ``seed`` fixes the invented landscapes.

    Raises:
        ConfigError: two sets of one name, or templates or labels that cannot be read.
        SourceError: a set or a mosaic is missing, or has no usable picture.
    """
    data_dir = Path(data_dir)
    names_of_sets = [set_name(source) for source in config.sources]
    if twice := sorted({name for name in names_of_sets if names_of_sets.count(name) > 1}):
        raise ConfigError(f"data.sources: two sets are called {twice[0]!r}", hint="give one of them another name")
    banks = {set_name(source): templates_for(source.templates, data_dir) for source in config.sources}
    found, problems, tier = read_all(config, data_dir)
    items, copies = unite(found)
    names = class_names(config.sources, items, data_dir)
    train, held = items.split(config.holdout)
    texts = build_texts(train, names, banks)
    mosaic = Mosaic(config.mosaic, data_dir) if config.mosaic.files and config.mosaic.crops else None
    land = config.landscape
    invented = Landscapes(land.places, land.dates, land.size, seed) if land.crops else None
    hard = None
    if config.hard:
        from rsrag.train.textmodel import load_text

        vectors = load_text("")(list(texts.sentences))
        hard = HardBatches(texts.captions, texts.prompts, texts.groups, vectors, share=config.hard)
    return Collection(
        train,
        held,
        names,
        texts,
        mosaic,
        invented,
        (config.mosaic.crops if mosaic else 0, land.crops),
        repeats={set_name(source): source.repeat for source in config.sources},
        copies=copies,
        problems=problems,
        tier=tier,
        near=near_groups(np.concatenate([train.dhashes(), held.dhashes()])),
        augment=config.augment,
        hard=hard,
    )
