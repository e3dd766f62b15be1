"""JPEG: what is whole is scored however it is written, and what has lost data is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_files import (
    GREY,
    RGB,
    THREE_GREYS,
    by_opencv,
    cmyk_jpeg,
    hole_of_zeros,
    hole_removed,
    restarts,
    saved,
    scan_starts,
    with_segment,
)

from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.images import decode_image, ends_early
from lifeiqa.runtime.images.jpeg import has_end, segments

END = b"\xff\xd9"
QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 90)
PROGRESSIVE, RESTART = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
WHOLE = {
    "baseline": by_opencv(RGB, ".jpg", *QUALITY),
    "optimized": saved(RGB, "JPEG", quality=90, optimize=True),
    "grey": saved(GREY, "JPEG", quality=90),
    "cmyk": cmyk_jpeg(RGB),
    "cmyk of odd sampling": cmyk_jpeg(RGB, subsampling="4:2:0"),  # black is subsampled, too
    "odd sampling": Path(__file__).with_name("odd_sampling.jpg").read_bytes(),  # by cjpeg -sample 2x2,2x1,1x1
    "progressive": by_opencv(RGB, ".jpg", *QUALITY, *PROGRESSIVE),
    "restarts": by_opencv(RGB, ".jpg", *QUALITY, *RESTART),
    "progressive with restarts": by_opencv(RGB, ".jpg", *QUALITY, *PROGRESSIVE, *RESTART),
}
EXPECTED = {name: THREE_GREYS if name == "grey" else RGB for name in WHOLE}
every_kind = pytest.mark.parametrize("kind", WHOLE)
with_restarts = pytest.mark.parametrize("kind", ["restarts", "progressive with restarts"])

# A grey border, above or below, whose blocks an optimized JPEG codes as zeros.
BORDERED = np.full((400, 600, 3), 255, np.uint8)
BORDERED[:120, :160] = RGB
FRAMED = {"border below": BORDERED, "border above": np.ascontiguousarray(BORDERED[::-1, ::-1])}


@every_kind
def test_whole_file_is_read_without_a_word(kind: str) -> None:
    image = decode_image(WHOLE[kind])
    assert np.abs(image.pixels.astype(int) - EXPECTED[kind]).mean() < 5
    assert image.note == ("grey" if kind == "grey" else None)


@every_kind
@pytest.mark.parametrize("end", [b"", END], ids=["no end marker", "end marker"])
@pytest.mark.parametrize("share", [0.35, 0.6, 0.97])
def test_file_that_is_cut_is_refused_with_an_end_marker_or_without(kind: str, end: bytes, share: float) -> None:
    data = WHOLE[kind]
    with pytest.raises(ImageError, match="cut short"):
        decode_image(data[: int(len(data) * share)] + end)


@every_kind
@pytest.mark.parametrize("at", [0.4, 0.55, 0.7, 0.8])
def test_hole_of_zeros_is_refused_also_where_the_decoder_says_nothing(kind: str, at: float) -> None:
    with pytest.raises(ImageError, match="copy it again"):
        decode_image(hole_of_zeros(WHOLE[kind], at, 300))


@every_kind
@pytest.mark.parametrize("at", [0.4, 0.6, 0.8])
def test_hole_whose_bytes_are_gone_is_refused(kind: str, at: float) -> None:
    with pytest.raises(ImageError, match="copy it again"):
        decode_image(hole_removed(WHOLE[kind], at))


@every_kind
@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("end", [b"", END], ids=["no end marker", "end marker"])
def test_file_whose_second_half_is_zeros_is_refused(kind: str, length: int, end: bytes) -> None:
    half = len(WHOLE[kind]) // 2
    with pytest.raises(ImageError, match="copy it again"):
        decode_image(WHOLE[kind][:half] + bytes(length * half) + end)


@pytest.mark.parametrize("options", [{"optimize": True}, {"progressive": True}, {}], ids=str)
@pytest.mark.parametrize("frame", FRAMED)
def test_zeros_that_code_an_even_border_are_no_hole(frame: str, options: dict[str, bool]) -> None:
    data = saved(FRAMED[frame], "JPEG", quality=90, **options)
    assert bool(options) == (bytes(100) in data)
    assert decode_image(data).note is None
    with pytest.raises(ImageError, match="copy it again"):
        decode_image(data[: len(data) // 2] + bytes(5000))


def test_even_picture_made_of_zeros_is_read() -> None:
    even = np.full((1000, 1000, 3), 200, np.uint8)
    for options in ({"optimize": True}, {"progressive": True}):
        data = saved(even, "JPEG", **options)
        assert bytes(1000) in data
        assert np.array_equal(decode_image(data).pixels, even)


@with_restarts
def test_restart_marker_out_of_turn_is_refused(kind: str) -> None:
    data = WHOLE[kind]
    at = restarts(data)[7]
    wrong = 0xD0 + (data[at + 1] - 0xD0 + 3) % 8
    with pytest.raises(ImageError, match="damaged"):
        decode_image(data[: at + 1] + bytes([wrong]) + data[at + 2 :])


@with_restarts
@pytest.mark.parametrize("count", [1, 8])
def test_lost_interval_between_restart_markers_is_refused(kind: str, count: int) -> None:
    data = WHOLE[kind]
    places = restarts(data)
    with pytest.raises(ImageError, match="damaged"):
        decode_image(data[: places[5]] + data[places[5 + count] :])


@pytest.mark.parametrize("end", [b"", END], ids=["no end marker", "end marker"])
@pytest.mark.parametrize("kind", ["progressive", "progressive with restarts"])
def test_progressive_file_without_its_later_scans_is_refused(kind: str, end: bytes) -> None:
    scans = scan_starts(WHOLE[kind])
    assert len(scans) == 10
    for start in scans[1:]:
        with pytest.raises(ImageError, match="later scans of a progressive JPEG are missing"):
            decode_image(WHOLE[kind][:start] + end)


@every_kind
@pytest.mark.parametrize("rest", [b"", b"\xff", b"abc", bytes(range(1, 21)), bytes(3000)], ids=lambda rest: len(rest))
def test_only_the_end_marker_is_missing_and_a_note_says_so(kind: str, rest: bytes) -> None:
    image = decode_image(WHOLE[kind][:-2] + rest)
    assert np.array_equal(image.pixels, decode_image(WHOLE[kind]).pixels)
    assert image.note == ("no end marker; grey" if kind == "grey" else "no end marker")


@every_kind
@pytest.mark.parametrize("stray", [b"ab", bytes(range(1, 21)), bytes(20), bytes(3000)], ids=lambda stray: len(stray))
def test_stray_bytes_before_the_end_marker_do_no_harm(kind: str, stray: bytes) -> None:
    image = decode_image(WHOLE[kind][:-2] + stray + END)
    assert np.array_equal(image.pixels, decode_image(WHOLE[kind]).pixels)
    assert image.note == ("grey" if kind == "grey" else None)


def test_stray_bytes_are_found_where_another_jpeg_follows() -> None:
    data = WHOLE["baseline"]
    image = decode_image(data[:-2] + bytes(range(1, 21)) + END + data)
    assert np.array_equal(image.pixels, decode_image(data).pixels)


def test_many_stray_bytes_are_coded_data_left_over() -> None:
    with pytest.raises(ImageError, match="extraneous bytes"):
        decode_image(WHOLE["baseline"][:-2] + bytes(range(200)) + END)


@every_kind
@pytest.mark.parametrize("rest", [b"abc" * 99, bytes(999), b"\xff\xd8\xff\xda" + b"rest" * 50])
def test_trailing_bytes_do_no_harm(kind: str, rest: bytes) -> None:
    image = decode_image(WHOLE[kind] + rest)
    assert np.array_equal(image.pixels, decode_image(WHOLE[kind]).pixels)


def test_zeros_in_a_segment_are_no_hole() -> None:
    assert decode_image(with_segment(WHOLE["baseline"], 0xE5, bytes(4000))).note is None


def test_odd_version_of_jfif_does_no_harm() -> None:
    data = WHOLE["baseline"]
    assert data[6:13] == b"JFIF\0\1\1"
    assert decode_image(data[:11] + b"\x07\x07" + data[13:]).note is None


@pytest.mark.parametrize(("kind", "known", "odd"), [("baseline", 1, 7), ("cmyk", 2, 1)])
def test_odd_color_transform_of_adobe_does_no_harm(kind: str, known: int, odd: int) -> None:
    head = b"Adobe\0\x64\0\0\0\0"
    data = WHOLE[kind].replace(b"JFIF\0", b"none\0")
    if kind == "baseline":
        data = with_segment(data, 0xEE, head + b"\0")
    assert data.count(head + b"\0") == 1
    images = [decode_image(data.replace(head + b"\0", head + bytes([code]))) for code in (known, odd)]
    assert np.array_equal(images[0].pixels, images[1].pixels)
    assert images[1].note is None


def test_damaged_header_is_refused_with_its_reason() -> None:
    data = WHOLE["baseline"]
    tables = data.find(b"\xff\xc4")
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode_image(data[: tables + 4] + b"\xee" * 20 + data[tables + 24 :])


def test_segments_skip_what_is_inside_others_and_stop_at_the_end() -> None:
    data = with_segment(WHOLE["baseline"], 0xE1, WHOLE["baseline"])
    found = list(segments(data + WHOLE["baseline"]))
    assert [segment.marker for segment in found].count(0xD9) == 1
    assert found[0].marker == 0xE1 and found[0].body == WHOLE["baseline"]
    assert found[-1].start == len(data) - 2
    assert all(data[segment.start : segment.start + 2] == bytes((0xFF, segment.marker)) for segment in found)
    assert has_end(data) and not has_end(data[:-2])


@pytest.mark.parametrize(("form", "lost"), [("JPEG", 2), ("PNG", 12), ("BMP", 1)])
def test_ends_early_tells_a_cut_file_from_a_whole_one(tmp_path: Path, form: str, lost: int) -> None:
    path = tmp_path / "picture"
    data = saved(RGB, form)
    for rest, early in ((data, False), (data + b"rest", False), (data[:-lost], True), (b"", True)):
        path.write_bytes(rest)
        assert ends_early(path) is early


def test_stray_bytes_and_broken_profiles_before_the_scans_cost_nothing() -> None:
    data = saved(RGB, "JPEG", quality=90)
    whole = decode_image(data).pixels
    tables = data.index(b"\xff\xdb")
    stray = data[:tables] + b"\x00\x01abc" + data[tables:]
    profile = b"\xff\xe2" + (2 + 14 + 8).to_bytes(2, "big") + b"ICC_PROFILE\0\x05\x02" + bytes(8)
    for odd in (stray, data[:2] + profile + data[2:], data[:tables] + b"\xff" * 9 + data[tables:]):
        assert np.array_equal(decode_image(odd).pixels, whole)
