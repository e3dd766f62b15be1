"""Options of every command, suggestions, and how errors end."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points, version
from typing import Annotated

import pytest
import typer

from lifeiqa.runtime import console
from lifeiqa.runtime.console import duration, long_progress, new_app, progress_bar, run_app, say
from lifeiqa.runtime.errors import MissingError

COMMANDS = [entry.module for entry in entry_points(group="console_scripts") if entry.value.startswith("lifeiqa.")]


def single() -> typer.Typer:
    app = new_app()

    @app.command()
    def run(number: int, form: Annotated[str, typer.Option("--format")] = "a") -> None:
        """Do it."""
        say("a log line")
        with progress_bar("title") as update:
            update(1, 2)
        if number > 9:
            raise MissingError("too much")
        typer.echo("result")

    return app


def group() -> typer.Typer:
    app = new_app("Do things.")

    @app.command()
    def one() -> None:
        """Do one."""
        say("a log line")
        typer.echo("result")

    @app.command()
    def two() -> None:
        """Do two."""

    return app


@pytest.fixture
def run(command: Callable) -> Callable:
    return lambda app, *arguments: command(lambda: run_app(app), *arguments)


@pytest.mark.parametrize("module", COMMANDS)
@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["--version"]])
def test_every_command_explains_itself(command: Callable, module: str, arguments: list[str]) -> None:
    done = command(import_module(module).main, *arguments)
    assert (done.code, done.err) == (0, "")
    if arguments == ["--version"]:
        assert done.out == f"lifeiqa {version('lifeiqa')}\n"
    else:
        assert all(option in done.out for option in ("--version", "--quiet", "-q", "-h"))


def test_group_and_its_commands_have_the_same_options(run: Callable) -> None:
    for arguments in (["-h"], ["one", "-h"]):
        assert all(option in run(group(), *arguments).out for option in ("--version", "--quiet", "-q", "-h"))
    for arguments in (["--version"], ["one", "--version"]):
        assert run(group(), *arguments).out == f"lifeiqa {version('lifeiqa')}\n"
    assert "Do things." in run(group(), "-h").out


def test_quiet_leaves_results_and_errors(run: Callable) -> None:
    assert run(single(), "3") == (0, "result\n", "a log line\n")
    for option in ("-q", "--quiet"):
        assert run(single(), "3", option) == (0, "result\n", "")
        assert run(single(), "10", option) == (3, "", "error: too much\n")
    for arguments in (["-q", "one"], ["one", "-q"]):
        assert run(group(), *arguments) == (0, "result\n", "")
    assert run(group(), "one").err == "a log line\n", "the next run starts anew"


@pytest.mark.parametrize(
    ("wrong", "suggestion"),
    [
        ("--formt", " Did you mean --format?"),
        ("--vresion", " Did you mean --version?"),
        ("--sort", ""),
        ("--form", " Did you mean --format?"),
        ("-x", ""),
        ("--q", ""),
    ],
)
def test_only_a_near_option_is_suggested(run: Callable, wrong: str, suggestion: str) -> None:
    done = run(single(), wrong, "a", "3")
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(rf"error: There is no option {wrong}\.{re.escape(suggestion)} See .*command -h\.\n", done.err)


@pytest.mark.parametrize(
    ("app", "arguments"),
    [(single, []), (single, ["x"]), (single, ["3", "4"]), (single, ["3", "--format"]), (group, []), (group, ["oen"])],
)
def test_wrong_command_line_is_one_line_and_2(run: Callable, app: Callable, arguments: list[str]) -> None:
    done = run(app(), *arguments)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"error: .*\.( See .*command( one)? -h\.)?\n", done.err)
    assert "Did you mean" not in done.err


def test_bug_gives_its_traceback() -> None:
    code = (
        "from lifeiqa.runtime.console import new_app, run_app\napp = new_app()\n"
        "@app.command()\ndef run() -> None:\n    raise KeyError('a bug')\nrun_app(app)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("KeyError: 'a bug'\n")


def test_log_of_long_work_says_what_is_left_of_the_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with long_progress("training") as update:
        for now[0], done, total, text in (
            (10.0, 1, 50, "checking pictures"),
            (100.0, 50, 50, "checking pictures"),
            (120.0, 200, 1000, "resumed"),
            (130.0, 201, 1000, "too early"),
            (220.0, 210, 1000, "training"),
            (300.0, 0, 0, "nobody knows"),
        ):
            update(done, total, text)
    assert capsys.readouterr().err.splitlines() == [
        "50/50  2 min  checking pictures",
        "210/1000  4 min, 2 h 12 min left  training",
        "0/0  5 min  nobody knows",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (99, "99 s"), (3570, "1 h 00 min"), (7500, "2 h 05 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
