"""A one-step generator as a torch.export program, wrapped as a diffusers model."""

import json
from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch.export.passes import move_to_device_pass


class OneStepStudent(ModelMixin, ConfigMixin):
    """student.pt2: noise and whatever else `inputs` names in, images in [-1, 1] out."""

    config_name = "config.json"

    @register_to_config
    def __init__(self, shape, num_classes=0, inputs=("noise",)):
        super().__init__()

    @classmethod
    def from_pretrained(cls, folder, **kwargs):
        config = json.loads((Path(folder) / cls.config_name).read_text())
        student = cls(**{name: value for name, value in config.items() if not name.startswith("_")})
        student.exported = torch.export.load(Path(folder) / "student.pt2")
        student.program = student.exported.module()
        return student

    def to(self, device=None, *args, **kwargs):
        if device is not None and not isinstance(device, torch.dtype):
            self.program = move_to_device_pass(self.exported, torch.device(device)).module()
        return self

    def forward(self, *inputs):
        return self.program(*inputs)
