"""A noise-predicting teacher on a schedule of zero terminal SNR (scheduler_config.json with rescale_betas_zero_snr =
true and
prediction_type = epsilon) is taken without a word, and its samples are far off: at the last step nothing of the
data is
left in x_t, and a data prediction from the noise divides by 3e-5, which is what samplers start with.

The network is the exact noise predictor of data N(0, 0.5^2), wrong by 1%. Right: refuse or warn, or start a step
earlier; samples
have standard deviation 0.5. Exit code 1 while the fault is there.
"""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
from diffusers import DDPMScheduler

import realuid
from realuid.loaders.schedulers import read_scheduler

bad = 0
for zero in (False, True):
    scheduler = DDPMScheduler(rescale_betas_zero_snr=zero)
    table = scheduler.alphas_cumprod.double()

    def noise(x, step):
        a2 = table[step.round().long()].view(-1, 1, 1, 1)
        return (1.01 * (1 - a2).sqrt() * x.double() / (a2 * 0.25 + 1 - a2)).float()

    try:
        path, prediction, preconditioning, *_ = read_scheduler({"_class_name": "DDPMScheduler", **scheduler.config})
    except realuid.errors.RealUIDError as error:
        print("refused:", error)
        continue
    teacher = realuid.Teacher(noise, (1, 8, 8), path=path, prediction=prediction, preconditioning=preconditioning)
    for sampler in ("ddim", "euler", "dpm_solver"):
        samples = realuid.sample(teacher, 64, steps=50, sampler=sampler)
        print(
            f"zero SNR {zero}, {sampler}: standard deviation of samples {samples.std():.3f}, largest {samples.abs().max():.1f} (data: 0.5)"
        )
        bad |= not 0.35 < float(samples.std()) < 0.8
sys.exit(bad)
