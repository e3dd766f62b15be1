"""The sections of the benchmark report: each makes HTML of one result file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from report_axes import short
from report_charts import Bar, bars, difference_histogram, pair_scatter, stacked
from report_files import Result

from lifeiqa.runtime.report.markup import number, safe

TONES = {"lifeiqa": "plain", "pytorch": "torch", "other network": "network", "classical": "classical"}
FAMILIES = {"lifeiqa": "exported Life-IQA", "pytorch": "PyTorch", "other network": "other networks"}
STEPS = {
    "read_s": "read",
    "decode_s": "decode",
    "preprocess_s": "preprocess",
    "infer_s": "infer",
    "collect_s": "collect",
}


Cell: TypeAlias = str | tuple[str, str]  # of a pair, the second is small below the first


def card(inner: str, heading: str = "", wide: bool = False) -> str:
    """A box with a heading of its own."""
    head = f"<h3>{safe(heading)}</h3>" if heading else ""
    return f'<div class="card{" wide" if wide else ""}">{head}{inner}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], texts: int = 1) -> str:
    """A table whose first `texts` columns are text, the others figures."""

    def cell(value: Cell) -> str:
        big, small = (value, "") if isinstance(value, str) else value
        return safe(big) + (f"<small>{safe(small)}</small>" if small else "")

    kinds = ["words" if k < texts else "number" for k in range(len(head))]
    heads = "".join(f'<th scope="col" class="{k}">{safe(name)}</th>' for k, name in zip(kinds, head, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}" data-name="{safe(name)}">{cell(value)}</td>'
            for kind, name, value in zip(kinds, head, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    wide = " many" if len(head) > 5 else ""
    return f'<table class="shares data{wide}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def note(text: str) -> str:
    """A line of small print."""
    return f'<p class="more">{safe(text)}</p>'


def label(contender: Mapping[str, Any]) -> tuple[str, str]:
    """A contender's name, with its precision where that does not tell it, and what computes it."""
    name, precision = contender["name"], contender["precision"]
    told = precision == "float" or precision.casefold() in name.casefold()
    return name if told else f"{name}, {precision}", contender["engine"]


def legend(families: Sequence[str]) -> str:
    """What the colours mean, where there are several."""
    shown = [name for name in TONES if name in families]
    marks = "".join(f'<span class="grade {TONES[name]}">{FAMILIES.get(name, name)}</span>' for name in shown)
    return f'<p class="legend">{marks}</p>' if len(shown) > 1 else ""


def latency(result: Result) -> str:
    """Milliseconds a crop of every contender, a card for each batch size."""
    contenders = result.data["contenders"]
    cards = []
    for size in sorted({batch["batch"] for c in contenders for batch in c["batches"]}):
        rows = []
        for contender in contenders:
            for batch in (b for b in contender["batches"] if b["batch"] == size):
                ms = {name: 1000 * batch[f"{name}_s"] / max(1, size) for name in ("median", "p5", "p95")}
                tone = TONES.get(contender["family"], "classical")
                name, detail = label(contender)
                if (worst := contender.get("worst_crop")) is not None:
                    detail += f", worst crop {short(worst)} points off"
                rows.append(Bar(name, detail, ms["median"], ms["p5"], ms["p95"], f"{short(ms['median'])} ms", tone))
        rows.sort(key=lambda row: row.value)
        cards.append(card(bars(rows, "ms a crop"), f"Batch {size}"))
    families = [c["family"] for c in contenders]
    words = note(
        "Median of the rounds; lines reach from the 5th to the 95th percentile. Further left is faster. "
        "Points off: of 100, against PyTorch."
    )
    return f'{legend(families)}<div class="cards even rows">{"".join(cards)}</div>{words}'


def figures_table(result: Result) -> str:
    """Every figure of the batches: milliseconds of a whole batch."""
    rows: list[list[Cell]] = [
        [
            label(contender),
            str(batch["batch"]),
            *(short(1000 * batch[f"{name}_s"]) for name in ("p5", "median", "p95", "p99")),
            short(batch["crops_per_s"]),
        ]
        for contender in result.data["contenders"]
        for batch in contender["batches"]
    ]
    head = ("contender", "batch", "p5 ms", "median ms", "p95 ms", "p99 ms", "crops a second")
    return card(table(head, rows), wide=True) + note("Milliseconds are of a whole batch.")


def cold_start(result: Result) -> str:
    """Size, memory, and the seconds until the first score."""
    contenders = result.data["contenders"]

    def cell(value: float | None, factor: float, unit: str) -> str:
        return "-" if value is None else f"{short(value * factor)} {unit}"

    rows = list[list[Cell]]()
    for contender in contenders:
        times = [contender.get(name) for name in ("import_s", "load_s", "first_s")]
        total = None if None in times else sum(times)
        sizes = (cell(contender.get(name), 1e-6, "MB") for name in ("size_bytes", "memory_bytes"))
        rows.append([label(contender), *sizes, *(cell(seconds, 1, "s") for seconds in (*times, total))])
    head = ("contender", "file", "memory", "import", "load", "first score", "together")
    words = (
        "Memory: the most that a process held which only loads it and scores. Times: of a process that has just begun."
    )
    return card(table(head, rows), wide=True) + note(words)


def stages(result: Result) -> str:
    """Where the time of one picture goes."""
    found = result.data["stages"]
    parts = {name: 1000 * found[key] for key, name in STEPS.items()}
    return card(stacked(parts, "ms"), f"One picture, {found['picture']}", wide=True)


def end_to_end(result: Result) -> str:
    """Pictures a second of a folder, and frames a second of a stream."""
    folder, stream = result.data["folder"], result.data.get("stream")
    steps, seconds = folder["core_ms"], folder["seconds"]
    cores = result.data["configuration"].get("cores") or result.data["environment"].get("allowed_cores")
    rates = sorted(folder["pictures"] / value for value in seconds)
    text = f"{short(folder['pictures_per_s'])} pictures a second ({len(seconds)} runs over {folder['pictures']} files: "
    text += f"{short(rates[0])} to {short(rates[-1])}). "
    text += f"{folder['not_inference_share']:.0%} of the core time is not inference."
    if isinstance(cores, int) and cores > 0:
        wall, best = 1000 / folder["pictures_per_s"], sum(steps.values()) / cores
        text += f" A picture takes {short(wall)} ms; the steps alone, shared by {cores} cores, take {short(best)} ms."
    shown = stacked({name: steps[name] for name in ("decode", "preprocess", "infer")}, "core-ms")
    cards = card(f"{shown}{note(text)}", f"A folder of pictures, {folder['picture']}")
    if stream is None:
        return f'<div class="cards">{cards}{card(note("Not measured; see what was left out."), "A live stream")}</div>'
    given = stream.get("camera_frames_per_s")
    figures = {
        f"frames a second{f', of {short(given)}' if given else ''}": short(stream["frames_per_s"]),
        "ms from frame to score": short(stream["latency_ms"]),
    }
    inner = "".join(f"<div><dt>{safe(name)}</dt><dd>{value}</dd></div>" for name, value in figures.items())
    age = "" if stream.get("age_ms") is None else f", of which {short(stream['age_ms'])} ms until scoring begins"
    inner = f'<dl class="figures">{inner}</dl>{note(f"Median time from the arrival of a frame to its score{age}.")}'
    beside = card(inner, f"A live stream, {stream['frame']}")
    return f'<div class="cards">{cards}{beside}</div>'


def agreement(result: Result) -> str:
    """FP32 against the artifact: a scatter of scores and a histogram of their differences."""
    data = result.data
    artifact = data["artifact"]
    what = (artifact.get("precision") or artifact["name"]).upper()
    found = [f"{name.upper()} {data[name]:.4f}" for name in ("srocc", "plcc") if data.get(name) is not None]
    text = f"{number(len(data['pairs']))} pictures, {artifact['name']}. {', '.join(found)}{'. ' if found else ''}"
    text += f"Absolute differences: median {short(data['median'])}, worst {short(data['worst'])}."
    charts = card(pair_scatter(data["pairs"], what), "Scores") + card(
        difference_histogram(data["pairs"], what), "Differences"
    )
    return f'<div class="cards even">{charts}</div>{note(text)}'
