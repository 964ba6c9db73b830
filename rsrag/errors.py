"""Every error rsrag raises on purpose, and the exit code each one ends a command with.

The tree::

    RsragError
    ├── UsageError                 the request itself is wrong                           exit 2
    │   ├── BadGeometry            a filter geometry that cannot be used
    │   ├── BadTimeSpan            a date or interval that cannot be read
    │   └── ConfigError            a setting that cannot be read or has a wrong value
    ├── MissingExtra               an optional part is not installed                     exit 2
    ├── SourceError                one item of input is unusable; ingest records it      exit 1
    │   ├── UnreadableSource       damaged, empty, of another type than it says
    │   ├── RefusedSource          readable, but not allowed (network path, VRT, archive)
    │   ├── SourceTooLarge         more pixels, tiles or bytes than the limits allow
    │   ├── UnsupportedSource      a valid file of a kind that has no meaning here
    │   ├── BadFootprint           no position, or one that is not on Earth
    │   └── BadKnowledge           a place or document row without what it needs
    ├── WorkspaceError             the workspace cannot be used as it is                 exit 1
    │   ├── WorkspaceNotFound
    │   ├── WorkspaceBusy          another process owns the embedded index
    │   ├── SchemaMismatch         written by another version of rsrag
    │   ├── ModelMismatch          filled by other models than the ones asked for
    │   └── ForeignIndex           the collections on a vector server are another archive's
    ├── IndexFailure               the vector engine refused or failed                   exit 1
    │   ├── IndexUnavailable       no answer from a server, after retries
    │   └── BadVector              NaN, inf, zero or wrong size: never written
    ├── CatalogError               the catalogue database failed                         exit 1
    └── ModelError                 a model cannot be loaded or gave no usable output     exit 1
        ├── BadModelFile           wrong digest, wrong keys, unsafe format
        └── ReaderError            the answering model failed or timed out

A message says what is wrong and where; ``hint`` says what to do about it. Warnings are classes too, so that
``warnings.simplefilter("error", RsragWarning)`` turns every degraded result into a failure.
"""

from __future__ import annotations


class ExitCode:
    """What the shell sees. Stable: scripts rely on it."""

    OK = 0
    NOTHING = 1
    USAGE = 2
    PARTIAL = 3
    INTERRUPTED = 130


class RsragError(Exception):
    """Base of all errors.

    Args:
        message: what is wrong, and where (file, window, id, setting).
        hint: what the reader can do about it.
    """

    exit_code: int = ExitCode.NOTHING

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def code(self) -> str:
        """Stable machine name of the error: its class name."""
        return type(self).__name__

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(RsragError):
    """The request itself is wrong."""

    exit_code = ExitCode.USAGE


class BadGeometry(UsageError):
    """A filter geometry that cannot be used."""


class BadTimeSpan(UsageError):
    """A date or interval that cannot be read."""


class ConfigError(UsageError):
    """A setting that cannot be read or has a wrong value."""


class MissingExtra(RsragError):
    """An optional part is not installed.

    Args:
        what: the feature that was asked for.
        extra: name of the extra that brings it.
        package: the import that failed.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, what: str, *, extra: str, package: str | None = None) -> None:
        missing = f" (no module {package!r})" if package else ""
        super().__init__(f"{what} is not installed{missing}", hint=f"pip install 'rsrag[{extra}]'")
        self.extra = extra


class SourceError(RsragError):
    """One item of input is unusable; ingest records it and goes on."""


class UnreadableSource(SourceError):
    """Damaged, empty, or of another type than it says."""


class RefusedSource(SourceError):
    """Readable, but not allowed: a network path, a virtual raster, an archive."""


class SourceTooLarge(SourceError):
    """More pixels, tiles or bytes than the limits allow."""


class UnsupportedSource(SourceError):
    """A valid file of a kind that has no meaning here."""


class BadFootprint(SourceError):
    """No position, or one that is not on Earth."""


class BadKnowledge(SourceError):
    """A place or document row without what it needs."""


class WorkspaceError(RsragError):
    """The workspace cannot be used as it is."""


class WorkspaceNotFound(WorkspaceError):
    """There is no workspace at the path."""


class WorkspaceBusy(WorkspaceError):
    """Another process owns the embedded index."""


class SchemaMismatch(WorkspaceError):
    """Written by another version of rsrag."""


class ModelMismatch(WorkspaceError):
    """Filled by other models than the ones asked for."""


class ForeignIndex(WorkspaceError):
    """The collections on a vector server belong to another archive."""


class IndexFailure(RsragError):
    """The vector engine refused or failed."""


class IndexUnavailable(IndexFailure):
    """No answer from a vector server, after retries."""


class BadVector(IndexFailure):
    """A vector that must never be written: NaN, inf, zero or of the wrong size."""


class CatalogError(RsragError):
    """The catalogue database failed."""


class ModelError(RsragError):
    """A model cannot be loaded or gave no usable output."""


class BadModelFile(ModelError):
    """Wrong digest, wrong keys or an unsafe format."""


class ReaderError(ModelError):
    """The answering model failed or timed out."""


class RsragWarning(UserWarning):
    """Base of all warnings: the result is usable, but less than asked for."""


class DegradedResult(RsragWarning):
    """A channel, filter or model was left out of a result, which says so."""
