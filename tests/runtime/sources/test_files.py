import io
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from lifeiqa.runtime.sources.files import samples
from lifeiqa.runtime.sources.sample import Sample
from lifeiqa.runtime.sources.scan import Scan


def collect(*inputs: str, stdin: bytes = b"", every: int = 1, videos: bool = False) -> list[Sample]:
    stream = io.BufferedReader(io.BytesIO(stdin))
    return list(samples(Scan(inputs, stream, videos=videos), every))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240))
    assert writer.isOpened()
    for i in range(20):
        writer.write(np.full((240, 320, 3), 10 * i, np.uint8))
    writer.release()
    return path


def test_folder_gives_its_pictures_in_order(photos: Path) -> None:
    names = [Path(s.source).name for s in collect(str(photos))]
    assert names == ["astronaut.png", "camera.png", "chelsea.png", "coffee.jpg", "rocket.png"]


def test_folder_is_searched_to_the_bottom(photos: Path, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "x.PNG").write_bytes((photos / "chelsea.png").read_bytes())
    assert [s.error for s in collect(str(tmp_path))] == [None]


def test_glob_and_standard_input(photos: Path) -> None:
    assert len(collect(f"{photos}/c*.png")) == 2
    listed = f"{photos}/rocket.png\n\n{photos}/coffee.jpg\r\n"
    assert [Path(s.source).name for s in collect("-", stdin=listed.encode())] == ["rocket.png", "coffee.jpg"]


def test_picture_on_standard_input_has_the_pixels_of_its_file(photos: Path) -> None:
    path = photos / "coffee.jpg"
    piped, read = collect("-", str(path), stdin=path.read_bytes())
    assert piped.source == "-"
    assert piped.pixels is not None
    assert read.pixels is not None
    assert np.array_equal(piped.pixels, read.pixels)


def test_what_cannot_be_read_is_named_and_the_rest_follows(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.jpg").mkdir()
    inputs = ["none.jpg", "none.txt", str(tmp_path / "empty"), "no*match", "a\0b", "", str(photos / "coffee.jpg")]
    found = collect(*inputs)
    assert [s.error is None for s in found] == [False] * 6 + [True]
    assert [str(s.error) for s in found[:2]] == ["no such file"] * 2
    assert "folder without pictures" in str(found[2].error)
    assert "no file matches" in str(found[3].error)


def test_name_that_is_no_text_is_read(photos: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copyfile(photos / "chelsea.png", name)
    (found,) = collect(str(tmp_path))
    assert (found.source, found.error) == (f"{tmp_path}/caf\\xe9.png", None)


def test_video_gives_its_frames_with_numbers_and_times(video: Path) -> None:
    found = collect(str(video))
    assert [s.frame for s in found] == list(range(20))
    assert [s.time_s for s in found] == pytest.approx([i / 10 for i in range(20)], abs=0.01)
    assert found[5].pixels is not None
    assert abs(int(found[5].pixels.mean()) - 50) <= 2


def test_every_takes_each_nth_frame(video: Path) -> None:
    assert [s.frame for s in collect(str(video), every=8)] == [0, 8, 16]


def test_videos_of_a_folder_are_scored_where_asked_for(video: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copyfile(video, tmp_path / "clip.avi")
    shutil.copyfile(photos / "chelsea.png", tmp_path / "a.png")
    assert [s.frame for s in collect(str(tmp_path), every=10)] == [None]
    assert [s.frame for s in collect(str(tmp_path), every=10, videos=True)] == [None, 0, 10]


def test_video_whose_name_is_no_text_is_read(video: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.avi"
    shutil.copyfile(video, name)
    found = collect(os.fsdecode(name), every=10)
    assert [(s.source, s.frame) for s in found] == [(f"{tmp_path}/caf\\xe9.avi", 0), (f"{tmp_path}/caf\\xe9.avi", 10)]


def test_video_that_is_none_and_one_cut_short_are_errors(video: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    assert "not a video" in str(collect(str(text))[0].error)
    cut = tmp_path / "cut.avi"
    data = video.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    found = collect(str(cut))
    assert found[-1].error is not None
    assert all(s.error is None for s in found[:-1])
