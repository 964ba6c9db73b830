"""``rsrag eval classification`` and ``retrieval`` as users call them: folders, zip files, mistakes, leaks."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from commands import Ran, Run
from picture_sets import captions, classes, encoded, picture, write, write_zip
from typer.testing import CliRunner

import rsrag
from rsrag.cli.app import app
from rsrag.eval.datasets.images import turned_hashes

SHIPPED = Path(rsrag.__file__).parent / "models" / "weights" / "mini" / "image"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs ``rsrag eval`` with arguments, in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: str | Path) -> Ran:
        result = CliRunner().invoke(app, ["eval", *(str(a) for a in arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


def model_trained_on(folder: Path, pictures: list[np.ndarray]) -> Path:
    """The shipped tower with another manifest of its training."""
    tower = folder / "tower"
    tower.mkdir(parents=True)
    for name in ("config.json", "encoder.onnx", "text_head.safetensors", "words_head.safetensors"):
        (tower / name).symlink_to(SHIPPED / name)
    lines = [f"{hashlib.sha256(encoded(p)).hexdigest()[:32]} {turned_hashes(p)[0]:016x} mine train\n" for p in pictures]
    (folder / "train_manifest.txt.gz").write_bytes(gzip.compress("".join(lines).encode()))
    return tower


def test_classification_prints_a_table(run: Run, tmp_path: Path) -> None:
    ran = run("classification", "--data", write(tmp_path / "set", classes()))
    assert ran.code == 0
    head, own = ran.out.splitlines()[:2]
    assert head.split() == ["top1", "macro", "ece", "ece_fitted"] and own.startswith("mini-image")
    assert "sea lake" in ran.out and "Per class" in ran.out


def test_classification_as_json_with_every_option(run: Run, tmp_path: Path) -> None:
    labels = write(tmp_path, {"labels.csv": b"Forest,wood\nSeaLake,open water\nHighway,road\nOther,thing\n"})
    (tmp_path / "templates.txt").write_text("a {}\n{} from above\n")
    data = write_zip(tmp_path / "set.zip", {f"val/{name}": p for name, p in classes().items()})
    ran = run(
        "classification", "--data", data, "--labels-file", labels / "labels.csv", "--split", "val",
        "--templates", tmp_path / "templates.txt", "--temperature", "0.05", "--unknown", "0.4", "--turns", "4",
        "--encoder", "mini-image", "--published", "eurosat", "--report", tmp_path / "report", "--json",
    )  # fmt: skip
    assert ran.code == 0 and "report in" in ran.err
    assert ran.json["suite"] == "classification" and "coverage" in ran.json["metrics"]
    assert [row["class"] for row in ran.json["tables"]["Per class"]] == ["wood", "road", "open water"]
    assert ran.json["details"]["templates"] == 2 and ran.json["details"]["temperature"] == 0.05
    assert ran.json["details"]["turns"] == 4
    assert ran.json["rows"]["GeoRSCLIP ViT-B/32 (zero-shot; published)"]["top1"] == 61.4
    assert json.loads((tmp_path / "report" / "report.json").read_text())["metrics"] == ran.json["metrics"]


def test_published_figures_come_by_the_name_of_the_data(run: Run, tmp_path: Path) -> None:
    data = write(tmp_path / "EuroSAT_RGB", classes())
    assert "GeoRSCLIP" in run("classification", "--data", data).out
    assert "GeoRSCLIP" not in run("classification", "--data", data, "--published", "none").out
    assert "GeoRSCLIP" not in run("classification", "--data", write(tmp_path / "ucm", classes())).out
    ran = run("classification", "--data", data, "--published", "rsicd", "--json")
    assert ran.code == 2 and "known: aid, eurosat" in ran.json["error"]["hint"]


def test_a_broken_picture_is_left_out_and_said(run: Run, tmp_path: Path) -> None:
    data = write(tmp_path / "set", {**classes(), "Forest/\x1b[31mbad.png": b"no picture"})
    ran = run("classification", "--data", data)
    assert ran.code == 3 and "1 files left out" in ran.err
    assert "\x1b" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--profile", "mini", "--encoder", "mini-image"), "both a profile and an encoder"),
        (("--encoder", "nope"), "no image encoder 'nope'"),
        (("--profile", "nope"), "unknown profile 'nope'"),
        (("--split", "val"), "no folder for split 'val'"),
        (("--labels-file", "nope.json"), "cannot read labels nope.json"),
        (("--unknown", "1.5"), "--unknown"),
        (("--turns", "0"), "--turns"),
        (("--temperature", "0"), "--temperature"),
        (("--templates", "nope.txt"), "--templates"),
        (("--sure", "1"), "--sure"),
    ],
)
def test_wrong_flags(run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    ran = run("classification", "--data", write(tmp_path / "set", classes()), *arguments)
    assert ran.code == 2 and message in " ".join(ran.err.split()) and ran.out == ""


def test_data_that_gives_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = run("classification", "--data", tmp_path / "empty")
    assert ran.code == 2 and "no pictures" in ran.err
    ran = run("classification", "--data", write(tmp_path / "one", {"Forest/a.png": picture(1)}))
    assert ran.code == 2 and "needs at least two" in ran.err
    assert run("classification", "--data", tmp_path / "nowhere").code == 2
    gap = write(tmp_path / "set", {**classes(), "labels.txt": b"Forest: wood\nSeaLake: water\n"})
    ran = run("classification", "--data", gap, "--labels-file", gap / "labels.txt")
    assert ran.code == 2 and "no words for 1 of 3 labels: Highway" in ran.err


def test_leaks_are_refused_and_marked_when_allowed(run: Run, tmp_path: Path) -> None:
    known = picture(777, 72)
    tower = model_trained_on(tmp_path / "model", [known])
    files = {**classes(), "Forest/flipped.jpg": encoded(np.ascontiguousarray(known[:, ::-1]), "JPEG", quality=60)}
    data = write(tmp_path / "set", files)
    ran = run("classification", "--data", data, "--encoder", tower, "--json")
    assert ran.code == 2
    assert "1 of 10 pictures of set were in the training of tower" in ran.json["error"]["message"]
    assert "Forest/flipped.jpg (looks alike)" in ran.json["error"]["message"]
    ran = run("classification", "--data", data, "--encoder", tower, "--allow-leaked", "--json")
    assert ran.code == 0 and "LEAKED: 1 of 10 pictures" in ran.err
    assert ran.json["details"]["leaked files"] == ["Forest/flipped.jpg"]
    assert list(ran.json["rows"])[:2] == ["tower, LEAKED pictures included", "tower, without leaked pictures"]


def sentences(count: int) -> list[dict[str, object]]:
    return [{"file": f"{i}.png", "captions": [f"Number {i} .", "It is a picture ."]} for i in range(count)]


def test_retrieval(run: Run, tmp_path: Path) -> None:
    files: dict[str, bytes | np.ndarray] = {f"{i}.png": picture(i, 72) for i in range(6)}
    data = write(tmp_path / "set", {**files, "captions.json": captions(sentences(6))})
    ran = run("retrieval", "--data", data, "--captions", "captions.json", "--report", tmp_path / "report")
    assert ran.code == 0 and "mini-image, equal texts once" in ran.out and (tmp_path / "report/report.png").is_file()
    ran = run("retrieval", "--data", data, "--captions", data / "captions.json", "--prefix", "a photo. ", "--json")
    assert ran.code == 0 and ran.json["details"]["different captions"] == 7
    ran = run("retrieval", "--data", data, "--captions", "nope.json")
    assert ran.code == 2 and "no captions file nope.json" in ran.err
    assert run("retrieval", "--data", data).code == 2
    (data / "5.png").unlink()
    ran = run("retrieval", "--data", data, "--captions", "captions.json", "--json")
    assert ran.code == 3 and ran.json["details"]["left out files"] == ["5.png: no such file"]


def test_retrieval_with_leaked_pictures(run: Run, tmp_path: Path) -> None:
    files: dict[str, bytes | np.ndarray] = {f"{i}.png": picture(i, 72) for i in range(6)}
    data = write(tmp_path / "set", {**files, "captions.json": captions(sentences(6))})
    tower = model_trained_on(tmp_path / "model", [picture(0, 72), picture(1, 72)])
    arguments = ("retrieval", "--data", data, "--captions", "captions.json", "--encoder", tower, "--json")
    assert run(*arguments).code == 2
    ran = run(*arguments, "--allow-leaked")
    rows = ran.json["rows"]
    assert ran.code == 0 and ran.json["details"]["LEAKED"] == "2 of 6 pictures were in training"
    assert {"tower, any match, LEAKED pictures included", "tower, any match, without leaked pictures"} <= set(rows)
    assert rows["tower, any match, without leaked pictures"]["t2i_R@5"] == 100  # four pictures are left
    assert "LEAKED: 2 of 6" in ran.err


def test_help_names_the_suites(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0 and "classification" in ran.out and "retrieval" in ran.out
