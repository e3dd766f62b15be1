"""Runs Chromium without a window, for tests that look at pages as people see them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def chromium(scratch: Path, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[bytes]:
    """Runs it to its end, what the page's console says on stderr; the test is skipped where there is none.

    Args:
        scratch: folder for its profile.
        arguments: further options, and the page's address.
        timeout_s: seconds that it may take.
    """
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={scratch / 'chromium'}", *arguments]
    return subprocess.run(command, capture_output=True, timeout=timeout_s, check=True)
