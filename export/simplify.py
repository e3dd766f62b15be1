"""Rewrites an exported graph so that engines do less, without another score."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from lifeiqa.calibration.graph import consumers, initializers, store


def fold_scale_into_stem(model: onnx.ModelProto) -> None:
    """Multiplies the factor of the picture's normalisation into the first convolution: one pass over the picture less.

    The offset stays where it is. A convolution pads with zeros after normalisation, so that an offset in its bias would
    be wrong at the border. Where it is the same for all channels it becomes one number: engines that keep channels last
    would repeat three numbers along the picture, which costs as much as the convolution.
    """
    constants, readers = initializers(model), consumers(model)
    for scaling in [node for node in model.graph.node if node.op_type == "Mul"]:
        following = readers[scaling.output[0]]
        shift = following[0] if len(following) == 1 and following[0].op_type == "Add" else None
        convolutions = readers[shift.output[0]] if shift is not None else []
        factor, offset = constants.get(scaling.input[1]), None if shift is None else constants.get(shift.input[1])
        if shift is None or factor is None or offset is None or len(convolutions) != 1:
            continue
        weight = constants.get(convolutions[0].input[1]) if convolutions[0].op_type == "Conv" else None
        channels = [1, weight.dims[1], 1, 1] if weight is not None else []
        if weight is None or [list(factor.dims), list(offset.dims)] != [channels, channels]:
            continue
        factors, offsets = (numpy_helper.to_array(t).astype(np.float64) for t in (factor, offset))
        store(weight, numpy_helper.to_array(weight) * factors)
        offsets /= factors
        store(offset, offsets[:, :1] if np.allclose(offsets, offsets.flat[0], rtol=1e-6) else offsets)
        stale = [value for value in model.graph.value_info if value.name in (factor.name, offset.name, *scaling.output)]
        for value in stale:
            model.graph.value_info.remove(value)
        shift.input[0] = scaling.input[0]
        model.graph.node.remove(scaling)
        model.graph.initializer.remove(factor)
