"""Folders, zips and tar shards as containers: nothing outside them is ever read, damage is noted."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.errors import RefusedSource, SourceError, SourceTooLarge, UnreadableSource
from rsrag.train.sources.files import Folder, Tar, Zip, expand, find, open_files, safe_name

EVIL = ["../up.jpg", "a/../../up.jpg", "/etc/passwd", "C:/x.jpg", "C:\\x.jpg", "a\\..\\b.jpg", "a\x00b.jpg", "..", ""]


@pytest.mark.parametrize("name", EVIL)
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(RefusedSource):
        safe_name(name)


def test_harmless_names_are_tidied() -> None:
    assert safe_name("./a//b/./c.jpg") == "a/b/c.jpg"
    assert safe_name("a..b/..c.jpg") == "a..b/..c.jpg"


@given(st.text(st.sampled_from("ab./\\:\x00 é"), max_size=12) | st.text(max_size=30))
def test_a_safe_name_stays_inside_any_folder(name: str) -> None:
    try:
        safe = safe_name(name)
    except RefusedSource:
        return
    root = PurePosixPath("/folder/of/set")
    assert os.path.normpath(root / safe).startswith(f"{root}/") or safe == "."
    assert safe_name(safe) == safe


def write_tar(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    """A tar file with members of any name."""
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.type = kind
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            info.linkname = "" if kind == tarfile.REGTYPE else "/etc/hostname"
            archive.addfile(info, io.BytesIO(data))
    return path


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    """A zip file with members of any name."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_members_with_path_tricks_are_noted_and_never_read(tmp_path: Path, write: object) -> None:
    bad = [name for name in EVIL if name and "\x00" not in name and "\\" not in name]
    path = write(tmp_path / "set", {"good/a.jpg": b"good", **dict.fromkeys(bad, b"evil")})  # type: ignore[operator]
    files = open_files(path)
    assert files.names == ["good/a.jpg"]
    assert len(files.refused) == len(bad)
    assert files.read("good/a.jpg") == b"good"
    for name in bad:
        with pytest.raises(SourceError):
            files.read(name)


def test_links_and_repeated_members_of_a_tar_are_noted(tmp_path: Path) -> None:
    files = Tar(write_tar(tmp_path / "a.tar", {"a.jpg": b"", "b.jpg": b""}, tarfile.SYMTYPE))
    assert (files.names, len(files.refused)) == ([], 2)
    with tarfile.open(tmp_path / "twice.tar", "w") as archive:
        for data in (b"first", b"second"):
            info = tarfile.TarInfo("a.jpg")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    files = Tar(tmp_path / "twice.tar")
    assert files.read("a.jpg") == b"first"
    assert files.refused == [("a.jpg", "a second member of that name")]


def test_links_out_of_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.jpg").write_bytes(b"a")
    (tmp_path / "set" / "link.jpg").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "set" / "inside.jpg").symlink_to(tmp_path / "set" / "a.jpg")
    files = Folder(tmp_path / "set")
    assert files.read("inside.jpg") == b"a"
    with pytest.raises(RefusedSource):
        files.read("link.jpg")
    with pytest.raises(UnreadableSource, match=r"nothing\.jpg"):
        files.read("nothing.jpg")


def test_folders_that_are_not_entered_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("set/a/1.jpg", "set/locked/2.jpg", "other/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"a")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "other")
    entered = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return entered(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files = Folder(tmp_path / "set")
    assert files.names == ["a/1.jpg"]
    assert sorted(files.refused) == [("b", "a link to a folder"), ("locked", "cannot be read: Permission denied")]


def test_a_cut_off_shard_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "a.tar", {f"{n}.jpg": bytes([n]) * 1500 for n in range(6)})
    data = whole.read_bytes()
    for length in range(0, len(data), 700):
        whole.write_bytes(data[:length])
        try:
            files = Tar(whole)
        except UnreadableSource:
            assert length < 512 + 1500
            continue
        for name in files.names:
            assert files.read(name) == bytes([int(name[0])]) * 1500
        assert files.refused or len(files.names) == 6


def test_a_member_is_never_larger_than_allowed(tmp_path: Path) -> None:
    members = {"a.jpg": b"x" * 100}
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.jpg").write_bytes(members["a.jpg"])
    for files in (
        Folder(tmp_path / "set"),
        Tar(write_tar(tmp_path / "a.tar", members)),
        Zip(write_zip(tmp_path / "a.zip", members)),
    ):
        assert len(files.read("a.jpg", limit=100)) == 100
        with pytest.raises(SourceTooLarge):
            files.read("a.jpg", limit=99)


def test_damage_inside_a_zip_is_an_error_of_that_member(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.jpg": b"AAAAAAAA", "b.jpg": b"BBBBBBBB"})
    path.write_bytes(path.read_bytes().replace(b"AAAAAAAA", b"AAAAXAAA"))
    files = Zip(path)
    assert files.read("b.jpg") == b"BBBBBBBB"
    with pytest.raises(UnreadableSource, match=r"a\.jpg"):
        files.read("a.jpg")


def test_what_is_no_container_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar")
    (tmp_path / "a.zip").write_bytes(b"no zip")
    for name in ("a.tar", "a.zip", "missing"):
        with pytest.raises(UnreadableSource, match=name):
            open_files(tmp_path / name)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x.jpg"), io.BytesIO())
    with pytest.raises(UnreadableSource, match="unpack"):
        Tar(tmp_path / "a.tar.gz")


def test_brace_patterns() -> None:
    assert expand("{pub11,rs3}-train-{0008..0010}.tar") == [
        f"{name}-train-{number}.tar" for name in ("pub11", "rs3") for number in ("0008", "0009", "0010")
    ]
    assert expand("a.tar") == ["a.tar"]
    assert expand("{2..0}") == ["2", "1", "0"]
    with pytest.raises(SourceError, match="more than"):
        expand("{0..999999}")
    with pytest.raises(SourceError, match="more than"):
        expand("{0..999}{0..999}")


@given(st.integers(0, 300), st.integers(0, 40), st.integers(1, 4))
def test_ranges_count_with_leading_zeros(first: int, more: int, width: int) -> None:
    names = expand(f"x{{{first:0{width}d}..{first + more}}}y")
    assert [int(name[1:-1]) for name in names] == list(range(first, first + more + 1))
    assert all(len(name) - 2 >= width for name in names)


def test_missing_shards_are_an_error_folders_give_all(tmp_path: Path) -> None:
    for number in range(3):
        write_tar(tmp_path / f"{number}.tar", {})
    assert [path.name for path in find("{0..2}.tar", tmp_path, ".tar")] == ["0.tar", "1.tar", "2.tar"]
    assert [path.name for path in find(".", tmp_path, ".tar")] == ["0.tar", "1.tar", "2.tar"]
    with pytest.raises(UnreadableSource, match=r"3\.tar.* and 1 more"):
        find("{0..4}.tar", tmp_path, ".tar")
    with pytest.raises(UnreadableSource, match=r"no \.parquet"):
        find(".", tmp_path, ".parquet")
