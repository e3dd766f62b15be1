"""From what a scan finds to pixels, one picture after another."""

from __future__ import annotations

from collections.abc import Iterator

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import MAX_PIXELS, Image, decode_image, read_image
from lifeiqa.runtime.sources.entries import Entry
from lifeiqa.runtime.sources.names import from_printable
from lifeiqa.runtime.sources.remote import is_uri, read_remote
from lifeiqa.runtime.sources.sample import Sample
from lifeiqa.runtime.sources.scan import Scan
from lifeiqa.runtime.sources.videos import video_samples


def samples(scan: Scan, every: int = 1, max_pixels: int = MAX_PIXELS) -> Iterator[Sample]:
    """Yields the pictures of a scan, and the frames of its videos.

    Never raises for bad input: what cannot be read is yielded with its error, and the next one follows.

    Args:
        scan: what to read.
        every: of a video, only every n-th frame.
        max_pixels: a picture of more is an error.
    """
    for entry in scan:
        yield from samples_of(entry, every, max_pixels)


def samples_of(entry: Entry, every: int, max_pixels: int) -> Iterator[Sample]:
    """The same of a single entry."""
    if entry.error is None and entry.video and entry.path is not None:
        yield from video_samples(entry.path, entry.source, every)
    else:
        yield _picture(entry, max_pixels)


def read_source(source: str, max_pixels: int = MAX_PIXELS) -> Image:
    """The picture that a record's source names: a file or a URI. Raises `ImageError`."""
    name = from_printable(source)
    return decode_image(read_remote(name), max_pixels) if is_uri(name) else read_image(name, max_pixels)


def _picture(entry: Entry, max_pixels: int) -> Sample:
    if entry.error is not None:
        return Sample(entry.source, error=entry.error)
    try:
        if entry.path is not None:
            image = read_image(entry.path, max_pixels)
        else:
            image = decode_image(read_remote(entry.uri) if entry.uri else entry.data or b"", max_pixels)
    except ImageError as error:
        return Sample(entry.source, error=str(error))
    return Sample(entry.source, image.pixels, note=image.note)
