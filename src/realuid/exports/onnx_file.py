"""Checks of an untrusted .onnx file before ONNX Runtime opens it.

A graph may loop for ever, read other files as its weights, or allocate any amount of memory on opening, when constant
expressions are evaluated. So a file is accepted only if all its operators are on a list, it contains its weights, and
the sizes of all its results follow from those of its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realuid.errors import CheckpointError
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.program_file import MAX_NUMBERS
from realuid.reading import read_limited

if TYPE_CHECKING:
    import onnx

#: Operators of networks: no control flow, nothing whose size depends on numbers, none of another domain.
_OPERATORS = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip Concat
    Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div
    DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity
    InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization
    MatMul MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul
    QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round Selu Shape Sigmoid Sign Sin Sinh Size Slice
    Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK Transpose Trilu Unsqueeze Where
    Xor
"""
#: Numbers that a graph may compute from no input, when it is opened.
_MAX_CONSTANT = 1 << 24
#: Shapes are taken from tensors of a few numbers; the content of larger ones is not needed to follow them.
_SMALL = 4096
_BATCH = 2
#: As large as a message of protobuf can be.
MAX_BYTES = 2 << 30


def read_about(path: Path) -> Contract:
    """The contract of an .onnx file that `realuid export` wrote, after a look at its graph.

    Raises:
        CheckpointError: where it is missing, damaged, not ours, or not made of what networks are made of.
    """
    import onnx

    content = read_limited(path, MAX_BYTES)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # of protobuf
        raise CheckpointError(f"'{path}' cannot be read as an ONNX model ({type(error).__name__}).") from error
    del content
    about = next((entry.value for entry in model.metadata_props if entry.key == ABOUT), None)
    contract = Contract.from_json(about, str(path))
    for found in _surprises(model):
        raise CheckpointError(f"refused '{path}': it {found[:200]}, which no file of `realuid export` does.")
    for found in _differences(model, contract):
        raise CheckpointError(f"'{path}' is damaged: {found}.")
    return contract


def _surprises(model: onnx.ModelProto) -> Iterator[str]:
    """What a file does that networks need not."""
    if model.functions:
        yield "defines functions"
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in _OPERATORS.split():
            yield f"uses the operator {ascii(node.op_type)[1:-1]}"
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs or attribute.sparse_tensors:
                yield "holds graphs in a graph"
    if model.graph.sparse_initializer:
        yield "holds sparse weights"
    tensors = [*model.graph.initializer, *(a.t for node in model.graph.node for a in node.attribute if a.HasField("t"))]
    if any(tensor.external_data or tensor.data_location for tensor in tensors):
        yield "reads weights from other files"


def _differences(model: onnx.ModelProto, contract: Contract) -> Iterator[str]:
    """Where a graph is not what its contract says. The content of its weights is dropped on the way."""
    import onnx

    if [value.name for value in model.graph.input] != list(contract.inputs):
        yield f"its graph does not take {', '.join(contract.inputs)}"
    lengths = {name for spec in contract.conditions if None in spec.shape for name in spec.names}
    for value, example in zip(model.graph.input, contract.example(_BATCH), strict=True):
        shape = value.type.tensor_type.shape
        if value.name in lengths and len(shape.dim) > 1 and shape.dim[1].dim_param:
            shape.dim[1].dim_value = example.shape[1]
        if [d.dim_value for d in shape.dim[1:]] != list(example.shape[1:]):
            yield f"its graph takes {value.name} of another shape than it says"
        shape.dim[0].dim_value = _BATCH
    for tensor in model.graph.initializer:
        if tensor.ByteSize() > _SMALL:
            for field in ("raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data"):
                tensor.ClearField(field)  # type: ignore[arg-type]
    try:
        sized = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    except Exception as error:  # of onnx, of many kinds
        yield f"the sizes of its graph do not fit together ({' '.join(str(error).split())[:200]})"
        return
    shapes = {value.name: _shape(value) for value in (*sized.input, *sized.value_info, *sized.output)}
    fed = set(contract.inputs)
    for node in sized.node:
        depends = not fed.isdisjoint(node.input) and node.op_type != "Shape"
        for name in filter(None, node.output):
            fed |= {name} if depends else set()
            numbers = shapes.get(name)
            if numbers is None:
                yield f"the size of {ascii(name)[1:-1]} does not follow from those of its inputs"
            elif math.prod(numbers) > (MAX_NUMBERS if depends else _MAX_CONSTANT):
                yield f"it makes a tensor of {math.prod(numbers):,} numbers on the way"
    made = [(value.type.tensor_type.elem_type, _shape(value)) for value in sized.output]
    kind = onnx.TensorProto.UINT8 if contract.uint8 else onnx.TensorProto.FLOAT
    if made != [(kind, (_BATCH, *contract.result_shape))]:
        yield f"its graph makes no {'uint8' if contract.uint8 else 'float32'} images of shape {contract.result_shape}"


def _shape(value: Any) -> tuple[int, ...] | None:
    """The sizes of a value, None where one is unknown."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in tensor.shape.dim):
        return None
    return tuple(d.dim_value for d in tensor.shape.dim)
