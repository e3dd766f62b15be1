"""Teaches decoder, experts and head on stored features of the backbone, before the whole network learns.

Most of a step's time goes into the backbone. While that stays as it is, its features of each crop are computed once,
and the rest of the network learns from them many times faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lifeiqa.models.checkpoints.scorer import normalize
from lifeiqa.models.network.life_iqa import Features
from lifeiqa.models.training.batches import CropGroup
from lifeiqa.models.training.loading import CropSource, crop_loader
from lifeiqa.models.training.objective import TrainingModule, objective

BATCH = 240  # crops of a step
_RATE = 8e-4  # at its peak
_WARMUP = 0.05  # share of the steps
_FEATURE_BATCH = 48  # crops that the backbone reads at once


def pretrain_head(
    module: TrainingModule,
    data: CropSource,
    workers: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> None:
    """Trains all of the module but its backbone, as the recipe of the data says (`head_epochs`, `head_crops`).

    The result depends on the data's seed alone. The crops are none of those that the run itself will draw.

    Args:
        module: on the device to compute on.
        data: what the crops are drawn from.
        workers: processes that read pictures.
        progress: called with what is done, all there is, and a text.

    Raises:
        DatasetError: a picture cannot be read.
    """
    features, draws = _stored(module, data, workers, progress)
    head, recipe = module.head_parameters(), data.recipe
    device = head[0].device
    optimizer = torch.optim.AdamW(head, weight_decay=recipe.weight_decay)
    count, size = len(draws.scores), max(1, BATCH // recipe.levels)
    total = recipe.head_epochs * -(-count // size)
    orders = (np.random.default_rng([data.seed, epoch]).permutation(count) for epoch in range(recipe.head_epochs))
    module.train()
    for step, rows in enumerate(rows for order in orders for rows in torch.from_numpy(order).split(size)):
        late, early = (None if x is None else x[rows].flatten(0, 1).float().to(device) for x in features)
        assert late is not None
        batch = CropGroup(*(x[rows].to(device) for x in draws))
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min((step + 1) / (_WARMUP * total), 0.5 * (1 + math.cos(math.pi * step / total)))
        found = objective(module.forward_head(Features(late, early)), batch, module.network.config, recipe)
        optimizer.zero_grad(set_to_none=True)
        found.loss.backward()
        torch.nn.utils.clip_grad_norm_(head, recipe.clip or math.inf)
        optimizer.step()
        progress(step + 1, total, f"head alone, loss {found.paper.total.item():.4f}")


@torch.no_grad()
def _stored(
    module: TrainingModule, data: CropSource, workers: int, progress: Callable[[int, int, str], None]
) -> tuple[Features, CropGroup]:
    """Features, in half precision, and labels of G draws of L crops: all with two leading axes (G, L)."""
    module.eval()
    device, recipe = next(module.parameters()).device, data.recipe
    count, size = max(1, recipe.head_crops // recipe.levels), max(1, _FEATURE_BATCH // recipe.levels)
    keys = [
        (int(draw), recipe.epochs + again)
        for again in range(-(-count // len(data)))
        for draw in np.random.default_rng([data.seed, recipe.epochs + again]).permutation(len(data))
    ][:count]
    store: list[Tensor] = []
    done = 0
    for batch in crop_loader(data, [keys[k : k + size] for k in range(0, count, size)], workers):
        shape = batch.scores.shape
        images = normalize(batch.crops.flatten(0, 1).to(device), data.spec).contiguous(
            memory_format=torch.channels_last
        )
        found = [part.unflatten(0, shape) for part in module.network.forward_features(images) if part is not None]
        rows = [*found, *batch[1:]]
        if not store:  # at once: tensors kept from every turn would split the memory between them
            dtypes = [torch.float16] * len(found) + [part.dtype for part in rows[len(found) :]]
            store = [torch.empty(count, *r.shape[1:], dtype=dtype) for r, dtype in zip(rows, dtypes, strict=True)]
        for part, row in zip(store, rows, strict=True):
            part[done : done + len(row)] = row
        done += shape[0]
        progress(done, count, "features of the backbone")
    features, labels = store[: -len(CropGroup._fields) + 1], store[-len(CropGroup._fields) + 1 :]
    late, early = (*features, None)[:2]
    assert late is not None
    return Features(late, early), CropGroup(torch.empty(labels[0].shape), *labels)
