"""The adapter ``caption``: a sentence about an image, a detailed description, or one with cited facts of the place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rsrag._version import __version__
from rsrag.adapters.base import Context, TaskResult
from rsrag.adapters.caption.examples import Examples, read_examples
from rsrag.adapters.caption.fuse import Fused, Fuser
from rsrag.adapters.caption.look import index_warnings, indices, regions
from rsrag.adapters.look import View, colour_warning, opened, reading
from rsrag.adapters.measure import cell_of
from rsrag.cite import check
from rsrag.errors import BadModelFile, ReaderError, UnsupportedSource, UsageError
from rsrag.facts import fact_sentences
from rsrag.models import registry
from rsrag.models.base import ImageEncoder, Picture, Prompt, TextEncoder
from rsrag.models.captioner import Captioner, shipped
from rsrag.prompts.builder import render, within_budget
from rsrag.types import Evidence, Fact, Hit, Provenance, QueryImage, Sentence, Window

COARSE_M = 3.0
"""Metres a pixel beyond which a caption comes with a warning: it was seen to fail on such scenes."""
STYLES = ("short", "detailed", "knowledge")
_LONGEST = 512
_NAMED = 5
"""Captioned pictures that cannot be used and are named one by one; the others are counted."""
_PARTS = 3
_PART = 96
"""Pixels a part of the scene must have a side to be described by itself."""
_ASKED = {
    "short": "Describe the picture in one sentence.",
    "detailed": "Describe the picture in three to six sentences: the whole scene, then its parts and where they lie.",
    "knowledge": "Describe the picture in one or two sentences.",
}


@dataclass(frozen=True, slots=True, eq=False)
class CaptionRequest:
    """What to describe, and how.

    Attributes:
        image: file, bytes, array, or id of a scene or tile of the archive.
        style: "short" (one sentence), "detailed" (parts, indices, kinds of ground) or "knowledge" (cited facts of the
            place from the archive).
        examples: folder or zip file of captioned pictures, whose captions are drawn on; None for none.
        captions: their caption file; ``captions.json`` inside of ``examples`` when None.
        split: only this part of the examples.
        seed: of the decoder's drafts, 0 or more.
        bands: which band of the image is what, such as "red=4,green=3,blue=2,nir=8", where the file does not say.
    """

    image: Any
    style: str = "short"
    examples: Path | None = None
    captions: Path | None = None
    split: str | None = None
    seed: int = 0
    bands: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Caption(TaskResult):
    """The first sentence is the caption; ``consensus`` its mean CIDEr-D to what else could be said, 0 to 10.

    Attributes:
        style: as asked for.
        consensus: 0 when a large model wrote it.
        parts: places of the scene and what is said of each.
    """

    style: str = "short"
    consensus: float = 0.0
    parts: tuple[tuple[str, str], ...] = field(default=())


class CaptionTask:
    """See :class:`CaptionRequest`."""

    name = "caption"

    def run(self, request: CaptionRequest, context: Context) -> Caption:
        """Describe.

        Raises:
            UsageError: an unknown style, knowledge without an archive, captions without pictures, a seed below 0, bands
                that cannot be read.
            SourceError: the image or the examples cannot be used, or the image has no valid pixel.
            ModelError: the decoder's files are damaged.
        """
        if request.style not in STYLES:
            raise UsageError(f"no style {request.style!r}", hint=f"one of {', '.join(STYLES)}")
        if request.style == "knowledge" and context.archive is None:
            raise UsageError("knowledge needs an archive", hint="run it in a workspace, or name one with --workspace")
        if request.captions is not None and request.examples is None:
            raise UsageError("captions of which pictures?", hint="--examples FOLDER")
        if request.seed < 0:
            raise UsageError(f"a seed of {request.seed}", hint="a whole number from 0 on")
        options = reading(request.bands)
        begun = time.perf_counter()
        encoder, text = encoders(context)
        examples = None
        warnings: list[str] = []
        if request.examples is not None:
            examples = read_examples(
                request.examples, request.captions, encoder, split=request.split, progress=context.progress
            )
            warnings += [f"left out {name}" for name in examples.skipped[:_NAMED]]
            if (others := len(examples.skipped) - _NAMED) > 0:
                warnings.append(f"left out {others:,} more of the captioned pictures")
        captioner = decoder(encoder, warnings, needed=examples is None)
        fuser = Fuser(captioner, examples, text)
        models = dict(context.fingerprints()) | ({"caption": captioner.fingerprint} if captioner else {})
        with opened(request.image, context, options=options) as view:
            gsd = view.subject.gsd_m
            if gsd is not None and gsd > COARSE_M:
                warnings.append(
                    f"pixels of {gsd:.3g} m: sentences were learned on finer pictures and can be plainly wrong"
                )
            if (warning := colour_warning(view)) is not None:
                warnings.append(warning)
            picture, valid = view.seen(longest=_LONGEST)
            said = fuser.sentence(encoder.encode_images([picture])[0], seed=request.seed)
            evidence = neighbours(said, examples)
            sentences = [
                Sentence(spoken(said.words), tuple(e.number for e in evidence if e.hit.id in _sources(said, examples)))
            ]
            facts: list[Fact] = []
            parts: tuple[tuple[str, str], ...] = ()
            if request.style == "detailed":
                parts = described_parts(view, fuser, encoder, request.seed)
                sentences += part_sentences(parts)
                for more, found in (regions(picture, valid, context), indices(view, context)):
                    sentences += more
                    facts += found
                warnings += index_warnings(view, facts)
            result = Caption(
                self.name, view.subject, tuple(sentences), evidence, tuple(facts), picture=view.picture(),
                warnings=tuple(warnings), style=request.style, consensus=said.score, parts=parts,
            )  # fmt: skip
            seconds = {"look": time.perf_counter() - begun}
            result, template = by_reader(result, picture, context)
            if template and context.profile.reader is not None:
                models["reader"] = context.profile.reader.fingerprint
            if request.style == "knowledge":
                began = time.perf_counter()
                result = with_knowledge(result, picture, context)
                seconds["knowledge"] = time.perf_counter() - began
        return replace(result, provenance=Provenance(models, template, __version__, seconds))


def encoders(context: Context) -> tuple[ImageEncoder, TextEncoder]:
    """The shipped encoders that the decoder was trained on: the profile's own when it is the default one."""
    profile = context.profile
    if profile.image.name == "mini-image" and profile.text.name == "mini-text":
        return profile.image, profile.text
    return (
        registry.load(registry.find("mini-image"), context.settings),
        registry.load(registry.find("mini-text"), context.settings),
    )


def decoder(encoder: ImageEncoder, warnings: list[str], *, needed: bool) -> Captioner | None:
    """The shipped decoder; None, with a warning, when it was trained on another encoder and can be done without.

    Raises:
        BadModelFile: it is damaged, or of another encoder and needed.
    """
    captioner = shipped()
    if captioner.encoder == encoder.fingerprint:
        return captioner
    message = f"the caption decoder was trained on {captioner.encoder}, not on {encoder.fingerprint}"
    if needed:
        raise BadModelFile(message, hint="python -m rsrag.train.captioner makes one for this encoder")
    warnings.append(f"{message}: only captions of neighbours were used")
    return None


def spoken(words: Sequence[str]) -> str:
    """Words as a sentence: a capital, a full stop, ``'s`` joined."""
    text = " ".join(words).replace(" 's", "'s")
    return f"{text[:1].upper()}{text[1:]}." if text else "Nothing can be said of this picture."


def _sources(said: Fused, examples: Examples | None) -> set[str]:
    """Files whose captions stand behind the sentence: those that say it, else the nearest one."""
    if examples is None or not said.near:
        return set()
    return {examples.files[row] for row in (said.said_by[:3] or (said.near[0][0],))}


def neighbours(said: Fused, examples: Examples | None) -> tuple[Evidence, ...]:
    """The captioned pictures that stand behind a sentence, numbered."""
    wanted = _sources(said, examples)
    if examples is None:
        return ()
    rows = [(row, cosine) for row, cosine in said.near if examples.files[row] in wanted]
    return tuple(
        Evidence(
            number,
            Hit("tile", examples.files[row], cosine, {"image": cosine}),
            f"Captions of the similar picture {examples.files[row]}: {' '.join(examples.captions[row][:5])}",
        )
        for number, (row, cosine) in enumerate(rows, start=1)
    )


def described_parts(view: View, fuser: Fuser, encoder: ImageEncoder, seed: int) -> tuple[tuple[str, str], ...]:
    """What each ninth of a scene that has valid pixels shows by itself, read in windows.

    Nothing for a scene too small to be cut.
    """
    width, height = view.subject.width, view.subject.height
    if min(width, height) < _PARTS * _PART:
        return ()
    found = []
    for row in range(_PARTS):
        for col in range(_PARTS):
            left, right = col * width // _PARTS, (col + 1) * width // _PARTS
            top, bottom = row * height // _PARTS, (row + 1) * height // _PARTS
            window = Window(left, top, right - left, bottom - top)
            try:
                picture, _ = view.seen(window, longest=_LONGEST // 2)
            except UnsupportedSource:
                continue
            said = fuser.sentence(encoder.encode_images([picture])[0], seed=seed)
            found.append((cell_of((left, top, right, bottom), width, height), spoken(said.words)))
    return tuple(found)


def part_sentences(parts: Sequence[tuple[str, str]]) -> list[Sentence]:
    """One sentence for every different thing said of the parts, with the places it was said of."""
    where: dict[str, list[str]] = {}
    for place, said in parts:
        where.setdefault(said, []).append("center" if place == "center" else place.replace("-", " "))
    told = []
    for said, places in sorted(where.items(), key=lambda item: -len(item[1])):
        at = "Everywhere" if len(places) == len(parts) else f"At the {', '.join(places)}"
        told.append(Sentence(f"{at}: {said[:1].lower()}{said[1:]}", ()))
    return told


def by_reader(result: Caption, picture: Picture, context: Context) -> tuple[Caption, str]:
    """The description in a vision-language model's words where the profile has one, checked; and the template's name.

    The captions of neighbours and what was measured are its evidence; when it fails, what was there stays.
    """
    reader = context.profile.reader
    if reader is None or reader.name == "extractive":
        return result, ""
    measured = " ".join([s.text for s in result.sentences[1:]] + list(fact_sentences(result.facts)))
    evidence = list(result.evidence)
    if measured:
        evidence.append(Evidence(len(evidence) + 1, Hit("tile", "measurement", 1.0), measured))
    request = _ASKED[result.style]
    system, user, name = render(
        "caption", request, within_budget([e.text for e in evidence], context.settings.token_budget)
    )
    try:
        text = "".join(reader.read(Prompt(system, user, request, tuple(evidence), (picture,), name)))
    except ReaderError as error:
        warning = f"described by the small decoder: {error.message}"
        return replace(result, warnings=(*result.warnings, warning)), ""
    sentences, notes = check(text, evidence, request)
    if not sentences:
        warning = f"{reader.name} said nothing: described by the small decoder"
        return replace(result, warnings=(*result.warnings, warning)), ""
    # What is seen needs no evidence: only notes on citations that do not exist are worth a warning.
    told = tuple(note for note in notes if note.startswith("removed citation"))
    seen = tuple(replace(s, supported=True) if not s.citations else s for s in sentences)
    made = replace(result, sentences=seen, evidence=tuple(evidence), consensus=0.0)
    return replace(made, warnings=(*result.warnings, *told)), name


def with_knowledge(result: Caption, picture: Picture, context: Context) -> Caption:
    """The caption, then what the archive says of the place, each sentence cited."""
    assert context.archive is not None
    subject = result.subject
    query = QueryImage(np.ascontiguousarray(picture), subject.name, subject.footprint, subject.time, subject.gsd_m)
    answer = context.archive.ask("What is this place?", image=query)
    if answer.abstained:
        warning = f"no facts of the place: {answer.text}"
        return replace(result, warnings=(*result.warnings, warning))
    cited = sorted({n for s in answer.sentences for n in s.citations})
    renumbered = {old: len(result.evidence) + new for new, old in enumerate(cited, start=1)}
    more = tuple(replace(e, number=renumbered[e.number]) for e in answer.evidence if e.number in renumbered)
    told = tuple(
        replace(s, citations=tuple(renumbered[n] for n in s.citations)) for s in answer.sentences if s.supported
    )
    return replace(
        result, sentences=(*result.sentences, *told), evidence=(*result.evidence, *more),
        warnings=(*result.warnings, *answer.warnings),
    )  # fmt: skip


CAPTION = CaptionTask()
