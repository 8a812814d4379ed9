"""Models of other libraries in the forms in which people have them."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import diffusers_folders as folders
import edm_layout
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from safetensors.torch import save_file

from realuid.cli.main import main
from realuid.errors import CheckpointError
from realuid.exports import export_student, load_any
from realuid.loaders import ADMOptions, load_diffusers, load_edm_pickle, load_teacher, save_torchcfm_teacher
from realuid.loaders.codecs import load_autoencoder
from realuid.loaders.torchcfm import load_torchcfm
from realuid.models import (
    Condition,
    Generator,
    MatchingModel,
    NetworkConfig,
    Reversed,
    build_network,
    from_pretrained,
    save_pretrained,
)
from realuid.models.guidance import guided
from realuid.models.saving.torch_file import read_torch_file
from realuid.paths import make_path

SONG = {**edm_layout.DDPMPP_CIFAR, "img_resolution": 8, "model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1}
SONG |= {"attn_resolutions": [4], "label_dim": 0}


@pytest.mark.parametrize("to", ["diffusers", "safetensors"])
@torch.no_grad()
def test_students_of_networks_that_learn_the_variance_are_exported(to, tmp_path: Path) -> None:
    network = folders.unet(out_channels=6)
    student = Generator(load_diffusers(folders.save_model(tmp_path / "m", network, DDPMScheduler()))).eval()
    out = tmp_path / ("out" if to == "diffusers" else "out.safetensors")
    export_student(student, out, to)
    z = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert (load_any(out)(z) - student(z)).abs().max() < 1e-4


@torch.no_grad()
def test_the_null_row_of_a_dit_guides_it(tmp_path: Path) -> None:
    """Against diffusers' own arithmetic: the row after the last class is "no class"."""
    network = folders.dit()
    folder = folders.save_dit(tmp_path / "dit", network, DDIMScheduler(clip_sample=False))
    model = load_teacher(folder)
    x, labels, t = torch.randn(2, 4, 8, 8), torch.tensor([0, 4]), torch.full((2,), 0.401)
    asked = (torch.tensor([400, 400]), torch.tensor([5, 5]))
    with_class = network(x, asked[0], class_labels=labels).sample[:, :4]
    without = network(x, *asked).sample[:, :4]
    expected = without + 3.0 * (with_class - without)
    for one in (model, from_pretrained(save_pretrained(model, tmp_path / "ours"))):
        assert one.num_classes == 5
        found = guided(one, 3.0)(x, t, Condition(label=labels))
        assert folders.relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("kind", [DPMSolverMultistepScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler])
def test_schedulers_of_other_samplers_read_as_the_table_of_noise_that_they_hold(kind, tmp_path: Path) -> None:
    """Once refused, with a suggestion that would have read the network as one of EDM."""
    scheduler = kind()
    model = load_diffusers(folders.save_model(tmp_path / "m", folders.unet(), scheduler))
    a = model.path.coefficients(torch.arange(1, 1001, dtype=torch.float64) / 1000).a
    torch.testing.assert_close(a.square(), scheduler.alphas_cumprod.double(), rtol=1e-5, atol=0)
    assert model.prediction == "noise_prediction"


def test_the_near_name_of_a_misspelt_scheduler_is_not_one_that_reads_differently(tmp_path: Path) -> None:
    folder = folders.save_model(tmp_path / "m", folders.unet(), EulerDiscreteScheduler())
    file = folder / "scheduler_config.json"
    file = file if file.is_file() else folder / "scheduler" / "scheduler_config.json"
    file.write_text(file.read_text().replace("EulerDiscreteScheduler", "DPMSolverMultistepSchedule"))
    with pytest.raises(CheckpointError, match="unknown scheduler 'DPMSolverMultistepSchedule'") as error:
        load_diffusers(folder)
    assert "Did you mean 'DPMSolverMultistepScheduler'?" in str(error.value)


def test_a_fourier_embedding_under_edm_is_refused_when_it_is_read(tmp_path: Path) -> None:
    """ln(sigma) / 4 is negative for small noise, and diffusers takes its logarithm."""
    folder = folders.save_model(tmp_path / "m", folders.unet(time_embedding_type="fourier"), EDMEulerScheduler())
    with pytest.raises(CheckpointError, match="time_embedding_type = fourier takes the logarithm"):
        load_diffusers(folder)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_edm_pickles_of_every_protocol(protocol, tmp_path: Path) -> None:
    weights = edm_layout.random_weights(edm_layout.song_shapes(SONG))
    models = [
        load_edm_pickle(edm_layout.write(tmp_path / f"{number}.pkl", SONG, weights, protocol=number))
        for number in (4, protocol)
    ]
    first, second = (model.state_dict() for model in models)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def other_models(parent: Path) -> dict[str, Path]:
    """What people take for a model: an adapter, a text encoder, an autoencoder."""
    found = {}
    for name, config in (
        ("lora", ("adapter_config.json", {"peft_type": "LORA", "r": 8})),
        ("text", ("config.json", {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model"})),
        ("vae", ("config.json", {"_class_name": "AutoencoderKL"})),
    ):
        found[name] = parent / name
        found[name].mkdir()
        (found[name] / config[0]).write_text(json.dumps(config[1]))
        save_file({"a": torch.zeros(2)}, found[name] / "model.safetensors")
    return found


@pytest.mark.parametrize(
    ("name", "says"),
    [("lora", "an adapter (LoRA)"), ("text", "a CLIPTextModel of transformers"), ("vae", "AutoencoderKL")],
)
@pytest.mark.parametrize("command", ["info", "sample"])
def test_what_is_no_matching_model_is_told(command, name, says, tmp_path: Path, capsys) -> None:
    assert main([command, str(other_models(tmp_path)[name])]) == 2
    said = capsys.readouterr().err
    assert says in said and len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "key", "says"),
    [
        ("a.safetensors", "unet.down.lora_A.weight", "is an adapter (LoRA)"),
        ("a.safetensors", "lora_unet_down_0.lora_down.weight", "pass BASE+ADAPTER"),
        ("pytorch_lora_weights.safetensors", "unet.down.lora_A.weight", "pass BASE+ADAPTER"),
        ("a.safetensors", "model.diffusion_model.out.2.weight", "from_single_file(FILE).save_pretrained(FOLDER)"),
    ],
)
def test_an_adapter_or_a_checkpoint_in_one_file_is_told(name: str, key: str, says: str, tmp_path: Path, capsys) -> None:
    save_file({key: torch.zeros(2, 2)}, tmp_path / name)
    assert main(["info", str(tmp_path if name.startswith("pytorch") else tmp_path / name)]) == 2
    assert says in capsys.readouterr().err


def test_a_part_of_a_pipeline_is_told(tmp_path: Path) -> None:
    folder = folders.save_ddpm(tmp_path / "ddpm", folders.unet(), DDPMScheduler(num_train_timesteps=20))
    with pytest.raises(CheckpointError, match=f"is a part of a pipeline: pass the pipeline's folder, '{folder}'"):
        load_teacher(folder / "unet")


@pytest.mark.slow
def test_diffusers_says_nothing_before_we_do(tmp_path: Path) -> None:
    """Neither bars nor warnings, of a pipeline of another version with settings that this one does not know."""
    folder = folders.save_ddpm(tmp_path / "ddpm", folders.unet(), DDPMScheduler(num_train_timesteps=20))
    for file in ("unet/config.json", "scheduler/scheduler_config.json"):
        config = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**config, "of_another_version": 1}))
    command = [sys.executable, "-m", "realuid.cli.main", "info", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "" and "parameters" in done.stdout.splitlines()[0]


def test_a_loaded_pipeline_warns_of_nothing(tmp_path: Path, capfd) -> None:
    folder = folders.save_dit(tmp_path / "dit", folders.dit(), DDIMScheduler())
    for file in ("transformer/config.json", "scheduler/scheduler_config.json", "vae/config.json"):
        config = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**config, "of_another_version": 1}))
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_teacher(folder)
    assert capfd.readouterr() == ("", "")


def test_a_negative_side_is_refused(tmp_path: Path) -> None:
    folder = folders.save_model(tmp_path / "m", folders.unet(), DDPMScheduler())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "sample_size": -1}))
    with pytest.raises(CheckpointError, match="positive whole numbers"):
        load_diffusers(folder)


@torch.no_grad()
def test_an_averaged_model_of_torch_is_read(tmp_path: Path) -> None:
    """torch's AveragedModel puts `module.` before every name, and its count beside them."""
    torch.manual_seed(0)
    config = NetworkConfig(channels=(32, 64), blocks=1, head_channels=32, attention_at=(16,))
    model = MatchingModel(build_network(config, (3, 32, 32)), make_path("linear"), "velocity", Reversed()).eval()
    weights = read_torch_file(save_torchcfm_teacher(model, tmp_path / "plain.pt"))["net_model"]
    averaged = {"n_averaged": torch.tensor(7), **{f"module.{name}": value for name, value in weights.items()}}
    torch.save({"ema_model": averaged}, tmp_path / "averaged.pt")
    found = load_torchcfm(tmp_path / "averaged.pt", options=ADMOptions(head_channels=32))
    x, t = torch.randn(1, 3, 32, 32), torch.tensor([0.3])
    assert torch.equal(found(x, t), model(x, t))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        *(({"scaling_factor": value}, "scaling_factor = ") for value in ("x", [1], {}, True, 0, 1e300)),
        *(({"shift_factor": value}, "shift_factor = ") for value in ("x", [1], False)),
        ({"latents_mean": [0.0] * 4, "latents_std": [1.0, 1.0, 0.0, 1.0]}, "the latter positive"),
        ({"latents_mean": [0.0] * 4, "latents_std": [1.0]}, "as many of both"),
        ({"latents_mean": [0.0] * 3 + ["x"], "latents_std": [1.0] * 4}, "latents_mean = 'x'"),
        *(({"norm_num_groups": value}, "can be loaded") for value in (True, -1)),
    ],
)
def test_settings_of_an_autoencoder_are_checked(settings: dict, says: str, tmp_path: Path) -> None:
    """They were an unexpected error when the first image was made, or infinite images."""
    folders.autoencoder().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | settings))
    with pytest.raises(CheckpointError, match=says):
        load_autoencoder(tmp_path)
