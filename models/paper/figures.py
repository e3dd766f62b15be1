"""Draws the paper's figures from arrays, for print: PNG or SVG, colours that the colour-blind can tell apart."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lifeiqa.models.datasets.base import PRISTINE
from lifeiqa.models.evaluation.evaluation import Vector, correlate, fit_logistic, logistic
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.files import atomic_write

SUFFIXES = (".png", ".svg")
WIDTH = 7.16  # inches: two columns of the paper's template
# Okabe and Ito's colours but yellow, which is too pale on white; black is kept for pristine pictures.
BLACK, COLORS = "#000000", ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v")
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # file names and titles may hold a dollar sign
    "svg.hashsalt": "lifeiqa",  # equal figures are equal files
}


def check_output(path: Path) -> None:
    """Raises `UsageError` when a figure cannot be written under this suffix."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"Cannot draw {path}: name the figure {path.stem}.png or {path.stem}.svg.")


def save(figure: Figure, path: Path, dpi: int = 200) -> None:
    """Writes a figure as its suffix says, whole or not at all. Raises `UsageError`, `WriteError`."""
    check_output(path)
    suffix = path.suffix.lower()
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(
            buffer,
            format=suffix[1:],
            dpi=dpi,
            bbox_inches="tight",
            pad_inches=0.05,
            metadata={"Date": None} if suffix == ".svg" else None,
        )
    atomic_write(path, buffer.getvalue())


def draw_scatter(predicted: Vector, labels: Vector, title: str) -> Figure:
    """Labels (P,) against predictions (P,), and the 4-parameter logistic curve that fits them (Fig. 7)."""
    measured = correlate(predicted, labels)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 2, WIDTH / 2.2), layout="constrained")
        axes = figure.add_subplot()
        crowd = len(labels)
        axes.scatter(predicted, labels, s=14 if crowd < 1000 else 6, c=COLORS[0], alpha=0.45, linewidths=0, zorder=2)
        if np.ptp(predicted) > 0 and np.ptp(labels) > 0:
            x = np.linspace(predicted.min(), predicted.max(), 300)
            axes.plot(x, logistic(x, *fit_logistic(predicted, labels)), color=COLORS[5], linewidth=2, zorder=3)
        lines = [("SROCC", measured.srocc), ("PLCC", measured.plcc), ("PLCC, fitted", measured.plcc_fitted)]
        text = [f"{name} {value:.3f}" if math.isfinite(value) else f"{name} n/a" for name, value in lines]
        low = _is_emptier_low(predicted, labels)
        axes.text(
            0.97 if low else 0.03,
            0.03 if low else 0.97,
            "\n".join([*text, f"{crowd} pictures"]),
            transform=axes.transAxes,
            ha="right" if low else "left",
            va="bottom" if low else "top",
            linespacing=1.35,
            zorder=4,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},  # a point may lie behind it
        )
        axes.set(xlabel="Predicted score", ylabel="Label", title=title)
    return figure


def draw_tsne(points: Mapping[int, npt.NDArray[np.float32]], types: Sequence[str], order: Sequence[str]) -> Figure:
    """One panel for each backbone stage: points (P, 2), coloured by distortion type (Fig. 3 and 10)."""
    columns = 2 if len(points) in (2, 4) else len(points)
    rows = math.ceil(len(points) / columns)
    legend_columns = min(4 if len(order) > 10 else 5, len(order)) if columns > 1 else 2
    legend_rows = math.ceil(len(order) / legend_columns)
    panel = WIDTH / max(columns, 2)
    looks = _looks(order)
    kinds = np.asarray(types)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(panel * columns, panel * rows + 0.17 * legend_rows + 0.1), layout="constrained")
        for k, (stage, where) in enumerate(points.items()):
            axes = figure.add_subplot(rows, columns, k + 1)
            for name in order:
                color, marker = looks[name]
                own = where[kinds == name]
                axes.scatter(own[:, 0], own[:, 1], s=14, c=color, marker=marker, alpha=0.8, linewidths=0)
            axes.set(xticks=[], yticks=[], title=f"Stage {stage}")
            axes.spines[["top", "right"]].set_visible(True)
        handles = [
            Line2D([], [], linestyle="", marker=looks[name][1], color=looks[name][0], markersize=5) for name in order
        ]
        figure.legend(
            handles,
            [_readable(name) for name in order],
            loc="outside lower center",
            ncols=legend_columns,
            frameon=False,
            fontsize=8,
            handletextpad=0.2,
            columnspacing=1.2,
        )
    return figure


def draw_attention(crops: UInt8Array, weights: npt.NDArray[np.float32], names: Sequence[str]) -> Figure:
    """A row for each picture: its crop, the mean map, and the map of every query, laid over the crop (Fig. 9).

    Args:
        crops: (B, S, S, 3) RGB.
        weights: (B, heads, N, P*P), of one cross-attention.
        names: of the pictures.
    """
    maps = weights.mean(axis=1)  # (B, N, P*P)
    grid = math.isqrt(maps.shape[-1])
    relative = (maps * maps.shape[-1]).reshape(*maps.shape[:2], grid, grid)  # 1: as much as any other place
    panels = np.concatenate([relative.mean(axis=1, keepdims=True), relative], axis=1)
    count, side = panels.shape[1], crops.shape[1]
    cell = WIDTH / (count + 1)
    top = float(panels.max())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, cell * 1.05 * len(crops) + 0.75), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)  # type: ignore[union-attr, call-arg]
        every = figure.subplots(len(crops), count + 1, squeeze=False)
        image = None
        for row, crop in enumerate(crops):
            _bare(every[row, 0]).imshow(crop)
            every[row, 0].set_ylabel(_shortened(names[row]), fontsize=8)
            pale = 80 + crop.mean(axis=2) * (175 / 255)  # so that the map's dark end does not hide the picture
            for k in range(count):
                axes = _bare(every[row, k + 1])
                axes.imshow(pale, cmap="gray", vmin=0, vmax=255)
                image = axes.imshow(
                    panels[row, k],
                    cmap="inferno",
                    vmin=0,
                    vmax=top,
                    alpha=0.15 + 0.65 * np.sqrt(panels[row, k] / top),  # the picture shows where nothing looks
                    interpolation="bilinear",
                    extent=(-0.5, side - 0.5, side - 0.5, -0.5),
                )
        heads = ["Crop", "Mean", *(f"Query {k + 1}" for k in range(count - 1))]
        for axes, head in zip(every[0], heads, strict=True):
            axes.set_title(head, fontsize=9)
        assert image is not None
        bar = figure.colorbar(image, ax=list(every.flat), location="bottom", shrink=0.4, aspect=40, pad=0.02)
        bar.set_label("Attention (1: spread evenly over the crop)", fontsize=8)
        bar.ax.tick_params(labelsize=8)
    return figure


def draw_routing(shares: npt.NDArray[np.float32], types: Sequence[str], pictures: Sequence[int]) -> Figure:
    """Heat map (T, E) of the share of tokens that keep each expert, a row for each distortion type."""
    rows, experts = shares.shape
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.6 + 0.55 * experts, max(2.6, 1.0 + 0.21 * rows)), layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.hlines(np.arange(rows - 1) + 0.5, -0.5, experts - 0.5, color="white", linewidth=1)
        axes.vlines(np.arange(experts - 1) + 0.5, -0.5, rows - 0.5, color="white", linewidth=1)
        for row in range(rows):
            for k in range(experts):
                share = float(shares[row, k])
                axes.text(k, row, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.6 else "black")
        axes.set_xticks(range(experts), [str(k + 1) for k in range(experts)])
        labels = [f"{_readable(name)} ({count})" for name, count in zip(types, pictures, strict=True)]
        axes.set_yticks(range(rows), labels)
        axes.tick_params(length=0)
        axes.set(xlabel="Expert", ylabel="Distortion type (pictures)")
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=axes, shrink=0.6)
        bar.set_label("Share of tokens that keep the expert")
        bar.outline.set_visible(False)
    return figure


def _is_emptier_low(predicted: Vector, labels: Vector) -> bool:
    """Whether fewer points lie in the lower right corner than in the upper left one."""
    x, y = ((v - v.min()) / (np.ptp(v) or 1.0) for v in (predicted, labels))
    return bool(((x > 0.55) & (y < 0.3)).sum() < ((x < 0.45) & (y > 0.7)).sum())


def _looks(order: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each type; the first 31 types differ from each other."""
    others = [name for name in order if name != PRISTINE]
    looks = {name: (COLORS[k % 6], MARKERS[k // 6 % len(MARKERS)]) for k, name in enumerate(others)}
    return {**looks, PRISTINE: (BLACK, "o")}


def _bare(axes: Axes) -> Axes:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def _readable(name: str) -> str:
    return name.replace("_", " ")


def _shortened(name: str, most: int = 16) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
