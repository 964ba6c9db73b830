"""Weights on a full disk: a clear error, and what was there before stays."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from rsrag.errors import UsageError  # noqa: E402
from rsrag.train.written import write_tensors  # noqa: E402


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_tensors_are_written_with_what_tells_about_them(tmp_path: Path) -> None:
    from safetensors import safe_open

    write_tensors({"a": torch.arange(3)}, tmp_path / "a.safetensors", {"tuning": "none"})
    with safe_open(tmp_path / "a.safetensors", framework="pt") as handle:
        assert handle.metadata() == {"tuning": "none"}
        assert handle.get_tensor("a").tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_tensors_that_cannot_be_written_leave_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch
    from safetensors import SafetensorError

    path = tmp_path / "a.safetensors"
    write_tensors({"a": torch.arange(3)}, path, {})
    before = path.read_bytes()

    def refused(tensors: Any, partial: Path, **_: Any) -> None:
        Path(partial).write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", refused)
    with pytest.raises(UsageError, match=r"cannot write .*a\.safetensors: .*No space left"):
        write_tensors({"a": torch.arange(9)}, path, {})
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_folder_without_room_for_anything_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left"):
        write_tensors({"a": torch.arange(3)}, tmp_path / "a.safetensors", {})
    assert list(tmp_path.iterdir()) == []
