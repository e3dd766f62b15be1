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

from lifeiqa.runtime.errors import LifeIQAError, MissingError, WriteError

stderr = Console(stderr=True, soft_wrap=True, highlight=False)


def new_app() -> typer.Typer:
    """A one-command Typer application whose bugs show a plain traceback."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")


def run_app(app: typer.Typer) -> None:
    """Runs a command; an error raised on purpose becomes one line on stderr and its exit code."""
    try:
        app()
    except LifeIQAError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        fail(f"Cannot write the results: {error.strerror}.")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would try once more
        sys.exit(WriteError.exit_code)


def fail(message: str) -> None:
    """Prints an error line on stderr."""
    stderr.print(f"[bold red]error:[/] {escape(message)}")


def say(message: str) -> None:
    """Prints a log line on stderr."""
    stderr.print(f"[dim]{escape(message)}[/]")


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Yields `update(done, total, text)`. Draws on stderr, and only where that is a terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
        task: TaskID = progress.add_task(title, total=None, text="")

        def update(done: int, total: int, text: str = "") -> None:
            progress.update(task, completed=done, total=total or None, text=text)

        yield update


@contextmanager
def long_progress(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Like `progress_bar`, and also a log line once a minute: for work of hours whose output may go to a file."""
    began = spoken = time.monotonic()
    with progress_bar(title) as draw:

        def update(done: int, total: int, text: str = "") -> None:
            nonlocal spoken
            draw(done, total, text)
            if time.monotonic() - spoken > 60:
                spoken = time.monotonic()
                say(f"{done}/{total}  {spoken - began:.0f} s  {text}")

        yield update


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
