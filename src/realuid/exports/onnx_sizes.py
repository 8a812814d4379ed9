"""ONNX graphs rewritten so that the size of every result follows from those of the inputs.

`onnx_file` accepts only such files, and `onnx.shape_inference` does not follow the values of sizes through every
operator that torch's exporter writes where a prompt may have any length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

#: Beyond the end of any axis.
_END = np.iinfo(np.int64).max


def show_sizes(model: onnx.ModelProto) -> None:
    """Rewrite, in place, what shape inference does not follow, to operators of the same results."""
    import onnx

    known = {value.name: value.type.tensor_type for value in model.graph.value_info}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type == "Reshape":
            _listed(model, node, known)
        elif node.op_type == "Split" and len(node.input) == len(node.output) == 2:
            _sliced(model, node, known)
        elif node.op_type == "Slice" and node.input[1] not in weights and node.input[2] in weights:
            _last(model, node, known, onnx.numpy_helper.to_array(weights[node.input[2]]))


def _listed(model: onnx.ModelProto, node: onnx.NodeProto, known: dict[str, onnx.TypeProto.Tensor]) -> None:
    """A size that becomes a list of one: Unsqueeze instead of Reshape to [-1]."""
    import onnx

    value, result = (known.get(name) for name in (node.input[0], node.output[0]))
    if value is None or result is None or value.elem_type != onnx.TensorProto.INT64:
        return
    if len(value.shape.dim) == 0 and len(result.shape.dim) == 1:
        node.op_type, node.input[1] = "Unsqueeze", _constant(model, 0)
        del node.attribute[:]


def _sliced(model: onnx.ModelProto, node: onnx.NodeProto, known: dict[str, onnx.TypeProto.Tensor]) -> None:
    """Two parts, the second of a fixed size n: [: -n] and [-n :] instead of Split at a size that is computed."""
    import onnx

    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    sizes = [known[name].shape.dim[axis] if name in known else None for name in node.output]
    if None in sizes or sizes[0].HasField("dim_value") or not sizes[1].HasField("dim_value"):  # type: ignore[union-attr]
        return
    last = sizes[1].dim_value  # type: ignore[union-attr]
    first, second = node.output
    at = [_constant(model, number) for number in (0, -last, _END, axis)]
    place = list(model.graph.node).index(node)
    whole = node.input[0]
    model.graph.node.remove(node)
    for name, start, end in ((first, at[0], at[1]), (second, at[1], at[2])):
        made = onnx.helper.make_node("Slice", [whole, start, end, at[3]], [name])
        model.graph.node.insert(place, made)


def _last(
    model: onnx.ModelProto, node: onnx.NodeProto, known: dict[str, onnx.TypeProto.Tensor], end: np.ndarray
) -> None:
    """All from a computed place to the end, which are n: [-n :]."""
    import onnx

    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    axes, steps = (weights.get(name) for name in (*node.input[3:5], "", "")[:2])
    result = known.get(node.output[0])
    if result is None or axes is None or len(axes) != 1 or (steps is not None and steps.tolist() != [1]):
        return
    size = result.shape.dim[int(axes[0])]
    if size.HasField("dim_value") and end.tolist() == [_END]:
        node.input[1] = _constant(model, -size.dim_value)


def _constant(model: onnx.ModelProto, number: int) -> str:
    """The name of an initializer [number]."""
    import onnx

    name = f"realuid_{number}"
    if all(tensor.name != name for tensor in model.graph.initializer):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([number], np.int64), name))
    return name
