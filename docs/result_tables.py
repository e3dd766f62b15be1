"""Tables of README and the documentation, made from the results of the benchmarks.

`make tables`, or `python docs/result_tables.py [--check] [--results FOLDER]`: each table stands between
`<!-- results: NAME -->` and `<!-- end -->`. One whose file is not there is left as it is. --check writes nothing, and
ends with 1 where a page and the results differ.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from captures import FOLDER, ROOT, pages, say, with_blocks
from report_picture import write_report_picture

RESULTS = ROOT / "benchmarks" / "results"
PAGES = [*pages(), *sorted(ROOT.glob("models/zoo/*/README.md"))]
REPORTED = ("agreement.json", "end_to_end.json", "latency.json", "people.*.json")  # what the report's page is made of
PICTURE = FOLDER / "bench-report.png"
PYTORCH, FP32, INT8 = "PyTorch eager", "ONNX Runtime, fp32", "ONNX Runtime, int8 cpu"
ENGINES = ("onnxruntime", "openvino", "torch")
STAGES = ("read", "decode", "preprocess", "infer", "collect")
BATCHES = {1: "one at a time", 8: "batches of 8"}  # those that README has
INSTRUCTIONS = {  # by the flag; of a processor the first is named that it has
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "i8mm": "I8MM",
    "asimddp": "dotprod",
}
SETTINGS = {  # of neighbour.py
    "lifeiqa": "ONNX Runtime, lifeiqa",
    "lifeiqa, 1 thread": "ONNX Runtime, lifeiqa, `--threads 1`",
    "defaults": "ONNX Runtime, its defaults",
    "no affinity": "its defaults without binding",
    "no spinning": "without binding and spinning",
    "spinning 20 us": "without binding, spinning 20 µs",
    "OpenVINO, defaults": "OpenVINO, its defaults",
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; the first column is text."""
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))


def figure(value: float | None) -> str:
    """In three digits; "" for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def megabytes(value: float | None) -> str:
    """Of bytes; "" for None."""
    return "" if value is None else f"{value / 1e6:.{0 if value >= 1e8 else 1}f}"


def machine(environment: dict[str, Any]) -> str:
    """The processor, with the instructions that matter most to INT8."""
    known = [name for flag, name in INSTRUCTIONS.items() if flag in environment["features"]]
    return environment["cpu"] + (f" with {known[0]}" if known else "")


def caption(data: dict[str, Any], how: str, engines: Sequence[str] = ("onnxruntime",)) -> str:
    """A line below a table: what it was measured on, how, with which engines, and when."""
    environment = data["environment"]
    known = environment["versions"]
    versions = ", ".join(f"{name} {known[name]}" for name in engines if name in known)
    return f"\n{'; '.join([machine(environment), how, versions, environment['date']])}.\n"


def crop_ms(contender: dict[str, Any]) -> dict[int, float]:
    """Milliseconds a crop, by batch size."""
    return {batch["batch"]: 1000 * batch["median_s"] / batch["batch"] for batch in contender["batches"]}


def _rounds(data: dict[str, Any]) -> str:
    return f"{_threads(data)}, medians of {data['configuration']['rounds']} rounds"


def _threads(data: dict[str, Any]) -> str:
    count = data["configuration"]["threads"]
    return f"{count} thread{'' if count == 1 else 's'}"


def short_files(timed: dict[str, Any], compared: dict[str, Any]) -> str:
    """Of latency.json and parity.json, for README: each precision's size, time and distance from PyTorch."""
    times = {contender["name"]: crop_ms(contender) for contender in timed["contenders"]}
    fp32, fp16, *_, int8 = compared["artifacts"]  # the last one is that of the package
    rows = [["PyTorch", "", *(figure(times[PYTORCH][size]) for size in BATCHES), "", ""]]
    for title, artifact, name in (("FP32", fp32, FP32), ("INT8", int8, INT8), ("FP16, for GPUs", fp16, "")):
        ms = [figure(times.get(name, {}).get(size)) for size in BATCHES]
        rows.append([title, megabytes(artifact["size_bytes"]), *ms, *_apart(artifact)])
    heads = [f"ms a crop, {text}" for text in BATCHES.values()]
    head = ["", "MB", *heads, "worst picture against PyTorch, points of 100", "SROCC"]
    how = f"{_rounds(timed)}; {compared['artifacts'][0]['count']} held-out pictures"
    return table(head, rows) + caption(timed, how, ("onnxruntime", "torch"))


def short_people(*files: dict[str, Any]) -> str:
    """Of people.*.json, for README: SROCC of every contender on every set."""
    names = [contender["name"] for contender in files[0]["contenders"]]
    rows = []
    for measured in itertools.chain(*(file["sets"] for file in files)):
        found = {row["contender"]: row["srocc"] for row in measured["results"] if row["subset"] == ""}
        rows.append([_title(measured), *(f"{found[name]:.3f}" for name in names)])
    return table(["SROCC with people", "packaged model", *names[1:]], rows)


def latency(data: dict[str, Any]) -> str:
    """Of latency.json: every contender at every batch size."""
    times = {contender["name"]: crop_ms(contender) for contender in data["contenders"]}
    base = times.get(PYTORCH, {})
    worst = {contender["name"]: contender.get("worst_crop") for contender in data["contenders"]}
    rows = [
        [
            name,
            *(figure(ms) + (f" ({base[size] / ms:,.1f})" if size in base else "") for size, ms in own.items()),
            figure(worst.get(name)),
        ]
        for name, own in times.items()
    ]
    head = [f"{'batch ' if k == 0 else ''}{size}" for k, size in enumerate(data["configuration"]["batches"])]
    head.append("worst crop, points off")
    how = _rounds(data)
    if count := data["configuration"].get("compared_crops"):
        how += f"; points of 100 against PyTorch, {count} crops"
    if any(contender["family"] == "other network" for contender in data["contenders"]):
        how += "; networks of other projects have random weights"
    return table(["ms a crop (times as fast as PyTorch)", *head], rows) + caption(data, how, ENGINES)


def start(data: dict[str, Any]) -> str:
    """Of latency.json: what each contender costs before its first score."""
    rows = [
        [
            contender["name"],
            megabytes(contender["size_bytes"]),
            *(figure(contender[name]) for name in ("import_s", "load_s", "first_s")),
            megabytes(contender["memory_bytes"]),
        ]
        for contender in data["contenders"]
    ]
    head = ["", "file, MB", "imports, s", "loading, s", "first crop, s", "memory, MB"]
    how = f"{_threads(data)}, medians of {data['configuration']['starts']} fresh processes"
    return table(head, rows) + caption(data, how, ENGINES)


def stages(data: dict[str, Any]) -> str:
    """Of latency.json: where the time of one picture goes."""
    found = data["stages"]
    seconds = [found[f"{stage}_s"] for stage in STAGES]
    share = 1 - found["infer_s"] / sum(seconds)
    head = [f"one {found['picture']}, ms", *STAGES, "together", "not inference"]
    row = ["packaged model", *(figure(1000 * value) for value in (*seconds, sum(seconds))), f"{100 * share:.0f} %"]
    return table(head, [row]) + caption(data, _rounds(data))


def end_to_end(data: dict[str, Any]) -> str:
    """Of end_to_end.json: a folder, and a stream where there was one."""
    folder, stream, configuration = data["folder"], data["stream"], data["configuration"]
    cores, steps = configuration["cores"], folder["core_ms"]
    rows = [
        [f"folder of {folder['picture']}: pictures a second", figure(folder["pictures_per_s"])],
        ["wall ms a picture", figure(1000 / folder["pictures_per_s"])],
        ["core-ms a picture: decode, preprocess, infer", ", ".join(map(figure, steps.values()))],
        [f"these, shared by {cores} cores", f"{figure(sum(steps.values()) / cores)} ms"],
        ["share of the core time that is not inference", f"{100 * folder['not_inference_share']:.0f} %"],
    ]
    if stream is not None:
        name = f"stream of {stream['frame']}: frames a second, of {stream['camera_frames_per_s']}"
        rows.append([name, figure(stream["frames_per_s"])])
        rows.append(["age of a frame when its score is there", f"{stream['latency_ms']:.0f} ms"])
    how = f"{cores} cores, {configuration['model']} ({configuration['precision']}), median of"
    return table(["`lifeiqa-run`", ""], rows) + caption(data, f"{how} {configuration['rounds']} runs over the folder")


def neighbour(data: dict[str, Any]) -> str:
    """Of neighbour.json: scoring beside other programs."""
    rows = [
        [
            SETTINGS.get(name, name),
            f"{one['alone_ms']:.1f} ms",
            f"{one['core_ms']:.0f}",
            f"{one['busy_ms']:.0f} ms",
            f"{one['busy_ratio']:.2f}",
            f"{one['pair_ms']:.0f} ms",
            f"{one['fair_share_kept']:.2f}",
        ]
        for name, one in data["settings"].items()
    ]
    head = ["setting", "alone", "core-ms", "beside a busy loop", "against alone", "beside a second process"]
    how = f"{data['configuration']['crops']} crops, {_rounds(data)}"
    return table([*head, "fair share kept"], rows) + caption(data, how, ENGINES)


def people(data: dict[str, Any], *further: dict[str, Any]) -> str:
    """Of people.*.json: SROCC of every contender on every set and its subsets, and what a picture of the first costs.

    PLCC is that of the first contender, the packaged model.
    """
    names = [contender["name"] for contender in data["contenders"]]
    rows = []
    costs: list[str] = []
    for measured in itertools.chain(*(file["sets"] for file in (data, *further))):
        for subset in dict.fromkeys(row["subset"] for row in measured["results"]):
            found = {row["contender"]: row for row in measured["results"] if row["subset"] == subset}
            first, *others = (found[name] for name in names)
            cells = [f"{first['pictures']:,}", _srocc(first), f"{first['plcc_fitted']:.3f}", *map(_srocc, others)]
            rows.append([subset or f"**{_title(measured)}**", *cells])
            costs = costs or [figure(found[name]["ms"]) for name in names]
    own, *theirs = costs
    rows.append([f"ms a picture, {_title(data['sets'][0])}", "", own, "", *theirs])
    head = ["SROCC", "pictures", names[0], "its PLCC, fitted", *names[1:]]
    how = f"{_threads(data)}; in brackets 95 % intervals, by bootstrap"
    return table(head, rows) + caption(data, how)


def parity(data: dict[str, Any]) -> str:
    """Of parity.json: every export of the shipped checkpoint against PyTorch; the last one is that of the package."""
    *fresh, packaged = data["artifacts"]
    rows = []
    for text, row in [*(("", row) for row in fresh), (", as packaged", packaged)]:
        name = f"{row['precision'].upper()} {row['flavor']}".strip() + text
        kept = str(row["kept"]) if row["precision"] == "int8" else ""
        rows.append([name, megabytes(row["size_bytes"]), kept, *_apart(row)])
    head = ["file", "MB", "nodes kept", "worst picture, points of 100", "SROCC"]
    how = f"{fresh[0]['count']} held-out pictures; of FP32, the worst crop"
    return table(head, rows) + caption(data, how, ("onnxruntime", "torch"))


def paper(*runs: dict[str, Any]) -> str:
    """Of what `lifeiqa-tables --format json` printed, one file for each backbone: ours beside the paper's."""
    keys = list(runs[0]["settings"]["pictures"])
    rows = []
    for run in runs:
        own = ", ".join(run["settings"]["backbones"] or ())
        for line in run["rows"]:
            title = line["label"] if line["label"].startswith(own) else f"{line['label']}, {own}"
            size = f"{line['parameters'] / 1e6:.1f} M" if line["parameters"] else ""
            rows.append([title, size, *(_both(line["ours"].get(key)) for key in keys)])
            if line["paper"]:
                printed = f"{line['paper_parameters_m']} M" if line["paper_parameters_m"] else ""
                found = [line["paper"].get(key) for key in keys]
                pairs = [f"{pair[0]:.3f}, {pair[1]:.3f}" if pair else "" for pair in found]
                rows.append([f"{line['label']}, the paper's", printed, *pairs])
    settings = runs[0]["settings"]
    versions = ", ".join(f"{name} {number}" for name, number in settings["versions"].items())
    text = f"Medians of {settings['splits']} random splits; ours PLCC after the 4-parameter logistic fit; {versions}."
    return table(["SROCC, PLCC", "parameters", *keys], rows) + f"\n{text}\n"


def backbones(data: dict[str, Any]) -> str:
    """Of backbones.json: what each network costs and how well it agrees with people."""
    batches = list(data["networks"][0]["crop_ms"])
    rows = [
        [
            f"`{network['backbone']}`",
            f"{network['parameters'] / 1e6:.1f} M",
            *(figure(network["crop_ms"][size]) for size in batches),
            ", ".join(f"{value:.3f}" for value in network["srocc"]),
            f"{median(network['srocc']):.3f}",
        ]
        for network in data["networks"]
    ]
    sets = ", ".join(data["configuration"]["pictures"])
    head = ["", "parameters", *(f"ms a crop, batch {size}" for size in batches), f"SROCC, splits of {sets}", "median"]
    return table(head, rows) + caption(data, f"FP32, {_rounds(data)}", ("onnxruntime", "torch"))


def _title(measured: dict[str, Any]) -> str:
    """Of a set that people rated."""
    return str(measured["data"]) + {"test": ", test part", "part": ", a part"}.get(measured["half"], "")


def _apart(artifact: dict[str, Any]) -> tuple[str, str]:
    """How far an artifact is from PyTorch: the worst picture in points of 100, and SROCC."""
    return f"{100 * artifact['worst']:#.2g}", f"{artifact['srocc']:.5f}"


def _both(measured: dict[str, Any] | None) -> str:
    if not measured:
        return ""
    return "n/a" if measured["srocc"] is None else f"{measured['srocc']:.3f}, {measured['plcc_fitted']:.3f}"


def _srocc(row: dict[str, Any]) -> str:
    interval = row.get("srocc_interval")
    return f"{row['srocc']:.3f}" + (" ({:.3f} to {:.3f})".format(*interval) if interval else "")


BLOCKS: dict[str, tuple[str, Callable[..., str]]] = {  # which files, and what makes the table of their contents
    "short-people": ("people.*.json", short_people),
    "short-files": ("latency.json parity.json", short_files),
    "latency": ("latency.json", latency),
    "start": ("latency.json", start),
    "stages": ("latency.json", stages),
    "end-to-end": ("end_to_end.json", end_to_end),
    "neighbour": ("neighbour.json", neighbour),
    "parity": ("parity.json", parity),
    "people": ("people.*.json", people),
    "table1": ("table1.*.json", paper),
    "table3": ("table3.*.json", paper),
    "figure2": ("figure2.*.json", paper),
    "backbones": ("backbones.json", backbones),
}


def with_tables(page: str, results: Path) -> str:
    """A page whose tables are those of the files in `results`. Raises `KeyError`: a name is none of `BLOCKS`."""

    def block(_: str, name: str) -> str | None:
        patterns, make = BLOCKS[name]
        files = []
        for pattern in patterns.split():
            found = sorted(results.glob(pattern))
            if not found:
                say(f"left as it is: {name}, for there is no {pattern}")
                return None
            files += found
        return make(*(json.loads(file.read_text(encoding="utf-8")) for file in files))

    return with_blocks(page, ("results",), block)


def reported(results: Path) -> list[Path]:
    """The files that the report's page is made of."""
    return [file for pattern in REPORTED for file in sorted(results.glob(pattern))]


def main(arguments: Sequence[str]) -> int:
    """Writes the tables, or compares them. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where a page differs")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="of the result files")
    options = parser.parse_args(arguments)
    differ = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        made = with_tables(text, options.results)
        if made == text:
            continue
        differ += 1
        say(f"{'differs from the results' if options.check else 'wrote'}: {page.relative_to(ROOT)}")
        if not options.check:
            page.write_text(made, encoding="utf-8")
    if options.check:
        return min(differ, 1)
    files = reported(options.results)
    if files and write_report_picture(files, PICTURE):
        say(f"wrote: {PICTURE.relative_to(ROOT)}")
    elif files:
        say(f"left as it is: {PICTURE.name}, for Chromium is not installed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
