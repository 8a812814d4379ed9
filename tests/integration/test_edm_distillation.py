"""From a network pickle to a one-step student: every stage on the noise-level clock of path 've'."""

import json

import edm_layout
import torch

from realuid.loaders import load_edm_pickle
from realuid.models import EDM, from_pretrained
from realuid.training import DistillConfig, distill_teacher

ARGUMENTS = {
    **edm_layout.DDPMPP_CIFAR,
    "img_resolution": 8,
    "in_channels": 1,
    "out_channels": 1,
    "model_channels": 8,
    "channel_mult": [1, 2],
    "num_blocks": 1,
    "attn_resolutions": [4],
}


def test_an_edm_pickle_is_distilled(tmp_path, digits):
    weights = edm_layout.random_weights(edm_layout.song_shapes(ARGUMENTS))
    teacher = load_edm_pickle(edm_layout.write(tmp_path / "teacher.pkl", ARGUMENTS, weights))
    config = DistillConfig(alpha=0.96, beta=0.98, updates=2, batch=16, fake_updates=2, log_every=1, device="cpu")
    student = distill_teacher(teacher, digits, config, tmp_path / "run")

    assert student.t_init == 2.5 and student.model.preconditioning == EDM()
    moved = {name for name, value in student.model.network.named_parameters() if not torch.equal(value, weights[name])}
    assert moved == {name for name in weights if not edm_layout.is_buffer(name)} - {"map_augment.weight"}
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(row["gap"] > 0 for row in rows if "gap" in row)

    again, z = from_pretrained(tmp_path / "run" / "model"), torch.randn(4, 1, 8, 8)
    assert torch.equal(again(z), student(z)) and student(z).isfinite().all()
