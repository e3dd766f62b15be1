import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from lifeiqa.runtime.sources.entries import Entry
from lifeiqa.runtime.sources.folders import walk

PNG = b"\x89PNG\r\n\x1a\n"
HEADS = {
    "photo.jpg": b"\xff\xd8\xff\xe0",
    "no_suffix": PNG,
    "wrong.txt": PNG,
    "lost_its_head.png": b"hello",
    "empty.JPG": b"",
    "empty.txt": b"",
    "notes.md": b"hello",
    "paper.jpg": b"%PDF-1.7",
    "IMG.NEF": b"II*\x00" + bytes(8),
    "phone.HEIC": b"\x00\x00\x00\x18ftypheic" + bytes(12),
    "clip": b"\x1aE\xdf\xa3",
    "old.mov": b"\x00\x00\x00\x08wide",
    "code.ts": b"const a = 1",
}


def walked(folder: Path, hidden: bool = False, videos: bool = False) -> tuple[dict[str, Entry], Counter[str]]:
    counts: Counter[str] = Counter()
    found = list(walk(str(folder), hidden, videos, counts))
    entries = {os.path.relpath(entry.path or "", folder): entry for entry in found}
    assert len(entries) == len(found)
    return entries, counts


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    for name, head in HEADS.items():
        (tmp_path / name).write_bytes(head)
    return tmp_path


def test_content_decides_and_what_is_passed_over_is_counted_by_kind(kinds: Path) -> None:
    entries, counts = walked(kinds)
    assert list(entries) == ["empty.JPG", "lost_its_head.png", "no_suffix", "phone.HEIC", "photo.jpg", "wrong.txt"]
    assert not any(entry.error or entry.video or entry.data for entry in entries.values())
    assert counts == {"no picture": 3, "video": 2, "camera raw": 1, "PDF": 1}


def test_videos_are_found_where_asked_for(kinds: Path) -> None:
    entries, counts = walked(kinds, videos=True)
    assert [name for name, entry in entries.items() if entry.video] == ["clip", "old.mov"]
    assert "video" not in counts


def test_hidden_files_apple_doubles_and_thumbnails_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    for folder in (".thumbnails", "@eaDir", "__MACOSX"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.jpg").write_bytes(PNG)
    for name in (".trashed.jpg", "seen.jpg", "Thumbs.db"):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "._seen.jpg").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    entries, counts = walked(tmp_path)
    assert list(entries) == ["seen.jpg"]
    assert counts == {"hidden": 6}
    entries, counts = walked(tmp_path, hidden=True)
    assert len(entries) == 6 and ".thumbnails/t.jpg" in entries
    assert counts == {"AppleDouble": 1}


def test_files_and_folders_come_in_one_order_of_bytes_to_the_bottom(tmp_path: Path) -> None:
    for name in ("b/x", "a", "c/d/y", "B", "\u00e9", "z", "ab"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    assert list(walked(tmp_path)[0]) == ["B", "a", "ab", "b/x", "c/d/y", "z", "\u00e9"]


def test_folders_are_walked_once_however_many_links_lead_to_them(tmp_path: Path) -> None:
    outside, top = tmp_path / "outside", tmp_path / "top"
    for folder in (outside, top / "sub"):
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(PNG)
    (top / "sub" / "loop").symlink_to(top)
    (top / "m").symlink_to(outside)
    (top / "n").symlink_to(outside)
    entries, counts = walked(top)
    assert list(entries) == ["m/a.png", "sub/a.png"]
    assert counts == {"repeated folder": 2}


def test_links_that_lead_nowhere_are_errors_where_they_are_called_pictures(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    entries, counts = walked(tmp_path)
    assert list(entries) == ["gone.jpg", "self.jpg"]
    assert "not there" in str(entries["gone.jpg"].error)
    assert "symbolic links" in str(entries["self.jpg"].error)
    assert counts == {"broken link": 1}


def test_pipes_are_passed_over_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    assert walked(tmp_path) == ({}, {"pipe or device": 2})


def test_folder_that_goes_away_is_an_error_and_the_rest_follows(tmp_path: Path) -> None:
    for name in ("a.png", "b/x.png", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    found = walk(str(tmp_path), False, False, Counter())
    assert next(found).path == str(tmp_path / "a.png")
    shutil.rmtree(tmp_path / "b")
    gone, last = found
    assert gone == Entry(
        str(tmp_path / "b"), str(tmp_path / "b"), "this folder cannot be read: No such file or directory"
    )
    assert last.error is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "secret.png").write_bytes(PNG)
    (tmp_path / "secret.png").chmod(0)
    errors = {name: entry.error for name, entry in walked(tmp_path)[0].items()}
    (tmp_path / "closed").chmod(0o700)
    assert errors == {
        "closed": "this folder cannot be read: Permission denied",
        "secret.png": "cannot be read: Permission denied",
    }


def test_name_that_is_no_text_has_a_source_that_is(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(name)).write_bytes(PNG)
    (entry,) = walk(str(tmp_path), False, False, Counter())
    assert entry.source == f"{tmp_path}/caf\\xe9.png"
    assert os.fsencode(entry.path or "") == name


def test_folder_deeper_than_recursion_goes_is_walked(tmp_path: Path) -> None:
    deep = str(tmp_path) + "/d" * 1100
    subprocess.run(["mkdir", "-p", deep], check=True)
    Path(f"{deep}/a.png").write_bytes(PNG)
    (entry,) = walk(str(tmp_path), False, False, Counter())
    assert entry.path == f"{deep}/a.png"
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # shutil.rmtree fails of its depth


def test_first_file_of_a_large_folder_comes_before_the_others_are_opened(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:03}.png").write_bytes(PNG)
    found = walk(str(tmp_path), False, False, Counter())
    next(found)
    (tmp_path / "150.png").unlink()
    assert [entry.path for entry in found if entry.error] == [str(tmp_path / "150.png")]
