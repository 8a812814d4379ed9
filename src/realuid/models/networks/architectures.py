"""The table of networks: their names in saved models, and rebuilding from saved settings."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

from realuid.errors import ConfigError, unknown_name
from realuid.models.networks.adm_unet import ADMUNet
from realuid.models.networks.base import MLP, DiT, Network, UNet
from realuid.models.networks.own import Function, OwnNetwork, own_network
from realuid.models.networks.prompted import PromptNetwork
from realuid.models.networks.song_unet import SongUNet
from realuid.models.networks.text_unet import TextUNet
from realuid.models.networks.vector_unet import VectorUNet
from realuid.settings import check_type

NETWORKS: dict[str, type[Network]] = {
    "unet": UNet,
    "mlp": MLP,
    "song_unet": SongUNet,
    "adm_unet": ADMUNet,
    "dit": DiT,
    "vector_unet": VectorUNet,
    "prompted": PromptNetwork,
    "text_unet": TextUNet,
}


#: Kinds of settings that are whole numbers, or flags.
_WHOLE = {int, bool, type(None)}
#: Name of users' networks, which are not in the table, in saved models.
OWN = "own"


def make_network(architecture: str, settings: dict[str, Any], function: Function | None = None) -> Network:
    """The network called `architecture` with its own settings (what `network_config` wrote).

    Args:
        function: for a user's network, the module or function.
    """
    if architecture == OWN:
        return own_network(settings, function)
    if architecture not in NETWORKS:
        raise ConfigError(unknown_name("network architecture", architecture, NETWORKS))
    hints = get_type_hints(NETWORKS[architecture].__init__)
    for name, value in settings.items():  # a list in the place of one would be repeated as often as another number says
        if name in hints and {*(get_args(hints[name]) or (hints[name],))} <= _WHOLE:
            check_type(name, value, hints[name])
    try:
        return NETWORKS[architecture](**settings)
    except TypeError as error:
        raise ConfigError(f"settings of network '{architecture}' do not fit: {error}.") from error


def network_config(network: Network) -> dict[str, Any]:
    """JSON-ready description of a network: its name in `NETWORKS` and its settings."""
    names = {cls: name for name, cls in NETWORKS.items()}
    if isinstance(network, OwnNetwork):
        return {"architecture": OWN, "settings": network.settings}
    if type(network) not in names:
        raise ConfigError(
            f"a {type(network).__name__} cannot be saved: only networks of the table can be rebuilt from a file "
            f"({', '.join(NETWORKS)}). Save its weights yourself, or add it to "
            "realuid.models.networks.architectures.NETWORKS."
        )
    return {"architecture": names[type(network)], "settings": network.settings}
