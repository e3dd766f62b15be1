from pathlib import Path

import pytest

from lifeiqa.runtime.sources.patterns import matches

FILES = ("b.png", "a.png", "c.jpg", ".h.png", "sub/d.png", "sub/deep/e.png", "@eaDir/a.png", ".git/x.png", "[1]/f.png")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["a.png", "b.png"]),
        ("./[ab].png", ["./a.png", "./b.png"]),
        ("?.jpg", ["c.jpg"]),
        ("*/*.png", ["[1]/f.png", "sub/d.png"]),
        ("**/*.png", ["a.png", "b.png", "[1]/f.png", "sub/d.png", "sub/deep/e.png"]),
        ("sub/**", ["sub"]),
        ("**", ["."]),
        ("**/deep/**/e.*", ["sub/deep/e.png"]),
        (".*.png", [".h.png"]),
        ("@eaDir/*", ["@eaDir/a.png"]),
        ("[1]/*", ["[1]/f.png"]),
        ("none/*", []),
        ("c.jpg/*", []),
        ("a*\0", []),
    ],
)
def test_patterns_find_what_a_shell_finds_in_order(tree: Path, pattern: str, found: list[str]) -> None:
    assert list(matches(pattern, hidden=False)) == found


def test_patterns_from_the_root_give_whole_paths(tree: Path) -> None:
    assert list(matches(f"{tree}//*.jpg", hidden=False)) == [f"{tree}/c.jpg"]


def test_hidden_files_match_where_asked_for(tree: Path) -> None:
    assert list(matches("*.png", hidden=True)) == [".h.png", "a.png", "b.png"]
    assert set(matches("*/?.png", hidden=True)) == {".git/x.png", "@eaDir/a.png", "[1]/f.png", "sub/d.png"}


def test_links_that_lead_round_are_followed_once(tree: Path) -> None:
    (tree / "sub" / "up").symlink_to(tree)
    (tree / "self").symlink_to("self")
    found = list(matches("**/e.png", hidden=False))
    assert found == ["sub/deep/e.png"]
