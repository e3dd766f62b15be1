import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from lifeiqa.runtime import errors

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("models/zoo/*/*.md")])
LEARNING = [ROOT / "README.md", *sorted(DOCS.glob("tutorials/*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text()


def load(name: str) -> ModuleType:
    """A module of docs/, by its path: that folder is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(DOCS))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(DOCS))
    return module


@pytest.fixture(scope="module")
def shown() -> ModuleType:
    return load("shown")


def commands_of(page: Path) -> Iterator[str]:
    """The lines of the blocks that a reader copies: those without a language in README, `bash` in the docs."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        if language in ("", "bash"):
            yield from filter(None, re.sub(r" *\\\n *", " ", block).splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files_that_are_there(page: Path) -> None:
    text = page.read_text()
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if not t.startswith("http")]
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", LEARNING, ids=lambda page: page.name)
def test_every_command_that_a_reader_copies_is_run_by_the_captures_script(page: Path, shown: ModuleType) -> None:
    known = {each.command for each in shown.SHOWN} | {shown.SERVE}
    unknown = []
    for command in commands_of(page):
        command = command.partition("  #")[0].rstrip()
        if command.startswith("make "):
            assert re.search(rf"^{command.removeprefix('make ')}:", MAKEFILE, re.MULTILINE), command
        elif not command.startswith("pip install") and command not in known:
            unknown.append(command)
    assert unknown == []


def test_every_extra_that_a_page_installs_exists() -> None:
    extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    pages = [*PAGES, *DOCS.rglob("*.md")]
    asked = {
        e for page in pages for group in re.findall(r"'\.\[([\w,]+)\]'", page.read_text()) for e in group.split(",")
    }
    assert asked and asked <= extras


def test_every_command_has_its_capture(shown: ModuleType) -> None:
    names = [each.name for each in shown.SHOWN]
    assert len(set(names)) == len(names)
    assert [n for n in names if not (DOCS / "captures" / f"{n}.txt").is_file()] == []
    assert {p.stem for p in (DOCS / "captures").glob("*.txt")} <= set(names)


def test_outputs_on_the_pages_are_those_of_the_captures() -> None:
    captures = load("captures")
    pages = captures.pages()
    assert sum(page.read_text().count("<!-- capture:") for page in pages) > 30
    assert [page.name for page in pages if page.read_text() != captures.with_captures(page.read_text())] == []


def test_an_output_that_was_typed_is_found() -> None:
    page = "<!-- capture: run-photo -->\n```text\ntyped\n```\n<!-- end -->"
    assert "typed" not in load("captures").with_captures(page)


def test_captures_hold_no_path_of_the_machine_that_made_them() -> None:
    wrong = re.compile(r"/(tmp|work|home|root|usr)/")
    captures = [*DOCS.glob("captures/*.txt"), *DOCS.glob("captures/*.svg")]
    assert captures and [p.name for p in captures if wrong.search(p.read_text())] == []


def test_captures_load_nothing_from_another_host() -> None:
    for picture in DOCS.glob("captures/*.svg"):
        assert re.findall(r"(?:url\(|href=|src=)[\"']?https?:", picture.read_text()) == []


def test_python_in_the_how_to_runs(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    (block,) = re.findall(r"```python\n(.*?Scorer\(\).*?)```", (DOCS / "how-to" / "python.md").read_text(), re.DOTALL)
    (tmp_path / "photo.jpg").write_bytes((photos / "coffee.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "python.md", "exec"), {"frame": cv2.imread("photo.jpg")})
    assert re.match(r"\d+\.\d+ (fair|good|excellent) \d+\.\d+ 5$", capsys.readouterr().out.splitlines()[0])


def test_exit_codes_in_the_docs_are_those_of_the_errors() -> None:
    page = load("reference_pages").exit_codes()
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    raised = {e.exit_code for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.LifeIQAError)}
    assert listed == raised | {0, 130}


def test_limits_of_behaviour_in_the_docs_are_those_that_are_held() -> None:
    from behaviour_limits import CHECKS, KINDS

    page = load("reference_pages").pages(ROOT)["reference/limits.md"]
    assert [check.name for check in CHECKS if f"| {check.name} | {check.expected} | {check.bound} " not in page] == []
    assert [kind for kind in KINDS if f"- {kind}: " not in page] == []


def test_every_error_is_in_the_tree_with_its_code() -> None:
    tree = dict(re.findall(r"-- (\w+) +(\d)", errors.__doc__ or ""))
    found = {e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.LifeIQAError)}
    assert tree == {e.__name__: str(e.exit_code) for e in found - {errors.LifeIQAError}}


def test_every_room_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = load("layers")
    picture = layers.draw(ROOT / "tests" / "test_rooms.py")
    packages, rooms = layers.floors(ROOT / "tests" / "test_rooms.py")
    assert [name for name in packages if f">{name}/<" not in picture] == []
    assert [r for group in rooms.values() for r in group if f">{r}<" not in picture] == []


def test_every_room_is_in_the_tables_of_contributing_on_its_floor() -> None:
    _, rooms = load("layers").floors(ROOT / "tests" / "test_rooms.py")
    rows = re.findall(r"^\| (`[^|]+`) \| (\d) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    listed = {(name.strip("`/"), int(floor)) for names, floor in rows for name in names.split(", ")}
    assert listed == {pair for group in rooms.values() for pair in group.items()}


def test_every_command_gets_a_page_with_all_its_options() -> None:
    pages = load("command_pages").pages(ROOT)
    assert {"lifeiqa-run", "lifeiqa-export", "lifeiqa-train"} <= {Path(uri).stem for uri in pages}
    for option in (
        "`--camera <",
        "`--crops <int>` |  | Crops a picture; without it, the model's own. (1 to 256)",
        "-h",
    ):
        assert option in pages["reference/commands/lifeiqa-run.md"]


def test_every_package_is_marked_as_typed() -> None:
    packages = [ROOT / name for name in ("package", "runtime", "calibration", "models", "export")]
    assert all((package / "py.typed").is_file() for package in packages)
