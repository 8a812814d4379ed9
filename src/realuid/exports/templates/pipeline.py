"""One-step generation by diffusers: `DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)`."""

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput

#: What inputs of the student are called here.
NAMES = {"labels": "class_labels", "x_T": "source"}


class OneStepPipeline(DiffusionPipeline):
    """Standard normal noise, and the conditions that the student takes, to images in one call."""

    def __init__(self, student):
        super().__init__()
        self.register_modules(student=student)

    @torch.no_grad()
    def __call__(
        self,
        batch_size=1,
        generator=None,
        latents=None,
        output_type="pil",
        return_dict=True,
        **conditions,
    ):
        """Args: output_type, 'pil', 'np' or 'pt' (in [0, 1]); conditions, what the student takes, one row per image:
        class_labels, a list; source, images in [-1, 1]; others by name.
        """
        config, device = self.student.config, self._execution_device
        names = [NAMES.get(name, name) for name in config.inputs[1:]]  # after the noise
        if set(names) != set(conditions):
            raise ValueError(f"pass {', '.join(names) or 'no conditions'}, not {', '.join(conditions) or 'none'}")
        inputs = [torch.as_tensor(conditions[name], device=device) for name in names]
        noise = torch.randn(batch_size, *config.shape, generator=generator) if latents is None else latents
        images = (self.student(noise.to(device), *inputs) / 2 + 0.5).clamp(0, 1)
        if output_type != "pt":
            images = images.cpu().permute(0, 2, 3, 1).numpy()
        if output_type == "pil":
            images = self.numpy_to_pil(images)
        return ImagePipelineOutput(images=images) if return_dict else (images,)
