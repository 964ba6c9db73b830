"""Compare the text models: static vectors, the small transformer in float32 and int8, and their teacher.

    python scripts/compare_text.py TEACHER_DIR [--run RUN] [--data DIR] [--only static int8] [--json]

Tasks: the knowledge suite on World Heritage and RSWK questions (dense alone, BM25 alone, and the whole engine, which
fuses and re-ranks), sentences without the site's name against chunks of the same site's text (as in
``distill_text.py``), and captions: a caption of a val picture finds another caption of the same picture. Milliseconds
are processor time on one core. ``--run`` is a folder of ``distill_sentence.py`` with the float32 export in it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import numpy as np
from distill_text import check_teacher, measure, retrieval_task, world_heritage

import rsrag
from rsrag.config import Settings
from rsrag.eval import knowledge
from rsrag.eval.datasets import prepare
from rsrag.models.base import ModelRow, TextEncoder
from rsrag.models.registry import find, load
from rsrag.progress import Silent

DATA = Path(os.environ.get("RSRAG_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
RSWK_QUESTIONS = 300


def rows_of(teacher: Path, run: Path | None) -> dict[str, ModelRow]:
    """The models by the name they have in the tables."""
    small = find("mini-sentence")
    rows = {"static": find("mini-text"), "int8": small}
    if run is not None:
        rows["float32"] = replace(small, name="mini-sentence-float32", source=str((run / "f32").resolve()))
    rows["teacher"] = replace(find("all-minilm-l6-v2"), source=str(teacher.resolve()), revision=None)
    return rows


def write_profile(row: ModelRow, path: Path) -> Path:
    """A profile file: the ``mini`` models with this text model."""
    fields = {"name": row.name, "kind": "text", "backend": row.backend, "source": row.source, "dim": row.dim}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())
    path.write_text(f'image = "mini-image"\nreranker = "mini-ranker"\nreader = "extractive"\n[text]\n{text}')
    return path


def ask(profile: Path, passages: Path, questions: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Ingest once, then put each set of questions: hit@1 and hit@5 of the engine and of its channels."""
    found = {}
    with (
        tempfile.TemporaryDirectory(prefix="rsrag-text-") as folder,
        rsrag.open(Path(folder) / "archive", create=True, profile=str(profile)) as engine,
    ):
        engine.ingest(knowledge=[passages], progress=Silent())
        for name, path in questions.items():
            rows = knowledge.measure(engine, knowledge.read_questions(path), Silent()).rows
            for ours, theirs in (("dense", "dense alone"), ("BM25", "BM25 alone"), ("engine", "rsrag")):
                for k in ("hit@1", "hit@5"):
                    found.setdefault(name, {})[f"{ours} {k}"] = rows[theirs][k]
    return found


def captions(model: TextEncoder, archive: Path) -> dict[str, float]:
    """A caption of a held-out picture as query, all others as candidates; right is one that a picture shares with it.

    Equal captions of several pictures are one candidate that belongs to all of them.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    with zipfile.ZipFile(archive) as file:
        for row in json.loads(file.read("captions.json")):
            if row["split"] != "train":
                for caption in row["captions"]:
                    owners[" ".join(caption.lower().split()).rstrip(" .")].add(row["file"])
    texts = sorted(text for text in owners if text)
    vectors = model.encode_passages(texts)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2.0)
    top = np.argsort(-cosines, axis=1, kind="stable")[:, :5]
    shares = [[not owners[texts[i]].isdisjoint(owners[texts[j]]) for j in row] for i, row in enumerate(top)]
    able = [i for i, text in enumerate(texts) if any(owners[text] & owners[other] for other in texts if other != text)]
    hits = np.array(shares)[able]
    return {"captions": len(able), "hit@1": float(hits[:, 0].mean()), "hit@5": float(hits.any(axis=1).mean())}


def milliseconds(model: TextEncoder, texts: Sequence[str]) -> float:
    """Processor time of one text after another, in milliseconds; the first ones only warm up."""
    for text in texts[:5]:
        model.encode_questions([text])
    begun = time.process_time()
    for text in texts:
        model.encode_questions([text])
    return (time.process_time() - begun) / len(texts) * 1000


def sets_of(data: Path, folder: Path) -> dict[str, tuple[Path, dict[str, Path]]]:
    """Passages and questions of the knowledge suite, written to ``folder``."""
    passages = {"unesco": prepare.unesco_passages(data), "rswk": prepare.rswk_passages(data)}
    asked = {
        "unesco": {f"unesco {split}": prepare.unesco_questions(split) for split in ("dev", "test", "all")},
        "rswk": {"rswk": prepare.rswk_questions(data, RSWK_QUESTIONS)},
    }
    found = {}
    for name, records in passages.items():
        prepare.write_jsonl(folder / f"{name}.jsonl", records)
        paths = {}
        for label, questions in asked[name].items():
            paths[label] = folder / f"{label.replace(' ', '-')}.questions.jsonl"
            prepare.write_jsonl(paths[label], questions)
        found[name] = (folder / f"{name}.jsonl", paths)
    return found


def compare(rows: dict[str, ModelRow], data: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Every task for every model."""
    sets = sets_of(data, folder)
    questions = [q.question for q in knowledge.read_questions(sets["unesco"][1]["unesco all"])]
    passages = [json.loads(line)["text"] for line in sets["unesco"][0].read_text(encoding="utf-8").splitlines()]
    task = retrieval_task(world_heritage())
    result: dict[str, dict[str, Any]] = {}
    for name, row in rows.items():
        model = load(row, Settings())
        profile = write_profile(row, folder / f"{name}.toml")
        found: dict[str, Any] = {}
        for path, asked in sets.values():
            found |= ask(profile, path, asked)
        found["without title"] = measure(model.encode_passages, task)[0]
        found |= {f"{label} captions": captions(model, data / archive) for label, archive in _CAPTIONS.items()}
        found["ms a question"] = milliseconds(model, questions)
        found["ms a passage"] = milliseconds(model, passages[::60])
        result[name] = found
        print(f"{name} measured", file=sys.stderr)
    return result


_CAPTIONS = {"UCM": "ucm_captions.zip", "RSICD": "rsicd.zip"}
_COLUMNS = (
    ("unesco all", "dense hit@1"),
    ("unesco all", "dense hit@5"),
    ("unesco dev", "dense hit@5"),
    ("unesco test", "dense hit@1"),
    ("unesco test", "dense hit@5"),
    ("unesco all", "BM25 hit@1"),
    ("unesco all", "BM25 hit@5"),
    ("unesco all", "engine hit@1"),
    ("unesco all", "engine hit@5"),
    ("unesco test", "BM25 hit@1"),
    ("unesco test", "BM25 hit@5"),
    ("unesco test", "engine hit@1"),
    ("unesco test", "engine hit@5"),
    ("rswk", "dense hit@5"),
    ("rswk", "engine hit@5"),
    ("without title", "hit@1"),
    ("without title", "hit@5"),
    ("UCM captions", "hit@1"),
    ("RSICD captions", "hit@1"),
    ("RSICD captions", "hit@5"),
)


def show(result: dict[str, dict[str, Any]]) -> None:
    """One line a task, one column a model."""
    print("| task | " + " | ".join(result) + " |\n|---|" + "---:|" * len(result))
    for task, measure_name in _COLUMNS:
        print(
            f"| {task}, {measure_name} | " + " | ".join(f"{m[task][measure_name]:.3f}" for m in result.values()) + " |"
        )
    for line in ("ms a question", "ms a passage"):
        print(f"| {line}, one core | " + " | ".join(f"{m[line]:.2f}" for m in result.values()) + " |")


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--run", type=Path, help="folder of distill_sentence.py, for the float32 export")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the public data sets")
    parser.add_argument("--only", nargs="+", help="only these models: static, int8, float32, teacher")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if hasattr(os, "sched_setaffinity"):  # before any thread pool starts: one core for everybody
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    check_teacher(options.teacher)
    rows = rows_of(options.teacher, options.run)
    rows = {name: row for name, row in rows.items() if not options.only or name in options.only}
    with tempfile.TemporaryDirectory(prefix="rsrag-text-") as folder:
        result = compare(rows, options.data, Path(folder))
    print(json.dumps(result, indent=1)) if options.json else show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
