"""Loading EDM-style network pickles (NVlabs/edm, SiD) without executing them.

A pickle holds a dictionary, whose entry `ema` is the preconditioned network: a class name, constructor arguments and
weights. The network is rebuilt from the arguments with our own implementation, and the weights are loaded by name. The
Python source stored beside them is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from realuid.errors import CheckpointError, unknown_name
from realuid.loaders.pickles import Module, StoredTensor, damage_as_checkpoint_error, read_pickle, to_tensor
from realuid.models import EDM, IDDPM, SIGMA_INIT, VE, VP, MatchingModel, Preconditioning, Student
from realuid.models.networks.architectures import make_network
from realuid.models.saving.weights import check_weights, on_paper
from realuid.paths import VEPath

T = TypeVar("T")

#: Class of the network in a pickle -> name in `realuid.models.NETWORKS`.
_NETWORKS = {"SongUNet": "song_unet", "DhariwalUNet": "adm_unet"}

#: Class of the preconditioned network in a pickle -> ours, with its stored constants.
_PRECONDITIONINGS: dict[str, Callable[[dict[str, Any]], Preconditioning]] = {
    "EDMPrecond": lambda state: EDM(sigma_data=float(state["sigma_data"])),
    "VPPrecond": lambda state: VP(beta_d=float(state["beta_d"]), beta_min=float(state["beta_min"]), M=int(state["M"])),
    "VEPrecond": lambda state: VE(),
    "iDDPMPrecond": lambda state: IDDPM(C_1=float(state["C_1"]), C_2=float(state["C_2"]), M=int(state["M"])),
}

#: Modules, parameters and buffers in one network: far above the published ones (about 3,000).
MAX_ENTRIES = 100_000

#: Length of a parameter's name, far above the published ones (about 30).
MAX_NAME = 300


def load_edm_pickle(path: str | Path, key: str = "ema") -> MatchingModel:
    """A teacher from a network pickle in EDM's layout.

    Time is the noise level sigma (path 've', clipped to the noise levels the network was made for); the model predicts
    the data. It works in float32 whatever the pickle says about float16; use autocast.

    Args:
        path: a .pkl file.
        key: which of the pickle's networks.

    Returns:
        the model, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: for a missing or damaged file, an unknown class, weights that do not fit the stored arguments,
            and for a pickle that names anything but what such files need. Nothing in it is ever run.
    """
    content = read_pickle(path)
    with damage_as_checkpoint_error(str(path)):
        values = content if isinstance(content, dict) else {}
        networks = {name: value for name, value in values.items() if isinstance(value, Module)}
        if key not in networks:
            raise CheckpointError(f"it holds no network '{key}'. It has: {ascii(list(networks))[:200]}.")
        return _rebuild(networks[key], str(path), Path(path).stat().st_size)


def load_edm_student(path: str | Path, key: str = "ema", t_init: float = SIGMA_INIT) -> Student:
    """A one-step generator from a pickle of SiD, whose layout is EDM's: G(z) = D(t_init z; t_init).

    Args:
        path, key: as in `load_edm_pickle`.
        t_init: the noise level at which it was trained to generate (SiD's sigma_init).
    """
    return Student(load_edm_pickle(path, key), t_init).eval()


def _rebuild(record: Module, where: str, file_size: int) -> MatchingModel:
    make_preconditioning = _known("preconditioning class", record.class_name, _PRECONDITIONINGS)
    inner = _lookup(record.state["_modules"], "model")
    architecture = _known("network class", inner.class_name, _NETWORKS)
    stored = _weights(inner)
    with on_paper(parameters=len(stored)):
        network = make_network(architecture, _arguments(inner))
    check_weights(network.state_dict(), stored, where)
    if sum(len(tensor.storage.payload) for tensor in stored.values()) > file_size:
        raise CheckpointError("its weights are larger than the file: many share one storage.")
    tensors = {name: to_tensor(tensor).float() for name, tensor in stored.items()}
    network.load_state_dict(tensors, assign=True)

    state = record.state
    path = VEPath(
        sigma_min=max(VEPath.sigma_min, float(state["sigma_min"])),
        sigma_max=min(VEPath.sigma_max, float(state["sigma_max"])),
        sigma_data=float(state.get("sigma_data", VEPath.sigma_data)),
    )
    return MatchingModel(network, path, "data_prediction", make_preconditioning(state)).eval()


def _known(kind: str, name: str, table: Mapping[str, T]) -> T:
    if name not in table:
        raise CheckpointError(unknown_name(kind, name[:100], table))
    return table[name]


def _lookup(modules: dict[str, Any], name: str) -> Module:
    if not isinstance(modules.get(name), Module):
        raise CheckpointError(f"it holds no module {name[:100]!a}.")
    return modules[name]


def _arguments(record: Module) -> dict[str, Any]:
    """The keyword arguments a module was made with."""
    if record.state["_init_args"]:
        raise CheckpointError(f"{record.class_name[:100]!a} was made with arguments that have no names.")
    return record.state["_init_kwargs"]


def _weights(network: Module) -> dict[str, StoredTensor]:
    """Parameters and buffers of a module and of the modules in it, by their dotted names."""
    weights: dict[str, StoredTensor] = {}
    queue, seen = [("", network)], 0
    while queue:
        prefix, module = queue.pop()
        parameters, buffers, modules = (module.state[part] for part in ("_parameters", "_buffers", "_modules"))
        seen += 1 + len(parameters) + len(buffers) + len(modules)
        if seen > MAX_ENTRIES or len(prefix) > MAX_NAME:
            raise CheckpointError("its network is absurdly large, or contains itself.")
        for name, value in (parameters | buffers).items():
            if isinstance(value, StoredTensor):
                weights[prefix + name] = value
            elif value is not None:
                raise CheckpointError(f"{(prefix + name)[:MAX_NAME]!a} is no tensor.")
        queue += [(f"{prefix}{name}.", _lookup(modules, name)) for name in modules]
    return weights
