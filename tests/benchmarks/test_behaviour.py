"""Every check can pass and can fail; a model whose weights are random fails; what is left out is named."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import behaviour
import cv2
import numpy as np
import pytest
from behaviour_limits import CHECKS, KINDS, Check
from behaviour_pictures import Content, contents, has_color, noisy
from expectations import (
    H264,
    LADDERS,
    RATE_FACTORS,
    SERIES,
    Found,
    Row,
    by_distortion,
    first_of_each_kind,
    h264,
    measure,
)
from helpers import make_checkpoint

from lifeiqa.models.checkpoints.own_format import save_checkpoint
from lifeiqa.runtime.console import run_app
from lifeiqa.runtime.errors import MissingError, UsageError
from lifeiqa.runtime.manifest import ScoreScale

ROOT = Path(__file__).resolve().parents[2]
Picture = np.ndarray
encoded = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg, which encodes H.264, is not here")


def run() -> None:
    run_app(behaviour.app)


@pytest.fixture(scope="module")
def pictures() -> list[Content]:
    return contents()


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


def of(kind: str, pictures: list[Content]) -> list[Content]:
    """The first picture of a kind."""
    return [next(content for content in pictures if content.kind == kind)]


def rows(score: Callable[[Picture], float], pictures: list[Content], name: str) -> list[Row]:
    """The rows of one check."""
    return measure(score, pictures, [check for check in CHECKS if check.name == name])


def sharpness(p: Picture) -> float:
    """Up to 100: the share of strong second derivatives."""
    grey = cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)
    return 100 * float(np.tanh(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean() / 10))


def noise_level(p: Picture) -> float:
    """Mean distance of pixels to their neighbours' median."""
    return float(np.abs(p.astype(np.int16) - cv2.medianBlur(np.ascontiguousarray(p), 3)).mean())


def light(p: Picture) -> float:
    return float(p.mean())


def steady(p: Picture) -> float:
    return 60.0


def one_sided(p: Picture) -> float:
    return float(p[:, : p.shape[1] // 2].mean())


def colorfulness(p: Picture) -> float:
    return float(np.ptp(p.astype(float), axis=2).mean())


def blackness(p: Picture) -> float:
    return 100 * float((p < 5).mean())


def fineness(p: Picture) -> float:
    """Loses to any rounding by a codec."""
    return -1000 * float(np.abs(p.astype(float) - cv2.blur(p, (3, 3))).mean() % 1)


# check, a kind of picture, a scorer that does what is expected of it, and one that does not
SCORERS: list[tuple[str, str, Callable[[Picture], float], Callable[[Picture], float]]] = [
    ("undistorted", "colour", steady, lambda p: 20.0),
    ("blurred", "page", sharpness, steady),
    ("without colour", "colour", sharpness, colorfulness),
    ("dark, noise of 2", "grey", lambda p: -noise_level(p), lambda p: 10 * noise_level(p)),
    ("dark, noise of 5", "colour", lambda p: -10 * noise_level(p), steady),
    ("noise of 8", "infrared", lambda p: -10 * noise_level(p), sharpness),
    ("mirrored", "colour", sharpness, one_sided),
    ("JPEG 95", "colour", light, fineness),
    ("black bars", "colour", steady, blackness),
    ("brighter by 20", "colour", sharpness, light),
    ("shows nothing", "flat", sharpness, light),
    ("shows nothing", "covered", light, steady),
    ("shows nothing", "noise", lambda p: -noise_level(p), sharpness),
]


def test_every_check_is_measured_on_kinds_that_there_are(pictures: list[Content]) -> None:
    assert [check.name for check in CHECKS] == list(SERIES)
    assert {kind for check in CHECKS for kind in check.limits} == set(KINDS) == {content.kind for content in pictures}
    assert {check.name for check in CHECKS if check.unit != "share"} == {name for name, *_ in SCORERS}


@pytest.mark.parametrize(("name", "kind", "good", "bad"), SCORERS, ids=[f"{n}, {k}" for n, k, *_ in SCORERS])
@pytest.mark.usefixtures("no_ffmpeg")
def test_check_passes_and_fails(
    name: str,
    kind: str,
    good: Callable[[Picture], float],
    bad: Callable[[Picture], float],
    pictures: list[Content],
) -> None:
    few = of(kind, pictures)
    verdicts = [[row.verdict for row in rows(score, few, name)] for score in (good, bad)]
    assert verdicts == [["ok"], ["failed"]]


@pytest.mark.usefixtures("no_ffmpeg")
def test_order_of_levels_goes_by_what_the_scorer_sees(pictures: list[Content]) -> None:
    def shares(score: Callable[[Picture], float]) -> dict[str, float]:
        found = measure(score, of("colour", pictures), [replace(CHECKS[0], limits={"colour": 0.96})])
        return by_distortion(found)["colour"]

    sharp, bright, flat = shares(sharpness), shares(light), shares(steady)
    assert set(sharp) == set(LADDERS)
    assert sharp["blur"] == sharp["defocus"] == sharp["motion"] == 1
    assert sharp["noise"] == 0
    assert bright["dark"] == 1
    assert set(flat.values()) == {0}


@encoded
def test_higher_rate_factors_leave_less(pictures: list[Content]) -> None:
    (content,) = of("colour", pictures)
    copies = h264(content.pixels, RATE_FACTORS)
    errors = [np.abs(copy.astype(float) - content.pixels).mean() for copy in copies]
    assert [copy.shape for copy in copies] == [content.pixels.shape] * len(RATE_FACTORS)
    assert errors[0] > 1 and errors == sorted(errors)
    check = replace(CHECKS[1], limits={"colour": 0.9})

    def faithful(p: Picture) -> float:
        return -float(np.abs(p.astype(float) - content.pixels).mean())

    for score, verdict in ((faithful, "ok"), (steady, "failed")):
        (row,) = measure(score, [content], [check])
        assert (row.verdict, row.found[0].distortion) == (verdict, H264)


def test_an_encoder_that_fails_is_no_low_score(
    pictures: list[Content], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\ncase \"$*\" in *-encoders*) echo ' V libx264 x';; *) echo broken >&2; exit 1;; esac\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(MissingError, match="broken"):
        rows(steady, of("colour", pictures), "H.264 in order")
    fake.write_text("#!/bin/sh\necho ' V other x'\n")
    assert {row.left_out for row in rows(steady, of("colour", pictures), "H.264 in order")} == {
        "this ffmpeg has no libx264"
    }


@pytest.mark.parametrize(
    ("bound", "limit", "value", "verdict"),
    [("at least", 5, 2, "failed"), ("at most", 5, 9, "failed"), ("within", 9, -9, "ok"), ("within", 8, -9, "failed")],
)
def test_the_picture_nearest_to_the_limit_counts(bound: Any, limit: float, value: float, verdict: str) -> None:
    signed = -9.0 if bound == "within" else 9.0
    check = Check("any", "", "change", bound, {"page": limit})
    row = Row("page", check, (Found("a", "", [], 2.0), Found("b", "", [], signed), Found("c", "", [], 4.0)))
    assert (row.value, row.verdict) == (value, verdict)


def test_pictures_are_the_same_each_time_and_fit_the_encoder(pictures: list[Content]) -> None:
    again = contents()
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(pictures, again, strict=True))
    assert len({(content.kind, content.name) for content in pictures}) == len(pictures)
    for content in pictures:
        assert content.pixels.dtype == np.uint8 and content.pixels.shape[2] == 3
        assert not any(side % 2 for side in content.pixels.shape[:2])
        if content.kind in ("colour", "grey", "infrared"):
            assert has_color(content.pixels) == (content.kind == "colour")
    short = first_of_each_kind(pictures, 2)
    assert [sum(content.kind == kind for content in short) for kind in KINDS] == [2] * len(KINDS)


def test_noise_of_a_grey_picture_is_grey(pictures: list[Content]) -> None:
    rng = np.random.default_rng(0)
    for kind in ("colour", "grey"):
        (content,) = of(kind, pictures)
        copy = noisy(content.pixels, 8, rng)
        assert has_color(copy) == (kind == "colour")
        assert np.std(copy.astype(float) - content.pixels) == pytest.approx(8, rel=0.1)


def test_model_that_gives_no_number_is_refused(pictures: list[Content]) -> None:
    with pytest.raises(UsageError, match="no number"):
        rows(lambda p: float("nan"), of("colour", pictures), "mirrored")


def test_without_a_known_scale_only_order_is_checked(pictures: list[Content]) -> None:
    checks = [check for check in CHECKS if check.name in ("levels in order", "mirrored")]
    found = measure(sharpness, of("page", pictures), [replace(c, limits={"page": 0.5}) for c in checks], points=False)
    assert [bool(row.left_out) for row in found] == [False, True]


def test_model_with_random_weights_fails(tiny_onnx: Path, command: Callable[..., Any], tmp_path: Path) -> None:
    done = command(run, "--model", tiny_onnx, "--short", "--json", tmp_path / "behaviour.json")
    assert done.code == 4, done.err
    report = json.loads((tmp_path / "behaviour.json").read_text())
    verdicts = {(row["kind"], row["check"]): row["verdict"] for row in report["checks"]}
    for kind in ("colour", "grey", "infrared", "page"):
        assert verdicts[kind, "blurred"] == "failed"
        assert f"{kind}: blurred" in done.err
    assert verdicts["colour", "levels in order"] == verdicts["grey", "levels in order"] == "failed"
    count = list(verdicts.values()).count("failed")
    assert done.err.startswith(f"error: {count} of {len(verdicts)} checks fail.")
    assert done.out.count("FAILED") == count
    assert all(len(line) <= 80 for line in done.out.splitlines())
    assert (report["model"], report["short"], report["ok"]) == ("tiny.onnx", True, False)
    assert len(report["sha256"]) == 64 and report["lifeiqa"]
    row = next(row for row in report["checks"] if (row["kind"], row["check"]) == ("colour", "levels in order"))
    assert len(row["pictures"]) == 2 * len(LADDERS)
    assert row["value"] == pytest.approx(np.mean([one["value"] for one in row["pictures"]]))
    assert all(len(one["scores"]) == 6 for one in row["pictures"])
    assert set(report["levels_in_order"]) == {"colour", "grey", "infrared", "page"}


@pytest.fixture
def only_pages(pictures: list[Content], monkeypatch: pytest.MonkeyPatch) -> None:
    """A short run on few pictures."""
    monkeypatch.setattr(behaviour, "contents", lambda: [*of("page", pictures), *of("flat", pictures)])


@pytest.mark.usefixtures("no_ffmpeg", "only_pages")
def test_without_ffmpeg_the_row_of_h264_is_named(tiny_pt: Path, command: Callable[..., Any]) -> None:
    done = command(run, "--model", tiny_pt)
    (row,) = [line for line in done.out.splitlines() if "H.264 in order" in line]
    assert "left out" in row
    assert "left out: 1 check, because: no ffmpeg on the PATH" in done.out
    assert "H.264" not in done.err


@pytest.mark.usefixtures("no_ffmpeg", "only_pages")
def test_all_held_is_code_0(command: Callable[..., Any], tiny_pt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lenient = [replace(check, limits=dict.fromkeys(check.limits, 1e9)) for check in CHECKS if check.bound != "at least"]
    monkeypatch.setattr(behaviour, "measure", lambda *a, **k: measure(*a, checks=lenient, **k))
    done = command(run, "--model", tiny_pt)
    assert (done.code, done.err) == (0, "")
    assert "FAILED" not in done.out


@pytest.mark.usefixtures("no_ffmpeg", "only_pages")
def test_checkpoint_with_its_own_scale_is_checked_for_order_alone(command: Callable[..., Any], tmp_path: Path) -> None:
    save_checkpoint(make_checkpoint(scale=ScoreScale(0.0, 1.0, own=True)), tmp_path / "own.pt")
    done = command(run, "--model", tmp_path / "own.pt")
    left_out = [line for line in done.out.splitlines() if line.startswith((" page", " flat")) and "left out" in line]
    points = [check for check in CHECKS for kind in check.limits if kind in ("page", "flat") and check.unit != "share"]
    assert [check.name in line for check, line in zip(points, left_out[1:], strict=True)] == [True] * len(points)
    assert f"left out: {len(points)} checks, because: the model keeps a scale of its own" in done.out
    assert "undistorted" not in done.err


@pytest.mark.parametrize("name", ["missing.onnx", "missing.pt", "malformed.onnx", "malformed.pt", "picture.png"])
def test_file_that_is_no_model_is_one_line(name: str, command: Callable[..., Any], tmp_path: Path) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
    done = command(run, "--model", tmp_path / name, "--short")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ") and done.err.count("\n") == 1


def test_script_says_what_it_takes() -> None:
    script = [sys.executable, str(ROOT / "benchmarks/behaviour.py"), "--help"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--model" in done.stdout and "--short" in done.stdout
