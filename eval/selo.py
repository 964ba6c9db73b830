"""Suite "selo", semantic localisation: where in a scene is a text true?

On composed scenes (mosaics of labelled pictures, :mod:`rsrag.eval.datasets.compose_scenes`) or on a scene of one's own
with queries. Each query's map is measured by Rsu, Rda, Ras and Rmi (:mod:`rsrag.eval.metrics.selo`), and so are maps
that know nothing (the same everywhere; a bell in the middle; random scores of the same crops) and one that knows
everything (every crop scored by the share of it that is target: what the crops allow at best).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.errors import SourceError, UnreadableSource, UsageError
from rsrag.eval.classification import left_out
from rsrag.eval.datasets import leakage
from rsrag.eval.datasets.compose_scenes import KINDS, SceneQuery, compose, write_scene
from rsrag.eval.datasets.images import ImageItem, ImageSet, read_captions, read_folders, turned_hashes
from rsrag.eval.datasets.labels import label_words
from rsrag.eval.datasets.selo_queries import read_queries
from rsrag.eval.encoders import choose_row, encoder_settings, start_encoder
from rsrag.eval.metrics import selo as selo_metrics
from rsrag.eval.metrics.selo import Indicators, Map
from rsrag.eval.reports.intervals import mean_interval
from rsrag.eval.reports.page import DetailedResult, write_report
from rsrag.eval.reports.published import published
from rsrag.eval.reports.result import mean
from rsrag.eval.selo_maps import (
    MULTIPLES,
    ScoredScene,
    crops_of_picture,
    crops_of_source,
    plan_crops,
    score_scene,
    text_vectors,
)
from rsrag.eval.selo_picture import draw_heat_map
from rsrag.ingest.discover import Discovered, discover, open_scenes
from rsrag.ingest.guard import harden_gdal
from rsrag.ingest.readers.base import RasterSource, ReadOptions
from rsrag.models.base import ImageEncoder, Picture
from rsrag.models.weights import file_digest
from rsrag.progress import Progress, Silent
from rsrag.types import ItemError, Scene

DATASET = "air-slt"
"""The data set of the published figures: scenes of its own, so that only the order of magnitude compares."""
PICTURES = 6
"""Most heat maps that a report on composed scenes shows."""
SPLIT = "val"
RANDOM = "random scores"
BY_QUERY = "By query"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one method reached for one query; queries of one ``group`` share a scene and are not independent."""

    group: int
    scene: str
    query: SceneQuery
    found: Indicators

    @property
    def kind(self) -> str:
        """Of the query."""
        return self.query.kind


def run_composed(
    data: Path,
    *,
    captions: Path | None = None,
    labels_file: Path | str | None = None,
    split: str | None = SPLIT,
    scenes: int = 24,
    grid: int = 4,
    seed: int = 0,
    profile: str | None = None,
    encoder: str | None = None,
    allow_leaked: bool = False,
    report: Path | None = None,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> DetailedResult:
    """Measure on scenes laid of labelled pictures.

    Args:
        data: folder or zip file with one folder a class, perhaps below a folder a split.
        captions: JSON list of ``{file, captions, class}``; then the pictures' classes come from it, and captions are
            asked for too.
        labels_file: what the classes are called in words.
        split: which split of the pictures.
        scenes: how many.
        grid: tiles in a row and in a column.
        seed: of the layouts and of the random map.
        profile: whose image encoder is measured.
        encoder: the image encoder itself.
        allow_leaked: measure on pictures that were in training, too.
        report: folder for the report, with the first heat maps.
        keep: folder that the scenes are written to as GeoTIFFs at an invented position, with their queries.
        progress: told of every crop.

    Raises:
        UsageError: too few classes, pictures that were in training, or files that cannot be written.
        SourceError: pictures that cannot be read.
        ModelError: an encoder that cannot be used.
    """
    progress = progress or Silent()
    if captions is None:
        images = read_folders(data, labels_file, split, progress)
    else:
        images = read_captions(data, captions, split, progress)
        if not images.labels:
            raise UsageError(f"{captions}: no entry names a class", hint='add "class" to them, or leave --captions out')
        images = replace(images, words=label_words(images.labels, labels_file))
    row = choose_row(profile, encoder)
    leaks = leakage.check(images, row, allow_leaked=allow_leaked)
    model = start_encoder(row, encoder_settings(profile))
    rng = np.random.default_rng(seed)
    measured: dict[str, list[Measured]] = {}
    drawn: dict[str, Picture] = {}
    tiles, crops = set(), ""
    progress.start("scenes", scenes, unit="scenes")
    for number, scene in enumerate(compose(images, scenes=scenes, grid=grid, seed=seed)):
        side = scene.picture.shape[0]
        plan = plan_crops(side, side, max(1, scene.tile // 2))
        texts = text_vectors(model, [query.phrases for query in scene.queries])
        scored = score_scene(crops_of_picture(scene.picture, plan), (side, side), plan, model, texts)
        _measure(measured, (number, scene.name), scored, scene.queries, model.name, rng)
        if report is not None and len(drawn) < PICTURES:
            drawn |= _draw(scene.name, scored, scene.queries[: PICTURES - len(drawn)], model)
        if keep is not None:
            write_scene(scene, keep)
        tiles.add(scene.tile)
        crops = plan.text
        progress.advance()
    progress.finish()
    details = {
        "pictures": f"{len(images.items)} of {len(images.labels)} classes, {images.name}" + (f" {split}" * bool(split)),
        "scenes": f"{scenes} of {grid}×{grid} tiles of {', '.join(map(str, sorted(tiles)))} px, seed {seed}",
        "crops": f"{crops}, overlapping by half",
        **left_out(images),
        **leaks.details(),
    }
    result = _result(measured, model, details)
    if report is not None:
        write_report(result, report, drawn)
    return result


def run_scene(
    scene: Path,
    queries: Path,
    *,
    base: int | None = None,
    profile: str | None = None,
    encoder: str | None = None,
    allow_leaked: bool = False,
    report: Path | None = None,
    progress: Progress | None = None,
) -> DetailedResult:
    """Measure on a scene of one's own.

    Args:
        scene: an image that ingest reads, of any size.
        queries: see :func:`rsrag.eval.datasets.selo_queries.read_queries`.
        base: side of the smallest crop in pixels, see :func:`rsrag.eval.selo_maps.plan_crops`.
        profile: whose image encoder is measured.
        encoder: the image encoder itself.
        allow_leaked: measure on a scene that was in training, too.
        report: folder for the report, with every map as a picture and, of a located scene, as a GeoTIFF.
        progress: told of every crop.

    Raises:
        UsageError: queries that do not fit, a scene that was in training, or files that cannot be written.
        SourceError: a scene that cannot be read.
        ModelError: an encoder that cannot be used.
    """
    progress = progress or Silent()
    row = choose_row(profile, encoder)
    with _open(scene) as source:
        asked = read_queries(queries, source.scene)
        plan = plan_crops(source.scene.width, source.scene.height, base)
        model = start_encoder(row, encoder_settings(profile))
        texts = text_vectors(model, [query.phrases for query in asked])
        progress.start("crops", plan.tiles.count, unit="crops")
        size = (source.scene.width, source.scene.height)
        scored = score_scene(crops_of_source(source, plan), size, plan, model, texts, progress)
        progress.finish()
        about = source.scene
    if not len(scored.edges):
        raise UnreadableSource(f"{scene.name}: none of its {scored.failed} crops can be read")
    leaks = leakage.check(_as_set(scene, scored), row, allow_leaked=allow_leaked)
    measured: dict[str, list[Measured]] = {}
    for number, query in enumerate(asked):
        part = _column(scored, number)
        _measure(measured, (number, scene.stem), part, [query], model.name, np.random.default_rng(number))
    rasters = [] if report is None else _write_rasters(report, about, scored, asked, model)
    details: dict[str, Any] = {
        "scene": f"{scene.name}, {about.width}×{about.height} px",
        "crops": f"{plan.text}, overlapping by half",
        "map cell": f"{scored.cell} px",
        **({"crops that cannot be read": scored.failed} if scored.failed else {}),
        **({"maps": rasters} if rasters else {}),
        **leaks.details(),
    }
    result = replace(_result(measured, model, details), shown=(BY_QUERY,))
    if report is not None:
        write_report(result, report, _draw(scene.stem, scored, asked, model))
    return result


def baselines(scored: ScoredScene, rng: np.random.Generator) -> dict[str, Map]:
    """Maps that know nothing of the text."""
    height, width = scored.picture.shape[:2]
    y, x = np.mgrid[:height, :width] + 0.5
    spread = 2 * (min(height, width) / 4) ** 2
    bell = np.exp(-((x - width / 2) ** 2 + (y - height / 2) ** 2) / spread).astype(np.float32)
    return {
        RANDOM: scored.likelihood(rng.random(len(scored.edges))),
        "middle of the scene": selo_metrics.normalise(bell),
        "same everywhere": np.ones((height, width), dtype=np.float32),
    }


def _open(path: Path) -> RasterSource:
    """The one scene of a file."""
    harden_gdal()
    options = ReadOptions(allow_unlocated=True)
    for found in discover([path], options):
        if isinstance(found, Discovered) and found.is_imagery:
            for source in open_scenes(found, options):
                if not isinstance(source, ItemError):
                    return source
        elif isinstance(found, ItemError):
            raise UnreadableSource(f"{path}: {found.reason}")
    raise SourceError(f"{path}: no image in it")


def _as_set(path: Path, scored: ScoredScene) -> ImageSet:
    """The scene as a set of one picture, to be held against the training data."""
    turned = turned_hashes(scored.picture)
    item = ImageItem(path.name, "", (), file_digest(path), f"{turned[0]:016x}", turned)
    return ImageSet(path.name, path, (item,))


def _measure(
    measured: dict[str, list[Measured]],
    scene: tuple[int, str],
    scored: ScoredScene,
    queries: Sequence[SceneQuery],
    name: str,
    rng: np.random.Generator,
) -> None:
    known = baselines(scored, rng)
    for column, query in enumerate(queries):
        regions = scored.regions(query.regions)
        maps = {
            name: scored.likelihood(scored.scores[:, column]),
            "share of target (ceiling)": scored.likelihood(scored.cover(regions)),
            **known,
        }
        for method, likelihood in maps.items():
            found = selo_metrics.evaluate(likelihood, regions, scored.unit)
            measured.setdefault(method, []).append(Measured(*scene, query, found))


def _result(
    measured: Mapping[str, Sequence[Measured]], model: ImageEncoder, details: Mapping[str, Any]
) -> DetailedResult:
    own = measured[model.name]
    rows = {method: _figures(found) for method, found in measured.items()}
    kinds = [kind for kind in (*KINDS, *sorted({m.kind for m in own} - set(KINDS))) if any(m.kind == kind for m in own)]
    if len(kinds) > 1:
        for kind in kinds:
            rows[f"{model.name}: {kind}"] = _figures([m for m in own if m.kind == kind])
    for row in published("selo", DATASET):
        rows[row.title] = dict(row.figures)
    intervals = {
        name: [round(v, 4) for v in mean_interval([m.found.figures()[name] for m in own], [m.group for m in own])]
        for name in selo_metrics.NAMES
    }
    gains = [a.found.rmi - b.found.rmi for a, b in zip(own, measured[RANDOM], strict=True)]
    gain = (mean(gains), *mean_interval(gains, [m.group for m in own]))
    more = {
        "queries": len(own),
        "rmi above random scores": "{:.3f} ({:.3f} to {:.3f})".format(*gain),
        "95 % intervals": intervals,
        **details,
        "image model": model.fingerprint,
        "published rows": "on AIR-SLT, large scenes annotated by hand",
    }
    table = [{"scene": m.scene, "query": m.query.text, "kind": m.kind, **m.found.figures()} for m in own]
    return DetailedResult("selo", rows[model.name], rows, more, {BY_QUERY: table})


def _figures(found: Sequence[Measured]) -> dict[str, float]:
    figures = {name: mean([m.found.figures()[name] for m in found]) for name in selo_metrics.NAMES}
    low, high = mean_interval([m.found.rmi for m in found], [m.group for m in found])
    return {**figures, "rmi_low": low, "rmi_high": high}


def _column(scored: ScoredScene, number: int) -> ScoredScene:
    one = scored.scores[:, number : number + 1]
    return ScoredScene(scored.width, scored.height, scored.base, scored.edges, one, scored.picture)


def _draw(name: str, scored: ScoredScene, queries: Sequence[SceneQuery], model: ImageEncoder) -> dict[str, Picture]:
    """Heat maps of the queries by caption."""
    sides = ", ".join(str(scored.base * multiple) for multiple in MULTIPLES)
    drawn: dict[str, Picture] = {}
    for number, query in enumerate(queries):
        regions = scored.regions(query.regions)
        likelihood = scored.likelihood(scored.scores[:, number])
        found = selo_metrics.evaluate(likelihood, regions, scored.unit)
        drawn[f"{name}, query {number + 1}: {query.text}"] = draw_heat_map(
            scored.picture,
            likelihood,
            text=query.text,
            regions=regions,
            centres=found.centres,
            figures=found.figures(),
            note=f"{name}, {model.name}; crops of {sides} px",
        )
    return drawn


def _write_rasters(
    folder: Path, scene: Scene, scored: ScoredScene, queries: Sequence[SceneQuery], model: ImageEncoder
) -> list[str]:
    """The maps of a located scene as GeoTIFFs; returns their names."""
    from rsrag.export_raster import write_float_raster

    if scene.crs is None or scene.transform is None:
        return []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error}") from error
    a, b, c, d, e, f = scene.transform
    transform = (a * scored.cell, b * scored.cell, c, d * scored.cell, e * scored.cell, f)
    names = []
    for number, query in enumerate(queries):
        names.append(f"query-{number + 1:02d}.tif")
        tags = {"QUERY": query.text, "MODEL": model.fingerprint, "SOURCE": Path(scene.source).name}
        likelihood = scored.likelihood(scored.scores[:, number])
        about = f"likelihood of: {query.text}"
        write_float_raster(folder / names[-1], likelihood, scene.crs, transform, description=about, tags=tags)
    return names
