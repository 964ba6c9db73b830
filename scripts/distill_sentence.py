"""Distil the small sentence encoder (`mini-sentence`) from its teacher and write it as int8 ONNX.

Four steps; ``train`` goes on from its last checkpoint when it is run again::

    python scripts/distill_sentence.py teach TEACHER_DIR --run RUN [--data DIR] [--heritage]
    python scripts/distill_sentence.py train TEACHER_DIR --run RUN [--lessons DIR...] [--start WEIGHTS]
    python scripts/distill_sentence.py export TEACHER_DIR --run RUN [--out DIR]
    python scripts/distill_sentence.py words TEACHER_DIR --run RUN [--out DIR] [--data DIR]

``teach`` gathers the texts (see ``sentence_texts.py``) and keeps the teacher's last hidden state of every token on
disk. ``train`` starts from layers of the teacher and a factorised word table, and learns those states, the mean of
them and the similarities of a batch. ``words`` writes the word table of the lexical half (``sentence_words.py``) beside
an exported graph and notes it in the config. ``TEACHER_DIR`` holds all-MiniLM-L6-v2 in the layout of
sentence-transformers; the digest of its weights is checked. ``compare_text.py`` measures the result.
Needs torch, safetensors, tokenizers, onnx and onnxruntime.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))
from distill_text import TEACHER_SHA256, check_teacher, digest
from sentence_student import Alone, Shape, Student, from_teacher, full_teacher, pool
from sentence_texts import heritage_texts, sources, table_texts
from sentence_words import word_table

OUT = Path(__file__).resolve().parents[1] / "rsrag" / "models" / "weights" / "mini" / "text2"
DATA = Path(os.environ.get("RSRAG_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
VERSION = "2"
WORDS = "words.safetensors"
WORDS_DIM = 512
SENTENCE_SHARE = 0.5
"""How the halves are mixed: chosen on made-up questions, see ``docs/text-models.md``."""


def teacher_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The teacher's tensors, after its digest was checked."""
    from safetensors.torch import load_file

    check_teacher(folder)
    return load_file(folder / "model.safetensors")


def tokenizer(folder: Path, limit: int) -> Any:
    """The teacher's tokenizer, cutting at ``limit`` tokens and not padding."""
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.no_padding()
    found.enable_truncation(limit)
    return found


def padded(rows: Sequence[npt.NDArray[Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, int64 of shape [N, T]."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.from_numpy(np.asarray(row, dtype=np.int64))
        mask[number, : len(row)] = 1
    return ids, mask


def batches(lengths: npt.NDArray[np.int64], tokens: int, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Indices in batches of about ``tokens`` tokens and alike length, in random order."""
    order = np.argsort(lengths + rng.uniform(0, 6, len(lengths)), kind="stable")
    found, start = [], 0
    while start < len(order):
        size = max(1, tokens // int(lengths[order[start : start + 1]][0]))
        end = min(len(order), start + size)
        while end > start + 1 and int(lengths[order[start:end]].max()) * (end - start) > tokens:
            end -= 1
        found.append(order[start:end])
        start = end
    rng.shuffle(found)  # type: ignore[arg-type]
    return found


def teach(teacher_dir: Path, run: Path, data: Path, heritage: bool, limit: int, seed: int) -> dict[str, Any]:
    """Gather the texts and keep the teacher's token states: ``ids.npy``, ``lengths.npy``, ``states.f16``."""
    run.mkdir(parents=True, exist_ok=True)
    model, cut = full_teacher(teacher_weights(teacher_dir)), tokenizer(teacher_dir, limit)
    words = sorted(word for word in cut.get_vocab() if word.isalpha() and word.isascii() and len(word) > 3)
    found = {"World Heritage": heritage_texts(data)} if heritage else sources(data, words, seed)
    texts = list(dict.fromkeys(text for part in found.values() for text in part))
    tokens = write_states(model, cut, texts, run)
    facts = {
        "texts": {name: len(part) for name, part in found.items()},
        "distinct": len(texts),
        "tokens": tokens,
        "seed": seed,
        "limit": limit,
        "ids_sha256": digest(run / "ids.npy"),
    }
    (run / "texts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return facts


def write_states(model: Student, cut: Any, texts: Sequence[str], run: Path) -> int:
    """The teacher's last hidden state of every token of the texts, shortest text first; returns how many tokens."""
    rows = [np.array(encoded.ids, dtype=np.uint16) for encoded in cut.encode_batch(texts)]
    rows.sort(key=len)
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    states = np.memmap(run / "states.f16", dtype=np.float16, mode="w+", shape=(int(starts[-1]), model.shape.width))
    begun = 0
    while begun < len(rows):
        end = min(len(rows), begun + max(1, 4096 // int(lengths[begun])))
        ids, mask = padded(rows[begun:end])
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model.states(ids, mask).float()
        states[starts[begun] : starts[end]] = hidden[mask.bool()].numpy().astype(np.float16)
        begun = end
    states.flush()
    np.save(run / "ids.npy", np.concatenate(rows))
    np.save(run / "lengths.npy", lengths)
    return int(starts[-1])


def loss_of(student: Student, ids: torch.Tensor, mask: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """How far the student's token states, vectors and similarities are from the teacher's [N, T, width]."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = student.states(ids, mask)
    states, keep = states.float(), mask.bool()
    wanted = target[keep]
    tokens = F.mse_loss(states[keep], wanted) / wanted.var()
    ours, theirs = pool(states, mask), pool(target, mask)
    logits, aim = ours @ ours.T / 0.05, theirs @ theirs.T / 0.05
    hide = torch.eye(len(ids), dtype=torch.bool)
    logits, aim = logits.masked_fill(hide, -1e4), aim.masked_fill(hide, -1e4)
    similar = F.kl_div(logits.log_softmax(dim=1), aim.log_softmax(dim=1), reduction="batchmean", log_target=True)
    vectors = (1 - (ours * theirs).sum(dim=1)).mean()
    if len(ids) < 3:
        similar = similar * 0
    return {"tokens": tokens, "vectors": vectors, "similar": similar}


class Lessons:
    """What ``teach`` wrote into one or more folders, read in batches."""

    def __init__(self, folders: Sequence[Path], width: int) -> None:
        self._width = width
        lengths = [np.load(folder / "lengths.npy") for folder in folders]
        self.lengths = np.concatenate(lengths)
        self.ids = np.concatenate([np.load(folder / "ids.npy") for folder in folders])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        shapes = [(int(part.sum()), width) for part in lengths]
        self._states = [
            np.memmap(folder / "states.f16", dtype=np.float16, mode="r", shape=shape)
            for folder, shape in zip(folders, shapes, strict=True)
        ]
        self._first = np.cumsum([0] + [rows for rows, _ in shapes])

    def batch(self, picked: npt.NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Token ids, mask and the teacher's states of some texts."""
        spans = [(int(self.starts[i]), int(self.starts[i + 1])) for i in picked]
        ids, mask = padded([self.ids[a:b] for a, b in spans])
        target = torch.zeros(*ids.shape, self._width)
        for number, (a, b) in enumerate(spans):
            part = int(np.searchsorted(self._first, a, side="right")) - 1
            states = self._states[part][a - self._first[part] : b - self._first[part]]
            target[number, : b - a] = torch.from_numpy(states.astype(np.float32))
        return ids, mask, target

    def forever(self, tokens: int, seed: int, done: int) -> Iterator[npt.NDArray[np.int64]]:
        """Batches, epoch after epoch, leaving out the first ``done``."""
        epoch = 0
        while True:
            order = batches(self.lengths, tokens, np.random.default_rng([seed, epoch]))
            if done < len(order):
                yield from order[done:]
            done = max(0, done - len(order))
            epoch += 1


@dataclass(frozen=True)
class Plan:
    """How to train: the number of steps is set so that a run ends where it was meant to, whatever the machine."""

    steps: int = 4000
    tokens: int = 2048
    rate: float = 5e-4
    warm: int = 100
    every: int = 100
    seed: int = 0


def train(
    weights: dict[str, torch.Tensor],
    lessons: Sequence[Path],
    run: Path,
    shape: Shape,
    plan: Plan,
    start: Path | None = None,
) -> dict[str, Any]:
    """Train, or go on where the last checkpoint stands; the run ends with ``student.safetensors``.

    Args:
        weights: the teacher's tensors.
        lessons: folders that ``teach`` wrote.
        run: gets ``log.jsonl``, ``checkpoint.pt``, ``student.safetensors`` and ``student.json``.
        shape: the student.
        plan: how to train.
        start: weights to begin with, instead of the teacher's.
    """
    from safetensors.torch import load_file, save_file

    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    read = Lessons(lessons, shape.width)
    counts = np.bincount(read.ids, minlength=shape.words)
    student = from_teacher(weights, shape, counts)
    if start is not None:
        student.load_state_dict(load_file(start))
    rules = [
        {"params": [p for p in student.parameters() if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in student.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(rules, lr=plan.rate, betas=(0.9, 0.98), fused=True)
    checkpoint, done = run / "checkpoint.pt", 0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(saved["student"])
        optimizer.load_state_dict(saved["optimizer"])
        done = saved["step"]
    begun, sums = time.perf_counter(), dict.fromkeys(("tokens", "vectors", "similar"), 0.0)
    for step, picked in enumerate(read.forever(plan.tokens, plan.seed, done), start=done + 1):
        if step > plan.steps:
            break
        cosine = 0.5 * (1 + math.cos(math.pi * max(0, step - plan.warm) / max(1, plan.steps - plan.warm)))
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * min(step / plan.warm, 0.02 + 0.98 * cosine)
        losses = loss_of(student, *read.batch(picked))
        optimizer.zero_grad()
        (losses["tokens"] + 4 * losses["vectors"] + losses["similar"]).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        for name, value in losses.items():
            sums[name] += value.item()
        if step % 50 == 0:
            row = {"step": step, **{k: round(v / 50, 5) for k, v in sums.items()}}
            with (run / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({**row, "seconds": round(time.perf_counter() - begun, 1)}) + "\n")
            sums = dict.fromkeys(sums, 0.0)
        if step % plan.every == 0 or step == plan.steps:
            torch.save({"student": student.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, checkpoint)
    save_file(student.state_dict(), run / "student.safetensors")
    taught = [json.loads((folder / "texts.json").read_text(encoding="utf-8")) for folder in lessons]
    facts = {
        "shape": asdict(shape),
        "plan": asdict(plan),
        "lessons": taught,
        "parameters": sum(p.numel() for p in student.parameters()),
    }
    (run / "student.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return facts


def write_onnx(student: Student, path: Path) -> None:
    """``ids`` int64 [1, T] to ``vectors`` float32 [1, width], T from 2 to the student's positions."""
    free = {1: torch.export.Dim("t", min=2, max=student.shape.positions)}
    program = torch.onnx.export(
        Alone(student).eval(),
        (torch.arange(5, 12)[None],),
        input_names=["ids"],
        output_names=["vectors"],
        dynamic_shapes={"ids": free},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    program.save(str(path), external_data=False)


def quantise(full: Path, small: Path) -> None:
    """Weights of matrix products to seven bits by channel (sums of eight saturate on processors without VNNI)."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = full.with_suffix(".ready.onnx")
    quant_pre_process(full, ready, skip_symbolic_shape=True)
    quantize_dynamic(ready, small, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    ready.unlink()


def write_model(folder: Path, teacher_dir: Path, facts: dict[str, Any]) -> None:
    """Put the tokenizer and ``config.json`` with the digests beside ``encoder.onnx``."""
    whole = tokenizer(teacher_dir, Shape.positions)
    whole.no_truncation()
    whole.save(str(folder / "tokenizer.json"), pretty=False)
    config = {"name": "mini-sentence", "version": VERSION, "dim": 384, "teacher_sha256": TEACHER_SHA256, **facts}
    config["sha256"] = {name: digest(folder / name) for name in ("encoder.onnx", "tokenizer.json")}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def write_words(teacher_dir: Path, folders: Sequence[Path], data: Path, seed: int) -> dict[str, Any]:
    """Write the word table beside exported graphs, and each ``config.json`` anew with both halves in it."""
    from safetensors.numpy import save_file

    cut = tokenizer(teacher_dir, Shape.positions)
    words = sorted(word for word in cut.get_vocab() if word.isalpha() and word.isascii() and len(word) > 3)
    table = word_table(cut, table_texts(data, words, seed))
    for folder in folders:
        save_file(table, folder / WORDS)
        (folder / WORDS).chmod(0o644)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config |= {"version": VERSION, "dim": Shape.width + WORDS_DIM}
        config["words"] = {"dim": WORDS_DIM, "sentence_share": SENTENCE_SHARE}
        config["sha256"][WORDS] = digest(folder / WORDS)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    weighing = int((table["weights"] > 0).sum())
    moved = int((table["stems"] != np.arange(len(table["stems"]))).sum())
    return {"tokens": len(table["stems"]), "with a weight": weighing, "forms of another": moved}


def export(teacher_dir: Path, run: Path, out: Path, data: Path) -> dict[str, Any]:
    """Write the student of a run as float32 (``RUN/f32``) and int8 (``out``), and check both on real passages.

    Returns:
        Mean and least cosine of ONNX float32 to torch and of int8 to float32, on World Heritage passages; the sizes.
    """
    from safetensors.torch import load_file

    from rsrag.config import Settings
    from rsrag.eval.datasets.prepare import unesco_passages
    from rsrag.models.base import ModelRow
    from rsrag.models.minitext import MiniSentenceEncoder

    trained = json.loads((run / "student.json").read_text(encoding="utf-8"))
    shape = Shape(**{**trained["shape"], "layers": tuple(trained["shape"]["layers"])})
    student = Student(shape)
    student.load_state_dict(load_file(run / "student.safetensors"))
    full = run / "f32"
    for folder in (full, out):
        folder.mkdir(parents=True, exist_ok=True)
    write_onnx(student, full / "encoder.onnx")
    quantise(full / "encoder.onnx", out / "encoder.onnx")
    for folder in (full, out):
        write_model(folder, teacher_dir, {"layers": list(shape.layers), "parameters": trained["parameters"]})
    texts = [passage["text"] for passage in unesco_passages(data)][::20]
    rows = [np.array(e.ids) for e in tokenizer(teacher_dir, shape.positions).encode_batch(texts)]
    with torch.inference_mode():
        exact = np.concatenate([student.eval()(*padded([row])).numpy() for row in rows])
    vectors = {
        name: MiniSentenceEncoder(ModelRow(name, "text", "mini_sentence", str(folder.resolve()), dim=384), Settings())
        for name, folder in (("float32", full), ("int8", out))
    }
    found = {name: model.encode_passages(texts) for name, model in vectors.items()}
    cosines = {
        "float32 to torch": (found["float32"] * exact).sum(axis=1),
        "int8 to float32": (found["int8"] * found["float32"]).sum(axis=1),
    }
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    report = {name: {"mean": float(c.mean()), "least": float(c.min())} for name, c in cosines.items()}
    return {"passages": len(texts), "cosine": report, "bytes": sizes, "parameters": trained["parameters"]}


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("teach", "train", "export", "words"))
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="folder of this distillation")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the public data sets")
    parser.add_argument("--out", type=Path, default=OUT, help="export, words: where the int8 model is")
    parser.add_argument("--heritage", action="store_true", help="teach: World Heritage texts, asked sites left out")
    parser.add_argument("--lessons", type=Path, nargs="+", help="train: folders that teach wrote (default: the run's)")
    parser.add_argument("--start", type=Path, help="train: begin with these weights (another run's student)")
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--rate", type=float, default=Plan.rate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.action == "teach":
        result = teach(options.teacher, options.run, options.data, options.heritage, 128, options.seed)
    elif options.action == "train":
        plan = Plan(steps=options.steps, rate=options.rate, seed=options.seed)
        weights = teacher_weights(options.teacher)
        result = train(weights, options.lessons or [options.run], options.run, Shape(), plan, options.start)
    elif options.action == "words":
        full = [options.run / "f32"] if (options.run / "f32" / "config.json").is_file() else []
        result = write_words(options.teacher, [options.out, *full], options.data, options.seed)
    else:
        result = export(options.teacher, options.run, options.out, options.data)
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
