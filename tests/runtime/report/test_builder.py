import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_pages import Elements, opened, rows_of, shown

from lifeiqa.runtime.errors import WriteError
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.report import ReportBuilder
from lifeiqa.runtime.report.markup import safe
from lifeiqa.runtime.report.rows import Rows
from lifeiqa.runtime.report.template import read
from lifeiqa.runtime.scorer import Scorer
from lifeiqa.runtime.sinks import Record

SCALE = ScoreScale()
HOSTILE = "</script><img src=x onerror=\"document.title='ran'\"><b>'&amp;"


def scored(source: str, score: float, **more: object) -> Record:
    return Record(source, score, SCALE.grade(score), 1.0, 5, **more)


def failed(source: str, error: str) -> Record:
    return Record(source, None, None, None, 0, error=error)


def builder(*records: Record, scale: ScoreScale = SCALE, title: str = "photos") -> ReportBuilder:
    made = ReportBuilder(scale, title, "tiny (fp32)")
    for record in records:
        made.add(record)
    return made


@pytest.fixture(scope="module")
def scorer(tiny_onnx: Path) -> Iterator[Scorer]:
    with Scorer(tiny_onnx, device="cpu", threads=1) as scorer:
        yield scorer


@pytest.fixture(scope="module")
def hostile(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    made = builder(
        scored(HOSTILE, 10.0, note=HOSTILE),
        scored(f"folder/{HOSTILE}", 70.0),
        scored("\udcff\x00\r\n\u202e.png", 20.0),
        failed(HOSTILE, f"broken {HOSTILE}"),
        title=HOSTILE,
    )
    made.write(path, scorer, {HOSTILE: 3})
    return path


def data_of(html: str) -> dict[str, list[object]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_counts_are_those_of_the_records(scorer: Scorer, tmp_path: Path) -> None:
    made = builder(
        *(scored(f"{k}.jpg", k) for k in range(100)),
        *(failed(f"bad{k}.jpg", f"cannot be decoded (at byte {k}); copy it again") for k in range(7)),
        failed("none.jpg", "no such file"),
    )
    assert made.grades == {"bad": 13, "poor": 25, "fair": 25, "good": 25, "excellent": 12}
    assert made.reasons.counts == {"cannot be decoded": 7, "no such file": 1}
    assert [source for source, _ in made.reasons.examples["cannot be decoded"]] == ["bad0.jpg", "bad1.jpg", "bad2.jpg"]
    worst, best = made.extremes()
    assert [record.source for record in worst] == [f"{k}.jpg" for k in range(12)]
    assert [record.source for record in best] == [f"{k}.jpg" for k in range(99, 87, -1)]
    calls = []
    made.write(tmp_path / "r.html", scorer, Counter(text=2), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(k, 24) for k in range(1, 25)]
    html = (tmp_path / "r.html").read_text("utf-8")
    values = re.findall(r"<dt>(.*?)</dt><dd>(?:<span[^>]*>)?([\d.,]+)", html)
    assert values[:3] == [("scored", "100"), ("failed", "8"), ("passed over", "2")] and values[3][0] == "median score"
    data = data_of(html)
    assert data["score"] == [*range(100), *[None] * 8] and data["grade"][:14] == "0" * 13 + "1"
    assert "and 4 more" in html and "passed over" not in builder(scored("a", 1.0))._figures(None, 2)
    assert os.listdir(tmp_path) == ["r.html"]


def test_few_pictures_are_divided_and_none_is_shown_twice() -> None:
    worst, best = builder(*(scored(f"{k}.jpg", float(k)) for k in range(5))).extremes()
    assert [r.source for r in worst] == ["0.jpg", "1.jpg", "2.jpg"] and [r.source for r in best] == ["4.jpg", "3.jpg"]
    worst, best = builder(*(scored(f"{k}.jpg", 50.0) for k in range(40))).extremes()
    assert len({record.source for record in (*worst, *best)}) == 24


def test_where_less_is_better_the_worst_have_the_most(tmp_path: Path, scorer: Scorer) -> None:
    scale = ScoreScale(own=True, higher_is_better=False)
    made = builder(*(Record(f"{k}.jpg", float(k), None, 1.0, 5) for k in range(30)), scale=scale)
    assert made.extremes()[0][0].source == "29.jpg" and made.extremes()[1][0].source == "0.jpg"
    made.write(tmp_path / "r.html", scorer)
    html = (tmp_path / "r.html").read_text("utf-8")
    assert data_of(html)["score"][0] == 29 and 'data-grade="bad"' not in html and "lower is better" in html


def test_frames_of_videos_have_rows_and_no_tiles(scorer: Scorer, tmp_path: Path) -> None:
    made = builder(*(scored("clip.mp4", 10.0 + k, frame=k, time_s=k / 25) for k in range(3)))
    assert made.extremes() == ([], [])
    made.write(tmp_path / "r.html", scorer)
    html = (tmp_path / "r.html").read_text("utf-8")
    assert data_of(html)["frame"] == [0, 1, 2] and 'class="tile"' not in html and 'id="worst"' not in html


def test_a_report_of_nothing_says_so(scorer: Scorer, tmp_path: Path) -> None:
    builder().write(tmp_path / "r.html", scorer)
    assert "No picture has a score" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize("limit", [10, 11])
def test_of_too_many_rows_the_worst_and_the_best_are_kept(limit: int) -> None:
    rows, order = Rows(True, limit, failed_limit=2), np.random.default_rng(0).permutation(1000)
    for k in order:
        rows.add(scored(f"{k}", k / 10))
        rows.add(failed(f"f{k}", "no such file"))
    worst = limit // 2
    expected = [*range(worst), *range(1000 - (limit - worst), 1000)]
    kept = rows.sorted()
    assert [int(row.source) for row in kept[:limit]] == expected and len(kept) == limit + 2
    assert rows.left_out == (1000 - limit, 998)


def test_the_page_says_what_the_table_leaves_out(scorer: Scorer, tmp_path: Path) -> None:
    made = builder()
    made.rows = Rows(True, limit=10)
    for k in range(1000):
        made.add(scored(f"{k}", 50 + k / 1000, frame=k))
    made.write(tmp_path / "r.html", scorer)
    assert "the worst and the best 5 of 1,000 scored pictures" in (tmp_path / "r.html").read_text("utf-8")


def test_the_page_loads_nothing_and_runs_only_its_own_program(hostile: Path) -> None:
    elements = Elements(hostile.read_text("utf-8"))
    links = [a[name] or "" for _, a in elements.found for name in ("src", "href", "srcset", "action") if name in a]
    assert links and all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)
    assert not re.search(r"url\(|@import|https?://", hostile.read_text("utf-8"))
    assert not [name for _, a in elements.found for name in a if name.startswith("on")]
    policy = elements.of("meta")[1]["content"] or ""
    assert policy.startswith("default-src 'none'; img-src data:;") and "script-src 'sha256-" in policy


def test_hostile_names_are_text_and_nothing_else(hostile: Path) -> None:
    html = hostile.read_text("utf-8")
    elements = Elements(html)
    assert not elements.of("img")
    assert html.count("</script>") == 2 and "<img" not in html
    assert data_of(html)["folders"][1:] and HOSTILE in data_of(html)["texts"]
    assert safe("a\rb\0<") == "a&#13;b\ufffd&lt;"


def test_hostile_names_do_not_run_in_a_browser(hostile: Path, tmp_path: Path) -> None:
    elements = opened(hostile, tmp_path)
    assert not elements.of("img") and len(rows_of(elements)) == 4
    assert elements.title.startswith(f"{HOSTILE} - image quality")


def test_tiles_show_pictures_and_say_what_cannot_be_read(
    scorer: Scorer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((240, 640, 3), np.uint8)).save(turned, exif=exif)
    made = builder(
        scored(str(photos / "coffee.jpg"), 80.0, note="a note"),
        scored(str(photos / "gone.jpg"), 10.0),
        scored(str(turned), 20.0),
    )
    made.write(tmp_path / "r.html", scorer)
    html = (tmp_path / "r.html").read_text("utf-8")
    elements = Elements(html)
    pictures, maps = elements.of("img", "picture"), elements.of("img", "map")
    sizes = [(int(a["width"] or 0), int(a["height"] or 0)) for a in pictures]
    assert sizes[0] == (120, 320) and max(sizes[1]) == 320 and len(maps) == 2
    assert pictures[1]["alt"] == "coffee.jpg" and (maps[1]["alt"] or "").startswith("Quality map: worst ")
    assert "Cannot be shown: no such file" in html and "a note" in html


def test_a_page_that_cannot_be_written_is_told(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(WriteError):
        builder(scored("a.jpg", 1.0)).write(tmp_path, scorer)


def test_the_table_has_rows_and_follows_the_address(scorer: Scorer, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    builder(*(scored(f"d/{k}.jpg", k / 2) for k in range(200)), failed("x.jpg", "no such file")).write(path, scorer)
    everything = opened(path, tmp_path)
    assert shown(everything) == "201 rows" and 10 < len(rows_of(everything)) < 60
    assert [a.get("aria-sort") for _, a in everything.found if a.get("id") == "by-score"] == ["ascending"]
    low = opened(path, tmp_path, "#below=40&above=10.5&find=D/7")
    assert shown(low) == "10 of 201 rows" and len(rows_of(low)) == 10
    assert shown(opened(path, tmp_path, "#grade=bad,failed&sort=-name")) == "26 of 201 rows"


def test_a_hundred_thousand_rows_stay_small_and_open_soon(scorer: Scorer, tmp_path: Path) -> None:
    path, made = tmp_path / "r.html", builder()
    scores = np.random.default_rng(0).beta(4, 2, 100_000) * 100
    for k, score in enumerate(scores.round(4).tolist()):
        name = f"/srv/archive/2024/camera-{k % 300:03}/picture_of_the_day_{k:07}.jpg"
        made.add(scored(name, score, note="grey" if k % 7 == 0 else None, frame=k))
    made.write(path, scorer)
    assert path.stat().st_size < 12e6
    elements = opened(path, tmp_path, "#find=camera-007&sort=name", timeout_s=20)
    assert shown(elements) == "334 of 100,000 rows" and 10 < len(rows_of(elements)) < 60


def test_the_program_finds_every_element_that_it_names() -> None:
    html, program = (read("lifeiqa.runtime.report", name) for name in ("page.html", "page.js"))
    names = re.findall(r'(?:getElementById|byId)\("([\w-]+)"\)', program)
    assert names and all(f'id="{name}"' in html for name in names if not name.endswith("-"))


def test_importing_it_loads_no_engine_and_no_training_code() -> None:
    code = "import sys, lifeiqa.runtime.report; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "onnx", "matplotlib", "onnxruntime"} & set(loaded)
