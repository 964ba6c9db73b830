"""All training sets of a configuration as one collection, with their texts and their manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rsrag.errors import ConfigError, SourceError
from rsrag.train.landscape import Landscapes
from rsrag.train.prompts import gist, merge_groups, read_labels, sentences, templates_for, words
from rsrag.train.sources.config import DataConfig, SourceConfig
from rsrag.train.sources.duplicates import near_groups, unite
from rsrag.train.sources.hard import HardBatches
from rsrag.train.sources.layouts import list_source, set_name
from rsrag.train.sources.manifest import row, summary
from rsrag.train.sources.mosaic import Mosaic, find_mosaic
from rsrag.train.sources.pictures import decode, dhash
from rsrag.train.sources.record import Problem
from rsrag.train.sources.store import Item, Store, Tier

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


@dataclass
class Texts:
    """Every sentence a picture can be paired with.

    Attributes:
        sentences: all texts; vectors are made once, in this order.
        groups: int64 [T]; texts of one group say the same and are never negatives of each other.
        captions: for every item, indices of its captions (of its prompts when it has none).
        prompts: for every item, indices of the prompts of its classes (of its captions when it has no class).
        classes: class keys ``source/class`` in the order of ``labels``.
        of_class: for every class, indices of its prompts.
        labels: int64 [N], class of every item, -1 for none.
    """

    sentences: list[str]
    groups: npt.NDArray[np.int64]
    captions: list[list[int]]
    prompts: list[list[int]]
    classes: list[str]
    of_class: list[list[int]]
    labels: npt.NDArray[np.int64]


def read_source(source: SourceConfig, data_dir: Path) -> list[Item]:
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


def build_texts(
    items: Sequence[Item], names: dict[str, list[str]], templates: Mapping[str, Sequence[str]] | None = None
) -> Texts:
    """Collect captions and class prompts of the items and number their groups.

    Prompts of a class, and of classes that share a name, are one group. Captions that say the same
    (:func:`rsrag.train.prompts.gist`) are one group, that of a class when a prompt of it says the same.

    Args:
        items: in their order.
        names: for every class key, its names.
        templates: for every set, its template bank; the default one for sets not in it.
    """
    groups = merge_groups(names)
    table: dict[tuple[str, int], int] = {}
    texts: list[str] = []
    numbers: list[int] = []
    by_gist: dict[str, int] = {}

    def add(text: str, group: int) -> int:
        index = table.setdefault((text, group), len(texts))
        if index == len(texts):
            texts.append(text)
            numbers.append(group)
        return index

    of_class: dict[str, list[int]] = {}
    for key, options in names.items():
        bank = (templates or {}).get(key.split("/", 1)[0])
        filled = sentences(options, bank) if bank else sentences(options)
        of_class[key] = [add(text, groups[key]) for text in filled]
        for text in filled:
            by_gist.setdefault(gist(text), groups[key])
    unused = len(set(groups.values()))
    captions, prompts = [], []
    for item in items:
        own = []
        for text in item.captions:
            form = gist(text)
            if form not in by_gist:
                by_gist[form] = unused
                unused += 1
            own.append(add(text, by_gist[form]))
        classes = [index for key in item.labels for index in of_class[key]]
        captions.append(own or classes)
        prompts.append(classes or own)
    keys = list(of_class)
    rows = {key: number for number, key in enumerate(keys)}
    labels = np.array([rows.get(item.label, -1) for item in items], dtype=np.int64)
    return Texts(texts, np.array(numbers, dtype=np.int64), captions, prompts, keys, list(of_class.values()), labels)


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

    train: list[Item]
    held: list[Item]
    names: dict[str, list[str]]
    texts: Texts
    mosaic: Mosaic | None
    landscapes: Landscapes | None
    crops: tuple[int, int]
    repeats: dict[str, float] = field(default_factory=dict)
    copies: list[tuple[Item, Item]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    tier: Tier = "decoded"
    near: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    augment: str = "full"
    hard: HardBatches | None = None

    def members(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """Items of an epoch, int64 [M]: M is the same in every epoch.

        A set that is shown 2.5 times has every item twice and another half of them a third time in every epoch.
        """
        sets = np.array([item.source for item in self.train])
        times = np.ones(len(sets), dtype=np.int64)
        for name, repeat in self.repeats.items():
            own = np.flatnonzero(sets == name)
            whole = int(repeat)
            times[own] = whole
            extra = round((repeat - whole) * len(own))
            if extra:
                turn = np.random.default_rng([seed, len(own)]).permutation(own)
                times[turn[(epoch * extra + np.arange(extra)) % len(own)]] += 1
        return np.repeat(np.arange(len(sets)), times)

    def manifest(self) -> list[dict[str, str]]:
        """One row a picture: source, file, sha256, dhash, use, note; see :mod:`rsrag.train.sources.manifest`."""
        items = [*self.train, *self.held]
        rows = []
        for number, item in enumerate(items):
            use = "train" if number < len(self.train) else "held-out"
            group = int(self.near[number]) if len(self.near) else -1
            note = "" if group in (-1, number) else f"near {items[group].source}/{items[group].file}"
            rows.append(row(item.source, item.file, item.sha256, item.dhash, use, note))
        for item, kept in self.copies:
            rows.append(row(item.source, item.file, item.sha256, item.dhash, "copy", f"{kept.source}/{kept.file}"))
        for name, digest in self.mosaic.rows if self.mosaic else []:
            rows.append(row("mosaic", name, digest, "", "train"))
        for problem in self.problems:
            rows.append(row(problem.source, problem.key, "", "", f"skipped {problem.what}", problem.reason))
        return rows

    def facts(self) -> dict[str, Any]:
        """Counts for the summary of the manifest: pictures by set and use, texts, groups, near copies, memory."""
        own = [text for item in self.train for text in item.captions]
        grouped = self.near[self.near >= 0]
        held = {int(group) for group in self.near[len(self.train) :] if group >= 0}
        return {
            "pictures": summary(self.manifest()),
            "kept": self.tier,
            "captions": len(own),
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


def _read_all(config: DataConfig, data_dir: Path) -> tuple[list[Item], list[Problem], Tier]:
    """Items of all sets, what was left out, and how pictures are kept.

    Raises:
        SourceError: a set is missing, or has no usable picture.
    """
    store = Store(config.memory_mb * 2**20)
    items: list[Item] = []
    problems: list[Problem] = []
    for source in config.sources:
        listing = list_source(source, data_dir)
        found, unread = store.read(listing.records, source.max_pixels, config.workers)
        if not found:
            first = unread[0]
            raise SourceError(f"{data_dir / source.path} has no usable picture ({first.key}: {first.reason})")
        items += found
        problems += [*listing.problems, *unread]
    store.finish()
    return items, problems, store.tier


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
    items, problems, tier = _read_all(config, data_dir)
    items, copies = unite(items)
    names = class_names(config.sources, items, data_dir)
    held = [item for item in items if item.held_out(config.holdout)]
    train = [item for item in items if not item.held_out(config.holdout)]
    texts = build_texts(train, names, banks)
    mosaic = Mosaic(config.mosaic, data_dir) if config.mosaic.files and config.mosaic.crops else None
    land = config.landscape
    invented = Landscapes(land.places, land.dates, land.size, seed) if land.crops else None
    hard = None
    if config.hard:
        from rsrag.train.textmodel import load_text

        vectors = load_text("")(texts.sentences)
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
        near=near_groups([item.dhash for item in [*train, *held]]),
        augment=config.augment,
        hard=hard,
    )
