import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lifeiqa.runtime import ScoreScale
from lifeiqa.runtime.cli import main

RUN = [sys.executable, "-c", "from lifeiqa.runtime.cli import main; main()"]


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_pictures_become_records(command: Callable, tiny_onnx: Path, photos: Path) -> None:
    done = command(main, "--model", tiny_onnx, "--format", "jsonl", photos)
    assert done.code == 0
    found = records(done.out)
    assert len(found) == 5
    assert all(isinstance(r["score"], float) and r["crops"] == 5 and r["error"] is None for r in found)
    assert all(r["grade"] == ScoreScale().grade(float(str(r["score"]))) for r in found)
    assert "tiny (fp32) on cpu" in done.err


def test_bad_input_is_one_line_each_and_the_rest_is_scored(
    command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    good = (photos / "astronaut.png").read_bytes()
    pixels = cv2.imdecode(np.frombuffer(good, np.uint8), cv2.IMREAD_COLOR)
    files = {
        "empty.png": b"",
        "cut.jpg": cv2.imencode(".jpg", pixels)[1].tobytes()[:5000],
        "text.jpg": b"hello",
        "small.png": cv2.imencode(".png", pixels[:100, :80])[1].tobytes(),
        "deep.png": cv2.imencode(".png", pixels.astype(np.uint16) * 257)[1].tobytes(),
        "grey.png": cv2.imencode(".png", pixels[:, :, 0])[1].tobytes(),
        "clear.png": cv2.imencode(".png", np.dstack([pixels, np.full((512, 512), 128, np.uint8)]))[1].tobytes(),
        "good.png": good,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "none").mkdir()
    inputs = [tmp_path / name for name in files] + [tmp_path / "missing.jpg", tmp_path / "none"]
    done = command(main, "--model", tiny_onnx, "--format", "jsonl", *inputs)
    assert done.code == 1
    found = {Path(str(r["source"])).name: r for r in records(done.out)}
    errors = {name: str(r["error"]) for name, r in found.items() if r["error"]}
    assert set(errors) == {"empty.png", "cut.jpg", "text.jpg", "missing.jpg", "none"}
    assert all("\n" not in text and len(text) > 10 for text in errors.values())
    notes = {name: r["note"] for name, r in found.items() if not r["error"]}
    assert notes == {
        "deep.png": "16 bits reduced to 8",
        "grey.png": "grey",
        "clear.png": "transparency laid on white",
        "small.png": "smaller than a crop, reflected at the borders",
        "good.png": None,
    }
    assert found["deep.png"]["score"] == found["good.png"]["score"]
    assert "5 of 10 could not be scored" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_a_picture_of_one_pixel_is_scored(command: Callable, tiny_onnx: Path, tmp_path: Path, form: str) -> None:
    picture = tmp_path / "pixel.png"
    cv2.imwrite(str(picture), np.full((1, 1), 200, np.uint8))
    done = command(main, "--model", tiny_onnx, "--format", form, picture)
    assert done.code == 0
    assert "grey; smaller than a crop, reflected at the borders" in done.out.splitlines()[-1]


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_output_file_is_whole_and_standard_output_empty(
    command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"scores.{suffix}"
    done = command(main, "--model", tiny_onnx, photos, "-o", output)
    assert (done.code, done.out) == (0, "")
    text = output.read_text()
    rows = records(text) if suffix == "jsonl" else list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 5
    assert os.listdir(tmp_path) == [output.name]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Name pictures or a camera"),
        (["a.jpg", "--camera", "0"], 2, "one of the two"),
        (["a.jpg", "--model", "none.onnx"], 2, "There is no model none.onnx"),
        (["a.jpg", "--device", "tpu"], 2, "tpu"),
        (["a.jpg", "--crops", "0"], 2, "crops"),
        (["--camera", "63"], 5, "Camera 63 cannot be opened"),
        (["a.jpg", "-o", "/proc/none/x.csv"], 3, "Cannot write /proc/none/x.csv"),
    ],
)
def test_exit_codes(command: Callable, tiny_onnx: Path, arguments: list[str], code: int, message: str) -> None:
    model = [] if "--model" in arguments else ["--model", tiny_onnx]
    done = command(main, *arguments, *model)
    assert done.code == code
    assert message in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_hostile_names_end_in_a_record_each(command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    odd = tmp_path / "[red]x.png"
    odd.write_bytes((photos / "chelsea.png").read_bytes())
    output = tmp_path / "out" / "o.jsonl"
    done = command(main, "--model", tiny_onnx, "-o", output, tmp_path, "x" * 300 + ".mp4", "[/z].png", "caf\udce9.png")
    assert done.code == 1
    assert [r["error"] is None for r in records(output.read_text())] == [True, False, False, False]
    assert "Traceback" not in done.err


def test_what_is_passed_over_is_counted_in_a_line_on_standard_error(
    command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    picture = (photos / "chelsea.png").read_bytes()
    (tmp_path / "a.jfif").write_bytes(picture)
    (tmp_path / ".h.png").write_bytes(picture)
    (tmp_path / "._a.jfif").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "clip.mkv").write_bytes(b"\x1aE\xdf\xa3")
    arguments = ["--model", tiny_onnx, "--format", "jsonl", tmp_path]
    done = command(main, *arguments)
    assert (done.code, len(records(done.out))) == (0, 1)
    assert done.err.splitlines()[-1] == "passed over: 2 hidden, 1 video"
    assert "passed over" not in command(main, *arguments, "--quiet").err
    done = command(main, *arguments, "--hidden", "--videos")
    found = {Path(str(r["source"])).name: r["error"] is None for r in records(done.out)}
    assert (done.code, found) == (1, {".h.png": True, "a.jfif": True, "clip.mkv": False})
    assert done.err.splitlines()[-1] == "passed over: 1 AppleDouble"
    assert "passed over" not in command(main, "--model", tiny_onnx, photos).err


def test_picture_on_standard_input_is_scored_like_its_file(tiny_onnx: Path, photos: Path) -> None:
    picture = photos / "coffee.jpg"
    arguments = [*RUN, "--model", str(tiny_onnx), "-", str(picture)]
    done = subprocess.run(arguments, input=picture.read_bytes(), capture_output=True, check=True)
    piped, read = records(done.stdout.decode())
    assert piped == {**read, "source": "-"}


def test_table_without_a_column_of_names_ends_with_2_before_an_output_is_made(
    command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "scores.csv").write_text("score,std\n1,2\n")
    done = command(main, "--model", tiny_onnx, photos, tmp_path / "scores.csv", "-o", tmp_path / "out.jsonl")
    assert (done.code, os.listdir(tmp_path)) == (2, ["scores.csv"])
    assert "has the columns score, std" in done.err


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_name_that_is_no_text_has_a_record_that_names_it(
    tiny_onnx: Path, photos: Path, tmp_path: Path, locale: str
) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(name)).write_bytes((photos / "chelsea.png").read_bytes())
    arguments = [*RUN, "--model", str(tiny_onnx), "-"]
    environment = {**os.environ, "LC_ALL": locale}
    sources = []
    for stdin in (name, f"{tmp_path}/caf\\xe9.png".encode()):
        done = subprocess.run(arguments, input=stdin, env=environment, capture_output=True, check=True)
        sources.append(records(done.stdout.decode())[0]["source"])
    assert sources == [f"{tmp_path}/caf\\xe9.png"] * 2


def test_full_standard_output_ends_with_3(tiny_onnx: Path, photos: Path) -> None:
    with Path("/dev/full").open("w") as full:
        arguments = [*RUN, "--model", str(tiny_onnx), str(photos)]
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "error: Cannot write the results: No space left on device."


def test_closed_standard_streams_are_no_bug(tiny_onnx: Path, photos: Path) -> None:
    line = f"{RUN[0]} -c '{RUN[2]}' --model {tiny_onnx}"
    for command_line, code in ((f"{line} {photos} >&-", 2), (f"{line} - <&-", 0)):
        done = subprocess.run(["sh", "-c", command_line], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


def test_terminal_without_unicode_gets_what_it_can_show(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    picture = tmp_path / "\u00fcn\u00ef.png"
    picture.write_bytes((photos / "chelsea.png").read_bytes())
    for form in ("table", "csv", "jsonl"):
        arguments = [*RUN, "--model", str(tiny_onnx), "--format", form, str(picture)]
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
        if form == "jsonl":
            assert records(done.stdout)[0]["source"] == str(picture)


def test_limit_stops_early(command: Callable, tiny_onnx: Path, photos: Path) -> None:
    assert len(records(command(main, "--model", tiny_onnx, photos, "--limit", 2).out)) == 2


def test_limit_on_pixels_may_be_none(command: Callable, tiny_onnx: Path, photos: Path) -> None:
    assert command(main, "--model", tiny_onnx, photos / "coffee.jpg", "--max-pixels", "inf").code == 0
    done = command(main, "--model", tiny_onnx, photos / "coffee.jpg", "--max-pixels", "nan")
    assert done.code == 2 and "--max-pixels must be a number" in done.err


def test_list_on_standard_input_is_scored_line_by_line(tiny_onnx: Path, photos: Path) -> None:
    with subprocess.Popen(
        [*RUN, "--model", str(tiny_onnx), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for name in ("rocket.png", "coffee.jpg"):
            process.stdin.write(f"{photos / name}\n")
            process.stdin.flush()
            assert Path(json.loads(process.stdout.readline())["source"]).name == name
        process.stdin.close()
        assert process.wait(30) == 0


def test_interrupted_run_keeps_what_was_scored(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.jsonl"
    arguments = ["--model", str(tiny_onnx), "-o", str(output), "-"]
    with subprocess.Popen([*RUN, *arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(f"{photos / 'rocket.png'}\n")
        process.stdin.flush()
        journal, deadline = tmp_path / "scores.jsonl.journal", time.monotonic() + 60
        while not (journal.exists() and b'"score"' in journal.read_bytes()):
            assert time.monotonic() < deadline, "no score in the journal"
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)  # while standard input is open, and a thread waits for more of it
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert len(records(output.read_text())) == 1
    assert "interrupted after 1 records" in err
    assert "Traceback" not in err


def test_reader_that_goes_away_ends_the_run_quietly(tiny_onnx: Path, photos: Path) -> None:
    command_line = f"{RUN[0]} -c '{RUN[2]}' --model {tiny_onnx} {photos} {photos} {photos} | head -n 1"
    done = subprocess.run(["sh", "-c", command_line], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_runtime_loads_neither_torch_nor_timm_nor_onnx(tiny_onnx: Path, photos: Path) -> None:
    code = (
        "import sys; from lifeiqa.runtime.cli import main\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code, stop.code\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'timm', 'onnx', 'scipy', 'skimage'}))"
    )
    arguments = ["--model", str(tiny_onnx), "--format", "jsonl", str(photos / "rocket.png")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
