"""The page: complete, without a program, shown without complaint, one side of A4."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium

from lifeiqa.runtime.conformance.cli import main


@pytest.fixture
def report(tiny_onnx: Path, tmp_path: Path, tiny_set: Path, command: Callable[..., Any]) -> Path:
    path = tmp_path / "proof.html"
    hostile = tmp_path / "<b>x & 'y'.onnx"
    shutil.copy(tiny_onnx, hostile)
    assert command(main, hostile, "--set", tiny_set, "--device", "cpu", "--report", path).code == 0
    return path


def test_page_is_complete_and_runs_no_program(report: Path) -> None:
    html = report.read_text("utf-8")
    assert "<script" not in html and "{{" not in html
    assert not re.search(r"(?:src|href)=\"(?!data:)|url\(|@import", html)
    assert "&lt;b&gt;x &amp; &#x27;y&#x27;.onnx" in html and "<b>x" not in html
    assert html.count('<img src="data:image/jpeg;base64,') == 10 and html.count("<circle") == 10
    for text in ("Conforms", "Signature", "at most 0.01", "sha256 of the checkpoint", "ranking of the crops"):
        assert text in html


def test_page_is_shown_without_complaint(report: Path, tmp_path: Path) -> None:
    done = chromium(tmp_path, "--dump-dom", "--window-size=390,900", report.as_uri())
    assert b"Conformance report" in done.stdout and b"CONSOLE" not in done.stderr
    bad = tmp_path / "bad.html"
    bad.write_text(report.read_text("utf-8").replace("</body>", "<script>1</script></body>"), "utf-8")
    assert b"CONSOLE" in chromium(tmp_path, "--dump-dom", bad.as_uri()).stderr, "or complaints would not be seen"


def test_page_is_one_side_of_paper(report: Path, tmp_path: Path) -> None:
    pdf = tmp_path / "proof.pdf"
    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={pdf}", report.as_uri())
    data = pdf.read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", data)) == 1
    boxes = [float(n) for n in re.search(rb"/MediaBox\s*\[([\d. ]+)\]", data)[1].split()]  # type: ignore[index]
    assert boxes[2:] == pytest.approx([595, 842], abs=2)
