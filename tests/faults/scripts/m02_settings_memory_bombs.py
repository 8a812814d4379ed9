"""Settings that no weight pins allocate at will: DiT sample_size, path ddpm's num_train_timesteps."""

import json
import os

from common import cli, tiny, verdict

from realuid.models import DiT, Generator, MatchingModel, save_pretrained
from realuid.paths import make_path

g = Generator(
    MatchingModel(
        DiT(
            num_attention_heads=1,
            attention_head_dim=16,
            in_channels=1,
            num_layers=1,
            sample_size=8,
            patch_size=2,
            norm_num_groups=1,
            num_embeds_ada_norm=10,
        ),
        make_path("linear"),
    )
).eval()
save_pretrained(g, "dit")
os.unlink("dit/checksums.json")
c = json.load(open("dit/config.json"))
c["network"]["settings"]["sample_size"] = 6144
json.dump(c, open("dit/config.json", "w"))
rc, out, mb = cli("info", "dit", gb=7)
tiny("ddpm")
os.unlink("ddpm/checksums.json")
c = json.load(open("ddpm/config.json"))
c["path"] = {"name": "ddpm", "num_train_timesteps": 10**8}
c["prediction"] = "noise_prediction"
c["t_init"] = 0.5
json.dump(c, open("ddpm/config.json", "w"))
rc2, out2, mb2 = cli("info", "ddpm", gb=7)
verdict(mb > 1800 or mb2 > 1800, f"44 KB of DiT: {mb} MB; one number in a config.json: {mb2} MB")
