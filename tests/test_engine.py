"""The engine over a tiny real archive: search, ask, chat, filters, status, workspaces."""

from __future__ import annotations

import datetime
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import archives
import cv2
import numpy as np
import pytest

import rsrag
from rsrag import geo
from rsrag.engine import Engine
from rsrag.errors import (
    ConfigError,
    DegradedResult,
    ForeignIndex,
    IndexFailure,
    ModelMismatch,
    UnsupportedSource,
    UsageError,
    WorkspaceBusy,
    WorkspaceNotFound,
)
from rsrag.indexes.open import open_index
from rsrag.times import parse_span
from rsrag.types import BBox, Filters, QueryImage
from rsrag.workspace import INDEX_NAME


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archives.filled(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def engine(archive: Path) -> Iterator[Engine]:
    with rsrag.open(archive / "archive") as opened:
        yield opened


def crop(archive: Path, name: str = "survey_20200531.tif") -> np.ndarray:
    import rasterio

    with rasterio.open(archive / "sources" / name) as source:
        return np.ascontiguousarray(source.read()[:, 8:72, 8:72].transpose(1, 2, 0))


def test_a_question_is_answered_with_a_citation(engine: Engine) -> None:
    answer = engine.ask("How deep is Blue Lagoon?")
    assert not answer.abstained
    assert "12 m" in answer.text
    first = answer.sentences[0]
    assert first.citations
    cited = next(e for e in answer.evidence if e.number == first.citations[0])
    assert "12 m deep" in cited.text
    assert set(answer.provenance.models) == {"image", "text", "reranker", "reader"}


def test_what_the_archive_does_not_hold_is_declined(engine: Engine) -> None:
    answer = engine.ask("Who won the football world cup in 2014?")
    assert answer.abstained
    assert answer.sentences == ()
    assert answer.reason
    assert answer.text == answer.reason


def test_an_unlocated_image_finds_its_place(engine: Engine, archive: Path) -> None:
    turned = np.ascontiguousarray(np.rot90(crop(archive)))
    found = engine.retrieve("What is this place?", image=turned)
    assert found.location is not None
    assert found.location.method == "geometry"
    truth = geo.footprint_from_bbox(BBox(3.032, 46 - 72 * 0.004, 3.288, 46 - 8 * 0.004))
    assert found.location.footprint is not None
    assert geo.iou(found.location.footprint, truth) > 0.9
    answer = engine.ask("What is this place?", image=turned)
    assert answer.location == found.location
    assert not answer.abstained


def test_filters_by_box_and_date(engine: Engine) -> None:
    east = Filters(bbox=BBox(3.45, 45.6, 3.55, 46.0))
    hits = engine.search("fields", filters=east, kind="tile", limit=50)
    assert hits
    assert all(
        h.footprint and geo.intersects(h.footprint, geo.footprint_from_bbox(east.bbox)) for h in hits if east.bbox
    )
    assert {h.scene.source.rsplit("/", 1)[-1] for h in hits if h.scene} == {"survey_20210602.tif"}
    dated = engine.search("fields", filters=Filters(when=parse_span("2020")), kind="tile", limit=50)
    assert {h.scene.source.rsplit("/", 1)[-1] for h in dated if h.scene} == {"survey_20200531.tif"}
    assert engine.search("fields", filters=Filters(when=parse_span("1999")), kind="tile") == []


def test_filters_alone_list_tiles(engine: Engine) -> None:
    hits = engine.search(filters=Filters(when=parse_span("2021")), kind="tile", limit=3)
    assert len(hits) == 3
    assert all(h.scene and "20210602" in h.scene.source for h in hits)
    with pytest.raises(UsageError):
        engine.search()


def test_passages_near_are_kept_however_low_they_rank_by_words(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsrag.retrieve._DEPTH", 1)
    found = engine.retrieve("Deer in a beech forest", where="Blue Lagoon")
    texts = " ".join(h.passage.text for h in found.passages if h.passage and h.scores.get("place"))
    assert "12 m deep" in texts
    assert "storm broke the dam" in texts


def test_filters_by_fact(engine: Engine) -> None:
    values = sorted(
        float(f.value)
        for s in engine.catalog.scenes()
        for t in engine.catalog.tiles_of(s.id)
        for f in t.facts
        if f.name == "brightness"
    )
    middle = values[len(values) // 2]
    bright = Filters(facts={"brightness": (middle, None)})
    browsed = engine.search(filters=bright, kind="tile", limit=100)
    searched = engine.search("fields", filters=bright, kind="tile", limit=100)
    assert {h.id for h in browsed} == {h.id for h in searched}
    assert len(browsed) == sum(v >= middle for v in values)


def test_where_brings_the_place(engine: Engine) -> None:
    hits = engine.search("What is here?", where="Green Wood", kind="passage")
    assert hits[0].place is not None
    assert hits[0].place.name == "Green Wood"
    by_position = engine.search("What is here?", where=(3.25, 45.85), kind="passage")
    assert by_position[0].place is not None
    assert by_position[0].place.name == "Green Wood"
    unknown = engine.retrieve("What is here?", where="Atlantis")
    assert any("Atlantis" in w for w in unknown.warnings)


def test_a_position_in_the_question_is_a_place(engine: Engine) -> None:
    found = engine.retrieve("What lies at 45.85°N 3.25°E?")
    assert found.location is not None
    assert found.location.method == "stated"
    assert found.passages[0].place is not None
    assert found.passages[0].place.name == "Green Wood"
    assert "Green Wood is a forest" in engine.ask("What lies at 45.85°N 3.25°E?").text


def test_alpha_fusion_is_a_setting(archive: Path) -> None:
    with rsrag.open(archive / "archive", fusion="alpha", alpha=0.0) as engine:
        hits = engine.search("sandstone quarry", kind="passage")
        assert hits
        assert hits[0].score == pytest.approx(hits[0].scores["text"])


def test_chat_remembers_the_image(engine: Engine, archive: Path) -> None:
    chat = engine.chat()
    first = chat.ask("What is this place?", image=crop(archive))
    second = chat.ask("Where does it lie?")
    assert first.location == second.location
    chat.reset()
    assert chat.turns == []


def test_chat_carries_the_place_into_a_question_that_names_none(engine: Engine) -> None:
    chat = engine.chat()
    assert "310 ha" in chat.ask("How large is Green Wood?").text
    follow_up = chat.ask("Which animals live there?")
    assert "Deer" in follow_up.text
    elsewhere = chat.ask("When did Red Quarry close, and what did it give?")
    assert "Red Quarry" in elsewhere.text


def test_part_of_a_name_is_enough(engine: Engine) -> None:
    hits = engine.search("What is here?", where="Quarry", kind="passage")
    assert hits[0].place is not None
    assert hits[0].place.name == "Red Quarry"


def test_unknown_collections_are_named(engine: Engine) -> None:
    found = engine.retrieve("fields", filters=Filters(collections=("nope",)))
    assert found.tiles == ()
    assert any("nope" in w and "sources" in w for w in found.warnings)


def test_a_picture_of_nothing_is_declined(engine: Engine) -> None:
    flat = QueryImage(np.full((200, 200, 3), 128, np.uint8), "flat")
    assert engine.ask("What is this?", image=flat).abstained


def test_status_counts(engine: Engine) -> None:
    status = engine.status()
    assert status["counts"]["tiles"] == status["indexed"]["tiles"] == 28
    assert status["models"]["image"].startswith("mini-image:")
    assert status["index"] == str(engine.workspace.index)


def test_status_shows_no_password(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = archive / "archive" / INDEX_NAME
    monkeypatch.setattr(Engine, "_open_index", lambda self: open_index(embedded))
    with rsrag.open(archive / "archive", index="http://joe:hunter2@qd:6333") as opened:
        status = opened.status()
    assert status["index"] == "http://joe:•••@qd:6333"
    assert "hunter2" not in str(status)


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
def test_two_archives_on_one_server_do_not_touch_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
    from qdrant_client import QdrantClient

    from rsrag.indexes import open as opening

    client, real = QdrantClient(":memory:"), opening.open_index
    monkeypatch.setattr(opening, "open_index", lambda url, **options: real(url, client=client, **options))
    server = "http://127.0.0.1:1"
    archives.gazetteer(tmp_path / "places.geojson")
    with archives.open_archive(tmp_path / "first", index=server) as first:
        first.ingest([tmp_path / "places.geojson"])
        held = first.status()["indexed"]
    with archives.open_archive(tmp_path / "second", index=server) as second:
        with pytest.raises(ForeignIndex, match="index_prefix"):
            second.ingest([tmp_path / "places.geojson"])
        with pytest.raises(ForeignIndex, match="index_prefix"):
            second.reindex()
    with archives.open_archive(tmp_path / "second", index=server, index_prefix="second_") as second:
        second.ingest([tmp_path / "places.geojson"])
        assert second.status()["indexed"] == held
    with archives.open_archive(tmp_path / "first", index=server) as first:
        assert first.status()["indexed"] == held and sum(held.values()) > 0
    names = {collection.name for collection in client.get_collections().collections}
    assert names == {"rsrag_tiles", "rsrag_passages", "second_tiles", "second_passages"}
    client.close()


def test_a_located_query_image_uses_its_own_footprint(engine: Engine, archive: Path) -> None:
    found = engine.retrieve("What is here?", image=archive / "sources" / "survey_20210602.tif")
    assert found.location is not None
    assert found.location.method == "given"
    assert found.tiles[0].scene is not None
    assert "20210602" in found.tiles[0].scene.source


def test_an_empty_archive_declines(tmp_path: Path) -> None:
    with archives.open_archive(tmp_path / "empty") as engine:
        answer = engine.ask("What is the deepest lake?")
        assert answer.abstained
        picture = QueryImage(np.zeros((64, 64, 3), np.uint8), "black")
        assert engine.ask("What is this?", image=picture).abstained


def test_an_index_that_lost_everything_is_not_an_empty_answer(tmp_path: Path, archive: Path) -> None:
    import shutil

    shutil.copytree(archive / "archive", tmp_path / "lost", ignore=shutil.ignore_patterns("index"))
    with rsrag.open(tmp_path / "lost") as engine:
        with pytest.raises(IndexFailure, match="reindex"):
            engine.ask("How deep is Blue Lagoon?")
        engine.reindex()
        assert "12 m" in engine.ask("How deep is Blue Lagoon?").text


def test_an_index_that_lost_some_of_it_says_so(tmp_path: Path) -> None:
    with archives.open_archive(tmp_path / "w") as engine:
        archives.ingest(engine, archives.sources(tmp_path / "sources"))
        engine.index.delete("tiles", sorted(engine.index.ids("tiles"))[1:])
    with rsrag.open(tmp_path / "w") as engine:
        held = engine.catalog.counts()["tiles"]
        with pytest.warns(DegradedResult, match=f"only 1 of {held} tiles: run rsrag reindex"):
            assert len(engine.search("water", kind="tile")) == 1
        engine.reindex()
        with warnings.catch_warnings():
            warnings.simplefilter("error", DegradedResult)
            assert len(engine.search("water", kind="tile")) > 1


def test_workspaces_that_are_not_there_or_busy(tmp_path: Path, engine: Engine, archive: Path) -> None:
    with pytest.raises(WorkspaceNotFound):
        rsrag.open(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError):
        rsrag.open(tmp_path / "file", create=True)
    with pytest.raises(ConfigError):
        rsrag.open(archive / "archive", colour="red")
    assert engine.index.count("tiles")
    code = f"import rsrag\nwith rsrag.open({str(archive / 'archive')!r}) as e: e.ask('x')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode != 0
    assert WorkspaceBusy.__name__ in result.stderr


def test_other_models_are_refused(tmp_path: Path, archive: Path) -> None:
    import json
    import shutil

    other = tmp_path / "other"
    shutil.copytree(archive / "archive", other)
    shipped = Path(rsrag.__file__).parent / "models" / "weights" / "mini" / "image"
    shutil.copytree(shipped, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "alpha": 0.123}))
    profile = tmp_path / "profile.toml"
    profile.write_text(
        f'text = "mini-text"\n[image]\nname = "mini-image"\nbackend = "mini_image"\nsource = "{tmp_path / "model"}"\n'
    )
    with rsrag.open(other, profile=str(profile)) as engine:
        with pytest.raises(ModelMismatch):
            engine.search("anything")
        with pytest.raises(ModelMismatch, match="image vectors"):
            engine.reindex()


def test_a_single_source_is_one_path_not_its_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("# Notes\n\nBlue Lagoon is deep.\n", encoding="utf-8")
    archives.scene(tmp_path / "scene.tif")
    monkeypatch.chdir(tmp_path / "empty")  # what the letter "." would name
    with archives.open_archive(tmp_path / "archive") as engine:
        assert (told := engine.ingest(str(tmp_path / "scene.tif"), knowledge=tmp_path / "notes.md")).failed == 0
        assert told.done == 2 and [s.source for s in engine.catalog.scenes()] == [str(tmp_path / "scene.tif")]
        with pytest.raises(UsageError, match="5 is no path"):
            engine.ingest(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [0, -1, 2.5, "3", True])
def test_a_limit_that_is_no_count_is_refused(engine: Engine, limit: Any) -> None:
    for task in (engine.search, engine.retrieve, engine.ask):
        with pytest.raises(UsageError, match="a limit of"):
            task("How deep is Blue Lagoon?", limit=limit)


def test_a_limit_may_be_a_number_of_an_array(engine: Engine) -> None:
    assert len(engine.search("lake", limit=np.int64(2))) == 2  # type: ignore[arg-type]


def test_an_unknown_kind_is_refused(engine: Engine) -> None:
    with pytest.raises(UsageError, match="unknown kind 'tiles' \\(one of all, tile, passage\\)"):
        engine.search("lake", kind="tiles")  # type: ignore[arg-type]


@pytest.mark.parametrize("where", [[3.05, 45.95], np.array([3.05, 45.95])])
def test_any_pair_of_numbers_is_a_position(engine: Engine, where: Any) -> None:
    assert engine.search("lake", where=where) == engine.search("lake", where=(3.05, 45.95))
    assert (
        engine.chat().ask("Which lake is this?", where=where).text
        == engine.ask("Which lake is this?", where=where).text
    )


@pytest.mark.parametrize("where", [5, (1,), (1, 2, 3), ("a", "b"), {"lon": 1}, b"Blue Lagoon"])
def test_where_is_a_name_or_a_position(engine: Engine, where: Any) -> None:
    for task in (engine.search, engine.ask):
        with pytest.raises(UsageError, match="where is"):
            task("lake", where=where)


@pytest.mark.parametrize("text", [5, b"lake", ["lake"], "lake \udcff"])
def test_a_question_is_text(engine: Engine, text: Any) -> None:
    grey = np.full((32, 32, 3), 90, np.uint8)
    for task in (
        lambda: engine.search(text),
        lambda: engine.ask(text),
        lambda: engine.segment(grey, text),
        lambda: engine.ground(grey, text),
    ):
        with pytest.raises(UsageError, match="text"):
            task()


def test_a_box_may_be_any_four_numbers(engine: Engine) -> None:
    box: Any = [3.0, 45.9, 3.1, 46.0]
    assert engine.search(filters=Filters(bbox=box)) == engine.search(filters=Filters(bbox=BBox(*box))) != []


@pytest.mark.parametrize(
    "filters",
    [{"bbox": (1, 2, 3, 4)}, Filters(kinds="lake"), Filters(when="2020"), Filters(bbox=(1, 2, 3))],  # type: ignore[arg-type]
)
def test_filters_that_would_not_filter_are_refused(engine: Engine, filters: Any) -> None:
    with pytest.raises(UsageError, match="filters"):
        engine.search("lake", filters=filters)


@pytest.mark.parametrize("pixels", [np.zeros((20, 20, 3)), np.zeros((20, 20), np.uint8), [[1]]])
def test_pixels_of_a_query_image_are_checked(engine: Engine, pixels: Any) -> None:
    with pytest.raises(UsageError, match="give uint8 RGB"):
        engine.search(image=QueryImage(pixels, "made"))
    with pytest.raises(UnsupportedSource, match="no pixels"):
        engine.search(image=QueryImage(np.zeros((0, 20, 3), np.uint8), "made"))


def test_one_text_is_not_a_list_of_labels_dates_or_questions(engine: Engine) -> None:
    grey = np.full((32, 32, 3), 90, np.uint8)
    for task in (
        lambda: engine.classify(grey, "water"),
        lambda: engine.ground(grey, box=(0, 0, 20, 20), labels="water"),
        lambda: engine.change(where="Blue Lagoon", between="2020/2021"),
        lambda: engine.change(grey, grey, questions="How much?"),
    ):
        with pytest.raises(UsageError, match="not a list"):
            task()


def test_labels_may_come_from_an_array(engine: Engine) -> None:
    grey, labels = np.full((32, 32, 3), 90, np.uint8), ["water", "forest"]
    told = engine.ground(grey, box=(0, 0, 20, 20), labels=np.array(labels))  # type: ignore[arg-type]
    assert told.text == engine.ground(grey, box=(0, 0, 20, 20), labels=labels).text


def test_dates_of_the_standard_library_are_dates(tmp_path: Path) -> None:
    for day in ("20190531", "20200531"):
        archives.scene(tmp_path / f"survey_{day}.tif", seed=int(day[:4]))
    with archives.open_archive(tmp_path / "archive") as engine:
        engine.ingest(sorted(tmp_path.glob("*.tif")))
        days: Any = (datetime.date(2019, 5, 31), datetime.datetime(2020, 5, 31, 12, tzinfo=datetime.UTC))
        told = engine.change(where=[3.1, 45.9], between=days).text  # type: ignore[arg-type]
        assert told == engine.change(where=(3.1, 45.9), between=("2019-05-31", "2020-05-31")).text
        files = [tmp_path / "survey_20200531.tif", tmp_path / "survey_20190531.tif"]
        assert "between 2019-05-31 and 2020-05-31" in engine.change(*files).text
        assert "between 2020-05-31 and 2019-05-31" in engine.change(*files, in_order=True).text
        with pytest.raises(UsageError, match="2019 is not a date"):
            engine.change(where=(3.1, 45.9), between=(2019, 2020))  # type: ignore[arg-type]


def test_a_shift_between_dates_is_kept_where_that_is_asked_for(engine: Engine) -> None:
    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8), (0, 0), 2)
    before, after = np.ascontiguousarray(ground[10:-10, 10:-10]), np.ascontiguousarray(ground[10:-10, 13:-7])
    assert abs(engine.change(before, after).shift_px[0]) == pytest.approx(3, abs=0.3)
    assert engine.change(before, after, register=False, mask_clouds=False).shift_px == (0, 0)
    with pytest.raises(UsageError, match="register"):
        engine.change(before, after, register="no")  # type: ignore[arg-type]


def test_a_detector_that_does_not_exist_is_refused(engine: Engine) -> None:
    grey = np.full((32, 32, 3), 90, np.uint8)
    with pytest.raises(UsageError, match="unknown method 'magic'"):
        engine.change(grey, grey, method="magic")  # type: ignore[arg-type]


def test_files_may_lie_in_the_home_folder(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    engine.caption(np.full((32, 32, 3), 90, np.uint8)).to_png("~/caption.png")
    engine.export("~/tiles.geojson")
    assert {p.name for p in tmp_path.iterdir()} == {"caption.png", "tiles.geojson"}


def test_a_place_that_the_question_names_overrules_where_it_was_said(engine: Engine) -> None:
    told = engine.ask("What is known about Green Wood?", where=(10.0, 50.0))
    assert "310 ha" in told.text
    assert told.location is not None and (told.location.lon, told.location.lat) == (3.25, 45.85)
    assert any("names Green Wood" in warning for warning in told.warnings)


def test_a_place_that_the_question_names_overrules_its_image(engine: Engine) -> None:
    far = QueryImage(np.full((64, 64, 3), 90, np.uint8), "far.png", geo.around((10.0, 50.0), 2.0))
    named = engine.ask("What is known about Green Wood?", image=far)
    assert "310 ha" in named.text and "image most likely shows" not in named.text
    assert any("names Green Wood" in warning for warning in named.warnings)
    for question in ("What is known about this place?", "Is this picture of Green Wood?"):
        pointing = engine.retrieve(question, image=far)
        assert pointing.location is not None and pointing.location.method == "given"
        assert not pointing.warnings


def test_a_named_place_near_the_image_is_no_conflict(engine: Engine) -> None:
    near = QueryImage(np.full((64, 64, 3), 90, np.uint8), "near.png", geo.around((3.25, 45.85), 2.0))
    found = engine.retrieve("What is known about Green Wood?", image=near)
    assert found.location is not None and found.location.method == "given"
    assert not found.warnings


def test_the_archive_is_counted(engine: Engine) -> None:
    quarries = engine.ask("How many quarries are there in Testland?")
    assert quarries.text == "The archive holds 1 quarry in Testland (by country): Red Quarry. [1]"
    told = engine.ask("How many scenes are there?")
    assert told.text.startswith("The archive holds 2 scenes: ")
    assert {n for s in told.sentences for n in s.citations} == {e.number for e in told.evidence} == {1, 2}
    assert told.provenance.prompt == "values/count"
    assert engine.ask("How many images are there after 2020?").text.startswith("The archive holds 1 image with a date")
    assert engine.ask("How many images are there before 2001?").text.startswith(
        "The archive holds no image with a date"
    )


def test_a_form_of_boxes_needs_a_model_that_writes_them(engine: Engine) -> None:
    grey = np.full((32, 32, 3), 90, np.uint8)
    with pytest.raises(UsageError, match="which model writes boxes"):
        engine.ground(grey, "ship", boxes="0-1000")
    with pytest.raises(UsageError, match="boxes"):
        engine.ground(grey, "ship", boxes=1000)  # type: ignore[arg-type]


def test_a_change_without_a_place_says_what_is_missing(engine: Engine) -> None:
    told = engine.ask("What has changed here between 2019 and 2020?", filters=Filters(bbox=BBox(3, 45, 4, 46)))
    assert told.abstained
    assert any("--where" in warning for warning in told.warnings)
