import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers import TINY, make_checkpoint

from lifeiqa.models.checkpoints.own_format import save_checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.models.commands.figures import main
from lifeiqa.models.datasets import QualitySet, open_set
from lifeiqa.models.paper.figure_data import (
    attention_weights,
    center_crop,
    chosen,
    embed,
    in_order,
    predictions,
    routing_by_type,
    stage_features,
)
from lifeiqa.models.paper.figures import draw_routing, draw_scatter, draw_tsne, save
from lifeiqa.models.synthesis.ladders import held_out_pictures, ladder
from lifeiqa.runtime.errors import DatasetError, UsageError

TYPES = ("blur", "noise")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three contents, each pristine and at five levels of two types; labels fall along the ladders."""
    folder = tmp_path_factory.mktemp("set")
    rows = [("path", "score", "reference", "distortion", "level")]
    for name, picture in list(held_out_pictures())[:3]:
        small = picture[:256, :256]
        for kind in TYPES:
            for level, copy in enumerate(ladder(small, kind)):
                if level or kind == TYPES[0]:
                    file = f"{name}_{kind}_{level}.png"
                    (folder / file).write_bytes(cv2.imencode(".png", copy[:, :, ::-1])[1].tobytes())
                    rows.append((file, str(95 - 17 * level), name, kind if level else "pristine", str(level)))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "labels.csv"


@pytest.fixture(scope="module")
def quality_set(labels: Path) -> QualitySet:
    return open_set("csv", labels)


def checkpoint_file(folder: Path, **changes: object) -> Path:
    path = folder / "other.pt"
    save_checkpoint(make_checkpoint(replace(TINY, **changes)), path)  # type: ignore[arg-type]
    return path


def assert_is_a_figure(path: Path, width: int = 500, height: int = 200) -> None:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    assert width <= pixels.shape[1] <= 2000
    assert height <= pixels.shape[0] <= 3000
    assert len(np.unique(pixels)) > 50
    assert (pixels < 250).any(axis=2).mean() > 0.01


def test_chosen_pictures_cover_all_types_and_are_always_the_same(quality_set: QualitySet) -> None:
    items = chosen(quality_set, 11)
    assert len({item.path for item in items}) == 11
    assert {item.distortion for item in items} == {"pristine", *TYPES}
    assert {item.level for item in items if item.distortion == "blur"} == {1, 2, 3, 4, 5}
    assert items == chosen(quality_set, 11)
    assert chosen(quality_set, 500) == list(quality_set.items)


def test_only_test_pictures_of_a_prescribed_split_are_chosen(quality_set: QualitySet) -> None:
    first = quality_set.items[0].reference
    halves = tuple(replace(i, split="test" if i.reference == first else "train") for i in quality_set.items)
    assert {item.reference for item in chosen(replace(quality_set, items=halves), 500)} == {first}
    training = tuple(replace(item, split="train") for item in halves)
    with pytest.raises(DatasetError, match="every picture is for training"):
        chosen(replace(quality_set, items=training), 500)


def test_attention_is_what_the_network_used(quality_set: QualitySet) -> None:
    scorer = TorchScorer.of(make_checkpoint(replace(TINY, decoder_layers=2)))
    crops = np.stack([center_crop(item.path, scorer.spec) for item in quality_set.items[:2]])
    images = scorer.normalize(torch.from_numpy(crops))
    module = scorer.model.layers[1].attention
    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    hook = module.register_forward_hook(lambda _, inputs, output: seen.append((*inputs, output)))
    weights = attention_weights(scorer.model, images)
    hook.remove()
    assert weights.shape == (2, 2, 6, 6, 36)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    _, memory, output = seen[0]
    with torch.inference_mode():
        values = module.value(memory).unflatten(-1, (6, -1)).transpose(1, 2)
        mixed = module.out((torch.from_numpy(weights[1]) @ values).transpose(1, 2).flatten(-2))
    torch.testing.assert_close(mixed, output)
    assert not any(layer.attention._forward_pre_hooks for layer in scorer.model.layers)


def test_routing_shares_are_means_over_a_types_pictures(quality_set: QualitySet) -> None:
    scorer = TorchScorer.of(make_checkpoint())
    table = routing_by_type(scorer, quality_set.items)
    assert table.types == ["pristine", *TYPES]
    assert table.pictures == [3, 15, 15]
    np.testing.assert_allclose(table.shares.sum(axis=1), TINY.top_k, rtol=1e-5)
    crops = np.stack([center_crop(i.path, scorer.spec) for i in quality_set.items if i.distortion == "noise"])
    weights = scorer.score_crops(crops)[1]
    assert weights is not None
    np.testing.assert_allclose(table.shares[2], (weights > 0).float().mean(dim=(0, 1)), rtol=1e-5)


def test_features_are_the_backbones_own_and_a_cut_one_has_fewer_stages(quality_set: QualitySet) -> None:
    items = quality_set.items[:3]
    checkpoint = make_checkpoint()
    features = stage_features(checkpoint, items, (1, 2, 3, 4))
    assert [features[stage].shape for stage in (1, 2, 3, 4)] == [(3, 24), (3, 32), (3, 48), (3, 64)]
    scorer = TorchScorer.of(checkpoint)
    crops = np.stack([center_crop(item.path, scorer.spec) for item in items])
    with torch.inference_mode():
        last = scorer.model.backbone(scorer.normalize(torch.from_numpy(crops)))[-1].mean(dim=(2, 3))
    np.testing.assert_allclose(features[4], last, rtol=1e-4, atol=1e-5)
    cut = make_checkpoint(replace(TINY, query_stage=3, memory_stage=2))
    assert stage_features(cut, items, (1, 3))[3].shape == (3, 48)
    with pytest.raises(UsageError, match="no stage 4; choose from 1 to 3"):
        stage_features(cut, items, (1, 4))


def test_classes_apart_in_features_stay_apart_and_the_seed_is_fixed() -> None:
    kinds = np.repeat([0, 1, 2], 15)
    features = (np.random.default_rng(0).normal(size=(45, 8)) + 20 * np.eye(8)[kinds]).astype(np.float32)
    points = embed(features)
    assert points.shape == (45, 2)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(45)
    assert (kinds[distances.argmin(axis=1)] == kinds).all()
    np.testing.assert_array_equal(embed(features), points)
    with pytest.raises(DatasetError, match="five pictures"):
        embed(features[:4])


def test_scores_that_are_no_numbers_are_refused(quality_set: QualitySet) -> None:
    with pytest.raises(UsageError, match="no number"):
        predictions(lambda pixels: float("nan"), quality_set.items[:3])
    with pytest.raises(DatasetError, match="two pictures"):
        predictions(lambda pixels: 1.0, quality_set.items[:1])


def test_figures_of_odd_data_are_drawn(tmp_path: Path) -> None:
    save(draw_scatter(np.full(9, 50.0), np.arange(9.0), "costs $5 or $6"), tmp_path / "constant.png")
    types = [f"type_{k}" for k in range(30)] * 2 + ["pristine"]
    points = np.random.default_rng(0).normal(size=(61, 2)).astype(np.float32)
    save(draw_tsne(dict.fromkeys((1, 2, 3), points), types, in_order(types)), tmp_path / "many.png")
    save(draw_routing(np.full((1, 12), 1 / 6, np.float32), ["jpeg"], [1]), tmp_path / "one.png")
    for path in tmp_path.iterdir():
        assert_is_a_figure(path, 300, 100)


def test_an_svg_is_the_same_every_time(tmp_path: Path) -> None:
    texts = []
    for name in ("a.svg", "b.SVG"):
        save(draw_scatter(np.arange(9.0), np.arange(9.0) ** 2, "Set"), tmp_path / name)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert "<svg" in texts[0]


@pytest.mark.parametrize("name", ["scatter", "tsne", "routing"])
def test_commands_draw_a_set(
    command: Callable[..., Any], name: str, tiny_pt: Path, labels: Path, tmp_path: Path
) -> None:
    path = tmp_path / "new" / f"{name}.png"
    done = command(main, name, "--ckpt", tiny_pt, "--data", f"csv={labels}", "-o", path, "--pictures", 12)
    assert (done.code, done.out.strip(), done.err) == (0, str(path), "")
    assert_is_a_figure(path)


def test_an_exported_model_gives_the_same_scatter(
    command: Callable[..., Any], tiny_onnx: Path, labels: Path, tmp_path: Path
) -> None:
    path = tmp_path / "scatter.png"
    options = ("--data", f"csv={labels}", "-o", path, "--pictures", 9, "--title", "Exported")
    done = command(main, "scatter", "--ckpt", tiny_onnx, *options)
    assert done.code == 0, done.err
    assert_is_a_figure(path)


def test_attention_command_draws_pictures(
    command: Callable[..., Any], tiny_pt: Path, photos: Path, tmp_path: Path
) -> None:
    path = tmp_path / "attention.png"
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), cv2.imread(str(photos / "astronaut.png"))[:50, :50])
    pictures = [photos / "astronaut.png", small]
    done = command(main, "attention", *pictures, "--ckpt", tiny_pt, "-o", path, "--layer", 1)
    assert (done.code, done.out.strip(), done.err) == (0, str(path), "")
    assert_is_a_figure(path, 1000, 300)


def test_commands_say_what_is_wrong_in_one_line(
    command: Callable[..., Any], tiny_pt: Path, labels: Path, photos: Path, tmp_path: Path
) -> None:
    data, out = ("--data", f"csv={labels}"), ("-o", tmp_path / "figure.png")
    plain = tmp_path / "plain.csv"
    plain.write_text("path,score\n" + "".join(f"{labels.parent / f'astronaut_blur_{k}.png'},5{k}\n" for k in range(3)))
    cut = tmp_path / "cut.png"
    cut.write_bytes(cv2.imencode(".png", np.zeros((50, 50, 3), np.uint8))[1].tobytes()[:-30])
    (tmp_path / "twice.csv").write_text("path,score,distortion\ncut.png,50,blur\ncut.png,50,blur\n")
    (tmp_path / "cut.csv").write_text("path,score,distortion\ncut.png,50,blur\n")
    picture = photos / "astronaut.png"
    memoryless = checkpoint_file(tmp_path, memory_stage=0)
    untailed = tmp_path / "untailed.pt"
    save_checkpoint(make_checkpoint(replace(TINY, tail="none")), untailed)
    ckpt = ("--ckpt", tiny_pt)
    cases: list[tuple[int, str, tuple[object, ...]]] = [
        (2, "name the figure", ("scatter", *ckpt, *data, "-o", tmp_path / "figure.pdf")),
        (2, "Cannot read the checkpoint", ("tsne", "--ckpt", tmp_path / "none.pt", *data, *out)),
        (2, "no model", ("scatter", "--ckpt", tmp_path / "none.onnx", *data, *out)),
        (2, "not NAME=PATH", ("routing", *ckpt, "--data", "kadid10k", *out)),
        (2, "--stages is '1;4'", ("tsne", *ckpt, *data, *out, "--stages", "1;4")),
        (2, "no stage 5", ("tsne", *ckpt, *data, *out, "--stages", "1,5")),
        (2, "five pictures", ("tsne", *ckpt, *data, *out, "--pictures", 4)),
        (2, "two pictures", ("scatter", *ckpt, *data, *out, "--pictures", 1)),
        (2, "does not say how", ("tsne", *ckpt, "--data", f"csv={plain}", *out)),
        (2, "does not say how", ("routing", *ckpt, "--data", f"csv={plain}", *out)),
        (2, "listed twice", ("routing", *ckpt, "--data", f"csv={tmp_path / 'twice.csv'}", *out)),
        (2, "cut short", ("routing", *ckpt, "--data", f"csv={tmp_path / 'cut.csv'}", *out)),
        (2, "no experts", ("routing", "--ckpt", untailed, *data, *out)),
        (2, "no cross-attention", ("attention", picture, "--ckpt", memoryless, *out)),
        (2, "no layer 2", ("attention", picture, *ckpt, *out, "--layer", 2)),
        (1, "no such file", ("attention", tmp_path / "none.png", *ckpt, *out)),
        (1, "cut short", ("attention", cut, *ckpt, *out)),
        (3, "it is a folder", ("attention", picture, *ckpt, "-o", _folder(tmp_path / "folder.png"))),
    ]
    for code, message, arguments in cases:
        done = command(main, *arguments)
        assert (done.code, done.err.count("\n")) == (code, 1), (message, done.err)
        assert message in done.err
    assert not (tmp_path / "figure.png").exists()


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_checkpoint_cut_early_draws_the_stages_it_has(
    command: Callable[..., Any], labels: Path, tmp_path: Path
) -> None:
    cut = checkpoint_file(tmp_path, query_stage=3, memory_stage=2)
    assert load_checkpoint(cut).config.query_stage == 3
    path = tmp_path / "tsne.svg"
    done = command(main, "tsne", "--ckpt", cut, "--data", f"csv={labels}", "-o", path, "--pictures", 8)
    assert done.code == 0, done.err
    assert path.read_text().count("<clipPath") >= 3
