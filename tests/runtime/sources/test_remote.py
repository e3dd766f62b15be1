"""URIs, on the local disk: `file:` by pyarrow, `local:` by fsspec, as object stores go."""

import hashlib
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lifeiqa.runtime.errors import ImageError, MissingError
from lifeiqa.runtime.scoring.journal import file_state
from lifeiqa.runtime.sources.entries import Entry
from lifeiqa.runtime.sources.files import samples
from lifeiqa.runtime.sources.remote import is_uri, read_remote
from lifeiqa.runtime.sources.scan import Scan

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    (root / "b" / "deep").mkdir(parents=True)
    picture = cv2.imencode(".png", np.full((230, 240, 3), 90, np.uint8))[1].tobytes()
    for name in ("a.png", "b/no suffix", "b/deep/odd [1]*#.PNG", "z.png", ".hidden.png"):
        (root / name).write_bytes(picture)
    (root / "notes.txt").write_text("hello")
    (root / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0abc")
    return root


@pytest.mark.parametrize("scheme", ["file", "local"])
def test_folder_is_walked_in_the_order_of_a_local_one_and_the_rest_is_counted(store: Path, scheme: str) -> None:
    scan, local = Scan([f"{scheme}://{store}"]), Scan([str(store)])
    found = [entry.source for entry in scan]
    assert found == [f"{scheme}://{entry.source}" for entry in local]
    assert found[-1].endswith("z.png") and any("odd [1]*#" in name for name in found)
    assert scan.passed_over == local.passed_over == {"hidden": 1, "video": 1, "no picture": 1}


@pytest.mark.parametrize("scheme", ["file", "local"])
def test_pictures_are_read_and_broken_ones_named(store: Path, scheme: str) -> None:
    found = {sample.source.rpartition("/")[2]: sample for sample in samples(Scan([f"{scheme}://{store}/"]))}
    assert all(found[name].pixels is not None for name in ("a.png", "no suffix", "odd [1]*#.PNG", "z.png"))
    assert "damaged" in (found["broken.jpg"].error or "")


def test_hidden_files_count_where_they_are_asked_for(store: Path) -> None:
    assert any(".hidden" in entry.source for entry in Scan([f"file://{store}"], hidden=True))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "no such file or folder"),
        ("missing.png", "no such file"),
        ("clip.mp4", "a video, of which only local files are read"),
        ("empty", "a folder without pictures; name one that has some"),
        ("videos", r"with videos \(1\); copy them to this machine"),
    ],
)
def test_what_cannot_be_scored_is_named(store: Path, name: str, message: str) -> None:
    (store / "empty").mkdir()
    (store / "videos").mkdir()
    (store / "videos" / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    [sample] = samples(Scan([f"file://{store}/{name}"]))
    with pytest.raises(ImageError, match=message):
        raise ImageError(sample.error or "")


def test_names_in_a_list_may_be_uris_whatever_they_have_in_them(store: Path) -> None:
    (store / "odd?.png").write_bytes((store / "a.png").read_bytes())
    names = store / "names.txt"
    names.write_text(f"local://{store}/odd?.png\na.png\nnonsense://x/y.png\n")
    found = list(samples(Scan([str(names)])))
    assert [sample.pixels is None for sample in found] == [False, False, True]
    assert "nonsense" in (found[2].error or "")


def test_file_uri_is_decoded_and_that_of_a_store_is_not(store: Path) -> None:
    (store / "two words.png").write_bytes(b"1")
    (store / "two%20words.png").write_bytes(b"2")
    assert read_remote(f"file://{store}/two%20words.png") == b"1"
    assert read_remote(f"local://{store}/two%20words.png") == b"2"


def test_state_follows_the_size_and_time_of_what_a_folder_has_and_the_content_on_request(store: Path) -> None:
    def state(checksum: bool = False) -> str:
        return file_state(next(iter(Scan([f"file://{store}/b/deep"]))), checksum)

    before, [path] = state(), list((store / "b" / "deep").iterdir())
    assert str(path.stat().st_size) in before
    path.write_bytes(b"other")
    assert state() != before
    assert hashlib.sha256(b"other").hexdigest() in state(checksum=True)


def test_windows_drives_and_plain_names_are_no_uris() -> None:
    assert not any(map(is_uri, ("C:\\photos", "C:/photos", "photos", "./s3://x", "a:b", "://x")))
    assert all(map(is_uri, ("s3://bucket", "hdfs://host:9000/x", "abfss://c@account.dfs.core.windows.net/x")))


def test_pyarrow_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    with pytest.raises(MissingError, match=r"A URI needs pyarrow. Install it: pip install 'pyarrow>=15'"):
        list(Scan(["s3://bucket/folder"]))


def test_fsspec_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    [entry] = Scan(["sftp://host/folder"])
    assert entry == Entry("sftp://host/folder", error="sftp:// needs fsspec. Install it: pip install fsspec")
