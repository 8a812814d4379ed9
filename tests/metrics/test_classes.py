"""Agreement and distance by class, with a classifier and features that are known."""

from __future__ import annotations

import pytest
import torch

from realuid.data import Dataset, to_float
from realuid.errors import DataError
from realuid.metrics import ClassAgreement, ClassScores, Evaluator, FeatureExtractor


class FirstPixels(FeatureExtractor):
    num_features, key = 2, "first-pixels"

    def forward(self, x):
        return x.flatten(1)[:, :2].float() / 100


class ByBrightness(torch.nn.Module):
    """Class 0 where the image is dark, 1 where it is bright."""

    def logits(self, x):
        mean = x.float().flatten(1).mean(1)
        return torch.stack([128 - mean, mean - 128], dim=1)


@pytest.fixture
def data() -> Dataset:
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    values = torch.randint(0, 100, (400, 1, 2, 2), generator=g) + 150 * labels[:, None, None, None]
    return Dataset(values.to(torch.uint8), labels, "dark and bright", ("dark", "bright"))


def class_scores(samples, labels, evaluator) -> ClassScores:
    agreement = ClassAgreement(labels, evaluator, ByBrightness())
    for batch in samples:
        agreement.add(batch)
    return agreement.scores()


def test_agreement_counts_the_classes_that_were_asked_for(data) -> None:
    evaluator = Evaluator(data, FirstPixels())
    samples = to_float(data.values[:100]).split(30)
    asked = data.labels[:100].clone()
    asked[:10] = 1 - asked[:10]  # five of either class show the other one
    scores = class_scores(samples, asked, evaluator)
    assert scores.agreement == pytest.approx(0.9)
    assert scores.agreement_by_class == pytest.approx([0.9, 0.9])


def test_a_class_s_distance_is_to_its_own_images(data) -> None:
    evaluator = Evaluator(data, FirstPixels())
    labels = data.labels
    own = class_scores([to_float(data.values)], labels, evaluator)
    assert own.agreement == 1 and max(own.fd_by_class) < 1e-6
    shifted = data.values.clone()
    shifted[labels == 1] = (shifted[labels == 1].int() - 50).clamp(min=0).to(torch.uint8)
    scores = class_scores([to_float(shifted)], labels, evaluator)
    assert scores.fd_by_class[0] < 1e-6
    assert scores.fd_by_class[1] == pytest.approx(2 * 0.5**2, rel=1e-3)  # both features moved by 50 / 100
    swapped = class_scores([to_float(data.values)], 1 - labels, evaluator)
    assert swapped.agreement == 0 and min(swapped.fd_by_class) > 1


def test_data_without_labels_is_refused(data) -> None:
    evaluator = Evaluator(data.without_labels(), FirstPixels())
    with pytest.raises(DataError, match="has no labels"):
        ClassAgreement(data.labels, evaluator, ByBrightness())
