"""Tiny seeded models and real files for all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    # Several workers whose libraries each count on all cores wait for one another most of the time.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

import cv2
import numpy as np
from helpers import make_checkpoint

from lifeiqa.export.pipeline import ExportRequest, export_checkpoint
from lifeiqa.models.checkpoints.own_format import save_checkpoint
from lifeiqa.models.synthesis.ladders import held_out_pictures

# A shell that runs the tests in the background ignores Ctrl-C for them, and every program they start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_pt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.pt"
    save_checkpoint(make_checkpoint(), path)
    return path


@pytest.fixture(scope="session")
def tiny_onnx(tiny_pt: Path) -> Path:
    return export_checkpoint(ExportRequest(tiny_pt, target="onnx", with_experts=True)).artifacts[0].path


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real photographs: astronaut.png, coffee.jpg and three more."""
    folder = tmp_path_factory.mktemp("photos")
    for name, picture in held_out_pictures():
        suffix = ".jpg" if name == "coffee" else ".png"
        (folder / f"{name}{suffix}").write_bytes(cv2.imencode(suffix, picture[:, :, ::-1])[1].tobytes())
    return folder


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    return next(held_out_pictures())[1]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Runs a command's entry point in this process; an escaping exception fails the test."""

    def run(main: Callable[[], None], *arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *capfd.readouterr())

    return run
