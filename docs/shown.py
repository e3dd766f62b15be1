"""The commands that README and the tutorials show. docs/captures.py runs each and writes what it prints."""

from __future__ import annotations

from dataclasses import dataclass

STREAM = "tcp://127.0.0.1:8090"
SERVE = f"ffmpeg -re -i clip.mp4 -c:v mpeg2video -q:v 2 -f mpegts '{STREAM}?listen=1'"
CAMERA = "rtsp://user:password@192.0.2.7/stream"
TINY = "--backbone test_efficientnet --set pretrained=false --epochs 2 --batch 8 --workers 0"  # the tutorial says so


@dataclass(frozen=True)
class Shown:
    """One command of a page.

    Attributes:
        name: of its capture, docs/captures/NAME.txt.
        command: exactly as the page shows it.
        extra: options that are added where it is run; the page says which.
        code: the exit code that it must end with.
        stream: seconds of the live stream that is served to it under `STREAM` or `CAMERA`; 0 for none.
        lines: how many lines of the output are kept from its beginning; 0 for all.
        picture: also draw it as a terminal, docs/captures/NAME.svg.
        slow: takes minutes; run only with --slow.
    """

    name: str
    command: str
    extra: str = ""
    code: int = 0
    stream: int = 0
    lines: int = 0
    picture: bool = False
    slow: bool = False


SHOWN = (
    # README
    Shown("run-photo", "lifeiqa-run photo.jpg"),
    Shown("run-files", "lifeiqa-run *.png missing.jpg --format jsonl", code=1),
    Shown("camera", f"lifeiqa-run --camera {CAMERA}", "--limit 4", stream=12),
    Shown("export-fp16", "lifeiqa-export --ckpt best.pt --fp16", lines=5, slow=True),
    Shown("doctor", "lifeiqa-doctor"),
    Shown("list", "python -m lifeiqa"),
    # a camera on a gateway
    Shown("video", "lifeiqa-run clip.mp4 --every 25"),
    Shown("stream", f"lifeiqa-run --camera {STREAM} --limit 5", stream=12),
    Shown("camera-file", f"lifeiqa-run --camera {CAMERA} --every 25 --output quality.jsonl", "--limit 11", stream=12),
    Shown("camera-tail", "tail -n 2 quality.jsonl"),
    Shown(
        "camera-low",
        "python -c \"import json; print(*(r['time_s'] for r in map(json.loads, open('quality.jsonl')) "
        "if r['score'] < 50))\"",
    ),
    Shown("camera-lost", f"lifeiqa-run --camera {STREAM} --every 25 --retry 3", code=5, stream=3),
    Shown("camera-none", "lifeiqa-run --camera 0", code=5),
    Shown("openvino", "lifeiqa-run --backend openvino photo.jpg"),
    # a million pictures
    Shown("run-folder", "lifeiqa-run pictures --output scores.parquet", code=1),
    Shown("run-jsonl", "lifeiqa-run pictures --output scores.jsonl", code=1),
    Shown("failed", "grep '\"score\": null' scores.jsonl"),
    Shown("run-begin", "lifeiqa-run pictures --output scores.csv --resume", code=1),
    Shown("run-again", "lifeiqa-run pictures --output scores.csv --resume", code=1),
    Shown("worst", "lifeiqa-run pictures --worst 3", code=1),
    Shown("below", "lifeiqa-run pictures --below 40 -0 -q | xargs -0 ls"),
    Shown("run-list", "find pictures -name '*.jpg' | lifeiqa-run - --format csv", code=1),
    Shown("one-crop", "lifeiqa-run --crops 1 photo.jpg"),
    # train and publish a table
    Shown("train", "lifeiqa-train --data koniq10k=data/koniq10k --output runs/koniq", TINY),
    Shown("train-recipe", "lifeiqa-train --data koniq10k=data/koniq10k --output runs/mine --recipe mine.toml"),
    Shown(
        "train-typo", "lifeiqa-train --data koniq10k=data/koniq10k --output runs/typo --set learning_rate=1e-5", code=2
    ),
    Shown("eval", "lifeiqa-eval runs/koniq/best.pt --data livec=data/ChallengeDB_release --data csiq=data/csiq"),
    Shown("eval-types", "lifeiqa-eval runs/koniq/best.pt --data kadid10k=data/kadid10k --by-type --format markdown"),
    Shown("tables-list", "lifeiqa-tables list"),
    Shown(
        "table4",
        "lifeiqa-tables table4 --data csiq=data/csiq",
        "--backbone test_efficientnet --scratch --epochs 1 --batch 8 --splits 1 --workers 0",
    ),
    Shown(
        "table4-markdown",
        "lifeiqa-tables table4 --data csiq=data/csiq --format markdown",
        "--backbone test_efficientnet --scratch --epochs 1 --batch 8 --splits 1 --workers 0",
    ),
    Shown(
        "figure-routing",
        "lifeiqa-figures routing --ckpt runs/koniq/best.pt --data kadid10k=data/kadid10k --output routing.png",
    ),
    Shown("export", "lifeiqa-export --ckpt runs/koniq/best.pt --target onnx"),
    # explanations
    Shown("kinds", "lifeiqa-run kinds"),
    # how-tos
    Shown("help", "lifeiqa-run -h", picture=True),
    Shown(
        "export-int8",
        "lifeiqa-export --ckpt best.pt --int8 --calib-data calibration/ --target onnx",
        "--force",  # best.onnx is there already
        slow=True,
    ),
    Shown("cuda-missing", "lifeiqa-run --device cuda photo.jpg", code=3),
)
