"""EDM's network pickles against reference outputs, and at full size."""

import edm_layout
import numpy
import pytest
import torch
from edm_oracles import iddpm_scales

from realuid.errors import CheckpointError
from realuid.loaders import load_edm_pickle, load_edm_student
from realuid.loaders.edm import _weights
from realuid.loaders.pickles import read_pickle
from realuid.models import EDM, IDDPM, VE, VP, Condition, count_parameters, from_pretrained, save_pretrained
from realuid.sampling import sample_teacher

REFERENCES = {
    "edm_ddpmpp_uncond": (EDM(), edm_layout.song_shapes, (0.002, 80.0)),
    "vp_ddpmpp_cond": (VP(), edm_layout.song_shapes, (0.002, 80.0)),
    "ve_ncsnpp_uncond": (VE(), edm_layout.song_shapes, (0.02, 80.0)),
    "edm_adm_cond": (EDM(), edm_layout.adm_shapes, (0.002, 80.0)),
}


@pytest.fixture(scope="module")
def reference(shared):
    folder = shared / "reference"
    if not (folder / "edm_expected.npz").is_file():
        pytest.skip(f"no EDM reference pickles in {folder}")
    return folder


def inputs(reference, model):
    expected = numpy.load(reference / "edm_expected.npz")
    sigma, labels = torch.from_numpy(expected["sigma"]), torch.from_numpy(expected["labels"]).argmax(dim=1)
    x_t = torch.from_numpy(expected["x"]) * sigma[:, None, None, None] + 0.3
    return x_t, sigma, Condition(label=labels if model.num_classes else None)


@pytest.mark.parametrize("name", REFERENCES)
@torch.no_grad()
def test_reference_pickles_denoise_as_expected(name, reference):
    preconditioning, _, (low, high) = REFERENCES[name]
    model = load_edm_pickle(reference / f"{name}.pkl")
    assert model.preconditioning == preconditioning and model.prediction == "data_prediction"
    assert (model.path.name, model.path.t_min, model.path.t_max) == ("ve", low, high)
    assert model.shape == (3, 16, 16) and model.num_classes == (10 if "cond" in name.split("_") else 0)
    assert not model.training
    found = model(*inputs(reference, model))
    expected = torch.from_numpy(numpy.load(reference / "edm_expected.npz")[name])
    for i in range(len(expected)):  # one noise level each, one scale each
        assert (found[i] - expected[i]).abs().max() < 1e-4 * expected[i].abs().max()


@pytest.mark.parametrize("name", REFERENCES)
def test_the_layout_of_the_tests_is_the_references(name, reference):
    """What the full-size files below are made with."""
    network = read_pickle(reference / f"{name}.pkl")["ema"].state["_modules"]["model"]
    stored = {key: value.shape for key, value in _weights(network).items()}
    assert REFERENCES[name][1](network.state["_init_kwargs"]) == stored


@pytest.mark.parametrize("name", REFERENCES)
@torch.no_grad()
def test_converted_references_are_read_back_bit_by_bit(name, reference, tmp_path):
    model = load_edm_pickle(reference / f"{name}.pkl")
    again = from_pretrained(save_pretrained(model, tmp_path / name))
    assert torch.equal(again(*inputs(reference, model)), model(*inputs(reference, model)))
    assert again.path == model.path


@torch.no_grad()
def test_reference_teacher_is_sampled(reference):
    model = load_edm_pickle(reference / "edm_ddpmpp_uncond.pkl")
    z = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    one_step = sample_teacher(model, z, 1)
    torch.testing.assert_close(one_step, model(80 * z, torch.full((2,), 80.0)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_students_are_asked_once_at_sids_noise_level(reference):
    student = load_edm_student(reference / "edm_adm_cond.pkl")
    teacher = load_edm_pickle(reference / "edm_adm_cond.pkl")
    z, condition = torch.randn(3, 3, 16, 16), Condition(label=torch.tensor([1, 5, 9]))
    torch.testing.assert_close(student(z, condition), teacher(2.5 * z, torch.full((3,), 2.5), condition))
    assert student.t_init == 2.5 and not student.training


@pytest.mark.parametrize(
    ("arguments", "wrapper", "parameters"),
    [
        (edm_layout.DDPMPP_CIFAR, "EDMPrecond", 55_733_891),
        ({**edm_layout.NCSNPP_CIFAR, "label_dim": 10}, "VEPrecond", 56_400_643),
    ],
    ids=["ddpm++", "ncsn++"],
)
@torch.no_grad()
def test_full_size_pickles_load_and_denoise(arguments, wrapper, parameters, tmp_path):
    """Published arguments, random weights; ADM, five times as large, is in benchmarks/edm_full_size.py."""
    weights = edm_layout.random_weights(edm_layout.song_shapes(arguments))
    model = load_edm_pickle(edm_layout.write(tmp_path / "full.pkl", arguments, weights, wrapper=wrapper))
    assert count_parameters(model) == parameters
    own = model.network.state_dict()
    assert own.keys() == weights.keys() and all(torch.equal(own[name], weights[name]) for name in own)
    condition = Condition(label=torch.tensor([3]) if model.num_classes else None)
    found = model(torch.randn(1, 3, 32, 32), torch.tensor([0.7]), condition)
    assert found.shape == (1, 3, 32, 32) and found.isfinite().all() and found.std() > 0.01


SMALL = {**edm_layout.DDPMPP_CIFAR, "img_resolution": 8, "model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1}
SMALL |= {"attn_resolutions": [4]}


def small(tmp_path, **changes):
    weights = edm_layout.random_weights(edm_layout.song_shapes(SMALL))
    return edm_layout.write(tmp_path / "small.pkl", changes.pop("arguments", SMALL), weights, **changes)


@torch.no_grad()
def test_pickled_networks_do_what_their_weights_say(tmp_path):
    """Another seed's weights are another network; half precision on file is rounded, not refused."""
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([0.5, 3.0])
    outputs = []
    for seed, dtype in ((0, torch.float32), (0, torch.float16), (1, torch.float32)):
        weights = edm_layout.random_weights(edm_layout.song_shapes(SMALL), seed)
        weights = {name: value.to(dtype) for name, value in weights.items()}
        model = load_edm_pickle(edm_layout.write(tmp_path / "small.pkl", SMALL, weights))
        assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
        outputs.append(model(x, t))
    assert (outputs[0] - outputs[1]).abs().max() < 0.02 < (outputs[0] - outputs[2]).abs().max()


ADM_SMALL = {
    **edm_layout.ADM_IMAGENET,
    "img_resolution": 8,
    "label_dim": 0,
    "model_channels": 32,
    "channel_mult": [1, 2],
}
ADM_SMALL |= {"num_blocks": 1, "attn_resolutions": [4], "out_channels": 6}


@torch.no_grad()
def test_iddpm_predicts_noise_at_discrete_levels(tmp_path):
    """D = x - sigma F[first half](x / sqrt(sigma^2 + 1), M - 1 - j): the learnt variance is left out."""
    weights = edm_layout.random_weights(edm_layout.adm_shapes(ADM_SMALL))
    path = edm_layout.write(tmp_path / "iddpm.pkl", ADM_SMALL, weights, network="DhariwalUNet", wrapper="iDDPMPrecond")
    model = load_edm_pickle(path)
    assert model.shape == (3, 8, 8) and model.preconditioning == IDDPM() and model.path.sigma_min == 0.0064
    x, inner = torch.randn(3, 3, 8, 8), model.network
    for sigma in (0.05, 1.0, 40.0):
        skip, out, into, time = iddpm_scales(sigma)
        width = inner.out_conv.weight.shape[0]
        raw = inner(into * x, torch.full((3,), float(time)), Condition())
        expected = skip * x + out * raw
        found = model(x, torch.full((3,), sigma))
        assert width == 6 and raw.shape == x.shape
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_another_network_of_the_pickle_is_found_by_key(tmp_path):
    path = small(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds no network 'net'.*'ema'"):
        load_edm_pickle(path, key="net")
    with pytest.raises(CheckpointError, match="preconditioning class 'AugmentPipe'"):
        load_edm_pickle(path, key="augment_pipe")


def test_unknown_classes_and_weights_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="network class 'UViT'"):
        load_edm_pickle(small(tmp_path, network="UViT"))
    with pytest.raises(CheckpointError, match="of another shape"):
        load_edm_pickle(small(tmp_path, arguments={**SMALL, "model_channels": 16}))
    with pytest.raises(CheckpointError, match="unexpected"):
        load_edm_pickle(small(tmp_path, arguments={**SMALL, "augment_dim": 0}))
    with pytest.raises(CheckpointError, match="there is no such file"):
        load_edm_pickle(tmp_path / "absent.pkl")
