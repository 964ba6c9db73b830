"""Commands on a real archive: output for people, JSON for programs, exit codes for shells."""

from __future__ import annotations

import json
from pathlib import Path

import archives
import pyogrio
import pytest
from commands import Run

import rsrag


def test_status_and_config(run: Run, archive: Path) -> None:
    shown = run("-w", archive, "status")
    assert shown.code == 0
    assert "places" in shown.out
    assert "mini-image" in shown.out
    status = run("-w", archive, "status", "--json").json
    assert status["counts"]["places"] == 3
    assert status["counts"]["scenes"] == 2
    assert status["indexed"]["tiles"] == status["counts"]["tiles"] > 0
    settings = run("-w", archive, "config", "show", "--json").json
    assert settings["profile"] == {"value": "mini", "source": "default", "about": settings["profile"]["about"]}
    assert run("-w", archive, "config", "path").out.strip() == str(archive / "rsrag.toml")


def test_settings_of_a_workspace_that_is_not_there(run: Run, tmp_path: Path) -> None:
    for command in (["show"], ["show", "--json"], ["path"]):
        ran = run("-w", tmp_path / "nowhere", "config", *command)
        assert ran.code == 1
        assert "no workspace at" in ran.err


def test_config_without_a_workspace(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSRAG_ENDPOINT_API_KEY", "very secret")
    shown = run("config", "show")
    assert shown.code == 0
    assert "very secret" not in shown.out
    assert "environment" in shown.out


def test_search(run: Run, archive: Path) -> None:
    found = run("-w", archive, "search", "sandstone quarry", "--kind", "passage", "--json").json
    assert found["hits"][0]["title"] == "Red Quarry"
    assert found["count"] == len(found["hits"])
    shown = run("-w", archive, "search", "sandstone quarry")
    both = run("-w", archive, "search", "sandstone quarry", "--limit", "5", "--json").json["hits"]
    with rsrag.open(archive) as engine:
        assert [h["id"] for h in both] == [h.id for h in engine.search("sandstone quarry", limit=5)]
    assert shown.code == 0
    assert "Red Quarry" in shown.out
    assert "45.9000° N, 3.1500° E" in shown.out


def test_search_by_box_and_date(run: Run, archive: Path, tmp_path: Path) -> None:
    west = run("-w", archive, "search", "--kind", "tile", "--bbox", "2.9", "45", "3.1", "47", "--json").json
    assert {h["title"] for h in west["hits"]} == {"survey_20200531.tif"}
    late = run("-w", archive, "search", "--kind", "tile", "--datetime", "2021", "--json").json
    assert {h["scene"]["time"]["start"][:10] for h in late["hits"]} == {"2021-06-02"}
    area = tmp_path / "area.geojson"
    ring = [[2.9, 45], [3.1, 45], [3.1, 47], [2.9, 47], [2.9, 45]]
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    assert run("-w", archive, "search", "--kind", "tile", "--intersects", area, "--json").json["hits"] == west["hits"]


def test_search_that_finds_nothing(run: Run, archive: Path) -> None:
    nothing = run("-w", archive, "search", "--kind", "tile", "--bbox", "-60", "-40", "-50", "-30")
    assert nothing.code == 1
    assert "nothing found" in nothing.err
    empty = run("-w", archive, "search", "--kind", "tile", "--bbox", "-60", "-40", "-50", "-30", "--json")
    assert empty.json["hits"] == []


def test_search_saves_what_it_found(run: Run, archive: Path, tmp_path: Path) -> None:
    found = run("-w", archive, "search", "quarry", "--limit", "4", "--save", "hits.gpkg", "--json").json
    info = pyogrio.read_info(tmp_path / "hits.gpkg")
    assert (info["features"], info["crs"]) == (found["count"], "EPSG:4326")


def test_ask_cites_and_writes_a_page(run: Run, archive: Path, tmp_path: Path) -> None:
    answer = run("-w", archive, "ask", "How deep is Blue Lagoon?", "--report", "out.html", "--json").json
    assert not answer["abstained"]
    assert "12 m" in answer["text"]
    cited = {n for s in answer["sentences"] for n in s["citations"]}
    numbers = {e["number"]: e["hit"]["title"] for e in answer["evidence"]}
    assert {numbers[n] for n in cited} == {"Blue Lagoon"}
    assert "12 m" in (tmp_path / "out.html").read_text(encoding="utf-8")
    shown = run("-w", archive, "-v", "ask", "How deep is Blue Lagoon?")
    assert "[1]" in shown.out
    assert "Evidence" in shown.out
    assert "extractive" in shown.out


def test_an_answer_is_shown_even_if_its_page_cannot_be_written(run: Run, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    shown = run("-w", archive, "ask", "How deep is Blue Lagoon?", "--report", "taken/out.html")
    assert shown.code == 2 and "12 m" in shown.out and "taken" in shown.err
    told = run("-w", archive, "ask", "How deep is Blue Lagoon?", "--report", "taken/out.html", "--json")
    assert told.code == 2 and "12 m" in told.json["text"] and "taken" in told.json["error"]["message"]


def test_ask_about_an_image(run: Run, archive: Path) -> None:
    chip = archive.parent / "sources" / "survey_20200531.tif"
    answer = run("-w", archive, "ask", "What is this?", "--image", chip, "--json").json
    assert answer["location"]["method"] == "given"
    assert answer["location"]["lon"] == pytest.approx(3.192, abs=0.01)


def test_no_answer_is_exit_code_one(run: Run, archive: Path) -> None:
    shown = run("-w", archive, "ask", "Who won the chess tournament of Zanzibar?", "--json")
    assert shown.json["abstained"]
    assert shown.json["reason"]
    assert shown.code == 1


def test_chat_remembers_and_survives_mistakes(run: Run, archive: Path) -> None:
    lines = "How deep is Blue Lagoon?\n\n/image nowhere.png\n/where 200,95\n/nonsense\n/reset\n/quit\nnever asked\n"
    shown = run("-w", archive, "chat", stdin=lines)
    assert shown.code == 0
    assert "12 m" in shown.out
    assert "no file nowhere.png" in shown.err
    assert "not on Earth" in shown.err
    assert "/where PLACE" in shown.err
    assert "forgotten" in shown.err
    assert "never asked" not in shown.out


def test_show_everything_by_id(run: Run, archive: Path, tmp_path: Path) -> None:
    tile = run("-w", archive, "search", "--kind", "tile", "--datetime", "2020", "--json").json["hits"][0]
    shown = run("-w", archive, "show", tile["id"], "--save-thumbnail", "t.jpg")
    assert "EPSG:4326" in shown.out
    assert "window" in shown.out
    assert (tmp_path / "t.jpg").read_bytes().startswith(b"\xff\xd8")
    assert run("-w", archive, "show", tile["scene"]["id"], "--json").json["kind"] == "scene"
    place = run("-w", archive, "show", "red quarry", "--json").json
    assert (place["kind"], place["place"]["name"]) == ("place", "Red Quarry")
    passage = place["passages"][0]
    assert run("-w", archive, "show", passage["id"], "--json").json["place"]["name"] == "Red Quarry"
    document = run("-w", archive, "show", passage["document_id"], "--json").json
    assert document["kind"] == "document"
    for identity in (tile["scene"]["id"], place["place"]["id"], passage["id"], passage["document_id"]):
        assert run("-w", archive, "show", identity).code == 0
    assert run("-w", archive, "show", "no-such-id").code == 2
    assert run("-w", archive, "show", place["place"]["id"], "--save-thumbnail", "u.jpg").code == 2
    for name in ("t.png", "none/t.jpg"):
        refused = run("-w", archive, "show", tile["id"], "--save-thumbnail", name)
        assert refused.code == 2 and "fault" not in refused.err and not (tmp_path / name).exists()


def test_verify_reindex_and_export(run: Run, archive: Path, tmp_path: Path) -> None:
    report = run("-w", archive, "verify", "--deep", "--json")
    assert report.code == 0
    assert report.json["ok"]
    written = run("-w", archive, "reindex", "--json").json["indexed"]
    assert written["tiles"] == report.json["counts"]["tiles"]
    assert "all agree" in run("-w", archive, "verify").out
    for what, count in (("tiles", written["tiles"]), ("scenes", 2), ("places", 3)):
        assert run("-w", archive, "export", f"{what}.gpkg", "--what", what, "--json").json["features"] == count
        assert pyogrio.read_info(tmp_path / f"{what}.gpkg")["features"] == count


def test_init_then_ingest_then_again(run: Run, tmp_path: Path) -> None:
    sources = archives.sources(tmp_path / "sources")
    made = run("init", "mine", "--profile", "mini", "--json").json
    assert made["workspace"] == "mine"
    first = run("-w", "mine", "ingest", sources, "--tile-size", "64", "--json")
    assert first.code == 0
    assert first.json["done"] == 4
    assert first.json["errors"] == []
    assert "Sources" in first.err
    second = run("-w", "mine", "ingest", sources, "--tile-size", "64")
    assert second.code == 0
    assert "4 skipped" in second.out


def test_ingest_makes_a_workspace_and_others_find_it(run: Run, tmp_path: Path) -> None:
    archives.gazetteer(tmp_path / "places.geojson")
    made = run("ingest", "--knowledge", "places.geojson")
    assert made.code == 0
    assert "new workspace archive.rsrag" in made.err
    assert run("status", "--json").json["counts"]["places"] == 3


def test_ingest_with_damaged_files_is_partial(run: Run, tmp_path: Path) -> None:
    folder = archives.sources(tmp_path / "sources")
    (folder / "broken.tif").write_bytes(b"<html>not found</html>")
    partial = run("ingest", folder, "--tile-size", "64", "--json")
    assert partial.code == 3
    assert [Path(e["source"]).name for e in partial.json["errors"]] == ["broken.tif"]
    assert "broken.tif" in partial.err
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "broken.tif").write_bytes(b"<html>not found</html>")
    assert run("-w", "other.rsrag", "ingest", alone).code == 1


def test_models(run: Run) -> None:
    rows = run("models", "list", "--json").json["models"]
    by_name = {row["name"]: row for row in rows}
    assert by_name["mini-image"]["available"]
    assert by_name["mini-image"]["profiles"] == ["mini"]
    assert "mini-image" in run("models", "list").out
    checks = run("models", "check", "--json")
    assert checks.code == 0
    assert {row["role"] for row in checks.json["models"]} == {"image", "text", "reranker", "reader"}
    assert all(row["ok"] for row in checks.json["models"])


def test_models_of_a_broken_profile(run: Run, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('image = "mini-image"\n[text]\nbackend = "mini_text"\nsource = "/nowhere"\ndim = 256\n')
    partly = run("models", "check", "--profile", profile, "--json")
    assert partly.code == 3
    assert [row["ok"] for row in partly.json["models"]] == [True, False]
    assert "fails" in run("models", "check", "--profile", profile).out


def test_models_pull_stays_offline(run: Run) -> None:
    refused = run("models", "pull", "all-minilm-l6-v2", "--json")
    assert refused.code == 1
    assert "offline" in refused.json["error"]["message"]
