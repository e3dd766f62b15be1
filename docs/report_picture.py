"""A picture of the page that benchmarks/report.py makes of result files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

REPORT = Path(__file__).resolve().parents[1] / "benchmarks" / "report.py"
SIZE = "1280,960"  # of the window: what is below is cut off


def write_report_picture(files: Sequence[Path], path: Path) -> bool:
    """Writes the top of the page as Chromium shows it, as PNG. Without Chromium it writes nothing and returns False."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        return False
    with tempfile.TemporaryDirectory(prefix="lifeiqa-docs-") as scratch:
        page = Path(scratch) / "report.html"
        command = [sys.executable, str(REPORT), *map(str, files), "-o", str(page)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise SystemExit(made.stderr)
        command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--window-size={SIZE}", f"--user-data-dir={scratch}/chromium", f"--screenshot={path}"]
        subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=120)
    return True
