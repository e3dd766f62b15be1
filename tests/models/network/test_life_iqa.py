import pytest
import torch
from torch.nn import functional

from lifeiqa.models.network.backbone import backbone_normalization
from lifeiqa.models.network.config import SWIN_BASE, LifeIQAConfig
from lifeiqa.models.network.decoder import PartitionAveragePool, normalized_adjacency
from lifeiqa.models.network.life_iqa import LifeIQA, count_parameters
from lifeiqa.runtime.errors import CheckpointError, UsageError


def millions(config: LifeIQAConfig) -> float:
    with torch.device("meta"):
        return count_parameters(LifeIQA(config)) / 1e6


@pytest.mark.parametrize(("experts", "expected"), [(4, 94.95), (8, 99.68)])
def test_released_reading_has_the_parameters_of_the_released_implementation(experts: int, expected: float) -> None:
    assert millions(LifeIQAConfig.released(SWIN_BASE, experts)) == pytest.approx(expected, abs=0.005)


def test_paper_reading_has_about_the_parameters_that_the_paper_reports() -> None:
    assert millions(LifeIQAConfig()) == pytest.approx(95, abs=1.5)


def test_parts_of_the_released_reading_have_the_sizes_known_of_them() -> None:
    with torch.device("meta"):
        model = LifeIQA(LifeIQAConfig.released(SWIN_BASE, 4))
    assert count_parameters(model.backbone) / 1e6 == pytest.approx(86.74, abs=0.005)
    assert count_parameters(model.layers) / 1e6 == pytest.approx(2.89, abs=0.07)
    assert count_parameters(model.moe) / 1e6 == pytest.approx(4.73, abs=0.005)


@pytest.mark.parametrize(
    "backbone",
    [
        "swin_tiny_patch4_window7_224",
        "swin_small_patch4_window7_224",
        "swin_base_patch4_window7_224",
        "tf_efficientnet_lite0",
        "resnet50",
        "mobilenetv3_small_050",
    ],
)
@pytest.mark.parametrize("released", [False, True])
def test_backbones_yield_one_score_for_each_crop(backbone: str, released: bool) -> None:
    config = LifeIQAConfig.released(backbone, 4) if released else LifeIQAConfig(backbone=backbone)
    with torch.device("meta"):
        prediction = LifeIQA(config)(torch.empty(3, 3, 224, 224))
    assert prediction.score.shape == (3,)
    assert prediction.routing.weights.shape == (3, 6, 4)


@pytest.mark.parametrize("released", [False, True])
def test_standardized_projections_have_zero_mean_and_unit_variance(released: bool) -> None:
    torch.manual_seed(0)
    config = LifeIQAConfig.released("test_efficientnet", 4) if released else LifeIQAConfig(backbone="test_efficientnet")
    model = LifeIQA(config).eval()
    crops = torch.randn(12, 3, 128, 128) * torch.linspace(0.2, 3, 12).view(-1, 1, 1, 1) + torch.rand(12, 3, 1, 1)
    model.standardize(crops)
    with torch.inference_mode():
        early, late = model.backbone(crops)
        context = model.query_projection(late).mean(dim=(2, 3))
        memory = model.memory_projection(model.pool(early)).flatten(0, 1)
    for tokens in (context, memory):
        torch.testing.assert_close(tokens.mean(dim=0), torch.zeros(config.dim), atol=1e-4, rtol=0)
        assert tokens.std(dim=0).mean().item() == pytest.approx(1, abs=1e-4)


def test_model_that_timm_does_not_know_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no_such_net"):
        LifeIQA(LifeIQAConfig(backbone="no_such_net"))


@pytest.mark.parametrize("grid", [1, 2, 5, 6, 7, 14])
def test_partition_pooling_is_adaptive_average_pooling(grid: int) -> None:
    x = torch.randn(2, 3, 14, 14)
    expected = functional.adaptive_avg_pool2d(x, grid).flatten(2).transpose(1, 2)
    torch.testing.assert_close(PartitionAveragePool(grid)(x), expected)


def test_adjacency_is_the_normalised_complete_graph() -> None:
    a = torch.ones(6, 6) + torch.eye(6)
    d = torch.diag(a.sum(1) ** -0.5)
    torch.testing.assert_close(normalized_adjacency(6), d @ a @ d)


@pytest.mark.parametrize(
    "change",
    [
        {"top_k": 5},
        {"experts": 0},
        {"dim": 385},
        {"heads": 2.5},
        {"bypass": "none"},
        {"backbone": 3},
        {"unknown": 1},
    ],
)
def test_configuration_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(CheckpointError):
        LifeIQAConfig.from_dict({**LifeIQAConfig().to_dict(), **change})


def test_configuration_survives_a_dictionary() -> None:
    config = LifeIQAConfig.released()
    assert LifeIQAConfig.from_dict(config.to_dict()) == config


def test_unknown_weights_of_a_known_network_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"timm has no resnet50\.bogus"):
        backbone_normalization("resnet50.bogus")
