"""Options that commands share, and what is said of a command line that is wrong."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from difflib import get_close_matches
from enum import Enum
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

# New versions of Typer carry a copy of Click, old ones import it: this is the module of the exceptions that it raises.
_click: Any = importlib.import_module(typer.BadParameter.__module__)
# Of the names without their dashes: --formt is near --format (0.91), --sort is not (0.6).
SUGGESTION_CUTOFF = 0.8
_quiet = False


class Device(str, Enum):
    """Where the model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class BackendName(str, Enum):
    """What runs the model."""

    auto = "auto"
    onnxruntime = "onnxruntime"
    openvino = "openvino"
    tensorrt = "tensorrt"


def is_quiet() -> bool:
    """Whether --quiet was given: neither log lines nor progress are wanted."""
    return _quiet


def set_quiet(value: bool) -> None:
    """Takes note of --quiet, which may stand before the name of a command and after it."""
    global _quiet
    _quiet = value


class App(typer.Typer):
    """A Typer application whose commands, and itself where it has several, take --version, --quiet and -h."""

    def __init__(self, help: str | None = None) -> None:
        super().__init__(
            cls=_Group,
            help=help,
            add_completion=False,
            context_settings={"help_option_names": ["-h", "--help"]},
            pretty_exceptions_enable=False,
            rich_markup_mode="markdown",
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """Like Typer's."""
        return super().command(name, **{"cls": _Command, **settings})


class _Command(TyperCommand):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *_shared_options()]


class _Group(TyperGroup):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *_shared_options()]
        self.suggest_commands = False  # of Typer's own suggestions, which are as lax as those of options


def _on_quiet(wanted: bool) -> None:
    if wanted:
        set_quiet(True)


def _on_version(wanted: bool) -> None:
    if wanted:
        import lifeiqa

        typer.echo(f"lifeiqa {lifeiqa.__version__}")
        raise typer.Exit


@functools.cache
def _shared_options() -> list[Any]:
    """The options as Click's objects, which only Typer can make for every version of itself.

    With `expose_value=False` they are not handed to the commands' functions.
    """
    app = typer.Typer(add_completion=False)

    @app.command()
    def options(
        quiet: Annotated[
            bool,
            typer.Option(
                "--quiet", "-q", callback=_on_quiet, expose_value=False, help="No log lines and no progress on stderr."
            ),
        ] = False,
        version: Annotated[
            bool,
            typer.Option(
                "--version", callback=_on_version, expose_value=False, is_eager=True, help="Print the version."
            ),
        ] = False,
    ) -> None:
        """Is never run."""

    return list(typer.main.get_command(app).params)


def usage_message(error: Exception) -> str | None:
    """One line that says what is wrong with a command line; None where `error` is of another kind."""
    if not isinstance(error, _click.ClickException):
        return None
    context: Any = getattr(error, "ctx", None)
    if isinstance(error, _click.NoSuchOption):
        parameters = context.command.get_params(context)
        options = [name for each in parameters for name in (*each.opts, *each.secondary_opts) if name.startswith("--")]
        message = f"There is no option {error.option_name}.{_suggestion(error.option_name, options)}"
    else:
        message = " ".join(error.format_message().split()).rstrip(".") + "."
    return message if context is None else f"{message} See {context.command_path} -h."


def _suggestion(name: str, known: list[str]) -> str:
    matches = get_close_matches(
        name.lstrip("-"), [other.removeprefix("--") for other in known], n=1, cutoff=SUGGESTION_CUTOFF
    )
    return f" Did you mean --{matches[0]}?" if matches else ""
