"""Metrics of samples: feature extractors, Frechet and kernel distance, precision and recall."""

from __future__ import annotations

from realuid.metrics.cache import cache_folder
from realuid.metrics.classes import ClassAgreement, ClassScores
from realuid.metrics.evaluate import Evaluator, Scores
from realuid.metrics.features import (
    Classifier,
    FeatureExtractor,
    classifier,
    make_extractor,
    tells_classes,
    train_classifier,
)
from realuid.metrics.manifold import precision_recall
from realuid.metrics.pretrained import EfficientNet, Inception
from realuid.metrics.restoration import Restoration

__all__ = [
    "ClassAgreement",
    "ClassScores",
    "Classifier",
    "EfficientNet",
    "Evaluator",
    "FeatureExtractor",
    "Inception",
    "Restoration",
    "Scores",
    "cache_folder",
    "classifier",
    "make_extractor",
    "precision_recall",
    "tells_classes",
    "train_classifier",
]
