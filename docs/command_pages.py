"""Writes a page for each command from its Typer application: usage, arguments, options with defaults."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import typer

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def scripts(root: Path) -> dict[str, str]:
    """The module of each command, as pyproject.toml names them."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {name: target.partition(":")[0] for name, target in project["scripts"].items()}


def pages(root: Path) -> dict[str, str]:
    """Markdown by the address of its page."""
    modules = {name: importlib.import_module(module) for name, module in scripts(root).items()}
    rows = "\n".join(
        f"| [`{name}`]({name}.md) | {(module.__doc__ or '').partition(chr(10))[0].partition(': ')[2]} |"
        for name, module in modules.items()
    )
    index = (
        "# Commands\n\n"
        f"| command | what it does |\n|---|---|\n{rows}\n\n"
        "`python -m lifeiqa` prints this list on the command line. `-h` explains a command:\n\n"
        "![What lifeiqa-run -h prints](../../captures/help.svg){ .picture }\n"
    )
    found = {"reference/commands/index.md": index}
    for name, module in modules.items():
        found[f"reference/commands/{name}.md"] = _page(name, module.app)
    return found


def _page(name: str, app: typer.Typer) -> str:
    command: Any = typer.main.get_command(app)
    context = command.make_context(name, [], resilient_parsing=True)
    if not hasattr(command, "commands"):
        return f"# {name}\n\n{_body(command, context, name, 2)}"
    parts = [f"# {name}\n\n{_body(command, context, name, 2)}"]
    for key, part in command.commands.items():
        inner = part.make_context(f"{name} {key}", [], parent=context, resilient_parsing=True)
        parts.append(f"## {name} {key}\n\n{_body(part, inner, f'{name} {key}', 3)}")
    return "\n".join(parts)


def _body(command: Any, context: Any, name: str, level: int) -> str:
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [inspect.cleandoc(command.help or "").replace("\f", ""), f"```text\n{usage}\n```"]
    for kind in ("argument", "option"):
        records = [p.get_help_record(context) for p in command.get_params(context) if p.param_type_name == kind]
        if rows := [_row(*record) for record in records if record]:
            title = f"{'#' * level} {kind.title()}s {{ #{name.replace(' ', '-')}-{kind}s }}"
            parts.append("\n".join([title, "", f"| {kind} | default | what |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _row(names: str, text: str) -> str:
    """A row from what -h shows of a parameter: `--crops INTEGER` and `Crops a picture.  [1<=x<=256]`."""
    match = re.fullmatch(r"(.*?)(?:(?:  |^)\[(.*)\])?", text, re.DOTALL)
    help_text, notes = (match[1], match[2] or "") if match else (text, "")
    default, rest = [], []
    for note in filter(None, notes.split("; ")):
        is_default = note.startswith("default: ") or note == "required"
        (default if is_default else rest).append(note.removeprefix("default: ").strip("()"))
    names = names.replace(" range>", ">")
    if choices := re.search(r" <(\w[^<>]*\|[^<>]*)>$", names):
        names = names[: choices.start()]
        rest.append(choices[1].replace("|", ", "))
    shown = ", ".join(d if d == "required" or " " in d else f"`{d}`" for d in default)
    what = " ".join([help_text, *(f"({_range(r)})" for r in rest)])
    cells = [f"`{names}`", shown, what.replace("|", "\\|")]
    return "| " + " | ".join(" ".join(cell.split()) for cell in cells) + " |"


def _range(text: str) -> str:
    """`1<=x<=256` and `x>=1` in words."""
    if match := re.fullmatch(r"(.+)<=x<=(.+)", text):
        return f"{match[1]} to {match[2]}"
    return text.replace("x>=", "at least ").replace("x<=", "at most ")
