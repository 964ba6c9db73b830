"""Cores share out a scene whatever its size; windows stay inside it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrag.adapters.sweep import steps, sweep


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(8, 120), st.integers(0, 60))
def test_every_pixel_is_kept_once(width: int, height: int, core: int, margin: int) -> None:
    seen = np.zeros((height, width), dtype=np.int32)
    taken = list(sweep(width, height, core=core, margin=margin))
    for step in taken:
        outer, kept = step.outer, step.core
        assert outer.col >= 0 and outer.col + outer.width <= width and outer.width <= core + 2 * margin
        assert outer.row >= 0 and outer.row + outer.height <= height and outer.height <= core + 2 * margin
        block = seen[outer.row : outer.row + outer.height, outer.col : outer.col + outer.width][step.inner]
        assert block.shape == (kept.height, kept.width)
        block += 1
        left_gap = kept.col - outer.col
        assert left_gap == min(margin, kept.col)
    assert (seen == 1).all() and len(taken) == steps(width, height, core=core)
