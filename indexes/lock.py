"""A lock on a directory that the operating system lets go of when its holder dies."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path

from rsrag.errors import IndexFailure, WorkspaceBusy

_HELD_BYTE = 4096  # Windows locks bytes, and a locked byte cannot be read: lock one behind the text


class FileLock:
    """Held from construction to ``release`` or the end of the process. The file names the holder and is never deleted.

    Raises:
        WorkspaceBusy: somebody else holds it; the message names path and holder.
        IndexFailure: the file system cannot lock, or the directory cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._pid = os.getpid()
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise IndexFailure(
                f"cannot write {path}: {error.strerror}", hint="the index needs a writable directory"
            ) from error
        try:
            _lock(fd)
        except BlockingIOError as error:
            os.close(fd)
            raise WorkspaceBusy(
                f"{path.parent} is in use by {holder(path)}",
                hint="an embedded index has one process at a time: end that one, or set `index` to a Qdrant server",
            ) from error
        except OSError as error:
            os.close(fd)
            hint = "put the workspace on a local disk, or use a Qdrant server"
            raise IndexFailure(f"cannot lock {path}: {error.strerror}", hint=hint) from error
        self._fd = fd
        os.ftruncate(fd, 0)
        os.write(fd, f"pid {os.getpid()} on {socket.gethostname()}\n".encode())

    def release(self) -> None:
        """Let go. In a forked child this closes the child's copy only; the parent keeps the lock."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            if os.getpid() == self._pid:
                _unlock(fd)
            os.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self.release()


def holder(path: Path) -> str:
    """Who wrote the lock file last: "pid 123 on host"."""
    try:
        return path.read_text().strip() or "another process"
    except (OSError, UnicodeDecodeError):
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> None:
        os.lseek(fd, _HELD_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
        os.lseek(fd, 0, os.SEEK_SET)

    def _unlock(fd: int) -> None:
        os.lseek(fd, _HELD_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)
