"""One-step generation by diffusers: `DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)`."""

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput


class OneStepPipeline(DiffusionPipeline):
    """Standard normal noise, and a class or a source image where the student takes one, to images in one call."""

    def __init__(self, student):
        super().__init__()
        self.register_modules(student=student)

    @torch.no_grad()
    def __call__(
        self,
        batch_size=1,
        class_labels=None,
        source=None,
        generator=None,
        latents=None,
        output_type="pil",
        return_dict=True,
    ):
        """Args: class_labels, a list; source, images in [-1, 1]; output_type, 'pil', 'np' or 'pt' (in [0, 1])."""
        shape, device = self.student.config.shape, self._execution_device
        noise = torch.randn(batch_size, *shape, generator=generator) if latents is None else latents
        inputs = [noise.to(device)]
        if self.student.config.num_classes:
            if class_labels is None:
                raise ValueError(f"pass class_labels: {batch_size} of 0 to {self.student.config.num_classes - 1}")
            inputs.append(torch.as_tensor(class_labels, device=device))
        if self.student.config.coupled:
            if source is None:
                raise ValueError(f"pass source: {batch_size} images in [-1, 1]")
            inputs.append(source.to(device))
        images = (self.student(*inputs) / 2 + 0.5).clamp(0, 1)
        if output_type != "pt":
            images = images.cpu().permute(0, 2, 3, 1).numpy()
        if output_type == "pil":
            images = self.numpy_to_pil(images)
        return ImagePipelineOutput(images=images) if return_dict else (images,)
