import importlib
import io
import os
import sys
from itertools import chain
from pathlib import Path

import pytest
from slow_streams import Trickle

from lifeiqa.runtime.errors import ImageError, MissingError, UsageError
from lifeiqa.runtime.sources.lists import beginning, chunks_of, is_list, names_in, text_names


def names(data: bytes) -> list[str]:
    return list(text_names(iter([data])))


def saved(path: Path, data: bytes | str) -> str:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", []),
        (b"a.png", ["a.png"]),
        (b"a.png\nb.png\n", ["a.png", "b.png"]),
        (b"a.png\r\n\r\n\n b .png \r\n", ["a.png", " b .png "]),
        (b"\xef\xbb\xbfa.png\nb.png", ["a.png", "b.png"]),
        (b"\xef\xbb\xbfa.png\0b.png\0", ["a.png", "b.png"]),
        (b"a\nb.png\0c.png\r\0", ["a\nb.png", "c.png\r"]),
        (b"\xef", ["\udcef"]),
        (b"\xff\xfe", []),
        ("\ufeffgr\u00fcn.png\r\nb.png\r\n".encode("utf-16-le"), ["gr\u00fcn.png", "b.png"]),
        ("\ufeffgr\u00fcn.png\nb.png".encode("utf-16-be"), ["gr\u00fcn.png", "b.png"]),
        (b"caf\xe9.png\n\xc3\xa9.png\n", ["caf\udce9.png", "\u00e9.png"]),
    ],
)
def test_texts_are_read_whatever_wrote_them(data: bytes, found: list[str]) -> None:
    assert names(data) == found


@pytest.mark.parametrize("whole", [b"\xef\xbb\xbfa.png\r\nb.png\n", "\ufeffa.png\r\nb.png\n".encode("utf-16-le")])
def test_names_that_come_byte_by_byte_are_whole(whole: bytes) -> None:
    stream = io.BufferedReader(Trickle(*(whole[i : i + 1] for i in range(len(whole)))))
    assert list(text_names(chunks_of(stream))) == ["a.png", "b.png"]


@pytest.mark.parametrize("end", [b"\n", b"\0"])
def test_a_name_comes_before_the_next_is_written(end: bytes) -> None:
    raw = Trickle(b"a.png" + end, b"b.png" + end)
    chunks = chunks_of(io.BufferedReader(raw))
    found = text_names(chain([beginning(chunks)], chunks))
    assert next(found) == "a.png"
    assert raw.pieces == [b"b.png" + end]
    assert list(found) == ["b.png"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("path,score\na.png,1\n\nb.png,2\n", ["a.png", "b.png"]),
        ("score;Filename\r\n1;a, b.png\r\n2;\r\n3\r\n", ["a, b.png"]),
        ("score\tNAME\n1\ta.png\n", ["a.png"]),
        ('"score", "path"\n1, "a ""b"".png"\n', ['a "b".png']),
        ('path\n"two\nlines.png"\n', ["two\nlines.png"]),
        ("name,path\nwrong,a.png\n", ["a.png"]),
        ("\ufeffsource,score\na.png,1\n", ["a.png"]),
        ("a.png\nb.png\n", ["a.png", "b.png"]),
        ("", []),
    ],
)
def test_column_of_a_csv_file_is_found_by_its_name(tmp_path: Path, text: str, found: list[str]) -> None:
    assert list(names_in(saved(tmp_path / "list.csv", text))) == found


def test_csv_file_may_be_utf16_or_hold_names_that_are_no_text(tmp_path: Path) -> None:
    wide = saved(tmp_path / "wide.CSV", "\ufeffpath\tscore\r\ngr\u00fcn.png\t1\r\n".encode("utf-16-le"))
    assert list(names_in(wide)) == ["gr\u00fcn.png"]
    assert list(names_in(saved(tmp_path / "odd.csv", b"path,score\ncaf\xe9.png,1\n"))) == ["caf\udce9.png"]


def test_csv_file_without_a_column_of_names_is_told_with_its_columns(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has the columns a\.jpg, 3\.5; name the one .* path, file"):
        list(names_in(saved(tmp_path / "list.csv", "a.jpg,3.5\n")))
    with pytest.raises(UsageError, match=r"gr\\xfcn, 1"):
        list(names_in(saved(tmp_path / "latin1.csv", b"gr\xfcn,1\n")))


def test_csv_file_that_breaks_off_says_where(tmp_path: Path) -> None:
    found = names_in(saved(tmp_path / "list.csv", "path,n\na.png,1\n" + "x" * 200_000 + ",2\n"))
    assert next(found) == "a.png"
    with pytest.raises(ImageError, match="from line 3 on"):
        next(found)


def test_parquet_file_is_read_by_its_column_text_or_bytes(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"score": [1, 2, 3], "Path": ["a.png", None, "\u00fc.png"]}), path, row_group_size=1)
    assert list(names_in(str(path))) == ["a.png", "\u00fc.png"]
    pq.write_table(pa.table({"file": [b"caf\xe9.png"]}), path)
    assert list(names_in(str(path))) == ["caf\udce9.png"]
    pq.write_table(pa.table({"file": pa.array(["a.png", "a.png"]).dictionary_encode()}), path)
    assert list(names_in(str(path))) == ["a.png", "a.png"]
    pq.write_table(pa.table({"image": [1]}), path)
    with pytest.raises(UsageError, match="holds int64, not names"):
        list(names_in(str(path)))
    pq.write_table(pa.table({"score": [1], "x": [2]}), path)
    with pytest.raises(UsageError, match="has the columns score, x"):
        list(names_in(str(path)))


@pytest.mark.parametrize("data", [b"", b"no parquet", b"PAR1" + bytes(40) + b"PAR1"])
def test_parquet_file_that_is_none_is_told_in_a_line(tmp_path: Path, data: bytes) -> None:
    pytest.importorskip("pyarrow.parquet")
    with pytest.raises(ImageError, match="not a Parquet file that can be read") as caught:
        list(names_in(saved(tmp_path / "list.parquet", data)))
    assert "\n" not in str(caught.value)


def test_parquet_file_without_pyarrow_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    importlib.invalidate_caches()
    with pytest.raises(MissingError, match=r"pip install 'pyarrow>=15'"):
        list(names_in(saved(tmp_path / "list.parquet", b"")))


@pytest.mark.parametrize(
    ("name", "data", "is_one"),
    [
        ("a.txt", b"b.png\n", True),
        ("a.TXT", b"", True),
        ("a.csv", b"path\n", True),
        ("a.parquet", b"PAR1", True),
        ("a.txt", b"\x89PNG\r\n\x1a\n", False),
        ("a.png", b"b.png\n", False),
        ("a.txt", b"".join(b"Gallery/%039d\n" % i for i in range(20)), True),  # would pass for MPEG by its Gs
        ("FOVb.txt", b"FOVb/a.png\n", True),
    ],
)
def test_a_list_is_told_by_its_suffix_unless_it_is_a_picture(
    tmp_path: Path, name: str, data: bytes, is_one: bool
) -> None:
    assert is_list(saved(tmp_path / name, data)) == is_one


def test_neither_folders_nor_pipes_are_lists(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    assert not any(is_list(str(tmp_path / name)) for name in ("folder.txt", "pipe.txt", "none.txt"))
