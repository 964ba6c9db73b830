"""Make ``rsrag/land.json``, the coarse outlines of land behind maps that no imagery covers.

    python scripts/make_land.py [COUNTRIES]

The outlines come from Natural Earth 1:110m (public domain): any file of its countries that pyogrio reads, by default
the copy among pyogrio's own test files. They are joined, simplified to about 0.35°, and rounded to 0.1°.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path

import pyogrio.raw
import shapely

SIMPLIFY, LEAST_AREA = 0.35, 0.8
TARGET = Path(__file__).resolve().parents[1] / "rsrag" / "land.json"


def rings(source: str) -> list[list[int]]:
    """Outer rings of land as flat lists of tenths of a degree: lon, lat, lon, lat, ..."""
    _, _, geometry, _ = pyogrio.raw.read(source, columns=[])
    land = shapely.union_all(shapely.from_wkb(geometry), grid_size=0.01).simplify(SIMPLIFY)
    parts = [part for part in shapely.get_parts(land).tolist() if part.area >= LEAST_AREA]
    return [
        [round(10 * value) for x, y in part.exterior.coords[:-1] for value in (x, y)]
        for part in sorted(parts, key=lambda part: -part.area)
    ]


def main() -> None:
    """Write the file."""
    default = files("pyogrio") / "tests" / "fixtures" / "naturalearth_lowres" / "naturalearth_lowres.shp"
    found = rings(sys.argv[1] if len(sys.argv) > 1 else str(default))
    about = "Land from Natural Earth 1:110m (public domain), simplified; tenths of a degree, lon lat in turn."
    TARGET.write_text(json.dumps({"about": about, "rings": found}, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
