"""Write ``docs/cli.md`` from the command tree: ``python scripts/cli_reference.py [--check]``.

With ``--check`` nothing is written and the exit code is 1 when the page is not current; a test does the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer

from rsrag.cli.app import app
from rsrag.eval.cli import app as eval_app

TARGET = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
_HEAD = """\
# Command line

Made from the program itself by `scripts/cli_reference.py`; do not edit.

Every command takes `--help`. `rsrag --workspace PATH COMMAND` (or `-w`, or the environment variable `RSRAG_WORKSPACE`)
names the archive; without it the nearest one in this folder or above is used, or `./archive.rsrag`. With `--json` a
command prints exactly one JSON object on standard output, of wrong usage too (one that is interrupted may print none);
messages and progress go to standard error. `--verbose` goes before the command.

| exit code | meaning |
| --- | --- |
| 0 | all good |
| 1 | nothing usable: no answer, no result, nothing ingested, or the archive cannot be used |
| 2 | wrong usage: an option, a setting, a geometry or a date; or an optional part that is not installed |
| 3 | done, but some of it was skipped or failed; for `verify`: something disagrees |
| 130 | interrupted; ingest, reindex, demo and train go on where they stopped when called again |
"""


def page() -> str:
    """The whole reference as Markdown."""
    root = typer.main.get_command(app)
    parts = [_HEAD, "## rsrag\n", *_options(root)]
    for name, command in _leaves(root, "rsrag"):
        parts.append(f"\n## {name}\n")
        parts.append(cleandoc(command.help or "") + "\n")
        parts.append(f"```\n{_usage(name, command)}\n```\n")
        parts += _options(command)
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        if name == "eval":  # mounted when it is called, so that --help stays fast
            child = typer.main.get_command(eval_app)
        if hasattr(child, "commands"):
            yield from _leaves(child, f"{path} {name}")
        else:
            yield f"{path} {name}", child


def _usage(name: str, command: Any) -> str:
    words = [name, "[OPTIONS]"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            shown = _metavar(parameter) + ("..." if parameter.nargs != 1 else "")
            words.append(shown if parameter.required else f"[{shown}]")
    return " ".join(words)


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _options(command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        about = (getattr(parameter, "help", None) or "").replace("|", "\\|")
        if parameter.param_type_name == "argument":
            rows.append(f"| `{_metavar(parameter)}` | {about} |")
            continue
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        value = "" if parameter.is_flag else f" `{_metavar(parameter)}`".replace("|", "\\|")
        default = parameter.default
        if default is not None and not parameter.is_flag and not callable(default) and default != []:
            about += f" Default: `{default}`."
        rows.append(f"| {names}{value} | {about} |")
    return ["| argument or option | meaning |\n| --- | --- |\n" + "\n".join(rows)] if rows else []


def main() -> int:
    """Write or check the page."""
    text = page()
    if "--check" in sys.argv[1:]:
        current = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text
        if not current:
            sys.stderr.write(f"{TARGET} is not current: python scripts/cli_reference.py\n")
        return 0 if current else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
