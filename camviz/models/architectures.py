"""The architectures that a checkpoint can contain, by name, for any number of classes.

Their packages are slow to import, so each is imported when it is built.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import nn


def _resnet18(classes: int) -> nn.Module:
    from torchvision.models import resnet18

    return resnet18(weights=None, num_classes=classes)


def _thin_resnet18(width: int, classes: int) -> nn.Module:
    """ResNet-18 with fewer channels: `width` instead of 64 in the first stage, twice as many in each further one.

    torchvision's ResNet takes no other width for its basic blocks, so they are put together here, under its names.
    """
    from torchvision.models.resnet import BasicBlock, conv1x1

    def stage(channels: int, wider: int, stride: int) -> nn.Module:
        shortcut = None
        if channels != wider:
            shortcut = nn.Sequential(conv1x1(channels, wider, stride), nn.BatchNorm2d(wider))
        return nn.Sequential(BasicBlock(channels, wider, stride, shortcut), BasicBlock(wider, wider))

    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(width),
        "relu": nn.ReLU(inplace=True),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
        "layer1": stage(width, width, 1),
        "layer2": stage(width, 2 * width, 2),
        "layer3": stage(2 * width, 4 * width, 2),
        "layer4": stage(4 * width, 8 * width, 2),
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(8 * width, classes),
    }
    return nn.Sequential(OrderedDict(parts))


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
    "resnet18-w16": partial(_thin_resnet18, 16),
    "resnet18-w24": partial(_thin_resnet18, 24),
    "vgg11": _vgg11,
    "efficientnet-lite0": _efficientnet_lite0,
}
