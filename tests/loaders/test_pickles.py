"""The reader of network pickles: it runs nothing, whatever the file says, and never hangs."""

import builtins
import collections
import os
import pickle
import struct
import subprocess
import time

import edm_layout
import numpy
import pytest
import torch

from realuid.errors import CheckpointError
from realuid.loaders import load_edm_pickle
from realuid.loaders.pickles import Module, StoredTensor, read_pickle, to_tensor


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


def write(path, content, protocol=4):
    data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol)
    path.write_bytes(data)
    return path


@pytest.fixture
def sentinel(tmp_path):
    """A file that exists if anything ran."""
    path = tmp_path / "it-ran"
    yield path
    assert not path.exists(), "the pickle ran code"


def attacks(sentinel):
    touch = f"touch {sentinel}"
    code = f"open({str(sentinel)!r}, 'w').close()"
    return {
        "os.system": ("posix.system", Call(os.system, touch)),
        "eval": ("builtins.eval", Call(eval, code)),
        "exec": ("builtins.exec", Call(exec, code)),
        "getattr": ("builtins.getattr", Call(getattr, Call(builtins.__import__, "os"), "system")),
        "subprocess": ("subprocess.Popen", Call(subprocess.Popen, ["touch", str(sentinel)])),
        "torch.load": ("torch.serialization.load", Call(torch.load, "elsewhere.pt")),
        "class": ("collections.Counter", collections.Counter("abc")),
        "array": ("_reconstruct", numpy.zeros(3)),
        "old protocol": ("os.system", f"cos\nsystem\n(S'{touch}'\ntR.".encode()),
        "instance": ("os.system", f"(S'{touch}'\nios\nsystem\n.".encode()),
        "never called": ("os.system", b"cos\nsystem\n."),
        "alias of an allowed name": ("torch.storage.io.open", b"\x80\x04\x8c\rtorch.storage\x8c\x07io.open\x93."),
    }


@pytest.mark.parametrize("name", attacks(""))
def test_code_is_refused_by_name_and_does_not_run(name, tmp_path, sentinel):
    named, content = attacks(sentinel)[name]
    with pytest.raises(CheckpointError, match=named.replace(".", r"\.")):
        read_pickle(write(tmp_path / "a.pkl", content))
    with pytest.raises(CheckpointError, match=named.replace(".", r"\.")):
        load_edm_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "where", ["beside the network", "in a module's state", "in the arguments", "as a weight", "as a key"]
)
def test_code_inside_a_real_network_is_refused(where, tmp_path, sentinel):
    weights = edm_layout.random_weights(edm_layout.song_shapes(SMALL))
    attack = Call(os.system, f"touch {sentinel}")
    extra, arguments = {}, dict(SMALL)
    if where == "beside the network":
        extra = {"optimizer": [1, {"deep": attack}]}
    elif where == "in a module's state":
        extra = {"augment_pipe": edm_layout._Persistent("AugmentPipe", {"p": attack})}
    elif where == "in the arguments":
        arguments["attn_resolutions"] = attack
    elif where == "as a weight":
        extra = {"net": edm_layout._Persistent("SongUNet", {"_parameters": {"weight": attack}})}
    else:
        extra = {"optimizer": {("key", attack): 1}}
    path = edm_layout.write(tmp_path / "a.pkl", arguments, weights, **extra)
    with pytest.raises(CheckpointError, match=r"posix\.system"):
        load_edm_pickle(path)


def test_code_inside_a_tensors_bytes_is_refused(tmp_path, sentinel):
    payload = pickle.dumps(Call(os.system, f"touch {sentinel}"), protocol=2)
    path = write(tmp_path / "a.pkl", Call(torch.storage._load_from_bytes, payload))
    storage = read_pickle(path)
    with pytest.raises(CheckpointError, match=r"posix\.system"):
        to_tensor(StoredTensor(storage, 0, (1,), (1,)))


def test_the_stored_source_is_ignored(tmp_path, sentinel):
    source = f"open({str(sentinel)!r}, 'w').close()"
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Any", "state": {"a": 1}}
    with edm_layout._edm_modules():
        import torch_utils.persistence as persistence

        path = write(tmp_path / "a.pkl", Call(persistence._reconstruct_persistent_obj, meta))
    assert read_pickle(path) == Module("Any", {"a": 1})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_are_read_as_pickle_reads_them(protocol, tmp_path):
    values = [None, True, False, 0, -1, 255, 65_536, 2**31, -(2**40), 2**80, 1.5, float("inf"), "", "ключ", "x" * 300]
    values += [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[], [1]], {"a": {"b": 2}}]
    values += [collections.OrderedDict(a=1, b=[2])] + ([b"", b"x" * 300, {"s", "t"}] if protocol >= 4 else [])
    shared = ["shared"]
    found = read_pickle(write(tmp_path / "a.pkl", [*values, shared, shared], protocol))
    assert found == [*values, shared, shared]
    assert [type(value) for value in found[:11]] == [type(value) for value in values[:11]]
    assert found[-1] is found[-2]


@pytest.mark.parametrize("value", [numpy.float64(0.1), numpy.float32(0.1), numpy.int64(-7), numpy.bool_(True)])
def test_numpy_scalars_become_plain_numbers(value, tmp_path):
    found = read_pickle(write(tmp_path / "a.pkl", value))
    assert found == value.item() and type(found) is type(value.item())


def test_numpy_scalars_under_their_older_name(tmp_path):
    data = pickle.dumps(numpy.float64(0.25), protocol=3).replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core.multiarray" in data
    assert read_pickle(write(tmp_path / "a.pkl", data)) == 0.25


TENSORS = {
    "float32": torch.randn(2, 3, 4),
    "float64": torch.randn(5, dtype=torch.float64),
    "float16": torch.randn(3, 2).half(),
    "bfloat16": torch.randn(3, 2).bfloat16(),
    "transposed": torch.randn(4, 3).t(),
    "a part": torch.randn(10)[2:8:3],
    "scalar": torch.tensor(2.5),
    "empty": torch.empty(0, 3),
    "parameter": torch.nn.Parameter(torch.randn(3)),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_are_read_bit_by_bit(name, tmp_path):
    found = to_tensor(read_pickle(write(tmp_path / "a.pkl", TENSORS[name])))
    assert torch.equal(found, TENSORS[name].detach()) and found.dtype == TENSORS[name].dtype
    assert found.is_contiguous()


def stored(elements: int) -> Call:
    """A storage of zeros, as torch pickles it."""
    _, (storage, *_) = torch.zeros(elements).__reduce_ex__(4)
    return Call(*storage.__reduce__()[0:1], *storage.__reduce__()[1])


def view(storage: Call, shape, stride, offset=0) -> Call:
    """A tensor on a storage, as torch pickles it."""
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, shape, stride, False, collections.OrderedDict())


@pytest.mark.parametrize(
    ("shape", "stride", "offset"),
    [
        ((5,), (1,), 0),
        ((2,), (1,), 3),
        ((2, 2), (2, 4), 0),
        ((1 << 40,), (0,), 0),
        ((2, 4), (0, 1), 0),
        ((1,), (1,), 4),
    ],
)
def test_tensors_beyond_their_storage_are_refused(shape, stride, offset, tmp_path):
    path = write(tmp_path / "a.pkl", view(stored(4), shape, stride, offset))
    with pytest.raises(CheckpointError, match="beyond its storage"):
        to_tensor(read_pickle(path))


def nested(depth: int) -> bytes:
    """A tuple of twice the tuple of twice ...: 2^depth leaves in 4 depth bytes."""
    return b")" + b"".join(b"q\x00h\x00\x86" for _ in range(depth))


BOMBS = {
    "empty": b"",
    "no end": b"\x80\x04]",
    "nothing to return": b"\x80\x04.",
    "deep tuples": b"\x80\x02)" + b"\x85" * 900_000 + b".",
    "key that takes forever to hash": b"\x80\x02}" + nested(80) + b"Ns.",
    "element that takes forever to hash": b"\x80\x04\x8f(" + nested(80) + b"\x90.",
    "name that takes forever to print": b"\x80\x04" + nested(80) + b"\x8c\x01a\x93.",
    "number type that takes forever to hash": b"\x80\x02cnumpy\ndtype\n" + nested(80) + b"\x85R.",
    "sizes that take forever to print": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N" + nested(80) * 3 + b"tR.",
    "memo at 2^32": b"\x80\x02Nr\xff\xff\xff\xff.",
    "string of 2^60 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"x.",
    "bytes of 2^60 bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",
    "bytearray of 2^40 bytes": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",
    "frame of 2^60 bytes": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N",
    "number of a million digits": b"\x80\x02L" + b"9" * 1_000_000 + b"L\n.",
    "two million instructions": b"\x80\x02" + b"N" * 2_000_000 + b".",
    "extension registry": b"\x80\x02\x82\x01.",
    "persistent id": b"\x80\x02Nq\x00Q.",
    "call of data": b"\x80\x02N)R.",
    "class made with too much": b"\x80\x02ctorch.nn.modules.container\nModuleDict\nK\x01\x85\x81.",
    "items of a list": b"\x80\x02]NNs.",
    "state of a list": b"\x80\x02]}b.",
    "zip": b"PK\x03\x04" + b"\0" * 100,
    "html": b"<!DOCTYPE html><html>404</html>",
}


@pytest.mark.parametrize("name", BOMBS)
def test_malformed_data_is_an_error_and_soon(name, tmp_path):
    path, start = write(tmp_path / "a.pkl", BOMBS[name]), time.process_time()
    with pytest.raises(CheckpointError, match=r"a\.pkl"):
        load_edm_pickle(path)
    assert time.process_time() - start < 10


SMALL = {
    "img_resolution": 8,
    "in_channels": 3,
    "out_channels": 3,
    "label_dim": 0,
    "augment_dim": 0,
    "model_channels": 8,
}
SMALL |= {"channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4], "dropout": 0.1, "encoder_type": "standard"}
SMALL |= {
    "embedding_type": "positional",
    "decoder_type": "standard",
    "channel_mult_noise": 1,
    "resample_filter": [1, 1],
}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("num_blocks", 10**9),
        ("channel_mult", [1] * 50),
        ("model_channels", 2**40),
        ("model_channels", [8]),
        ("channel_mult_noise", 2**50),
        ("label_dim", 10**12),
        ("resample_filter", [1] * 10_000),
        ("img_resolution", -8),
        ("in_channels", True),
        ("unheard_of", 1),
    ],
)
def test_arguments_that_ask_for_too_much_are_refused_and_soon(setting, value, tmp_path):
    weights = edm_layout.random_weights(edm_layout.song_shapes(SMALL))
    path, start = edm_layout.write(tmp_path / "a.pkl", {**SMALL, setting: value}, weights), time.perf_counter()
    with pytest.raises(CheckpointError, match=r"a\.pkl"):
        load_edm_pickle(path)
    assert time.process_time() - start < 10


def test_a_module_that_contains_itself_is_refused(tmp_path):
    state = {"_parameters": {}, "_buffers": {}, "_modules": {}, "_init_args": (), "_init_kwargs": {}}
    inner = edm_layout._Persistent("SongUNet", state)
    state["_modules"]["again"] = levels = torch.nn.ModuleDict()
    levels.__dict__.update({"_parameters": {}, "_buffers": {}, "_modules": {"again": levels}})
    with edm_layout._edm_modules():
        data = pickle.dumps({"ema": edm_layout._Persistent("EDMPrecond", {"_modules": {"model": inner}})}, protocol=4)
    with pytest.raises(CheckpointError, match="contains itself"):
        load_edm_pickle(write(tmp_path / "a.pkl", data))


def test_one_storage_in_many_weights_is_refused(tmp_path):
    """A small file must not become a large network."""
    shapes = edm_layout.song_shapes(SMALL)
    storage = stored(100_000)
    views = {name: view(storage, shape, torch.empty(shape, device="meta").stride()) for name, shape in shapes.items()}
    path = edm_layout.write(tmp_path / "a.pkl", SMALL, views)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(CheckpointError, match="share one storage"):
        load_edm_pickle(path)
