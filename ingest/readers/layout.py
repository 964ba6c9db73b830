"""From the bands of an open GDAL dataset to :class:`~rsrag.ingest.readers.base.Pixels`: types, nodata, masks, palettes.

Which pixels are valid, in this order: an alpha band or a mask inside the file; else the nodata value of the dataset
(all bands have theirs at once); else the nodata value of each band. NaN is never valid. A nodata value that an
unsigned sensor can also measure (0 in 8 bits, say) makes a pixel invalid only where all picture bands have it; one that
it cannot (-9999) makes it invalid as soon as one picture band has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsrag.errors import UnreadableSource, UnsupportedSource
from rsrag.ingest.readers.bands import picture_of
from rsrag.ingest.readers.base import Array, Mask, Pixels
from rsrag.types import Band, Window


@dataclass(frozen=True, slots=True)
class Layout:
    """How the bands of a file become :class:`Pixels`.

    Attributes:
        indexes: rasterio numbers of the bands that are read.
        picture: positions of the picture bands among them.
        nodata: nodata value of each band that is read, or None.
        together: the nodata value counts only where all picture bands have it.
        alpha: rasterio number of the alpha band.
        internal: whether the file carries a mask of its own.
        palette: colours of a palette file, uint8 [256, 4].
        dtype: of the values handed on.
    """

    indexes: tuple[int, ...]
    picture: tuple[int, ...]
    nodata: tuple[float | None, ...]
    together: bool
    alpha: int | None
    internal: bool
    palette: Array | None
    dtype: np.dtype[Any]


def file_bands(dataset: Any, roles: tuple[str | None, ...]) -> tuple[Band, ...]:
    """Every band as it lies in the file, with its role."""
    return tuple(
        Band(
            index=i + 1,
            role=role,
            dtype=dataset.dtypes[i],
            nodata=None if dataset.nodatavals[i] is None else float(dataset.nodatavals[i]),
            scale=_finite(dataset.scales[i], 1.0) or 1.0,
            offset=_finite(dataset.offsets[i], 0.0),
            description=dataset.descriptions[i] or None,
        )
        for i, role in enumerate(roles)
    )


def _finite(value: float, otherwise: float) -> float:
    return float(value) if math.isfinite(value) else otherwise


def band_layout(dataset: Any, bands: tuple[Band, ...]) -> Layout:
    """How the bands that have a role are read; the picture can be made of them."""
    used = [b for b in bands if b.role not in (None, "alpha")]
    picture = picture_of([b.role for b in used])
    assert picture is not None  # find_roles has made sure
    indexes = tuple(b.index for b in used)
    dtypes = [np.dtype(b.dtype) for b in used]
    nodata = tuple(_nodata_of(dataset, band) for band in used)
    marked = [n for n in nodata if n is not None]
    together = bool(marked) and all(d.kind == "u" for d in dtypes)
    plain = set(dtypes) in ({np.dtype(np.uint8)}, {np.dtype(np.uint16)}) and (together or not marked)
    alpha = next((b.index for b in bands if b.role == "alpha"), None)
    flags = [{f.name for f in band_flags} for band_flags in dataset.mask_flag_enums]
    internal = any("per_dataset" in f and "alpha" not in f for f in flags)
    return Layout(
        indexes, picture, nodata, together, alpha, internal, None, dtypes[0] if plain else np.dtype(np.float32)
    )


def _nodata_of(dataset: Any, band: Band) -> float | None:
    values = str(dataset.tags().get("NODATA_VALUES", "")).split()
    if len(values) == dataset.count:
        try:
            return float(values[band.index - 1])
        except ValueError:
            return band.nodata
    return band.nodata


def palette_layout(dataset: Any) -> tuple[tuple[Band, ...], Layout]:
    """The band of a palette file, and the layout that turns its values into red, green and blue.

    Raises:
        UnsupportedSource: a palette of more than 256 colours.
    """
    if dataset.dtypes[0] != "uint8":
        name = Path(dataset.name).name
        raise UnsupportedSource(f"{name}: a palette of {dataset.dtypes[0]} values", hint="expand it to RGB first")
    table = np.zeros((256, 4), dtype=np.uint8)
    for index, colour in dataset.colormap(1).items():
        if 0 <= index < 256:
            table[index] = colour
    if not table[:, 3].any():
        table[:, 3] = 255
    band = file_bands(dataset, ("palette",))[0]
    internal = any("per_dataset" in {f.name for f in flags} for flags in dataset.mask_flag_enums)
    layout = Layout((1,), (0, 1, 2), (band.nodata,), True, None, internal, table, np.dtype(np.uint8))
    return (band,), layout


def read_pixels(dataset: Any, layout: Layout, path: Path, window: Window) -> Pixels:
    """Values of a window of an open dataset, in the dataset's own pixels.

    Raises:
        UnreadableSource: the window is damaged.
    """
    from rasterio.env import env_ctx_if_needed
    from rasterio.errors import RasterioError
    from rasterio.windows import Window as RasterWindow

    area = RasterWindow(*window)
    valid: Mask = np.ones((window.height, window.width), dtype=np.bool_)
    try:
        with env_ctx_if_needed():  # else GDAL writes its warnings to the terminal
            values: Array = dataset.read(list(layout.indexes), window=area)
            if layout.alpha is not None:
                valid &= dataset.read(layout.alpha, window=area) > 0
            if layout.internal:
                valid &= dataset.read_masks(layout.indexes[0], window=area) > 0
    except (RasterioError, OSError, MemoryError) as error:
        where = f"window {window.col},{window.row} {window.width}×{window.height}"
        raise UnreadableSource(f"{path.name}: {where} is damaged: {first_line(error)}") from error
    if layout.palette is not None:
        return _expand(values[0], layout, valid)
    return _finish(values, layout, valid)


def _finish(values: Array, layout: Layout, valid: Mask) -> Pixels:
    with np.errstate(over="ignore"):
        data = values.astype(layout.dtype, copy=False)
    masked = layout.alpha is not None or layout.internal
    if layout.together:
        marked = [layout.nodata[p] for p in layout.picture]
        if not masked and all(n is not None for n in marked):
            valid &= ~np.all([values[p] == n for p, n in zip(layout.picture, marked, strict=True)], axis=0)
    elif data.dtype.kind == "f":
        for i, nodata in enumerate(layout.nodata):
            if nodata is not None and not math.isnan(nodata) and not masked:
                data[i][_equals(values[i], nodata)] = np.nan
    if data.dtype.kind == "f":
        data[~np.isfinite(data)] = np.nan
        valid &= ~np.isnan(data[list(layout.picture)]).any(axis=0)
    return Pixels(data, valid)


def _equals(values: Array, nodata: float) -> Mask:
    """Floats count as single precision: a tag in decimals and a reduced copy differ in the last digits of a double."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(values.astype(np.float32) == np.float32(nodata), dtype=np.bool_)
    return np.asarray(values == nodata, dtype=np.bool_)


def _expand(index: Array, layout: Layout, valid: Mask) -> Pixels:
    assert layout.palette is not None
    colours = layout.palette[index]
    if layout.nodata[0] is not None and not layout.internal:
        valid = valid & (index != layout.nodata[0])
    return Pixels(np.ascontiguousarray(colours[..., :3].transpose(2, 0, 1)), valid & (colours[..., 3] > 0))


def first_line(error: BaseException) -> str:
    """The start of a foreign error's message, for one of our own."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
