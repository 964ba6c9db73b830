"""Mistakes get one clear message, the right exit code, and no traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from commands import Run

from rsrag.errors import DegradedResult, RsragError

USAGE = [
    (["ask"], "QUESTION"),
    (["ask", "  "], "empty question"),
    (["ask", "q", "--image", "nowhere.png"], "nowhere.png"),
    (["ask", "q", "--bbox", "1", "2", "3"], "bbox"),
    (["ask", "q", "--bbox", "1", "95", "3", "99"], "not on Earth"),
    (["ask", "q", "--where", "45.0,123.0"], "not on Earth"),
    (["ask", "q", "--datetime", "yesterday"], "yesterday"),
    (["ask", "q", "--intersects", "POINT(1 2)"], "neither a file nor a geometry"),
    (["ask", "q", "--limit", "0"], "limit"),
    (["search", "q", "--fact", "colour>1"], "colour"),
    (["search", "q", "--fact", "ndvi_mean"], "not a condition"),
    (["search", "q", "--kind", "scene"], "no kind 'scene'"),
    (["search", "q", "--fusion", "magic"], "fusion"),
    (["search"], "nothing to search for"),
    (["search", "q", "--save", "hits.shp"], "hits.shp"),
    (["ingest"], "nothing to ingest"),
    (["ingest", "x", "--columns", "name"], "column"),
    (["export", "tiles.shp"], "tiles.shp"),
    (["export", "tiles.geojson", "--what", "roads"], "roads"),
    (["export", "tiles.geojson", "--vectors"], "GeoParquet"),
    (["models", "check", "--profile", "huge"], "huge"),
    (["config", "nonsense"], "nonsense"),
    (["frobnicate"], "frobnicate"),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_wrong_usage(run: Run, archive: Path, arguments: list[str], message: str) -> None:
    ran = run("-w", archive, *arguments)
    assert ran.code == 2
    assert message in ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "--json"],
        ["ask", "q", "--image", "nowhere.png", "--json"],
        ["export", "--json", "--colour", "tiles.gpkg"],
        ["models", "frobnicate", "--json"],
        ["frobnicate", "--json"],
        ["--frobnicate", "status", "--json"],
        ["eval", "classification", "--frobnicate", "--json"],
    ],
    ids=" ".join,
)
def test_wrong_usage_as_json(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == 2 and "Error: " in ran.err
    assert ran.json["error"]["code"] == "UsageError"
    assert ran.json["error"]["message"] in ran.err and ran.json["error"]["hint"].endswith("--help")


def test_init_refuses_a_profile_that_is_not_there(run: Run, tmp_path: Path) -> None:
    for profile in ("huge", "mine.toml"):
        assert run("init", "w", "--profile", profile, "--json").json["error"]["code"] == "ConfigError"
    assert not (tmp_path / "w").exists()


def test_paths_that_the_system_refuses(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = run("-w", "a" * 300, "status", "--json")
    assert named.code == 1 and named.json["error"]["code"] == "WorkspaceError"
    assert run("-w", "~nobody-of-this-name/x", "status").code == 1

    def refused(path: Path, is_file: Any = Path.is_file) -> bool:
        if path.parent.name == "archive.rsrag":
            raise PermissionError(13, "Permission denied")
        return bool(is_file(path))

    monkeypatch.setattr(Path, "is_file", refused)
    assert "no workspace here" in run("status").err


def test_no_workspace(run: Run) -> None:
    ran = run("status")
    assert ran.code == 1
    assert "hint: rsrag ingest" in ran.err
    named = run("-w", "nowhere", "ask", "q", "--json")
    assert named.json["error"]["code"] == "WorkspaceNotFound"
    assert named.code == 1


def test_workspace_from_the_environment_and_from_above(
    run: Run, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSRAG_WORKSPACE", str(archive))
    assert run("config", "path").out.strip() == str(archive / "rsrag.toml")
    monkeypatch.delenv("RSRAG_WORKSPACE")
    run("init", "a")
    deep = tmp_path / "a" / "b"
    deep.mkdir()
    run("init", tmp_path / "archive.rsrag")
    assert run("config", "path").out.strip() == str(tmp_path / "archive.rsrag" / "rsrag.toml")
    monkeypatch.chdir(deep)
    assert run("config", "path").out.strip() == str(tmp_path / "a" / "rsrag.toml")


def test_init_says_that_a_workspace_keeps_its_settings(run: Run) -> None:
    assert run("init", "a b").code == 0
    again = run("init", "a b", "--index", "http://127.0.0.1:1")
    assert again.code == 0 and "keeps its settings" in again.err
    assert "keeps" not in run("init", "a b").err and "'a b'" in run("init", "a b").err


def test_init_refuses_what_is_no_workspace(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    assert run("init", "full").code == 2
    assert run("init", "w", "--profile", "huge", "--json").code in (0, 2)


def fail(error: BaseException) -> Any:
    def raising(*_: Any, **__: Any) -> None:
        raise error

    return raising


def test_interrupt_is_130(run: Run, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsrag.engine.Engine.ingest", fail(KeyboardInterrupt()))
    ran = run("-w", archive, "ingest", "somewhere")
    assert ran.code == 130
    assert "interrupted: resume with the same command" in ran.err
    monkeypatch.setattr("rsrag.engine.Engine.status", fail(KeyboardInterrupt()))
    assert run("-w", archive, "status").err == "interrupted\n"


def test_errors_keep_their_code_and_verbose_shows_the_traceback(
    run: Run, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsrag.engine.Engine.ask", fail(RsragError("bad \x1b[31m[bold]thing[/bold]", hint="do that")))
    ran = run("-w", archive, "ask", "q")
    assert ran.code == 1
    assert "error: bad [31m[bold]thing[/bold]" in ran.err
    assert "hint: do that" in ran.err
    assert "Traceback" not in ran.err
    assert "Traceback" in run("-w", archive, "-v", "ask", "q").err


def test_warnings_become_lines(run: Run, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def status(_: Any) -> dict[str, Any]:
        warnings.warn("a channel is missing", DegradedResult, stacklevel=1)
        warnings.warn("nobody wants to know", UserWarning, stacklevel=1)
        return {"counts": {}}

    monkeypatch.setattr("rsrag.engine.Engine.status", status)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        ran = run("-w", archive, "status", "--json")
    assert ran.err == "warning: a channel is missing\n"


# --- as a process ---------------------------------------------------------------------------------------------------


def process(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rsrag", *(str(a) for a in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_version_help_and_exit_codes(tmp_path: Path) -> None:
    assert process("--version").stdout.startswith("rsrag 0.")
    shown = process("--help")
    assert shown.returncode == 0
    names = "init ingest search ask chat show status verify reindex export config models demo train eval"
    for command in names.split():
        assert f"\n  {command} " in shown.stdout
    assert process("status", cwd=tmp_path).returncode == 1
    assert process("frobnicate").returncode == 2


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom rsrag.cli import main\nsys.argv = ['rsrag', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'rich', 'shapely', 'sqlalchemy', 'rasterio', 'onnxruntime', 'torch', 'cv2', 'pydantic'}\n"
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules))))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    assert "Usage: rsrag" in shown.stdout


def test_unexpected_fault_is_one_line(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom rsrag import cli\nfrom rsrag.cli import app\n"
        "def broken(*a, **k): raise ValueError('boom \\x1b[31m')\n"
        "app.Session.locate = broken\nsys.argv = ['rsrag', *sys.argv[1:]]\ncli.main()"
    )
    plain = subprocess.run([sys.executable, "-c", code, "status"], capture_output=True, text=True, check=False)
    assert plain.returncode == 1
    assert plain.stderr.splitlines()[0] == "error: unexpected fault: ValueError: boom \\x1b[31m"
    assert "Traceback" not in plain.stderr
    told = subprocess.run([sys.executable, "-c", code, "status", "--json"], capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert json.loads(told.stdout)["error"] == {
        "code": "UnexpectedFault",
        "message": "ValueError: boom \x1b[31m",
        "hint": "add --verbose before the command for the traceback",
    }
    loud = subprocess.run([sys.executable, "-c", code, "-v", "status"], capture_output=True, text=True, check=False)
    assert "Traceback" in loud.stderr


def test_closed_pipe_is_quiet(archive: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "rsrag", "-w", str(archive), "search", "lake"]
    try:
        ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    finally:
        os.close(writing)
    assert "Traceback" not in ran.stderr
    assert "unexpected" not in ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_is_130(archive: Path) -> None:
    command = [sys.executable, "-m", "rsrag", "-w", str(archive), "chat"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    def as_in_a_terminal() -> None:
        # A shell's background jobs ignore the interrupt signal, and their children inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, text=True, preexec_fn=as_in_a_terminal, **pipes) as running:  # type: ignore[call-overload]
        running.stdin.write("How deep is Blue Lagoon?\n")
        running.stdin.flush()
        while "Lagoon" not in running.stdout.readline():
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in out + err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["config", "show"], ["config", "show", "--json"], ["status", "--json"]])
def test_output_that_cannot_be_written_is_no_fault_of_rsrag(
    tmp_path: Path, arguments: list[str], buffered: str
) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "rsrag", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": buffered},
        )
    assert ran.returncode == 1
    assert "error: the output cannot be written: No space left on device" in ran.stderr
    assert "unexpected" not in ran.stderr and "Exception ignored" not in ran.stderr
