import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of
from lifeiqa.runtime.scoring import decoders
from lifeiqa.runtime.scoring.decoders import Decoder, DecodeSettings
from lifeiqa.runtime.sources.entries import Entry

SPEC = PreprocessSpec()
START = decoders._START


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(DecodeSettings(SPEC, None, 1_000_000))
    yield decoder
    decoder.close()


def process_of(decoder: Decoder) -> int:
    assert decoder._process is not None
    return decoder._process.pid


@pytest.fixture
def endless(tmp_path: Path) -> Entry:
    """A file that never comes to an end: a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "endless.jpg")
    return Entry.of(str(tmp_path / "endless.jpg"))


def test_crops_and_notes_are_those_of_this_process(decoder: Decoder, photos: Path) -> None:
    for path in sorted(photos.iterdir()):
        image = read_image(path)
        found = decoder.decode(Entry.of(str(path)))
        assert np.array_equal(found.crops, crops_of(image.pixels, SPEC))
        assert found.notes == (image.note, None)


def test_picture_of_standard_input_is_decoded_from_its_bytes(decoder: Decoder, photos: Path) -> None:
    path = photos / "coffee.jpg"
    found = decoder.decode(Entry("-", data=path.read_bytes()))
    assert np.array_equal(found.crops, decoder.decode(Entry.of(str(path))).crops)


def test_name_that_is_no_text_reaches_the_file(decoder: Decoder, photos: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9\n.jpg")
    path.write_bytes((photos / "coffee.jpg").read_bytes())
    assert len(decoder.decode(Entry.of(str(path))).crops) == 5


def test_errors_of_a_file_are_the_readers(decoder: Decoder, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    for name, message in (("empty.jpg", "the file is empty"), ("none.jpg", "no such file")):
        with pytest.raises(ImageError, match=message):
            decoder.decode(Entry.of(str(tmp_path / name)))


def test_bug_shows_its_traceback_and_costs_its_file_alone(
    decoder: Decoder, photos: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_START", "from lifeiqa.runtime.images import reader; reader._decode = 7; " + START)
    with pytest.raises(ImageError, match=r"a bug of lifeiqa .*TypeError.*please report it"):
        decoder.decode(Entry.of(str(photos / "coffee.jpg")))
    assert "Traceback" in capfd.readouterr().err


def test_too_many_pixels_are_refused(decoder: Decoder, tmp_path: Path) -> None:
    (tmp_path / "large.pgm").write_bytes(b"P5\n1200 1000\n255\n" + bytes(1_200_000))
    with pytest.raises(ImageError, match="1200x1000 pixels are more than the 1 million"):
        decoder.decode(Entry.of(str(tmp_path / "large.pgm")))


def kill_when_at_work(decoder: Decoder, times: int) -> threading.Thread:
    """Kills the decoder's process so many times, each a moment after it was started anew."""

    def kill() -> None:
        killed: set[int] = set()
        while len(killed) < times:
            time.sleep(0.05)
            process = decoder._process
            if process is not None and process.pid not in killed and decoder._deadline is not None:
                time.sleep(0.3)
                os.kill(process.pid, signal.SIGSEGV)
                killed.add(process.pid)
                while decoder._process is process:  # until it is dead, it still reads what is written to the pipe
                    time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_crash_costs_its_file_and_the_next_one_is_decoded(decoder: Decoder, endless: Entry, photos: Path) -> None:
    good = Entry.of(str(photos / "coffee.jpg"))
    decoder.decode(good)
    pid = process_of(decoder)
    killer = kill_when_at_work(decoder, 2)
    with pytest.raises(ImageError, match=r"its decoder crashed \(signal 11\)"):
        decoder.decode(endless)
    killer.join()
    assert len(decoder.decode(good).crops) == 5
    assert process_of(decoder) != pid


def test_process_that_somebody_kills_changes_nothing(decoder: Decoder, endless: Entry, photos: Path) -> None:
    killer = kill_when_at_work(decoder, 1)

    def write() -> None:
        killer.join()
        Path(str(endless.path)).write_bytes((photos / "coffee.jpg").read_bytes())

    writer = threading.Thread(target=write)
    writer.start()
    assert len(decoder.decode(endless).crops) == 5
    writer.join()


def test_signals_to_the_whole_group_leave_the_process_alone(decoder: Decoder, photos: Path) -> None:
    good = Entry.of(str(photos / "coffee.jpg"))
    decoder.decode(good)
    pid = process_of(decoder)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    decoder.decode(good)
    assert process_of(decoder) == pid


def test_file_that_takes_too_long_is_given_up(endless: Entry) -> None:
    decoder = Decoder(DecodeSettings(SPEC, None, 1_000_000, timeout_s=0.3))
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            decoder.give_up_if_late(time.monotonic())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(ImageError, match=r"took longer than 0\.3 s.*--decode-timeout"):
        decoder.decode(endless)
    ended.set()
    watcher.join()
    decoder.close()


def test_closing_ends_a_process_that_is_at_work(decoder: Decoder, endless: Entry, photos: Path) -> None:
    decoder.decode(Entry.of(str(photos / "coffee.jpg")))
    process, timer = decoder._process, threading.Timer(0.3, decoder.close)
    timer.start()
    with pytest.raises(ImageError):
        decoder.decode(endless)
    timer.join()
    assert process is not None and process.poll() is not None
    with pytest.raises(ImageError, match="interrupted"):
        decoder.decode(endless)
