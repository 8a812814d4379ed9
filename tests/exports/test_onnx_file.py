"""An .onnx file that loops, reads other files or asks for any amount of memory is refused before it is run."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import students
import torch

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from onnx import TensorProto, helper  # noqa: E402

from realuid.errors import CheckpointError  # noqa: E402
from realuid.exports.contract import ABOUT, Contract  # noqa: E402
from realuid.exports.onnx import OnnxStudent, write_onnx  # noqa: E402
from realuid.models import Condition  # noqa: E402


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small file as `realuid export` writes it: points in the plane, of three classes."""
    path = tmp_path_factory.mktemp("onnx") / "s.onnx"
    generator = students.points()
    write_onnx(generator, path, Contract.of(generator))
    return path.read_bytes()


def add(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    """Put nodes before all others."""
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def tensor(name: str, values: list[int]) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def loop(model: onnx.ModelProto) -> None:
    """2^62 rounds."""
    kinds = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "on": TensorProto.BOOL}
    i, go, on = (helper.make_tensor_value_info(name, kind, []) for name, kind in kinds.items())
    body = helper.make_graph([helper.make_node("Identity", ["go"], ["on"])], "body", [i, go], [on])
    model.graph.initializer.append(helper.make_tensor("rounds", TensorProto.INT64, [], [2**62]))
    add(model, helper.make_node("Loop", ["rounds", ""], [], body=body))


def choice(model: onnx.ModelProto) -> None:
    """A graph in a graph."""
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, [1])
    node = helper.make_node("Constant", [], ["o"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.0]))
    body = helper.make_graph([node], "b", [], [out])
    add(model, helper.make_node("Identity", ["noise"], ["copy"], body=body))


def external(model: onnx.ModelProto) -> None:
    """The first weights come from another file."""
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "/dev/zero"


def enormous(model: onnx.ModelProto) -> None:
    """A constant of 4 TB."""
    model.graph.initializer.append(tensor("sizes", [10**6, 10**6]))
    add(model, helper.make_node("ConstantOfShape", ["sizes"], ["enormous"]))


def growing(model: onnx.ModelProto) -> None:
    """Every sample repeated 10^10 times."""
    model.graph.initializer.append(tensor("times", [1, 10**10]))
    add(model, helper.make_node("Tile", ["noise", "times"], ["grown"]))


def by_numbers(model: onnx.ModelProto) -> None:
    """A result whose size depends on the numbers in it."""
    add(model, helper.make_node("NonZero", ["noise"], ["where"]))


def by_input(model: onnx.ModelProto) -> None:
    """A size that comes from an input, through operators that are allowed."""
    model.graph.initializer.append(tensor("axis", [0]))
    add(
        model,
        helper.make_node("ReduceMax", ["labels", "axis"], ["largest"], keepdims=1),
        helper.make_node("ConstantOfShape", ["largest"], ["so_many"]),
    )


def foreign(model: onnx.ModelProto) -> None:
    add(model, helper.make_node("Gelu", ["noise"], ["other"], domain="com.microsoft"))


def function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Identity", ["a"], ["b"])
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 20)]))


ATTACKS: dict[Callable[[onnx.ModelProto], None], str] = {
    loop: "uses the operator Loop",
    choice: "holds graphs in a graph",
    external: "reads weights from other files",
    enormous: r"makes a tensor of 1,000,000,000,000 numbers",
    growing: r"makes a tensor of 40,000,000,000 numbers",
    by_numbers: "uses the operator NonZero",
    by_input: "does not follow from those of its inputs",
    foreign: "uses the operator Gelu",
    function: "defines functions",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_attacks_are_refused(attack, whole, tmp_path):
    model = onnx.load_model_from_string(whole)
    attack(model)
    (tmp_path / "s.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=ATTACKS[attack]):
        OnnxStudent(tmp_path / "s.onnx")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shape": [3]}, "of another shape"),
        ({"image_shape": [3]}, "makes no float32 images"),
        ({"uint8": True}, "makes no uint8 images"),
        ({"conditions": []}, "does not take noise"),
        ({"shape": [10**9]}, "samples of shape"),
    ],
)
def test_contracts_that_do_not_fit_are_refused(changes, says, whole, tmp_path):
    model = onnx.load_model_from_string(whole)
    (entry,) = (entry for entry in model.metadata_props if entry.key == ABOUT)
    entry.value = json.dumps({**json.loads(entry.value), **changes})
    (tmp_path / "s.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=says):
        OnnxStudent(tmp_path / "s.onnx")


def test_a_class_that_a_graph_does_not_know_is_one_line(whole, tmp_path):
    model = onnx.load_model_from_string(whole)
    (entry,) = (entry for entry in model.metadata_props if entry.key == ABOUT)
    about = json.loads(entry.value)
    about["conditions"][0]["classes"] = 9
    entry.value = json.dumps(about)
    (tmp_path / "s.onnx").write_bytes(model.SerializeToString())
    student = OnnxStudent(tmp_path / "s.onnx")
    assert student(torch.zeros(2, 2), Condition(label=torch.tensor([0, 2]))).shape == (2, 2)
    with pytest.raises(CheckpointError, match="cannot compute what it promises"):
        student(torch.zeros(1, 2), Condition(label=torch.tensor([8])))
