"""Digests, key reports, and the conversion of pickled checkpoints."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsrag.config import Settings
from rsrag.errors import BadModelFile, ModelError
from rsrag.models import weights
from rsrag.models.base import ModelRow

NAMES = st.sampled_from(["visual.proj", "visual.a.weight", "transformer.0.w", "logit_scale", "head.w", "text.b"])
SHAPES = st.dictionaries(NAMES, st.tuples(st.integers(1, 3), st.integers(1, 3)))


def row(source: object, **fields: object) -> ModelRow:
    values = {"name": "tiny", "kind": "image", "backend": "open_clip", "source": str(source), **fields}
    return ModelRow(**values)  # type: ignore[arg-type]


def test_digest_depends_on_names_and_content_not_on_order(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"one")
    b.write_bytes(b"two")
    assert weights.file_digest(a) == hashlib.sha256(b"one").hexdigest()
    before = weights.digest(tmp_path, [a, b])
    assert weights.digest(tmp_path, [b, a]) == before
    a.write_bytes(b"two!")
    assert weights.digest(tmp_path, [a, b]) != before


@given(SHAPES)
def test_a_checkpoint_fits_itself(shapes: dict[str, tuple[int, int]]) -> None:
    assert weights.compare(shapes, shapes) == weights.KeyReport()


@given(SHAPES, SHAPES)
def test_every_difference_is_reported_once(
    found: dict[str, tuple[int, int]], wanted: dict[str, tuple[int, int]]
) -> None:
    report = weights.compare(found, wanted)
    assert set(report.missing) == set(wanted) - set(found) - {"logit_scale"}
    assert sorted((*report.unexpected, *report.ignored)) == sorted(set(found) - set(wanted))
    differing = {k for k in set(found) & set(wanted) if found[k] != wanted[k]} - {"logit_scale"}
    assert {line.split(":")[0] for line in report.mismatched} == differing
    assert report.fits == (not (report.missing or report.unexpected or report.mismatched))


def test_more_layers_than_the_network_has_are_refused_and_foreign_heads_ignored() -> None:
    needed = {"visual.0.w": (2,), "logit_scale": ()}
    report = weights.compare({"visual.0.w": (2,), "visual.1.w": (2,), "classifier.w": (3,)}, needed)
    assert report.unexpected == ("visual.1.w",)
    assert report.ignored == ("classifier.w",)
    assert not report.fits
    assert "1 unexpected: visual.1.w" in str(report)


@pytest.mark.parametrize("layout", ["georsclip", "remoteclip", "skyclip"])
def test_published_layouts_convert(layout: str, published: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    target = tmp_path / "new" / "out.safetensors"
    done = weights.convert(published[layout], target, str(published["architecture"]))
    assert done.path == target
    assert done.report.fits
    assert done.sha256 == hashlib.sha256(target.read_bytes()).hexdigest()
    assert done.source_sha256 == hashlib.sha256(published[layout].read_bytes()).hexdigest()
    tensors = load_file(target)
    assert len(tensors) == done.tensors
    assert "visual.conv1.weight" in tensors
    note = json.loads(weights.side_car(target).read_text())
    assert note["sha256"] == done.sha256
    assert note["source"]["sha256"] == done.source_sha256
    assert note["config"]["quick_gelu"] is True
    assert [p.name for p in target.parent.iterdir() if p.name.startswith(".")] == []


def test_all_layouts_give_the_same_file_for_the_same_weights(published: dict[str, Path], tmp_path: Path) -> None:
    architecture = str(published["architecture"])
    plain = weights.convert(published["georsclip"], tmp_path / "a.safetensors", architecture)
    wrapped = weights.convert(published["skyclip"], tmp_path / "b.safetensors", architecture)
    assert plain.sha256 == wrapped.sha256


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(published: dict[str, Path], tmp_path: Path) -> None:
    victim = tmp_path / "touched"

    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (victim,))  # type: ignore[return-value]

    evil = tmp_path / "evil.pt"
    evil.write_bytes(pickle.dumps({"visual.proj": Attack()}))
    with pytest.raises(BadModelFile, match="without running code"):
        weights.convert(evil, tmp_path / "out.safetensors", str(published["architecture"]))
    assert not victim.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_tensors_of_another_architecture_are_refused(published: dict[str, Path], tmp_path: Path) -> None:
    import checkpoints

    vision = {**checkpoints.CLIP_CONFIG["vision_cfg"], "layers": 3}
    deeper = checkpoints.clip_architecture(tmp_path / "deeper.json", vision_cfg=vision)
    with pytest.raises(BadModelFile, match=r"12 missing: visual\.transformer\.resblocks\.2"):
        weights.convert(published["georsclip"], tmp_path / "out.safetensors", str(deeper))
    shallow = checkpoints.clip_architecture(tmp_path / "shallow.json", vision_cfg={**vision, "layers": 1})
    with pytest.raises(BadModelFile, match=r"12 unexpected: visual\.transformer\.resblocks\.1"):
        weights.convert(published["georsclip"], tmp_path / "out.safetensors", str(shallow))
    wider = checkpoints.clip_architecture(tmp_path / "wider.json", embed_dim=64)
    with pytest.raises(BadModelFile, match=r"visual\.proj: \(32, 32\), \(32, 64\) needed"):
        weights.convert(published["georsclip"], tmp_path / "out.safetensors", str(wider))
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("nan", "NaN or infinite"),
        ("text", "no tensors: note"),
        ("list", "no state dict"),
        ("empty", "no state dict"),
        ("noise", "no checkpoint of torch: it starts with b'<html>404</html>'"),
        ("nothing", "it is empty"),
        ("pointer", "as Git LFS does .*git lfs pull"),
        ("half", "damaged or not whole.*download it again"),
    ],
)
def test_bad_checkpoints(content: str, reason: str, published: dict[str, Path], tmp_path: Path) -> None:
    import torch

    path = tmp_path / "bad.pt"
    state = torch.load(published["georsclip"], weights_only=True)
    if content == "nan":
        state["ln_final.weight"][0] = float("nan")
        torch.save(state, path)
    elif content == "text":
        torch.save({**state, "note": "hello"}, path)
    elif content == "list":
        torch.save(list(state.values()), path)
    elif content == "empty":
        torch.save({"state_dict": {}}, path)
    else:
        whole = published["georsclip"].read_bytes()
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
        parts = {"noise": b"<html>404</html>", "nothing": b"", "pointer": pointer, "half": whole[: len(whole) // 2]}
        path.write_bytes(parts[content])
    with pytest.raises(BadModelFile, match=reason):
        weights.convert(path, tmp_path / "out.safetensors", str(published["architecture"]))


@pytest.mark.parametrize(
    ("content", "needed"), [("settings", r"argparse\.Namespace"), ("network", r"open_clip\.model\.CLIP")]
)
def test_what_a_checkpoint_needs_code_for_is_named(
    content: str, needed: str, published: dict[str, Path], tmp_path: Path
) -> None:
    import argparse

    import checkpoints
    import torch

    network = checkpoints.clip_network()
    whole = {"state_dict": network.state_dict(), "args": argparse.Namespace(lr=1)}
    path = tmp_path / "bad.pt"
    torch.save(whole if content == "settings" else network, path)
    with pytest.raises(BadModelFile, match=f"without running code from it: {needed}") as caught:
        weights.convert(path, tmp_path / "out.safetensors", str(published["architecture"]))
    assert "weights_only" not in str(caught.value)  # no advice to run it


def test_published_safetensors_convert_under_any_name(published: dict[str, Path], tmp_path: Path) -> None:
    import checkpoints
    from safetensors.torch import save_file

    path = tmp_path / "open_clip_model.pt"
    save_file(checkpoints.clip_network().state_dict(), path)
    architecture = str(published["architecture"])
    done = weights.convert(path, tmp_path / "a.safetensors", architecture)
    other = weights.convert(published["georsclip"], tmp_path / "b.safetensors", architecture)
    assert done.sha256 == other.sha256


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from safetensors import SafetensorError

    def full(tensors: object, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(ModelError, match=r"cannot write .*x\.safetensors: .*No space left"):
        weights._write({"a": torch.zeros(3)}, tmp_path / "x.safetensors", {"architecture": "a"})
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_digest_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"never unpickled")
    with pytest.raises(BadModelFile, match="has sha256"):
        weights.convert(path, tmp_path / "out.safetensors", "ViT-B-32", sha256="0" * 64)


def test_weights_changed_after_conversion_are_noticed(tiny_clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / tiny_clip.name
    copy.write_bytes(tiny_clip.read_bytes() + b" ")
    weights.side_car(copy).write_text(weights.side_car(tiny_clip).read_text())
    with pytest.raises(BadModelFile, match="is not the file"):
        weights.read_side_car(copy)


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "weights.pkl", "model.onnx"])
def test_only_safetensors_are_accepted_at_run_time(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(BadModelFile):
        weights.one_weights_file(tmp_path / name)
    with pytest.raises(BadModelFile, match=r"no \.safetensors"):
        weights.one_weights_file(tmp_path)


def test_one_of_several_files_must_be_named(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(BadModelFile, match=r"several: a\.safetensors, b\.safetensors"):
        weights.one_weights_file(tmp_path)
    assert weights.one_weights_file(tmp_path, "b.safetensors") == tmp_path / "b.safetensors"


def test_offline_a_hub_id_says_what_to_do(home: Path, no_socket: None) -> None:
    with pytest.raises(ModelError, match="rsrag models pull tiny, with offline = false"):
        weights.locate(row("owner/name", revision="abc"), Settings())
    with pytest.raises(ModelError, match="rsrag models convert FILE --model tiny"):
        weights.locate(row("owner/name", options={"file": "x.pt"}), Settings())
    with pytest.raises(ModelError, match=r"download https://example\.org/x\.zip, then rsrag models convert"):
        weights.locate(row("", options={"file": "x.pt", "published": "https://example.org/x.zip"}), Settings())


def test_a_path_that_is_not_there_is_no_matter_for_the_hub(home: Path, tmp_path: Path, no_socket: None) -> None:
    with pytest.raises(ModelError, match=r"no weights in .*/absent .*path of a file or folder") as caught:
        weights.locate(row(tmp_path / "absent"), Settings())
    assert "pull" not in str(caught.value)


def test_an_unpinned_hub_id_is_not_fetched(home: Path, no_socket: None) -> None:
    with pytest.raises(ModelError, match="no revision of owner/name is pinned"):
        weights.locate(row("owner/name", backend="sentence_transformers"), Settings(offline=False))


def test_order_of_places(home: Path, no_socket: None) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = home / "hub" / "models--owner--name" / "snapshots" / commit
    cached.mkdir(parents=True)
    (cached / "model.safetensors").touch()
    assert weights.locate(row(f"owner/name@{commit}"), Settings()) == cached
    converted = weights.converted_path(row("owner/name"))
    assert converted.is_relative_to(home)
    converted.parent.mkdir(parents=True)
    converted.touch()
    assert weights.locate(row(f"owner/name@{commit}"), Settings()) == converted
    assert weights.locate(row(home), Settings()) == home
