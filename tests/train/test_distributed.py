"""Two processes give the losses, the gradients and the weights that one gives on the joint batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

SUPPORT = Path(__file__).resolve().parents[1] / "support"


def together(*arguments: str | Path, **environment: str) -> None:
    """Run a command in two processes that know each other; both must end well."""
    running = []
    for rank in range(2):
        own = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **environment}
        own |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        command = [sys.executable, *(str(a).format(rank=rank) for a in arguments)]
        running.append(subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    said = [process.communicate(timeout=600)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)


def test_gathered_losses_and_gradients_are_those_of_the_joint_batch(tmp_path: Path) -> None:
    together(SUPPORT / "gathered.py", "{rank}", tmp_path / "meeting")


def test_two_processes_train_as_one(toy_data: Path, toy_table: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    pytest.importorskip("accelerate")
    pytest.importorskip("cv2")
    from tiny_clip import clip_table

    from rsrag.train import train_encoder
    from rsrag.train.config import parse_config
    from rsrag.train.restore import load_tower

    table = clip_table(toy_table, tmp_path)
    table["optim"] |= {"epochs": 2, "accumulate": 2, "views": 2, "instance_weight": 0.5, "loss": "siglip"}
    table["data"]["holdout"] = 0.0
    train_encoder(parse_config(table), run_dir=tmp_path / "one", data_dir=toy_data, export=False)
    (tmp_path / "table.json").write_text(json.dumps(table), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    together(
        SUPPORT / "train_table.py",
        tmp_path / "table.json",
        tmp_path / "two",
        toy_data,
        WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=port,
    )
    _, one = load_tower(tmp_path / "one")
    _, two = load_tower(tmp_path / "two")
    for key, value in one.state_dict().items():
        assert torch.allclose(value, two.state_dict()[key], atol=2e-4), key
    summaries = [json.loads((tmp_path / name / "summary.json").read_text(encoding="utf-8")) for name in ("one", "two")]
    assert [summary["devices"] for summary in summaries] == [1, 2]
    lines = [(tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines() for name in ("one", "two")]
    losses = [[json.loads(line)["loss"] for line in part] for part in lines]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
