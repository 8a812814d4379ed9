"""The calls of a student: their times, and the renoising between them."""

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerOutput


class RenoisingScheduler(SchedulerMixin, ConfigMixin):
    """The input of step k is data[k] x_0 + source[k] x_T + noise[k] e, with x_0 the prediction of the step before.

    e is new noise (renoise = fresh), or that which the step before implies (deterministic).
    """

    order = 1

    @register_to_config
    def __init__(self, times=(1.0,), data=(0.0,), source=(0.0,), noise=(1.0,), renoise="fresh"):
        self.set_timesteps()

    def set_timesteps(self, num_inference_steps=None, device=None):
        """The first steps; None: all of them."""
        most = len(self.config.times)
        count = most if num_inference_steps is None else num_inference_steps
        if not 1 <= count <= most:
            raise ValueError(f"num_inference_steps = {count}: this student makes 1 to {most}")
        self.num_inference_steps = count
        self.timesteps = torch.tensor(self.config.times[:count], dtype=torch.float32, device=device)

    def start(self, noise, source=None):
        """The input of the first step, for standard normal noise."""
        x = self.config.noise[0] * noise
        return x if source is None else x + self.config.source[0] * source

    def step(self, model_output, timestep, sample, source=None, generator=None, return_dict=True):
        """The input of the next step, or after the last one the images; model_output is the data prediction."""
        c, k = self.config, int((self.timesteps.cpu() - float(timestep)).abs().argmin())
        if k + 1 < self.num_inference_steps:
            x_T = 0.0 if source is None else source
            mean = c.data[k + 1] * model_output + c.source[k + 1] * x_T
            if c.noise[k + 1] == 0:
                e = torch.zeros_like(sample)
            elif c.renoise == "deterministic":
                e = (sample - c.data[k] * model_output - c.source[k] * x_T) / c.noise[k]
            else:
                e = torch.randn(sample.shape, generator=generator).to(sample)
            model_output = mean + c.noise[k + 1] * e
        return SchedulerOutput(prev_sample=model_output) if return_dict else (model_output,)
