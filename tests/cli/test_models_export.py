"""``rsrag models export``: what it prints, and that its profile works with the other commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Run

from rsrag.errors import ExitCode


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_an_export_is_described_and_passes_the_check(run: Run, tmp_path: Path) -> None:
    shown = run("models", "export", "mini-image", "--to", "onnx", "--out", tmp_path / "out")
    assert shown.code == ExitCode.OK
    for words in ("cosine to float32", "ms a picture", "--profile", "drawn pictures"):
        assert words in shown.out
    checks = run("models", "check", "--profile", tmp_path / "out" / "profile.toml", "--json").json["models"]
    assert [row["ok"] for row in checks] == [True] * 4


def test_the_same_as_json_from_a_folder(run: Run, tmp_path: Path) -> None:
    run("models", "export", "mini-image", "--to", "onnx", "--out", tmp_path / "one")
    made = run("models", "export", tmp_path / "one", "--to", "onnx", "--out", tmp_path / "two", "--json").json
    assert made["format"] == "onnx"
    assert made["cosine"]["min"] == pytest.approx(1, abs=1e-5)
    assert made["fingerprint"].startswith("mini-image:")
    assert Path(made["profile"]).is_file()


def test_wrong_usage(run: Run, tmp_path: Path) -> None:
    for arguments, words in (
        (("mini-image", "--to", "tflite"), "unknown format"),
        (("mini-image", "--to", "onnx-int8"), "needs pictures"),
        (("mini-text", "--to", "onnx"), "cannot be exported"),
    ):
        refused = run("models", "export", *arguments, "--out", tmp_path / "out")
        assert refused.code == ExitCode.USAGE
        assert words in refused.err
    assert run("models", "export", "gpt", "--to", "onnx", "--out", tmp_path / "out").code == ExitCode.NOTHING
    assert not (tmp_path / "out").exists()
