"""The architectures that a checkpoint can contain, by name, for any number of classes.

Their packages are slow to import, so each is imported when it is built.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def _resnet18(classes: int) -> nn.Module:
    from torchvision.models import resnet18

    return resnet18(weights=None, num_classes=classes)


def _vgg11(classes: int) -> nn.Module:
    """VGG-11 with batch normalisation and a small head.

    The head sees the four quarters of the last feature map and has a hidden layer, so the gradient of the class score
    varies across the map, and Grad-CAM, XGrad-CAM and HiResCAM differ on the last layer.
    """
    from torchvision.models import vgg11_bn

    module = vgg11_bn(weights=None, num_classes=classes)
    module.avgpool = nn.AdaptiveAvgPool2d(2)
    module.classifier = nn.Sequential(nn.Linear(512 * 4, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, classes))
    return module


def _efficientnet_lite0(classes: int) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0", num_classes=classes)


ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": _resnet18,
    "vgg11": _vgg11,
    "efficientnet-lite0": _efficientnet_lite0,
}
