"""Results drawn over small images: names stay readable."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rsrag.adapters.base import Region, Subject, TaskResult
from rsrag.adapters.draw import SIDE, colours_of, draw
from rsrag.adapters.page import render

LONG = "a water treatment plant with several round settling tanks"


def test_a_legend_is_as_wide_as_its_names() -> None:
    length = ImageFont.load_default(16).getlength(LONG)
    for width, height in ((16, 16), (17, 3000)):
        drawn = draw(TaskResult("ground", Subject("a.png", width, height), regions=(Region(LONG, 0.5, (2, 2, 9, 9)),)))
        assert drawn.shape[1] > length and drawn.shape[0] > min(8 * height, SIDE)


def test_a_name_at_the_right_edge_stays_inside() -> None:
    region = Region("tank", 0.5, (60, 40, 64, 44))
    drawn = draw(TaskResult("ground", Subject("a.png", 64, 64), regions=(region,)))
    text, font = "tank 0.50", ImageFont.load_default(15)
    plate = Image.new("RGB", (512, 18), (20, 24, 32))
    x = 512 - (font.getlength(text) + 3)
    colour = tuple(int(v) for v in drawn[512 + 8 + 10, 8 + 9])
    ImageDraw.Draw(plate).text((x, 1), text, colour, font)
    left = int(np.ceil(x))
    assert np.array_equal(drawn[301:319, left:], np.asarray(plate)[:, left:])


def test_a_page_names_colours_in_letters_that_the_picture_lacks() -> None:
    regions = tuple(Region(name, 0.5, (2, 2, 9, 9)) for name in ("вода & <лёд>", "森林"))
    result = TaskResult("ground", Subject("a.png", 16, 16), regions=regions)
    text = render(result)
    for name, colour in colours_of(result).items():
        shown = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert f'<span style="color:rgb{colour}">&#9632;</span> {shown}' in text
    plain = TaskResult("ground", Subject("a.png", 16, 16), regions=(Region("forêt", 0.5, (2, 2, 9, 9)),))
    assert "&#9632;" not in render(plain)
