"""Streams whose bytes do not come all at once."""

import io


class Trickle(io.RawIOBase):
    """A slow producer, which writes a piece each time it is waited for."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self.pieces.pop(0) if self.pieces else b""
        buffer[: len(piece)] = piece
        return len(piece)
