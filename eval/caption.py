"""Suite "caption": sentences of the default captioner against several references, with and without retrieval."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rsrag.adapters.base import Context
from rsrag.adapters.caption.adapter import decoder, encoders, spoken
from rsrag.adapters.caption.examples import Examples, encoded, read_captions
from rsrag.adapters.caption.fuse import Fuser
from rsrag.errors import UsageError
from rsrag.eval.metrics.captions import caption_figures
from rsrag.eval.reports.page import DetailedResult
from rsrag.ingest.readers.photo import load_picture
from rsrag.models.base import Picture
from rsrag.progress import Progress, Silent

METHODS = ("fused", "decoder alone", "neighbours alone")
ARCHIVE = "train"
_SHOWN, _SIDE, _TEXT = 12, 224, 54


def run(
    data: Path,
    context: Context,
    *,
    captions: Path | None = None,
    split: str = "val",
    archive_split: str = ARCHIVE,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[DetailedResult, Picture]:
    """Describe every picture of a split and score the sentences.

    "fused" is what ``rsrag caption --examples`` says, "decoder alone" what it says without examples, "neighbours
    alone" leaves the decoder out. Neighbours come from the archive's split alone; a picture never is its own neighbour.

    Args:
        data: folder or zip file of pictures.
        context: with the models.
        captions: a file in one of the layouts of :mod:`rsrag.train.sources.caption_files`, or its name inside of
            ``data``; "captions.json" when None.
        split: whose pictures are described.
        archive_split: whose captions may be drawn on; no retrieval when it has no pictures.
        limit: only so many pictures.
        seed: of the decoder's drafts.
        progress: told of pictures.

    Returns:
        The figures, and a grid of pictures with what was said of them.

    Raises:
        UsageError: the split holds no captioned picture, or is the archive's.
        SourceError: the data cannot be read.
    """
    if split == archive_split:
        raise UsageError(f"split {split!r} is the archive itself", hint="describe pictures that it does not hold")
    bar = progress or Silent()
    encoder, text = encoders(context)
    files, rows, bad = read_captions(data, captions)
    asked, vectors, skipped = encoded(files, [row for row in rows if row.of_split(split)], encoder, data, bar)
    if not asked:
        named = ", ".join(sorted({r.split for r in rows if r.split}))
        there = f"the file has {named}" if named else 'its rows name no split: add "split" to them'
        raise UsageError(f"no captioned picture in split {split!r}", hint=skipped[0] if skipped else there)
    asked, vectors = asked[:limit], vectors[:limit]
    own = {row.file for row in asked}
    archive = [row for row in rows if row.of_split(archive_split) and row.file not in own]
    known, stock, left = encoded(files, archive, encoder, data, bar)
    skipped += left + bad
    examples = Examples(tuple(r.file for r in known), tuple(r.captions for r in known), stock) if known else None
    warnings: list[str] = []
    captioner = decoder(encoder, warnings, needed=False)
    fusers = {"fused": Fuser(captioner, examples, text)} if captioner and examples else {}
    if captioner:
        fusers["decoder alone"] = Fuser(captioner, None)
    if examples:
        fusers["neighbours alone"] = Fuser(None, examples)
    if not fusers:
        raise UsageError(
            "neither a decoder for this encoder nor captioned pictures to draw on", hint="; ".join(warnings)
        )
    references = [row.captions for row in asked]
    table, said = {}, {}
    for name, fuser in fusers.items():
        bar.start(f"captions: {name}", len(asked))
        sentences = []
        for vector in vectors:
            sentences.append(spoken(fuser.sentence(vector, seed=seed).words))
            bar.advance()
        said[name] = sentences
        table[name] = caption_figures(sentences, references) | javas(sentences, references)
    ours = next(iter(fusers))
    details: dict[str, Any] = {
        "data": data.name, "split": split, "pictures": len(asked), "archive": f"{archive_split}: {len(known)} pictures",
        "references a picture": round(float(np.mean([len(r) for r in references])), 2),
        "encoder": encoder.fingerprint, "decoder": captioner.fingerprint if captioner else "none", "seed": seed,
        "tokens": "lower-case words of the PTB tokeniser without punctuation",
        "METEOR, SPICE": "by pycocoevalcap" if "meteor" in table[ours] else "none: pycocoevalcap or Java is missing",
    }  # fmt: skip
    if skipped:
        details["left out"] = len(skipped)
        details["left out files"] = skipped[:_SHOWN]
    if warnings:
        details["warnings"] = "; ".join(warnings)
    step = max(1, len(asked) // _SHOWN)
    chosen = range(0, len(asked), step)[:_SHOWN]
    shown = [
        {"file": asked[n].file, **{name: said[name][n] for name in fusers}, "reference": asked[n].captions[0]}
        for n in chosen
    ]
    grid = picture_grid(
        [(load_picture(files.read(asked[n].file), asked[n].file).pixels, said[ours][n]) for n in chosen]
    )
    return DetailedResult("caption", table[ours], table, details, {"Sentences": shown}), grid


def javas(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """METEOR (and SPICE where its parser's jars are there) by pycocoevalcap; nothing without it or without Java."""
    if shutil.which("java") is None or importlib.util.find_spec("pycocoevalcap") is None:
        return {}
    from rsrag.models.captioner import words_of

    own = {n: [" ".join(words_of(s))] for n, s in enumerate(candidates)}
    theirs = {n: [" ".join(words_of(s)) for s in others] for n, others in enumerate(references)}
    Meteor = import_module("pycocoevalcap.meteor.meteor").Meteor
    found = {"meteor": float(Meteor().compute_score(theirs, own)[0])}
    root = Path(importlib.util.find_spec("pycocoevalcap").submodule_search_locations[0])  # type: ignore[union-attr,index]
    if list((root / "spice" / "lib").glob("stanford-corenlp-*.jar")):
        Spice = import_module("pycocoevalcap.spice.spice").Spice
        found["spice"] = float(Spice().compute_score(theirs, own)[0])
    return found


def picture_grid(cells: Sequence[tuple[Picture, str]], columns: int = 4) -> Picture:
    """Pictures with a sentence below each: uint8 RGB [H, W, 3]."""
    lines, margin = 3, 8
    tall = _SIDE + 14 * lines + 2 * margin
    rows = -(-len(cells) // columns)
    wide = _SIDE * 3 // 2
    sheet = np.full((rows * tall, columns * wide, 3), 255, dtype=np.uint8)
    for number, (picture, sentence) in enumerate(cells):
        top, left = number // columns * tall, number % columns * wide
        seen = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        sheet[top + margin : top + margin + _SIDE, left + margin : left + margin + _SIDE] = seen
        for row, line in enumerate(_wrapped(sentence)[:lines]):
            at = (left + margin, top + margin + _SIDE + 13 + 14 * row)
            cv2.putText(sheet, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet


def _wrapped(sentence: str) -> list[str]:
    import textwrap

    return textwrap.wrap(sentence.encode("ascii", "replace").decode(), _TEXT - 4)
