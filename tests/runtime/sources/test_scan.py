import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from slow_streams import Trickle

from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.sources.entries import Entry
from lifeiqa.runtime.sources.scan import Scan

PNG = b"\x89PNG\r\n\x1a\n" + bytes(30)


def scan(*inputs: object, stdin: bytes = b"", hidden: bool = False, videos: bool = False) -> list[Entry]:
    stream = io.BufferedReader(io.BytesIO(stdin))
    return list(Scan([str(name) for name in inputs], stream, hidden, videos))


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PNG)


def names(entries: list[Entry]) -> list[str]:
    return [Path(entry.source).name for entry in entries]


def test_what_is_named_is_an_entry_whatever_it_is(tmp_path: Path) -> None:
    put(tmp_path, ".hidden.png")
    (tmp_path / "notes.md").write_text("hello")
    (tmp_path / "IMG.NEF").write_bytes(b"II*\x00" + bytes(9))
    (tmp_path / "clip.jpg").write_bytes(b"\x1aE\xdf\xa3")
    (tmp_path / "text.mp4").write_text("hello")
    put(tmp_path, "picture.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    all_names = [".hidden.png", "notes.md", "IMG.NEF", "clip.jpg", "text.mp4", "picture.mp4", "pipe.mp4", "none.mp4"]
    found = scan(*(tmp_path / name for name in all_names))
    assert names(found) == all_names
    assert [entry.source for entry in found if entry.video] == [f"{tmp_path}/clip.jpg", f"{tmp_path}/text.mp4"]
    assert not any(entry.error for entry in found)


def test_brackets_and_stars_of_an_existing_path_are_that_path(tmp_path: Path) -> None:
    put(tmp_path, "a[1].png", "a1.png", "[2019] *trip*/b.png", "2/b.png", "s*.png", "sx.png")
    assert names(scan(tmp_path / "a[1].png", tmp_path / "s*.png")) == ["a[1].png", "s*.png"]
    assert scan(tmp_path / "[2019] *trip*")[0].source == f"{tmp_path}/[2019] *trip*/b.png"
    assert [entry.source for entry in scan(f"{tmp_path}/[2019] *trip*/*.png")] == [f"{tmp_path}/[2019] *trip*/b.png"]


def test_matches_of_a_pattern_are_named_ones_and_folders_walked(tmp_path: Path) -> None:
    put(tmp_path, "x1/a.png", "x1/.h.png", ".x/b.png", "x2.png")
    (tmp_path / "x3.md").write_text("hello")
    assert names(scan(f"{tmp_path}/*")) == ["a.png", "x2.png", "x3.md"]
    assert scan(f"{tmp_path}/none*")[0].error == "no file matches this pattern"


def test_counts_are_those_of_the_latest_iteration(tmp_path: Path) -> None:
    put(tmp_path, "a.png", ".h.png")
    twice = Scan([str(tmp_path)])
    assert [list(twice), twice.passed_over] == [list(twice), {"hidden": 1}]


def test_folder_named_twice_is_walked_twice_and_a_hidden_one_when_named(tmp_path: Path) -> None:
    put(tmp_path, ".cache/a.png")
    assert names(scan(tmp_path / ".cache", tmp_path / ".cache")) == ["a.png", "a.png"]


def test_folder_without_pictures_is_an_error_that_tells_of_its_videos(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("hello")
    assert scan(tmp_path)[0].error == "a folder without pictures; name one that has some"
    (tmp_path / "clip").write_bytes(b"\x1aE\xdf\xa3")
    assert scan(tmp_path)[0].error == "a folder without pictures, but with videos (1); --videos scores them"
    assert [entry.video for entry in scan(tmp_path, videos=True)] == [True]


def test_list_file_holds_all_that_can_be_named(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "sub/b.png", "sub/.h.png", "c1.png", "c2.png")
    listed = tmp_path / "list.txt"
    listed.write_text(f"\ufeff{tmp_path}/a.png\r\n{tmp_path}/sub\r\n{tmp_path}/c*.png\r\n", encoding="utf-8")
    assert names(scan(listed)) == ["a.png", "b.png", "c1.png", "c2.png"]


def test_names_of_a_list_are_relative_to_here_and_then_to_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "lists/both.png", "lists/there.png", "lists/p1.png", "here/both.png")
    (tmp_path / "lists" / "list.csv").write_text("path,score\nboth.png,1\nthere.png,2\np*.png,3\nnone.png,4\n")
    monkeypatch.chdir(tmp_path / "here")
    found = [entry.source for entry in scan("../lists/list.csv")]
    assert found == ["both.png", "../lists/there.png", "../lists/p1.png", "none.png"]


def test_list_in_a_list_is_an_error_even_when_it_is_the_same(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    listed = tmp_path / "list.txt"
    listed.write_text("list.txt\n-\na.png\n")
    found = scan(listed, "-", stdin=os.fsencode(listed) + b"\n-\n")
    assert [bool(entry.error) for entry in found] == [True, True, False, True, True]
    assert "a list in a list" in str(found[0].error)


def test_list_that_is_missing_or_broken_is_an_error_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"hello")
    put(tmp_path, "a.png")
    found = scan(tmp_path / "none.txt", tmp_path / "broken.parquet", tmp_path / "a.png")
    assert names(found) == ["none.txt", "broken.parquet", "a.png"]
    assert "not a Parquet file" in str(found[1].error)


def test_table_without_names_is_told_before_anything_is_scored(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("score,std\n1,2\n")
    with pytest.raises(UsageError, match="score, std"):
        Scan([str(tmp_path), str(tmp_path / "scores.csv")])


def test_standard_input_is_a_list_once(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png")
    stdin = f"{tmp_path}/a.png\r\n\r\n{tmp_path}/b.png".encode()
    assert names(scan("-", "-", stdin=stdin)) == ["a.png", "b.png"]
    assert scan("-", stdin=b"") == [] == list(Scan(["-"]))


def test_picture_on_standard_input_is_an_entry_with_its_bytes() -> None:
    assert scan("-", stdin=PNG) == [Entry("-", data=PNG)]
    assert scan("-", stdin=b"P6 2 2 255\n" + bytes(12))[0].data is not None
    (video,) = scan("-", stdin=b"\x1aE\xdf\xa3" + bytes(9))
    assert "a video" in str(video.error)


def test_standard_input_that_comes_byte_by_byte_is_what_it_is_whole(tmp_path: Path) -> None:
    put(tmp_path, "BM.png")
    for data in (PNG, os.fsencode(tmp_path / "BM.png") + b"\n", b"RIFF\x24\0\0\0WEBPVP8 " + bytes(30)):
        pieces = io.BufferedReader(Trickle(*(data[i : i + 1] for i in range(len(data)))))
        assert list(Scan(["-"], pieces)) == scan("-", stdin=data)


def test_picture_in_a_file_called_a_list_is_a_picture(tmp_path: Path) -> None:
    put(tmp_path, "a.txt")
    (tmp_path / "list.csv").write_text("a.txt\n")
    assert [entry.error for entry in scan(tmp_path / "a.txt", tmp_path / "list.csv")] == [None, None]


def test_standard_input_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    code = "import sys; from lifeiqa.runtime.sources.scan import Scan; print(*Scan(['-'], sys.stdin.buffer))"
    line = f'{sys.executable} -c "{code}" 0>{tmp_path}/x'  # open for writing alone
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert "standard input cannot be read" in done.stdout


ODD = b"caf\xe9 \\xe9\nx.png"


def test_names_that_are_no_text_can_be_fed_back_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(os.fsdecode(ODD)).write_bytes(PNG)
    (entry,) = scan(".")
    assert entry.source == "./caf\\xe9 \\x5cxe9\nx.png"
    for again in (scan(entry.source), scan("-", stdin=entry.source.encode() + b"\0"), scan("-", stdin=ODD + b"\0")):
        assert [os.fsencode(e.path or "").removeprefix(b"./") for e in again] == [ODD]


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_names_are_the_same_bytes_in_every_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    (tmp_path / "folder").mkdir()
    found = {b"caf\xe9.png", "gr\u00fcn.png".encode()}
    for name in found:
        (tmp_path / "folder" / os.fsdecode(name)).write_bytes(PNG)
    code = (
        "import json, sys; from lifeiqa.runtime.sources.scan import Scan\n"
        "found = list(Scan(sys.argv[1:], sys.stdin.buffer))\n"
        "assert all(open(e.path, 'rb').read(4) == b'\\x89PNG' for e in found)\n"
        "print(json.dumps([e.source for e in found]))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LC_")}
    environment |= {"PYTHONCOERCECLOCALE": "0", **locale}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "folder",
            "-",
            "folder/gr\u00fcn.png",
            "folder/caf\\xe9.png",
            b"folder/caf\xe9.png",
        ],
        input=b"".join(b"folder/" + name + b"\n" for name in sorted(found)),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    odd, plain = b'"folder/caf\\\\xe9.png"', b'"folder/gr\\u00fcn.png"'
    assert done.stdout.strip() == b"[" + b", ".join([odd, plain, odd, plain, plain, odd, odd]) + b"]"
