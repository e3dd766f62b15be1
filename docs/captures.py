"""Runs every command that README and the tutorials show, and writes what it prints.

`make captures`, or `python docs/captures.py [--slow] [NAME ...]`: --slow also runs those that take minutes, NAME only
those named. The output goes to docs/captures/NAME.txt, and into the blocks of README and of the documentation's pages
that stand between `<!-- capture: NAME -->` and `<!-- end -->`: so they can be read in the repository, too.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from contact_sheet import write_contact_sheet
from scene import build, served
from shown import CAMERA, SHOWN, STREAM, Shown

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "captures"
WIDTH = 110
LIMIT_S = 600


def main(arguments: list[str]) -> None:
    """Runs the commands in the order of the list: later ones read what earlier ones wrote."""
    slow, names = "--slow" in arguments, {a for a in arguments if not a.startswith("--")}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lifeiqa-docs-") as scratch:
        folder = Path(scratch)
        build(folder)
        say(f"{time.monotonic() - began:5.0f} s  pictures, video and data sets are there")
        for shown in SHOWN:
            if (names and shown.name not in names) or (shown.slow and not slow and shown.name not in names):
                continue
            text = output_of(shown, folder)
            lines = text.splitlines()
            if shown.lines and len(lines) > shown.lines:
                text = "\n".join([*lines[: shown.lines], "..."]) + "\n"
            FOLDER.joinpath(f"{shown.name}.txt").write_text(text, encoding="utf-8")
            if shown.picture:
                draw(shown, folder)
            say(f"{time.monotonic() - began:5.0f} s  {shown.name}")
        with contextlib.suppress(FileNotFoundError):
            FOLDER.joinpath("routing.png").write_bytes((folder / "routing.png").read_bytes())
        write_contact_sheet(folder / "kinds", FOLDER / "kinds.jpg")
    for page in pages():
        page.write_text(with_captures(page.read_text(encoding="utf-8")), encoding="utf-8")


def say(text: str) -> None:
    """Writes a line for who runs the script."""
    sys.stderr.write(text + "\n")


def pages() -> list[Path]:
    """README and all pages of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def with_captures(page: str) -> str:
    """A page whose blocks between `<!-- capture: NAME -->` and `<!-- end -->` hold what the captures hold.

    Likewise `<!-- example: FILE -->`, a file of docs/examples.
    """

    def block(kind: str, name: str) -> str | None:
        path = FOLDER / f"{name}.txt" if kind == "capture" else FOLDER.parent / "examples" / name
        if not path.exists():  # one that is run only with --slow
            return None
        language = {".py": "python", ".toml": "toml"}.get(path.suffix, "text")
        return f"```{language}\n{path.read_text(encoding='utf-8')}```\n"

    return with_blocks(page, ("capture", "example"), block)


def with_blocks(page: str, kinds: Sequence[str], block: Callable[[str, str], str | None]) -> str:
    """A page whose blocks between `<!-- KIND: NAME -->` and `<!-- end -->` hold what `block` makes of kind and name.

    Where it makes None, a block is left as it is.
    """

    def replaced(match: re.Match[str]) -> str:
        kind, name = match.groups()
        text = block(kind, name)
        return match[0] if text is None else f"<!-- {kind}: {name} -->\n{text}<!-- end -->"

    return re.sub(rf"<!-- ({'|'.join(kinds)}): ([\w.-]+) -->\n.*?<!-- end -->", replaced, page, flags=re.DOTALL)


def output_of(shown: Shown, folder: Path) -> str:
    """What a command prints on a terminal, standard error included. Raises where its exit code is another."""
    with served(folder / "clip.mp4", shown.stream) if shown.stream else contextlib.nullcontext(STREAM) as address:
        command = f"{shown.command} {shown.extra}".replace(CAMERA, address).replace(STREAM, address)
        code, text = run_on_terminal(command, folder, {"TERM": "dumb", "NO_COLOR": "1"})
    if code != shown.code:
        raise SystemExit(f"{command}\nended with {code} and not {shown.code}:\n{text}")
    text = text.replace(address, STREAM) if STREAM in shown.command else text
    text = re.sub(r"tcp://127\.0\.0\.1:(?!8090)\d+", CAMERA.replace("user:password", "***"), text)
    text = text.replace(f"{folder}/", "").replace(str(ROOT), "lifeiqa")
    text = re.sub(r"Linux-\d[\w.+-]*?-(x86_64|aarch64)", r"Linux-\1", text)  # whose kernel it is helps nobody
    text = re.sub(r"(?m)^\d+/\d+ +\d+ s  .*\n", "", text)  # logged once a minute, on a slow machine alone
    text = re.sub(r"(?m)^((?:note: .*|lifeiqa-\w+ \(.*)\n)\n", r"\1", text)  # a progress bar stood there
    return "".join(line.rstrip() + "\n" for line in text.strip("\n").splitlines())


def run_on_terminal(command: str, folder: Path, settings: dict[str, str]) -> tuple[int, str]:
    """Runs a shell command on a pseudo-terminal: exit code and output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": str(WIDTH), "PYTHONWARNINGS": "ignore", **settings}
    environment |= {"OMP_NUM_THREADS": "1"}  # networks this small lose more by waiting for threads than they gain
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    parts = []
    with contextlib.suppress(OSError):  # Linux ends a terminal that nobody holds any more with an error
        while data := os.read(leader, 65536):
            parts.append(data)
    os.close(leader)
    return process.wait(LIMIT_S), b"".join(parts).decode(errors="replace").replace("\r\n", "\n")


def draw(shown: Shown, folder: Path) -> None:
    """Draws a command and its coloured output as a terminal. Like all of the site it loads no font from elsewhere."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console
    from rich.text import Text

    _, text = run_on_terminal(shown.command, folder, {"TERM": "xterm-256color", "FORCE_COLOR": "1"})
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(Text.assemble(("$ ", "bold green"), shown.command))
        console.print(Text.from_ansi(text.replace(f"{folder}/", "")))
        form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        form = form.replace("Fira Code, monospace", "ui-monospace, Consolas, 'DejaVu Sans Mono', monospace")
        svg = console.export_svg(title=shown.command, code_format=form)
    FOLDER.joinpath(f"{shown.name}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
