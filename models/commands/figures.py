"""`lifeiqa-figures`: draws the paper's figures from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from lifeiqa.models.commands.options import DATA_HELP, open_data
from lifeiqa.runtime.console import new_app, progress_bar, require, run_app
from lifeiqa.runtime.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

app = new_app("Draw the figures of the paper from a checkpoint.")

Ckpt: TypeAlias = Annotated[Path, typer.Option(help="Checkpoint (.pt).")]
Data: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME=PATH", help=f"{DATA_HELP} Of a set that prescribes a split, the test part is used.")
]
Output: TypeAlias = Annotated[Path, typer.Option("--output", "-o", help="Figure to write: .png or .svg.")]
Pictures: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Use so many pictures at most, spread over distortion types and levels.")
]


@app.callback()
def figures() -> None:
    """Draw the paper's figures from a checkpoint."""


@app.command()
def scatter(
    ckpt: Annotated[Path, typer.Option(help="Checkpoint (.pt) or exported model (.onnx).")],
    data: Data,
    output: Output,
    pictures: Pictures = 500,
    title: Annotated[str | None, typer.Option(help="Above the figure.", show_default="the set's name")] = None,
) -> None:
    """Labels against predictions, with the fitted curve and the correlations (Figure 7).

    Of the set that the model was trained on, the test part is used.
    """
    _prepare(output)
    from lifeiqa.models.evaluation.assess import open_model
    from lifeiqa.models.paper.figure_data import chosen, predictions
    from lifeiqa.models.paper.figures import draw_scatter

    quality_set = open_data(data)
    with open_model(ckpt) as opened, progress_bar("scoring") as update:
        items = chosen(quality_set, pictures, opened.split_of(quality_set))
        predicted, labels = predictions(opened, items, lambda done, total: update(done, total, ""))
    _write(draw_scatter(predicted, labels, title or quality_set.info.title), output)


@app.command()
def tsne(
    ckpt: Ckpt,
    data: Data,
    output: Output,
    stages: Annotated[
        str | None, typer.Option(help="Backbone stages, such as 1,4.", show_default="all the checkpoint has")
    ] = None,
    pictures: Pictures = 500,
) -> None:
    """Backbone features of each stage by t-SNE, coloured by distortion type (Figures 3 and 10)."""
    _prepare(output)
    from lifeiqa.models.checkpoints.reader import load_checkpoint
    from lifeiqa.models.paper.figure_data import chosen, distortion_types, embed, in_order, stage_features
    from lifeiqa.models.paper.figures import draw_tsne

    checkpoint = load_checkpoint(ckpt)
    wanted = _stage_numbers(stages) if stages else list(range(1, checkpoint.config.query_stage + 1))
    items = chosen(open_data(data), pictures)
    types = distortion_types(items)
    with progress_bar("features") as update:
        features = stage_features(checkpoint, items, wanted, lambda done, total: update(done, total, ""))
    points = {stage: embed(values) for stage, values in features.items()}
    _write(draw_tsne(points, types, in_order(types)), output)


@app.command()
def attention(
    pictures: Annotated[list[Path], typer.Argument(help="Picture files; their centre crops are shown.")],
    ckpt: Ckpt,
    output: Output,
    layer: Annotated[int | None, typer.Option(min=1, help="Decoder layer, from 1.", show_default="the last")] = None,
) -> None:
    """Where the queries look: cross-attention over pictures, averaged over heads (Figure 9)."""
    _prepare(output)
    import numpy as np
    import torch

    from lifeiqa.models.checkpoints.reader import load_checkpoint
    from lifeiqa.models.checkpoints.scorer import TorchScorer
    from lifeiqa.models.paper.figure_data import attention_weights, center_crop
    from lifeiqa.models.paper.figures import draw_attention

    scorer = TorchScorer.of(load_checkpoint(ckpt))
    layers = scorer.model.config.decoder_layers
    if layer is not None and layer > layers:
        raise UsageError(f"This checkpoint has {layers} decoder layers; there is no layer {layer}.")
    crops = []
    with progress_bar("pictures") as update:
        for path in pictures:
            crops.append(center_crop(path, scorer.spec))
            update(len(crops), len(pictures), "")
    stacked = np.stack(crops)
    weights = attention_weights(scorer.model, scorer.normalize(torch.from_numpy(stacked)))[(layer or layers) - 1]
    _write(draw_attention(stacked, weights, [path.stem for path in pictures]), output)


@app.command()
def routing(ckpt: Ckpt, data: Data, output: Output, pictures: Pictures = 500) -> None:
    """Which experts the tokens keep, by distortion type."""
    _prepare(output)
    from lifeiqa.models.checkpoints.reader import load_checkpoint
    from lifeiqa.models.checkpoints.scorer import TorchScorer
    from lifeiqa.models.paper.figure_data import chosen, routing_by_type
    from lifeiqa.models.paper.figures import draw_routing

    scorer = TorchScorer.of(load_checkpoint(ckpt))
    items = chosen(open_data(data), pictures)
    with progress_bar("routing") as update:
        table = routing_by_type(scorer, items, lambda done, total: update(done, total, ""))
    _write(draw_routing(table.shares, table.types, table.pictures), output)


def _prepare(output: Path) -> None:
    """Finds out early what would stop the figure in the end. Raises `MissingError`, `UsageError`."""
    require("train", "torch", "timm", "scipy", "matplotlib", "sklearn")
    from lifeiqa.models.paper.figures import check_output

    check_output(output)


def _write(figure: Figure, output: Path) -> None:
    from lifeiqa.models.paper.figures import save

    save(figure, output)
    typer.echo(output)


def _stage_numbers(text: str) -> list[int]:
    """Parses `1,4`: numbers in ascending order, each once. Raises `UsageError`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() for part in parts):
        raise UsageError(f"--stages is {text!r}; expected numbers such as 1,4.")
    return sorted({int(part) for part in parts})


def main() -> None:
    """Entry point of `lifeiqa-figures`."""
    run_app(app)
