"""What every command shares: where text goes, how errors end, how progress shows."""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lifeiqa.runtime.command_line import App, is_quiet, set_quiet, usage_message
from lifeiqa.runtime.errors import LifeIQAError, MissingError, UsageError, WriteError

stderr = Console(stderr=True, soft_wrap=True, highlight=False)


def new_app(help: str | None = None) -> typer.Typer:
    """A Typer application that has --version, --quiet and -h, and whose bugs show a plain traceback.

    Args:
        help: what an application of several commands is for; one of a single command says that in its docstring.
    """
    return App(help)


def run_app(app: typer.Typer) -> None:
    """Runs a command; an error raised on purpose becomes one line on stderr and its exit code. Never returns."""
    set_quiet(False)
    try:
        sys.exit(app(standalone_mode=False))
    except LifeIQAError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except typer.Abort:  # how some versions of Typer hand on Ctrl-C
        sys.exit(130)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        fail(f"Cannot write the results: {error.strerror}.")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would try once more
        sys.exit(WriteError.exit_code)
    except Exception as error:
        message = usage_message(error)
        if message is None:
            raise
        fail(message)
        sys.exit(UsageError.exit_code)


def fail(message: str) -> None:
    """Prints an error line on stderr."""
    stderr.print(f"[bold red]error:[/] {escape(message)}")


def say(message: str) -> None:
    """Prints a log line on stderr, unless --quiet was given."""
    if not is_quiet():
        stderr.print(f"[dim]{escape(message)}[/]")


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Yields `update(done, total, text)`. Draws on stderr, only where that is a terminal, and not under --quiet."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=stderr, transient=True, disable=is_quiet() or not stderr.is_terminal) as progress:
        task: TaskID = progress.add_task(title, total=None, text="")

        def update(done: int, total: int, text: str = "") -> None:
            progress.update(task, completed=done, total=total or None, text=text)

        yield update


@contextmanager
def long_progress(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Like `progress_bar`, and also a log line once a minute: for work of hours whose output may go to a file."""
    began = spoken = time.monotonic()
    stage = (0, 0, began)  # steps in all; steps done and the time when it began
    with progress_bar(title) as draw:

        def update(done: int, total: int, text: str = "") -> None:
            nonlocal spoken, stage
            draw(done, total, text)
            now = time.monotonic()
            if total != stage[0]:
                stage = (total, done, now)
            if now - spoken > 60:
                spoken = now
                left = ""
                if stage[1] < done < total:
                    left = f", {duration((now - stage[2]) / (done - stage[1]) * (total - done))} left"
                say(f"{done}/{total}  {duration(now - began)}{left}  {text}")

        yield update


def duration(seconds: float) -> str:
    """45 s, 26 min, 2 h 05 min."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def require(extra: str, *modules: str) -> None:
    """Checks that the packages of an extra are installed.

    Raises:
        MissingError: one is not; the message is the command that installs them all.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingError(
            f"This command needs {', '.join(missing)}. "
            f"Install all that it needs, in lifeiqa's folder: pip install '.[{extra}]'"
        )
