"""A checkpoint with several averages: the error says "pass ema_key", but neither the command line nor load_teacher
knows that word:
it is --key / key=. Right: the message names what can be passed. Exit code 1 while the fault is there.
"""

import torch
from common import cli, verdict

from realuid.loaders.adm import _FIXED
from realuid.loaders.torchcfm import save_torchcfm_teacher
from realuid.models import MatchingModel, Reversed, UNet
from realuid.paths import LinearPath

network = UNet(
    **{
        **_FIXED,
        "sample_size": 32,
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": [64, 64],
        "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
        "attention_head_dim": 64,
        "attn_norm_num_groups": None,
        "resnet_time_scale_shift": "default",
        "num_class_embeds": None,
    }
)
save_torchcfm_teacher(MatchingModel(network, LinearPath(), "velocity", Reversed()), "t.pt")
w = torch.load("t.pt")["ema_model"]
torch.save({"net_model": w, "ema_models": {0.999: w, 0.9999: w}}, "two.pt")

_, said, _ = cli("sample", "two.pt", "--count", "1", "--steps", "1", "--out", "a.png")
code, _, _ = cli("sample", "two.pt", "--key", "0.999", "--count", "1", "--steps", "1", "--out", "a.png")
verdict("ema_key" in said or "--key" not in said or code, "the message names what can be passed")
