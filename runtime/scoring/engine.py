"""Scores what a scan finds, on all cores, and yields the records in the order of the scan."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from queue import Full, Queue
from types import TracebackType
from typing import TypeVar

import numpy as np

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.scorer import Score, Scorer, join_notes
from lifeiqa.runtime.scoring.decoders import Decoded, Decoder, DecodeSettings
from lifeiqa.runtime.sinks.record import Record
from lifeiqa.runtime.sources.entries import Entry
from lifeiqa.runtime.sources.remote import read_remote
from lifeiqa.runtime.sources.sample import Sample
from lifeiqa.runtime.sources.videos import video_samples

Result = TypeVar("Result")
BATCH_CROPS = 32  # of several pictures, for a device that gains by it
_WATCH_S = 0.2


class Engine:
    """Decodes files in `jobs` processes and scores them. Memory does not grow with their number.

    Where several threads may run the model, each of `jobs` threads has a file decoded and scores it, picture by
    picture: so a score does not depend on what else was scored with it. Elsewhere, as on a GPU, the decoded pictures
    are scored in batches. The processes are kept for further calls, until `close`.
    """

    def __init__(self, scorer: Scorer, settings: DecodeSettings, jobs: int, every: int = 1) -> None:
        """Starts nothing yet.

        Args:
            scorer: with one thread for an operator where its backend is concurrent.
            settings: of decoding.
            jobs: files decoded at the same time.
            every: of a video, only every n-th frame.
        """
        self._scorer, self._settings, self._jobs, self._every = scorer, settings, jobs, every
        self._decoders, self._idle, self._lock = list[Decoder](), list[Decoder](), threading.Lock()
        self._closed = False

    def score(self, entries: Iterable[Entry]) -> Iterator[Iterable[Record]]:
        """Yields the records of each entry: one of a picture, one a frame of a video."""
        pool = ThreadPoolExecutor(self._jobs, "decode")
        how = self._picture_by_picture if self._scorer.backend.concurrent else self._in_batches
        try:
            with self._watched():
                yield from how(entries, pool)
        except BaseException:
            self.close()  # nobody waits for what is being decoded
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Ends the processes, whatever they do. May be called by another thread than `score`."""
        with self._lock:
            self._closed = True
            for decoder in self._decoders:
                decoder.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Gives up files that take too long."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_WATCH_S):
                for decoder in list(self._decoders):
                    decoder.give_up_if_late(time.monotonic())

        watcher = threading.Thread(target=watch, name="decode timeouts", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()

    def _decode(self, entry: Entry) -> Decoded:
        """Decodes an entry in a process that is idle. Raises `ImageError`."""
        if entry.error is not None:
            raise ImageError(entry.error)
        if entry.uri is not None:
            entry = replace(entry, data=read_remote(entry.uri))
        with self._lock:
            if self._closed:
                raise ImageError("interrupted")
            if not self._idle:
                self._decoders.append(Decoder(self._settings))
                self._idle.append(self._decoders[-1])
            decoder = self._idle.pop()
        try:
            return decoder.decode(entry)
        finally:
            with self._lock:
                self._idle.append(decoder)

    def _picture_by_picture(self, entries: Iterable[Entry], pool: ThreadPoolExecutor) -> Iterator[Iterable[Record]]:
        def score(entry: Entry) -> Record:
            try:
                decoded = self._decode(entry)
                return _record(entry, self._scorer.score_crops(decoded.crops), decoded.notes)
            except ImageError as error:
                return _record(entry, None, (), str(error))

        # Waiting records are small: a file that takes long holds up the order, not the others.
        for entry, future in _ahead(entries, lambda entry: pool.submit(score, entry), 64 * self._jobs):
            yield self._frames(entry) if future is None else [future.result()]

    def _in_batches(self, entries: Iterable[Entry], pool: ThreadPoolExecutor) -> Iterator[Iterable[Record]]:
        waiting = _ahead(entries, lambda entry: pool.submit(self._decode, entry), 4 * self._jobs)
        batch: list[tuple[Entry, Decoded | ImageError]] = []
        for entry, future in waiting:
            if future is not None:
                try:
                    batch.append((entry, future.result()))
                except ImageError as error:
                    batch.append((entry, error))
            if future is None or sum(len(d.crops) for _, d in batch if isinstance(d, Decoded)) >= BATCH_CROPS:
                yield from self._scored(batch)
                batch = []
            if future is None:
                yield self._frames(entry)
        yield from self._scored(batch)

    def _scored(self, batch: list[tuple[Entry, Decoded | ImageError]]) -> Iterator[Iterable[Record]]:
        crops = [decoded.crops for _, decoded in batch if isinstance(decoded, Decoded)]
        scores = iter(self._scorer.backend.infer(np.concatenate(crops))) if crops else iter(())
        for entry, decoded in batch:
            if isinstance(decoded, ImageError):
                yield [_record(entry, None, (), str(decoded))]
                continue
            own = np.fromiter(islice(scores, len(decoded.crops)), np.float32)
            try:
                yield [_record(entry, self._scorer.score_of(own), decoded.notes)]
            except ImageError as error:
                yield [_record(entry, None, (), str(error))]

    def _frames(self, entry: Entry) -> Iterator[Record]:
        assert entry.path is not None
        for sample in video_samples(entry.path, entry.source, self._every):
            yield score_sample(self._scorer, sample)


def score_sample(scorer: Scorer, sample: Sample) -> Record:
    """The record of a decoded picture or frame."""
    if sample.pixels is None:
        return Record.of(sample, None)
    try:
        return Record.of(sample, scorer.score(sample.pixels))
    except ImageError as error:
        return Record.of(sample, None, str(error))
    except MemoryError:
        return Record.of(sample, None, "does not fit into memory; score a smaller copy")


def _record(entry: Entry, score: Score | None, notes: tuple[str | None, ...], error: str | None = None) -> Record:
    return Record.of(Sample(entry.source, note=join_notes(*notes)), score, error)


def _ahead(
    entries: Iterable[Entry], start: Callable[[Entry], Future[Result]], count: int
) -> Iterator[tuple[Entry, Future[Result] | None]]:
    """Yields each entry with its future as soon as it is begun, at most `count` ahead; videos have none.

    The entries are drawn by another thread: a list on standard input may come slowly.
    """
    found: Queue[tuple[Entry, Future[Result] | None] | BaseException | None] = Queue(count)
    ended = threading.Event()

    def put(item: tuple[Entry, Future[Result] | None] | BaseException | None) -> None:
        while not ended.is_set():
            with contextlib.suppress(Full):
                found.put(item, timeout=_WATCH_S)
                return

    def feed() -> None:
        try:
            for entry in entries:
                if ended.is_set():
                    return
                put((entry, None if entry.video and entry.error is None else start(entry)))
            put(None)
        except BaseException as error:
            put(error)

    threading.Thread(target=feed, name="scan", daemon=True).start()
    try:
        while (item := found.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        ended.set()
