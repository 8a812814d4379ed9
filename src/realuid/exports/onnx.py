"""ONNX export from the torch.export program, run by ONNX Runtime; optionally in half or 8-bit precision."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from realuid.errors import CheckpointError, ConfigError
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.onnx_file import read_about
from realuid.exports.onnx_sizes import show_sizes
from realuid.exports.options import Precision
from realuid.exports.procedure import trace
from realuid.exports.student import ExportedStudent
from realuid.models import Student

if TYPE_CHECKING:
    import onnx


_OUTPUT = "images"
#: Where 8-bit arithmetic pays; everything else stays float32.
_QUANTISED = ["Conv", "Gemm", "MatMul"]
_CALIBRATION_BATCHES, _CALIBRATION_BATCH = 8, 16


def write_onnx(generator: Student, out: Path, contract: Contract, precision: Precision = "fp32") -> None:
    """Write an .onnx file, dynamic in the batch, with the contract in its metadata.

    Args:
        generator: in evaluation mode.
        out: file to write.
        contract: inputs and output.
        precision: fp16 computes in half precision (inputs and float images stay float32); int8 quantises convolutions
            and matrix products, with ranges calibrated on generated noise.

    Raises:
        ConfigError: where realuid[onnx] is not installed.
        ExportError: where the network cannot be traced.
    """
    _require()
    with _quietly():
        program = trace(generator, contract, half=precision == "fp16")
        exported = torch.onnx.export(
            program, dynamo=True, input_names=list(contract.inputs), output_names=[_OUTPUT], verbose=False
        )
        assert exported is not None
        model = exported.model_proto
        _strip(model)
        show_sizes(model)
        model = _quantise(model, contract) if precision == "int8" else model
    entry = model.metadata_props.add()
    entry.key, entry.value = ABOUT, contract.to_json()
    out.write_bytes(model.SerializeToString())


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes at every operator: where in the code it came from, with this machine's paths."""
    for graph in (model.graph, *model.functions):
        for node in graph.node:
            del node.metadata_props[:]


def _quantise(model: onnx.ModelProto, contract: Contract) -> onnx.ModelProto:
    """8-bit convolutions and matrix products, weights by channel, activations by ranges seen on noise."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Noise(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(contract.example(_CALIBRATION_BATCH, seed) for seed in range(_CALIBRATION_BATCHES))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else _feed(contract, batch)

    with tempfile.TemporaryDirectory() as name:
        whole, prepared, quantised = (Path(name) / f"{stage}.onnx" for stage in ("whole", "prepared", "quantised"))
        onnx.save(model, whole)
        quant_pre_process(whole, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantised,
            Noise(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTISED,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )
        return onnx.load(quantised)


class OnnxStudent(ExportedStudent):
    """A student in ONNX Runtime, on the CPU.

    Args:
        path: file that `write_onnx` wrote.

    Raises:
        CheckpointError: where it is missing, damaged or not ours.
        ConfigError: where realuid[onnx] is not installed.
    """

    def __init__(self, path: Path):
        _require()
        import onnxruntime

        super().__init__(read_about(path))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # errors are raised; it would print them, too
        try:
            self.session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime has an exception type of its own for every kind of damage
            raise CheckpointError(f"'{path}' cannot be read as an ONNX model ({type(error).__name__}).") from error

    def run(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return torch.from_numpy(self.session.run([_OUTPUT], _feed(self.contract, inputs))[0])

    def to(self, device: torch.device | str) -> OnnxStudent:
        if torch.device(device).type != "cpu":
            raise ConfigError(f"device = {device}: ONNX files are run on the CPU here.")
        return self


def _feed(contract: Contract, inputs: tuple[Tensor, ...]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in zip(contract.inputs, inputs, strict=True)}


def _require() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"ONNX needs {error.name}. Install it with: pip install 'realuid[onnx]'.") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' notes about themselves: what matters is checked on the finished file."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
