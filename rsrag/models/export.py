"""Image encoders as files that run without torch: ONNX in float32 or int8, or OpenVINO; and how true they stay."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rsrag._version import __version__
from rsrag.config import Settings
from rsrag.errors import MissingExtra, ModelError, SourceError, UsageError
from rsrag.models import cliptokens, exported, quantise, reference, registry, runtime
from rsrag.models.base import ModelRow, Picture, Vectors
from rsrag.models.described import PARTED_FROM
from rsrag.models.mini import HEAD, WORDS_HEAD, MiniImageEncoder
from rsrag.models.openclip import OpenClipEncoder
from rsrag.models.towers import OpenVinoTower, OrtTower, from_torch, image_half, import_openvino, planes, run
from rsrag.models.vectors import unit
from rsrag.models.weights import file_digest

FORMATS = ("onnx", "onnx-int8", "openvino")
OPSET = 20
"""The first with GELU as one operation."""
MOST = 512
"""Pictures read of a folder: every second one calibrates, the others are compared."""
_SIDE = 256
"""Side of the tiles that large pictures are cut into."""
_CALIBRATED = 16
_TIMED, _ROUNDS = 16, 5
_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".jp2")
_WORDS = ("a lake", "an airport with two runways", "dense residential buildings", "snow on mountains", "salt dunes")

Encoder = MiniImageEncoder | OpenClipEncoder


@dataclass(frozen=True, slots=True)
class Export:
    """What an export wrote, and how its vectors compare with those in float32.

    Attributes:
        directory: the files.
        profile: a profile that uses them.
        format: one of :data:`FORMATS`.
        fingerprint: under which its vectors are stored.
        pictures: how many were compared, none of them used for calibration.
        drawn: whether they were drawn, for want of real ones.
        cosine: mean, least and 1st percentile of the cosines of pictures to float32.
        words: the same of texts.
        ms_before: milliseconds a picture of the float32 model, :attr:`before`.
        ms_after: of the export.
        before: runtime that the float32 model was timed in.
        megabytes: size of the image graph.
    """

    directory: Path
    profile: Path
    format: str
    fingerprint: str
    pictures: int
    drawn: bool
    cosine: Mapping[str, float]
    words: Mapping[str, float]
    ms_before: float
    ms_after: float
    before: str
    megabytes: float


def export(row: ModelRow, settings: Settings, to: str, out: Path, pictures: Path | None = None) -> Export:
    """Write a model as files that :mod:`rsrag.models.exported` (or the mini encoder) runs, and compare them.

    Args:
        row: an image model of the backends "open_clip" or "mini_image".
        settings: of the workspace; ``runtime`` is not looked at.
        to: one of :data:`FORMATS`.
        out: folder to make.
        pictures: folder of pictures like those to come; int8 cannot be calibrated without.

    Raises:
        UsageError: a format, model or folder that does not fit.
        MissingExtra: what writes the format is not installed.
        ModelError: a float32 export does not give the model's vectors.
    """
    if to not in FORMATS:
        raise UsageError(f"unknown format {to!r}", hint=f"one of {', '.join(FORMATS)}")
    if row.backend not in ("open_clip", "mini_image"):
        raise UsageError(f"model {row.name} cannot be exported", hint="image models of open_clip, and the mini tower")
    if to == "onnx-int8" and pictures is None:
        raise UsageError("int8 needs pictures to be calibrated on", hint="--pictures FOLDER, a few hundred tiles")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty", hint="name a new folder")
    out = out.absolute()  # a relative source of a model is one inside the package
    given = read_pictures(pictures) if pictures is not None else []
    kind = "ort" if row.backend == "mini_image" else "torch-f32"
    model: Encoder = registry.load(row, replace(settings, runtime=kind, device="cpu"))
    calibration, checked = given[::2], given[1::2]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        work = Path(folder) / "export"
        work.mkdir()
        write: Callable[..., ModelRow] = _mini if isinstance(model, MiniImageEncoder) else _clip
        made_row = write(model, to, work, calibration)
        made = registry.load(replace(made_row, source=str(work)), replace(settings, runtime="auto"))
        real = checked or list(runtime.drawn(model.input_size, 32))
        result = _compared(model, made, real, kind, to)
        if to != "onnx-int8" and not runtime.Measured(to, 0, result.cosine["mean"], result.cosine["min"]).faithful:
            raise ModelError(f"the export of {row.name} gives other vectors: least cosine {result.cosine['min']:.4f}")
        if out.exists():
            out.rmdir()
        work.rename(out)
    out.chmod(0o755)
    profile = out / "profile.toml"
    profile.write_text(_profile(replace(made_row, source=str(out.resolve()))), encoding="utf-8")
    size = sum(f.stat().st_size for f in out.iterdir() if f.suffix in (".onnx", ".bin") and f.stem != exported.TEXT)
    return replace(
        result, directory=out, profile=profile, fingerprint=made.fingerprint, drawn=not checked, megabytes=size / 1e6
    )


def _compared(model: Encoder, made: Any, pictures: Sequence[Picture], before: str, to: str) -> Export:
    cosine = _cosines(model.encode_images(pictures), made.encode_images(pictures))
    words = _cosines(model.encode_words(_WORDS), made.encode_words(_WORDS))
    batch = np.stack([model.prepare(picture) for picture in (list(pictures) * _TIMED)[:_TIMED]])
    times: dict[str, list[float]] = {"before": [], "after": []}
    for _ in range(_ROUNDS):  # in turns, so that both meet the same load
        for name, encoder in (("before", model), ("after", made)):
            start = time.perf_counter()
            encoder.encode_prepared(batch)
            times[name].append(1000 * (time.perf_counter() - start) / _TIMED)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return Export(
        Path(), Path(), to, "", len(pictures), False, cosine, words, medians["before"], medians["after"], before, 0.0
    )


def _cosines(one: Vectors, other: Vectors) -> Mapping[str, float]:
    found = (one.astype(np.float64) * other).sum(axis=1)
    return {"mean": float(found.mean()), "min": float(found.min()), "p1": float(np.quantile(found, 0.01))}


_OF_A_GRAPH = ("sha256", "fingerprint", PARTED_FROM)
"""What ``config.json`` says of one graph only."""


# --- the mini tower -------------------------------------------------------------------------------------------------


def _mini(model: MiniImageEncoder, to: str, work: Path, calibration: Sequence[Picture]) -> ModelRow:
    """The folder of the mini tower with another graph in it."""
    source = model.directory
    graph, outputs = work / "encoder.onnx", ("semantic", "instance")
    shutil.copyfile(source / HEAD, work / HEAD)
    if WORDS_HEAD in model.config.get("sha256", {}):
        shutil.copyfile(source / WORDS_HEAD, work / WORDS_HEAD)
    if to == "onnx-int8":
        quantise.int8(source / "encoder.onnx", graph, map(planes, _batches(model, calibration)))
        quantise.strip(graph)
        tower: Any = OrtTower(graph, outputs, planes)
    elif to == "onnx":
        shutil.copyfile(source / "encoder.onnx", graph)
        tower = OrtTower(graph, outputs, planes)
    else:
        openvino, graph = import_openvino(), work / "encoder.xml"
        openvino.save_model(
            openvino.Core().read_model(str(source / "encoder.onnx")), str(graph), compress_to_fp16=False
        )
        tower = OpenVinoTower(graph, "f32", outputs, of_planes=True)
    config = {key: value for key, value in model.config.items() if key not in _OF_A_GRAPH}
    config |= {"graph": graph.name, "format": to, "rsrag": __version__}
    if to != "onnx-int8":
        config["fingerprint"] = model.fingerprint
    _finish(work, config, tower, model.input_size)
    return ModelRow(
        "mini-image",
        "image",
        "mini_image",
        str(work),
        dim=model.dim,
        input_size=model.input_size,
        licence=model.licence,
    )


# --- open_clip ------------------------------------------------------------------------------------------------------


def _clip(model: OpenClipEncoder, to: str, work: Path, calibration: Sequence[Picture]) -> ModelRow:
    """Image graph, text graph and tokenizer of an open_clip model."""
    import torch

    from rsrag.models import architectures

    network, side = model.network(), model.input_size
    simple = architectures.tokenizer(model.config)
    image = image_half(network.visual, model.pictures.mean, model.pictures.std, torch.float32)
    network.visual = None
    text = text_half(network)
    pixels, tokens = torch.zeros(2, side, side, 3, dtype=torch.uint8), simple(["a lake", "a river"])
    if to == "openvino":
        openvino = import_openvino()
        for half, module, example in ((exported.IMAGE, image, pixels), (exported.TEXT, text, tokens)):
            path = work / f"{half}.xml"
            openvino.save_model(from_torch(module, example), str(path), compress_to_fp16=False)
        tower: Any = OpenVinoTower(work / f"{exported.IMAGE}.xml", "f32")
    else:
        graph = work / f"{exported.IMAGE}.onnx"
        write_onnx(image, pixels, graph)
        write_onnx(text, tokens, work / f"{exported.TEXT}.onnx")
        if to == "onnx-int8":
            exact = graph.rename(work / "exact.onnx")
            quantise.int8(exact, graph, _batches(model, calibration))
            exact.unlink()
            quantise.strip(graph)
        tower = OrtTower(graph)
    (work / exported.TOKENIZER).write_text(cliptokens.from_open_clip(simple), encoding="utf-8")
    config = {
        "name": model.name, "format": to, "dim": model.dim, "input_size": side, "resize": model.pictures.way,
        "context_length": int(tokens.shape[1]), "source": model.fingerprint, "licence": model.licence,
        "rsrag": __version__,
    }  # fmt: skip
    if model.pictures.bilinear:
        config["bilinear"] = True
    suffix = graph_suffix(to)
    own = f"exported-int8:{file_digest(work / (exported.IMAGE + suffix))[:16]}"
    config["fingerprint"] = own if to == "onnx-int8" else model.fingerprint
    _finish(work, config, tower, side)
    return ModelRow(model.name, "image", "exported", str(work), dim=model.dim, input_size=side, licence=model.licence)


def graph_suffix(to: str) -> str:
    """Ending of the graphs of a format."""
    return ".xml" if to == "openvino" else ".onnx"


def text_half(network: Any) -> Any:
    """The text half of an open_clip network as a module from int64 [N, context length] to unit float32 [N, D]."""
    import torch

    class TextHalf(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, tokens: Any) -> Any:
            return self.network.encode_text(tokens, normalize=True)

    return TextHalf().eval()


def write_onnx(module: Any, example: Any, path: Path) -> None:
    """Export a module of one input with a free batch size, weights inside the file.

    Raises:
        MissingExtra: ``onnxscript``, which torch exports with, is not installed.
    """
    import torch

    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra("the export of models", extra="train", package=error.name) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["given"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    program.save(str(path), external_data=False)
    quantise.strip(path)


# --- both -----------------------------------------------------------------------------------------------------------


def _finish(work: Path, config: dict[str, Any], tower: Any, side: int) -> None:
    """Note what the other machine must give, then what the files are."""
    reference.write(work / reference.NAME, unit(run(tower, runtime.drawn(side))))
    config["sha256"] = {path.name: file_digest(path) for path in sorted(work.iterdir())}
    (work / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _batches(model: Encoder, pictures: Sequence[Picture]) -> Iterator[Any]:
    for start in range(0, len(pictures), _CALIBRATED):
        yield np.stack([model.prepare(picture) for picture in pictures[start : start + _CALIBRATED]])


def _profile(row: ModelRow) -> str:
    lines = [
        '# Use: rsrag --profile FILE …, or profile = "…" in rsrag.toml. `text` may name another text model.',
        'text = "mini-text"',
        'reranker = "mini-ranker"',
        'reader = "extractive"',
        "",
        "[image]",
        *(
            f"{k} = {json.dumps(getattr(row, k), ensure_ascii=False)}"  # TOML knows no pairs of surrogates
            for k in ("name", "backend", "source", "dim", "input_size", "licence")
        ),
    ]
    return "\n".join(lines) + "\n"


def read_pictures(folder: Path, most: int = MOST) -> list[Picture]:
    """Pictures of a folder, spread evenly over its files; large ones are cut into tiles.

    Raises:
        UsageError: fewer than two can be read.
    """
    from rsrag.ingest.readers.photo import load_picture

    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    step = max(1, -(-len(files) // most))
    found: list[Picture] = []
    for path in files[::step]:
        try:
            picture = load_picture(path).pixels
        except SourceError:
            continue
        found += _tiles(picture, max(1, most // len(files[::step])))
    if len(found) < 2:
        raise UsageError(f"{folder} holds fewer than two pictures that can be read", hint="JPEG, PNG or GeoTIFF files")
    return found[:most]


def _tiles(picture: Picture, most: int) -> list[Picture]:
    height, width = picture.shape[:2]
    if max(height, width) < 2 * _SIDE:
        return [picture]
    corners = [(r, c) for r in range(0, height - _SIDE + 1, _SIDE) for c in range(0, width - _SIDE + 1, _SIDE)]
    step = max(1, -(-len(corners) // most))
    return [np.ascontiguousarray(picture[r : r + _SIDE, c : c + _SIDE]) for r, c in corners[::step]] or [picture]
