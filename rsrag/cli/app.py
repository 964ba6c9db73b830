"""The command tree. Nothing heavy is imported before a command runs: ``rsrag --help`` answers at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rsrag._version import __version__
from rsrag.cli import archive, ask, caption, change, classify, ground, ingest, models, segment, show, train
from rsrag.cli.session import Session, fault_table, prepare_messages
from rsrag.config import expanded
from rsrag.errors import ExitCode, RsragError

_RESUMED = {"ingest", "reindex", "demo", "train"}
"""Commands that go on where they stopped."""
_JSON = "rsrag.json"
_WrongUsage: Any = typer.BadParameter.__base__
"""What typer raises for words that are no command, option or value."""


@contextmanager
def _wrong_usage_told(ctx: Any) -> Iterator[None]:
    """With ``--json``, wrong usage is the one object too, beside the message that typer writes to standard error."""
    try:
        yield
    except _WrongUsage as error:
        if ctx.meta[_JSON]:
            path = error.ctx.command_path if error.ctx is not None else "rsrag"
            about = {"code": "UsageError", "message": error.format_message(), "hint": f"{path} --help"}
            Session().emit({"error": about})
        raise


class ErrorsAsExitCodes(TyperGroup):
    """Turns the errors of every command into one message and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_JSON] = "--json" in args
        with _wrong_usage_told(ctx):
            return list(super().parse_args(ctx, args))

    def invoke(self, ctx: Any) -> Any:
        try:
            with _wrong_usage_told(ctx):
                return super().invoke(ctx)
        except RsragError as error:
            ctx.obj.fail(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            resumed = ctx.invoked_subcommand in _RESUMED
            ctx.obj.note("interrupted: resume with the same command" if resumed else "interrupted")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except (typer.Exit, typer.Abort, _WrongUsage, BrokenPipeError):
            raise  # typer ends a closed pipe quietly
        except Exception as error:
            state: Session = ctx.obj
            if state.as_json and not state.emitted:
                state.emit({"error": fault_table(error)})
            raise


app = typer.Typer(
    cls=ErrorsAsExitCodes,
    help="Ask your satellite archive: ingest imagery and knowledge about places, and get answers with every sentence "
    "cited.",
    epilog="Exit codes: 0 all good, 1 nothing usable, 2 wrong usage, 3 some of it skipped or failed, 130 interrupted.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help answers in half the time
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rsrag {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            envvar="RSRAG_WORKSPACE",
            metavar="PATH",
            help="Directory of the archive. Default: the nearest one upwards, or ./archive.rsrag.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say more: provenance, timings, ids, tracebacks.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    ctx.obj = Session(expanded(workspace) if workspace else None, verbose)
    ctx.call_on_close(prepare_messages(ctx.obj))


app.command("init")(archive.init)
app.command("ingest")(ingest.ingest)
app.command("search")(ask.search)
app.command("ask")(ask.ask)
app.command("chat")(ask.chat)
app.command("caption")(caption.caption)
app.command("classify")(classify.classify)
app.command("change", cls=change.TakesDates)(change.change)
app.command("ground")(ground.ground)
app.command("segment")(segment.segment)
app.command("show")(show.show)
app.command("status")(archive.status)
app.command("verify")(archive.verify)
app.command("reindex")(archive.reindex)
app.command("export")(archive.export)
app.add_typer(archive.config_app, name="config")
app.add_typer(models.app, name="models")
app.command("demo")(models.demo)
app.add_typer(train.app, name="train")


@app.command(
    "eval",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def evaluate(ctx: typer.Context) -> None:
    """Measure retrieval and answers beside baselines."""
    command = typer.main.get_command(import_module("rsrag.eval.cli").app)
    with command.make_context("eval", list(ctx.args), parent=ctx.parent) as inner:
        command.invoke(inner)


__all__ = ["app"]
