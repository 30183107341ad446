"""Small networks with seeded random weights, one for each way in which layers are written; random images."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F


def noise_images(batch, height=12, width=16, seed=0, dtype=torch.float64):
    """Random images (B, 3, H, W), neither square nor all alike."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=generator, dtype=dtype)


def seeded(make, seed=0, dtype=torch.float64):
    """A network in eval mode whose random weights are always the same; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval().to(dtype)


def at_half_size(net):
    """A network that is shown a quarter of the pixels, cut off at the same borders: it recognises less."""
    how = net.preprocessing
    return replace(net, preprocessing=replace(how, size=how.size // 2, resize=how.resize // 2))


class ColourLayers(nn.Module):
    """Class 1's logit is the sum of its layers' means; a layer is a weighted sum of the colours, then ReLU.

    Args:
        others: the logits of the other classes, whatever the picture.
        colours: the weights of red, green and blue and the bias of each layer, by its name.
    """

    def __init__(self, others=(0.0,), **colours):
        super().__init__()
        for name, (weights, bias) in colours.items():
            conv = nn.Conv2d(3, 1, 1)
            conv.weight.data[0, :, 0, 0] = torch.tensor(weights)
            conv.bias.data.fill_(bias)
            self.add_module(name, nn.Sequential(conv, nn.ReLU()))
        self.others = others
        self.eval()

    def forward(self, x):
        score = sum(layer(x).mean((1, 2, 3)) for layer in self.children())
        first, *more = (torch.full_like(score, logit) for logit in self.others)
        return torch.stack([first, score, *more], 1)


def with_colour_layers(net, side, labels=("no", "yes"), others=(0.0,), **colours):
    """A network of `ColourLayers` that is shown pictures (side, side) as they are, with colours from 0 to 1."""
    how = replace(net.preprocessing, size=side, resize=side, mean=(0.0,) * 3, std=(1.0,) * 3)
    module = ColourLayers(others, **colours)
    return replace(net, module=module, labels=labels, layers=tuple(colours), preprocessing=how)


class Plain(nn.Module):
    """Three convolutions, each with an in-place ReLU, and a head with a hidden layer."""

    def __init__(self, inplace=True):
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace)
        self.conv2, self.relu2 = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(inplace)
        self.conv3, self.relu3 = nn.Conv2d(8, 10, 3, stride=2, padding=1), nn.ReLU(inplace)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(40, 16), nn.ReLU(inplace), nn.Linear(16, 5)
        )

    def forward(self, x):
        x = self.relu1(self.conv1(x))
        x = self.relu2(self.conv2(x))
        return self.head(self.relu3(self.conv3(x)))


class Pooled(nn.Module):
    """Two convolutions, global average pooling and one linear layer."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.relu(self.conv2(self.conv1(x).relu())).mean((2, 3)))


class Shared(nn.Module):
    """One ReLU that is called three times."""

    def __init__(self, inplace=False):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(8, 10, 3, padding=1)
        self.relu = nn.ReLU(inplace)
        self.fc = nn.Linear(10 * 6, 5)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = self.relu(conv(x))
        return self.fc(F.adaptive_avg_pool2d(x, (2, 3)).flatten(1))


class Functional(nn.Module):
    """A functional in-place ReLU right after the last named layer, as in DenseNet."""

    def __init__(self, inplace=True):
        super().__init__()
        self.conv, self.norm, self.inplace = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), inplace
        self.fc = nn.Linear(6 * 4, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)), inplace=self.inplace)
        return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Residual(nn.Module):
    """Blocks that add their input in place, `out += identity`."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.conv1, self.conv2 = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = self.relu(self.stem(x))
        for conv in (self.conv1, self.conv2):
            identity = x
            out = conv(x)
            out += identity
            x = self.relu(out)
        return self.fc(x.mean((2, 3)))


class Dense(nn.Module):
    """Later layers see all earlier ones through torch.cat."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 4, 3, padding=1)
        self.fc = nn.Linear(12 * 4, 5)

    def forward(self, x):
        first = self.conv1(x).relu()
        second = self.conv2(first).relu()
        third = self.conv3(torch.cat([first, second], 1)).relu()
        return self.fc(F.adaptive_avg_pool2d(torch.cat([first, second, third], 1), 2).flatten(1))


class Sized(nn.Module):
    """Reads the batch size in its forward pass, before and after its layers."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.shift = nn.Parameter(torch.randn(1, 6, 1, 1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        batch = x.size(0)
        first = self.conv1(x).relu() + self.shift.expand(batch, -1, 1, 1)
        second = self.conv2(first.view(batch, 6, *x.shape[2:])).relu()
        return self.fc(second.view(x.size(0), 8, -1).mean(2))


class Normalising(Plain):
    """A network that normalises its input in place."""

    def forward(self, x):
        return super().forward(x.sub_(0.5).div_(0.3))
