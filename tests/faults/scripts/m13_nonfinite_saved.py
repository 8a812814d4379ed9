"""Weights that the last step made infinite are saved as 'the last good checkpoint' and as the final model, exit 0.

Changed from the report: no such model or checkpoint is written now, which the script has to allow.
"""

import os

import torch
from common import MOONS, W, cli, verdict
from safetensors.torch import load_file


def infinite(path):
    return os.path.exists(path) and not all(torch.isfinite(v).all() for v in load_file(path).values())


(W / "moons.yaml").write_text(MOONS)
rc, out, _ = cli("train", "moons.yaml", "--updates", "1", "--lr", "1e300", "--out", "one")
bad = infinite("one/model/model.safetensors")
rc2, out2, _ = cli("train", "moons.yaml", "--lr", "1e300", "--save-every", "1", "--keep", "1", "--out", "two")
ck = max(os.listdir("two/checkpoints"), default="") if os.path.isdir("two/checkpoints") else ""
bad2 = infinite(f"two/checkpoints/{ck}/teacher.safetensors")
verdict(
    (rc == 0 and bad) or bad2,
    f"final model infinite with rc {rc}: {bad}; checkpoint {ck}, the only one kept, infinite: {bad2}",
)
