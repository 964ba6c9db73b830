"""Make the static text model of the `mini` profile and compare it with its teacher.

Distil (seconds on a CPU)::

    python scripts/distill_text.py distill TEACHER_DIR --out rsrag/models/weights/mini/text

Compare with the teacher on the World Heritage texts (never part of the package)::

    python scripts/distill_text.py compare TEACHER_DIR [--student DIR] [--json]

``TEACHER_DIR`` holds all-MiniLM-L6-v2 in the layout of sentence-transformers. The digest of its weights is checked.
Needs model2vec (extra ``train``), and sentence-transformers for ``compare``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TEACHER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TEXT_DIR = Path(__file__).resolve().parents[1] / "rsrag" / "models" / "weights" / "mini" / "text"
FIDELITY = 0.995
VERSION = "1"

Vectors = npt.NDArray[np.float32]
Encode = Callable[[list[str]], Vectors]
Task = tuple[list[str], list[int], list[str], list[int]]


def digest(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_teacher(folder: Path) -> None:
    """Refuse any other weights than those of the known model."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise SystemExit(f"no model.safetensors in {folder}")
    found = digest(weights)
    if found != TEACHER_SHA256:
        raise SystemExit(f"{weights} is not all-MiniLM-L6-v2: sha256 {found}, expected {TEACHER_SHA256}")


def unit(vectors: npt.NDArray[Any]) -> Vectors:
    """Rows of length one, float32."""
    vectors = np.asarray(vectors, dtype=np.float32)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def student(folder: Path) -> Encode:
    """The static model as sentences to float32 [N, 256], unit length."""
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(str(folder))
    return lambda texts: unit(model.encode(texts))


def teacher(folder: Path) -> Encode:
    """The teacher as sentences to float32 [N, 384], unit length."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return lambda texts: unit(model.encode(texts, batch_size=64))


def world_heritage() -> list[tuple[str, list[str]]]:
    """``(name, sentences)`` of every World Heritage site with at least four sentences."""
    folder = Path(os.environ.get("RSRAG_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    with gzip.open(folder / "unesco_sites.geojson.gz", "rt", encoding="utf-8") as handle:
        features = json.load(handle)["features"]
    sites = []
    for feature in features:
        values = feature["properties"]
        text = " ".join(str(v) for k, v in values.items() if isinstance(v, str) and len(v) > 150)
        text = re.sub(r"<[^>]+>", " ", text)
        name = next((str(values[k]) for k in ("name", "name_en", "site", "title") if values.get(k)), "")
        sentences = [s.strip() for s in re.split(r"(?<=[.!?])\s+", re.sub(r"\s+", " ", text)) if len(s.strip()) > 30]
        sentences = list(dict.fromkeys(sentences))
        if len(sentences) >= 4:
            sites.append((name, sentences))
    return sites


def strip_title(sentence: str, name: str) -> str:
    """The sentence without the words of the site's name, so that the query does not give it away."""
    taboo = {word for word in re.findall(r"\w+", name.lower()) if len(word) > 2}
    return " ".join(w for w in sentence.split() if not taboo & set(re.findall(r"\w+", w.lower())))


def retrieval_task(sites: list[tuple[str, list[str]]], seed: int = 0) -> Task:
    """Queries and chunks: one title-stripped sentence a site, against chunks of three of all other sentences."""
    rng = np.random.default_rng(seed)
    queries, truth, chunks, owner = [], [], [], []
    for site, (name, sentences) in enumerate(sites):
        picked = int(rng.integers(len(sentences)))
        queries.append(strip_title(sentences[picked], name))
        truth.append(site)
        rest = sentences[:picked] + sentences[picked + 1 :]
        for start in range(0, len(rest), 3):
            chunks.append(" ".join(rest[start : start + 3]))
            owner.append(site)
    return queries, truth, chunks, owner


def measure(encode: Encode, task: Task) -> tuple[dict[str, float], Vectors]:
    """hit@1, hit@5, milliseconds a query; and the chunk vectors."""
    queries, truth, chunks, owner = task
    begun = time.perf_counter()
    vectors = encode(chunks)
    chunk_ms = (time.perf_counter() - begun) / len(chunks) * 1000
    asked = encode(queries)
    begun = time.perf_counter()
    for query in queries[:50]:
        encode([query])
    query_ms = (time.perf_counter() - begun) / 50 * 1000
    top = np.argsort(-asked @ vectors.T, axis=1)[:, :5]
    hits = np.array(owner)[top] == np.array(truth)[:, None]
    result = {
        "hit@1": float(hits[:, 0].mean()),
        "hit@5": float(hits.any(axis=1).mean()),
        "ms_per_query": query_ms,
        "ms_per_chunk": chunk_ms,
    }
    return result, vectors


def spearman(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Rank correlation of two samples without many ties."""
    ranks = [np.argsort(np.argsort(values)).astype(np.float64) for values in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def compare(teacher_dir: Path, student_dir: Path) -> dict[str, Any]:
    """Both models on the same retrieval task, and the rank correlation of their cosines."""
    task = retrieval_task(world_heritage())
    rows, vectors = {}, {}
    for name, encode in (("teacher", teacher(teacher_dir)), ("student", student(student_dir))):
        rows[name], vectors[name] = measure(encode, task)
    rng = np.random.default_rng(1)
    pairs = rng.integers(0, len(task[2]), (20000, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    cosines = [(v[pairs[:, 0]] * v[pairs[:, 1]]).sum(axis=1) for v in (vectors["teacher"], vectors["student"])]
    sizes = {"queries": len(task[0]), "chunks": len(task[2])}
    return {"task": sizes, "spearman": spearman(*cosines), **rows}


def distil(teacher_dir: Path, out: Path, sif: float) -> dict[str, Any]:
    """Distil, quantise if that keeps the vectors, and write three files.

    Returns:
        Fidelity of the int8 vectors (mean cosine to float16), the chosen type and the sizes in bytes.
    """
    from model2vec import StaticModel
    from model2vec.distill import distill

    model = distill(str(teacher_dir), pca_dims=256, sif_coefficient=sif, quantize_to="float16")
    with tempfile.TemporaryDirectory() as folder:
        full, small = Path(folder) / "f16", Path(folder) / "int8"
        model.save_pretrained(full)
        StaticModel.from_pretrained(str(full), quantize_to="int8").save_pretrained(small)
        texts = [s for _, sentences in world_heritage() for s in sentences[:2]]
        fidelity = float((student(full)(texts) * student(small)(texts)).sum(axis=1).mean())
        chosen = small if fidelity > FIDELITY else full
        out.mkdir(parents=True, exist_ok=True)
        for name in ("model.safetensors", "tokenizer.json"):
            shutil.copyfile(chosen / name, out / name)
            (out / name).chmod(0o644)
        config = json.loads((chosen / "config.json").read_text(encoding="utf-8"))
    write_config(out, config)
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    return {"fidelity_int8": fidelity, "dtype": config["embedding_dtype"], "bytes": sizes}


def write_config(out: Path, config: dict[str, Any]) -> None:
    """``config.json``: what model2vec reads, and the digests of the files beside it."""
    config["tokenizer_name"] = "all-MiniLM-L6-v2"
    config |= {"name": "mini-text", "version": VERSION, "dim": 256, "teacher_sha256": TEACHER_SHA256}
    config["sha256"] = {name: digest(out / name) for name in ("model.safetensors", "tokenizer.json")}
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def show(result: dict[str, Any]) -> None:
    """The comparison as a table."""
    columns = ("hit@1", "hit@5", "ms_per_query", "ms_per_chunk")
    print(f"{result['task']['queries']} queries, {result['task']['chunks']} chunks of three sentences")
    print("| model | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
    for name in ("teacher", "student"):
        print(f"| {name} | " + " | ".join(f"{result[name][column]:.3f}" for column in columns) + " |")
    print(f"Spearman of chunk-pair cosines, student with teacher: {result['spearman']:.3f}")


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("distill", "compare"))
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--out", type=Path, default=TEXT_DIR, help="where distill writes")
    parser.add_argument("--student", type=Path, default=TEXT_DIR, help="what compare measures")
    parser.add_argument("--sif", type=float, default=1e-4, help="coefficient of the frequency weights")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    check_teacher(options.teacher)
    if options.action == "distill":
        print(json.dumps(distil(options.teacher, options.out, options.sif), indent=1))
        return 0
    result = compare(options.teacher, options.student)
    print(json.dumps(result, indent=1)) if options.json else show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
