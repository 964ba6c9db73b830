"""Heat of a text over a scene of any size: one score layer on disk, written window by window."""

from __future__ import annotations

import numpy as np

from rsrag.adapters.base import Context
from rsrag.adapters.heat import MARGIN, HeatMapper, HeatQuery
from rsrag.adapters.look import View
from rsrag.adapters.sweep import steps, sweep
from rsrag.export_layers import Layer, LayerWriter

CORE = 640


def heat_layer(view: View, mapper: HeatMapper, query: HeatQuery, context: Context) -> Layer:
    """The heat of a text at every pixel, 0 to 1, NaN where the scene shows nothing.

    Args:
        view: the open image.
        mapper: with the encoder.
        query: the text.
        context: told of every window.
    """
    subject = view.subject
    size = subject.width, subject.height
    context.progress.start("heat map", steps(*size, core=CORE), unit="windows")
    with LayerWriter("heat", "score", *size, subject.crs, subject.transform) as writer:
        for step in sweep(*size, core=CORE, margin=MARGIN):
            pixels = view.source.read(step.outer)
            if pixels.mask.any():
                values = mapper.heat(view.source.stretch.apply(pixels), query)
                values[~pixels.mask] = np.nan
            else:
                values = np.full(pixels.mask.shape, np.nan, dtype=np.float32)
            writer.write(step.core, values[step.inner])
            context.progress.advance()
    context.progress.finish()
    return writer.layer
