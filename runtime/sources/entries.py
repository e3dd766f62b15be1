"""What a scan finds: one file to score, or the reason why it cannot be."""

from __future__ import annotations

import io
from dataclasses import dataclass

from lifeiqa.runtime.images.formats import HEAD_BYTES
from lifeiqa.runtime.sources.names import printable


@dataclass(frozen=True)
class Entry:
    """One file to score, not yet read.

    Attributes:
        source: its name as records show it, see `names.printable`.
        path: its name as the operating system takes it; None for what has none.
        error: None, or why it cannot be scored and what to do about it.
        data: the whole of a picture that came through standard input, None otherwise.
        video: whether its frames are to be scored.
        uri: of a file in an object store, see `remote`; None otherwise.
        state: of such a file, what changes when it does; "" where that is not known.
    """

    source: str
    path: str | None = None
    error: str | None = None
    data: bytes | None = None
    video: bool = False
    uri: str | None = None
    state: str = ""

    @classmethod
    def of(cls, path: str, error: str | None = None, video: bool = False) -> Entry:
        """The entry of a file."""
        return cls(printable(path), path, error, video=video)

    @classmethod
    def of_uri(cls, uri: str, error: str | None = None, state: str = "") -> Entry:
        """The entry of what a URI names."""
        return cls(printable(uri), error=error, uri=uri, state=state)


def head_of(path: str) -> bytes:
    """The bytes that tell a file's format. Raises `OSError`. Never for a pipe, which would lose them."""
    with io.FileIO(path) as file:
        return file.read(HEAD_BYTES) or b""


def reason(error: OSError) -> str:
    """What the operating system says, in one line."""
    return error.strerror or str(error).partition("\n")[0]
