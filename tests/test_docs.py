import re
from pathlib import Path

import pytest

from lifeiqa.runtime import errors

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("models/zoo/*/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files_that_are_there(page: Path) -> None:
    text = page.read_text()
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if not t.startswith("http")]
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_exit_codes_in_the_readme_are_those_of_the_errors() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)}
    raised = {e.exit_code for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.LifeIQAError)}
    assert listed == raised | {0, 130}


def test_every_error_is_in_the_tree_with_its_code() -> None:
    tree = dict(re.findall(r"-- (\w+) +(\d)", errors.__doc__ or ""))
    found = {e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.LifeIQAError)}
    assert tree == {e.__name__: str(e.exit_code) for e in found - {errors.LifeIQAError}}


def test_every_package_is_marked_as_typed() -> None:
    packages = [ROOT / name for name in ("runtime", "calibration", "models", "export")]
    assert all((package / "py.typed").is_file() for package in packages)
