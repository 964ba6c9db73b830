"""``rsrag eval selo``, ``image-retrieval`` and ``attributes`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from colour_encoder import install, tinted, write_classes
from rasters import write_tiff
from typer.testing import CliRunner

from rsrag.cli.app import app


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    return install(monkeypatch, tmp_path)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_composed_scenes(encoder: str, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "val", each=2, size=16, colours=("red", "green", "blue"))
    ran = run(
        "selo", "--data", data.parent, "--split", "val", "--scenes", 1, "--grid", 3, "--encoder", encoder, "--json"
    )
    assert ran.exit_code == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["suite"] == "selo" and 0 <= document["metrics"]["rmi"] <= 1
    assert document["details"]["scenes"].startswith("1 of 3×3 tiles of 16 px")


def test_a_scene_of_ones_own(encoder: str, tmp_path: Path) -> None:
    scene = write_tiff(
        tmp_path / "s.tif", tinted("red", 1, 64).transpose(2, 0, 1), colours=["red", "green", "blue"], photometric="RGB"
    )
    queries = tmp_path / "q.json"
    queries.write_text('[{"text": "red", "boxes": [[0, 0, 32, 32]]}]', encoding="utf-8")
    report = tmp_path / "report"
    ran = run("selo", "--scene", scene, "--queries", queries, "--crop", 32, "--encoder", encoder, "--report", report)
    assert ran.exit_code == 0, ran.stderr
    assert "By query" in ran.stdout and "crops: 32, 64 px" in ran.stdout
    assert {path.name for path in report.iterdir()} >= {"report.html", "query-01.tif", "s-query-1-red.png"}


def test_a_folder_of_classes(encoder: str, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "set", each=2, size=16, colours=("red", "green"))
    ran = run("image-retrieval", "--data", data, "--encoder", encoder, "--json")
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["rows"]["colours, semantic half"]["mAP"] == 100


def test_several_dates_after_one_option(encoder: str, tmp_path: Path) -> None:
    picture = tinted("green", 1, 96).transpose(2, 0, 1)
    dates = [
        write_tiff(tmp_path / f"{name}.tif", picture, colours=["red", "green", "blue"], photometric="RGB")
        for name in "abc"
    ]
    ran = run(
        "image-retrieval",
        "--archive",
        *dates[:2],
        "--queries",
        dates[2],
        "--tile-size",
        48,
        "--encoder",
        encoder,
        "--json",
    )
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["details"]["archive tiles"] == "18 of a.tif, b.tif"


def test_attributes(encoder: str, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "set", each=3, size=16, colours=("red", "green"))
    tags = tmp_path / "tags.json"
    rows = [{"file": p.relative_to(data).as_posix(), "tags": {"roof": p.parent.name}} for p in data.rglob("*.png")]
    tags.write_text(json.dumps(rows), encoding="utf-8")
    ran = run("attributes", "--data", data, "--tags", tags, "--encoder", encoder)
    assert ran.exit_code == 0, ran.stderr
    assert "green 3, red 3" in ran.stdout and "commonest" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["selo"], "give pictures or a scene"),
        (["selo", "--scene", "FILE"], "belong together"),
        (["selo", "--data", "FOLDER", "--queries", "FILE"], "belong together"),
        (["image-retrieval"], "give pictures or scenes"),
        (["image-retrieval", "--archive", "a.tif"], "belong together"),
        (["image-retrieval", "--archive", "a.tif", "--queries", "b.tif", "--split", "val"], "--split with --archive"),
        (["image-retrieval", "--data", "FOLDER", "--archive", "a.tif"], "give pictures or scenes"),
        (["attributes", "--data", "FOLDER"], "tags are needed"),
    ],
)
def test_what_is_asked_wrongly(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    places = {"FILE": str(tmp_path / "file"), "FOLDER": str(tmp_path)}
    ran = run(*(places.get(argument, argument) for argument in arguments))
    assert ran.exit_code == 2 and said in ran.stderr
