"""Several roles on one network in memory: a frozen base and one adapter (PEFT) for each role.

A distillation has three networks of one architecture: teacher, student and fake model. With adapters the teacher is the
base with all adapters off, and student and fake model are low-rank changes of it (LoRA, Hu et al. 2022), which add only
the adapters' weights, gradients and optimiser states to memory.
"""

from __future__ import annotations

import contextlib
import copy
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from realuid.compat import MovesAnother, activate_adapter
from realuid.errors import ConfigError
from realuid.models.networks.base import Network
from realuid.models.networks.condition import Condition
from realuid.models.networks.merged import Merged
from realuid.models.networks.quantised import BasePrecision, is_quantised, ordinary, set_precision
from realuid.models.networks.specs import ConditionSpec
from realuid.seeds import seeded
from realuid.settings import check_range

#: Projections of attention and feed-forward layers under diffusers' names: the default layers to adapt.
PROJECTIONS = (
    *("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
    *("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
)


@dataclass(frozen=True)
class AdapterSettings:
    """A low-rank adapter: W + (alpha / rank) B A for every adapted layer.

    Args:
        rank: of B A, at least 1.
        alpha: its scale is alpha / rank. None: rank, a scale of 1.
        targets: how the names of adapted layers end, with * for any characters. Empty: those that the architecture
            names (`Network.lora_targets`), else the projections of attention and feed-forward layers or, in a network
            without any, every linear layer and convolution but the first and last.
        dora: weight-decomposed adapters (DoRA, Liu et al. 2024).

    Raises:
        ConfigError: for a rank below 1, or an alpha that is not positive.
    """

    rank: int = 64
    alpha: float | None = None
    targets: tuple[str, ...] = ()
    dora: bool = False

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "rank")
        if self.alpha is not None:
            check_range(self, "(0, inf)", "alpha")

    @property
    def scaled_by(self) -> float:
        """Alpha, by default the rank."""
        return self.rank if self.alpha is None else self.alpha

    def layers(self, network: nn.Module) -> list[str]:
        """Names of the layers of a network that are adapted.

        Raises:
            ConfigError: where there are none.
        """
        plain = [name for name, module in network.named_modules() if _adaptable(module)]
        ends = self.targets or getattr(network, "lora_targets", ()) or PROJECTIONS
        found = [name for name in plain if any(fnmatchcase(f".{name}", f"*.{end}") for end in ends)]
        if not found and not self.targets:
            found = plain[1:-1]
        if not found:
            examples = ", ".join(plain[:3]) or "none"
            raise ConfigError(
                f"lora_targets = {', '.join(self.targets)}: no linear layer or convolution of the network has a name "
                f"that ends so. It has {len(plain)}: {examples}{', ...' if len(plain) > 3 else ''}."
            )
        return found


def _adaptable(module: nn.Module) -> bool:
    """Linear layers, and convolutions whose class PEFT can make another one of: those of EDM's U-Nets also resample."""
    ours = isinstance(module, nn.Conv2d) and type(module).__init__ is nn.Conv2d.__init__
    return ours or isinstance(module, nn.Linear)


class SharedBase:
    """A frozen network, in memory once, and the adapters of the roles that share it.

    Args:
        network: is frozen, in evaluation mode; its layers are replaced in place by adaptable ones.
        precision: of its weights.

    Raises:
        ConfigError: for a precision whose library is not installed.
    """

    def __init__(self, network: Network, precision: BasePrecision = "teacher"):
        self.network = network.requires_grad_(False).eval()
        set_precision(self.network, precision)
        self._layers: list[BaseTunerLayer] = []
        self._active: str | None = None
        self._names: list[str] = []
        #: Where the network's weights are split over processes, a copy of it without weights.
        self.shell: Network | None = None
        #: By the name of an adapter.
        self.settings: dict[str, AdapterSettings] = {}

    def role(self, name: str, settings: AdapterSettings, seed: int) -> AdaptedNetwork:
        """The network with a new adapter, which at first changes nothing (B = 0).

        Args:
            name: of the adapter, once a base.
            settings: rank, scale and layers.
            seed: of the random weights A.

        Raises:
            ConfigError: where the network has no layer to adapt.
        """
        if name in self._names:
            raise ConfigError(f"the base has an adapter called '{name}' already.")
        if not re.fullmatch(r"[a-z]\w*", name) or any(f".{name}." in f".{n}." for n, _ in self.network.named_modules()):
            raise ConfigError(f"'{name}' is no name for an adapter: a module of the network has it, or it is no word.")
        layers = [n for n, m in self.network.named_modules() if isinstance(m, BaseTunerLayer)]
        lora = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.scaled_by,  # type: ignore[arg-type]  # any number does
            target_modules=layers or settings.layers(self.network),
            use_dora=settings.dora,
        )
        with seeded(seed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several adapters are the purpose
            inject_adapter_in_model(lora, self.network, name)
        self._layers = [m for m in self.network.modules() if isinstance(m, BaseTunerLayer)]
        self._names.append(name)
        self.settings[name] = settings
        self._set(None, always=True)
        own = {n: p for n, p in self.network.named_parameters() if f".{name}." in n}
        for parameter in own.values():
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
        for n, parameter in self.network.named_parameters():  # PEFT left only the newest adapter trainable
            parameter.requires_grad_(any(f".{adapter}." in n for adapter in self._names))
        return AdaptedNetwork(self, name, {n.replace(f".{name}.", "."): p for n, p in own.items()})

    def whole(self, memo: dict[int, Any]) -> Network:
        """A copy of the network with its adapters; where weights are split, every process has to call it."""
        if self.shell is None:
            return copy.deepcopy(self.network, memo)
        network = copy.deepcopy(self.shell)
        for own, value in zip(network.parameters(), self.network.parameters(), strict=True):
            own.data = (value.full_tensor() if isinstance(value, DTensor) else value).detach().clone()
        return network

    def plain(self) -> AdaptedNetwork:
        """The network with all adapters off."""
        return AdaptedNetwork(self, None, {})

    @contextlib.contextmanager
    def active(self, name: str | None) -> Iterator[None]:
        """One adapter on, or none, within a `with` block."""
        before = self._active
        self._set(name)
        try:
            yield
        finally:
            self._set(before)

    def _set(self, name: str | None, always: bool = False) -> None:
        if name == self._active and not always:
            return
        self._active = name
        for layer in self._layers:
            activate_adapter(layer, name)

    def checkpoint_activations(self) -> None:
        """Recompute the activations inside blocks on the backward pass, under the adapter of the forward pass.

        Raises:
            ConfigError: where the network is none of diffusers'.
        """
        networks = [m for m in self.network.modules() if hasattr(m, "enable_gradient_checkpointing")]
        if not networks:
            raise ConfigError(
                f"activation_checkpointing with adapters needs a network of diffusers, not a "
                f"{type(self.network).__name__}. Leave it out, and use a smaller micro_batch."
            )
        for network in networks:
            network.enable_gradient_checkpointing(gradient_checkpointing_func=self._recomputed)  # type: ignore[operator]

    def _recomputed(self, function: Callable[..., Any], *args: Any) -> Any:
        name = self._active

        def contexts() -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
            return contextlib.nullcontext(), self.active(name)

        return checkpoint(function, *args, use_reentrant=False, context_fn=contexts)


class AdaptedNetwork(MovesAnother, Network):
    """The shared base with the adapter of one role. Its parameters and state dict are those of the adapter only.

    A deep copy is a plain network of the base's class, with the adapter merged into the weights.

    Args:
        base: the shared base.
        adapter: its name; None for the base alone.
        parameters: the adapter's, by name.
    """

    shares_base = True

    def __init__(self, base: SharedBase, adapter: str | None, parameters: dict[str, nn.Parameter]):
        super().__init__(base.network.settings)
        self.adapter = adapter
        self._base = (base,)  # in a tuple, so that its weights are not this module's
        self.shape, self.heads = base.network.shape, base.network.heads
        self.num_classes, self.sees_source = base.network.num_classes, base.network.sees_source
        self.null = base.network.null
        for name, parameter in parameters.items():
            _register(self, name, parameter)

    @property
    def base(self) -> SharedBase:
        """What several roles share."""
        return self._base[0]

    @property
    def usual_guidance(self) -> float | None:  # type: ignore[override]
        return self.base.network.usual_guidance

    @property
    def conditions(self) -> tuple[ConditionSpec, ...]:
        return self.base.network.conditions

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        with self.base.active(self.adapter):
            return self.base.network(x, time, condition)

    def guide(self, conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
        return self.base.network.guide(conditional, unconditional, scale)

    def time_embedding(self) -> tuple[nn.Module, int] | None:
        return self.base.network.time_embedding()

    def bottleneck(self) -> tuple[nn.Module, tuple[int, ...]]:
        return self.base.network.bottleneck()

    def recompute_activations(self) -> None:
        self.base.checkpoint_activations()

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        network = self.base.whole(memo)
        device = next((p.device for p in network.parameters() if p.is_floating_point()), torch.device("cpu"))
        for name, layer in list(network.named_modules()):
            if is_quantised(layer):
                network.set_submodule(name, ordinary(layer).to(device))
        for name, layer in list(network.named_modules()):
            if isinstance(layer, BaseTunerLayer):
                if self.adapter is not None:
                    layer.merge(adapter_names=[self.adapter])
                parent, _, last = name.rpartition(".")
                network.get_submodule(parent).register_module(last, layer.get_base_layer())
        if self.adapter is not None:
            weights = {n: p.detach().cpu().clone() for n, p in self.named_parameters()}
            settings = self.base.settings[self.adapter]
            network.merged = Merged(weights, settings.rank, settings.scaled_by, settings.dora)
        return network.requires_grad_(True)

    def moved_along(self) -> nn.Module:
        """The base."""
        return self.base.network


def _register(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Register a parameter under a dotted name, with a module for every dot."""
    *parents, last = name.split(".")
    for parent in parents:
        if not hasattr(module, parent):
            module.add_module(parent, nn.Module())
        module = module.get_submodule(parent)
    module.register_parameter(last, parameter)
