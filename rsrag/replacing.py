"""A file that appears under its name once it is complete, and leaves the old one alone when writing fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from rsrag.errors import UsageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside the target, with its ending, which becomes the target when nothing went wrong.

    Raises:
        UsageError: the operating system refuses the file, or a library its name.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    except UnicodeEncodeError as error:
        if error.object not in (str(partial), str(path)):
            raise
        raise UsageError(f"cannot write {path}: its name is not valid Unicode", hint="choose another name") from error
    finally:
        for left in path.parent.glob(f"{escape(partial.name)}*"):
            left.unlink(missing_ok=True)
