"""The calls of a distilled student as a scheduler of diffusers: their times, and new noise between them."""

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from diffusers.utils.torch_utils import randn_tensor


class CallsScheduler(SchedulerMixin, ConfigMixin):
    """Step k predicts x_0 = skip[k] x_k + out[k] F(x_k; times[k]), and x_(k+1) = data[k+1] x_0 + noise[k+1] e.

    x_0 of the last step is the sample. e is new noise (renoise = fresh), or that which step k implies (deterministic).
    """

    order = 1

    @register_to_config
    def __init__(self, times=(1.0,), skip=(1.0,), out=(-1.0,), data=(0.0,), noise=(1.0,), renoise="fresh"):
        self.init_noise_sigma = noise[0]
        self.set_timesteps()

    def set_timesteps(self, num_inference_steps=None, device=None, sigmas=None, mu=None):
        """The first steps; None: all of them. Where they are, only this scheduler knows: sigmas and mu are not read."""
        most = len(self.config.times)
        count = most if num_inference_steps is None and sigmas is None else num_inference_steps or len(sigmas)
        if not 1 <= count <= most:
            raise ValueError(f"num_inference_steps = {count}: this student makes 1 to {most}")
        self.num_inference_steps = count
        self.timesteps = torch.tensor(self.config.times[:count], dtype=torch.float32, device=device)

    def set_begin_index(self, begin_index=0):
        """Part of the interface of schedulers; steps are known by their times."""

    def scale_model_input(self, sample, timestep=None):
        """The sample: it is what the network reads."""
        return sample

    def step(self, model_output, timestep, sample, generator=None, return_dict=True):
        """The input of the next step, or after the last one the sample; model_output is what the network predicts."""
        c, k = self.config, int((self.timesteps.cpu() - float(timestep)).abs().argmin())
        x = sample.to(torch.float32)
        x_0 = c.skip[k] * x + c.out[k] * model_output.to(torch.float32)
        if k + 1 < self.num_inference_steps:
            if c.renoise == "deterministic":
                e = (x - c.data[k] * x_0) / c.noise[k]
            else:
                e = randn_tensor(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            x_0 = c.data[k + 1] * x_0 + c.noise[k + 1] * e
        x_0 = x_0.to(sample.dtype)
        return SchedulerOutput(prev_sample=x_0) if return_dict else (x_0,)
