"""Runs a check in a process of its own: a library that crashes or hangs is a finding, and not the end of the doctor."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict

from lifeiqa.runtime.doctor.report import Check, State
from lifeiqa.runtime.errors import LifeIQAError

TIMEOUT_S = 120
# What the child runs. Not `-m`, which lets a file cv2.py in the working directory pass for OpenVINO or OpenCV.
_CODE = "import sys; sys.path[:] = filter(None, sys.path); from lifeiqa.runtime.doctor.isolated import main; main()"


def isolated(name: str, check: str) -> list[Check]:
    """Runs a check elsewhere. Never raises for what the check does.

    Args:
        name: of the finding where there is no answer.
        check: module and function, such as "engines.check_openvino", which returns a list of checks.

    Returns:
        What the check found, or one broken check that says how it ended.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE, name, check], capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return [Check(name, State.broken, f"gives no answer within {TIMEOUT_S} s", {})]
    except OSError as error:
        return [Check(name, State.broken, f"cannot be looked at: {error.strerror}", {})]
    try:
        return [Check.from_dict(values) for values in json.loads(done.stdout.splitlines()[-1])]
    except (IndexError, ValueError, TypeError, KeyError):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return [Check(name, State.broken, ": ".join([_ending(done.returncode), *last]), {})]


def _ending(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"crashes ({signal.Signals(-code).name})"
    return f"ends its process with {code}"


def run_check(name: str, check: str) -> list[Check]:
    """Runs a check here. Whatever it raises becomes a broken check of this name.

    Args:
        name, check: see `isolated`.
    """
    module, _, function = check.rpartition(".")
    try:
        found: list[Check] = getattr(importlib.import_module(f"lifeiqa.runtime.doctor.{module}"), function)()
    except LifeIQAError as error:
        return [Check(name, State.broken, str(error), {})]
    except Exception as error:  # libraries that are not whole raise anything, and that is what is looked for
        reason = (str(error).splitlines() or ["no reason given"])[0]
        return [Check(name, State.broken, f"{type(error).__name__}: {reason}", {})]
    return found


def main() -> None:
    """What the child runs: prints the checks as JSON. What libraries print on standard output goes to stderr."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    found = run_check(*sys.argv[1:3])
    print(json.dumps([asdict(check) for check in found]), file=answer, flush=True)
    os._exit(0)  # some libraries crash while they are unloaded, which says nothing of their work
