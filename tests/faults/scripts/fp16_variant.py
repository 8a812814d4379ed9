"""A diffusers folder that holds only a variant (diffusion_pytorch_model.fp16.safetensors) is refused with "no file
named
diffusion_pytorch_model.bin", which names neither the file that is there nor what to do; other variants alike.

Right: read the only variant there is, or say which there are. Exit code 1 while the fault is there.
"""

import os
import sys
import tempfile

import diffusers
from diffusers import DDPMScheduler, UNet2DModel

import realuid
from realuid.errors import RealUIDError

diffusers.logging.set_verbosity_error()
folder = tempfile.mkdtemp()
unet = UNet2DModel(
    sample_size=8,
    in_channels=1,
    out_channels=1,
    block_out_channels=(8, 8),
    norm_num_groups=8,
    layers_per_block=1,
    down_block_types=("DownBlock2D",) * 2,
    up_block_types=("UpBlock2D",) * 2,
)
unet.half().save_pretrained(os.path.join(folder, "unet"), variant="fp16")
DDPMScheduler().save_pretrained(os.path.join(folder, "scheduler"))
print(sorted(os.listdir(os.path.join(folder, "unet"))))
try:
    realuid.load_teacher(folder)
except RealUIDError as error:
    print(error)
    sys.exit("fp16" not in str(error).replace(folder, ""))
print("read")
