"""Generation in a few calls by diffusers: `DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)`."""

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput

#: What inputs of the student are called here.
NAMES = {"labels": "class_labels", "x_T": "source"}


class RolloutPipeline(DiffusionPipeline):
    """Standard normal noise, and the conditions that the student takes, to images: the scheduler has the times.

    The student makes images, or latents of the vae.
    """

    _optional_components = ("vae",)

    def __init__(self, student, scheduler, vae=None):
        super().__init__()
        self.register_modules(student=student, scheduler=scheduler, vae=vae)

    @torch.no_grad()
    def __call__(
        self,
        batch_size=1,
        num_inference_steps=None,
        generator=None,
        latents=None,
        output_type="pil",
        return_dict=True,
        **conditions,
    ):
        """Args: num_inference_steps, 1 to as many as the scheduler has, by default all; output_type, 'pil', 'np' or
        'pt' (in [0, 1]); conditions, what the student takes, one row per image: class_labels, a list; source, images in
        [-1, 1]; others by name.
        """
        config, device = self.student.config, self._execution_device
        names = [NAMES.get(name, name) for name in config.inputs[2:]]  # after x_t and time
        if set(names) != set(conditions):
            raise ValueError(f"pass {', '.join(names) or 'no conditions'}, not {', '.join(conditions) or 'none'}")
        inputs = [torch.as_tensor(conditions[name], device=device) for name in names]
        source = dict(zip(names, inputs, strict=True)).get("source")
        self.scheduler.set_timesteps(num_inference_steps, device)
        noise = torch.randn(batch_size, *config.shape, generator=generator) if latents is None else latents
        images = self.scheduler.start(noise.to(device), source)
        for time in self.progress_bar(self.scheduler.timesteps):
            x_0 = self.student(images, time.expand(batch_size), *inputs)
            images = self.scheduler.step(x_0, time, images, source=source, generator=generator).prev_sample
        if self.vae is not None:
            images = self.vae.decode(images / self.vae.config.scaling_factor).sample
        images = (images / 2 + 0.5).clamp(0, 1)
        if output_type != "pt":
            images = images.cpu().permute(0, 2, 3, 1).numpy()
        if output_type == "pil":
            images = self.numpy_to_pil(images)
        return ImagePipelineOutput(images=images) if return_dict else (images,)
