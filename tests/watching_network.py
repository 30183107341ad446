"""A network whose predictions are known by construction, and the comparison of what is measured on it."""

import math

import numpy as np
import pandas as pd
import torch
from PIL import Image
from small_networks import seeded
from torch import nn

from camviz import shapes
from camviz.models.registry import SHAPES, ModelInfo, Preprocessing, make_net
from camviz.network.layouts import channels_last

SIDE = 32
LAYERS = ("relu1", "relu2")
NEVER, HALFWAY, ALWAYS = math.inf, 0.9, 0.0
PICTURE = np.array(Image.fromarray(shapes.sample(3).image).resize((SIDE, SIDE)))


class Watching(nn.Module):
    """Predicts class 0 for one picture, and class 1 for what is further than `turns` away from it, on average.

    It notes how many images each of its runs takes, and has memory for `room` of them.
    """

    def __init__(self, turns):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.relu1, self.relu2, self.deaf = nn.ReLU(inplace=True), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 1)
        self.fc = nn.Linear(8, 4)
        self.register_buffer("clean", torch.zeros(3, SIDE, SIDE))
        self.turns, self.room, self.seen = turns, math.inf, []

    def forward(self, x):
        self.seen.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("simulated")
        turned = ((x - self.clean).abs().mean((1, 2, 3)) > self.turns).to(x.dtype)
        x = self.relu2(self.conv2(self.relu1(self.conv1(x))))
        self.deaf(x)
        lead = torch.stack([0.5 - turned, turned - 0.5], 1)
        return self.fc(x.mean((2, 3))) + nn.functional.pad(lead, (0, 2))


def watching(turns):
    info = ModelInfo("watching", "Watching", "Small", "checkpoint", SHAPES, 0.0, 0.0, 0.0)
    how = Preprocessing(SIDE, SIDE, (0.5, 0.4, 0.3), (0.25, 0.3, 0.2), Image.Resampling.BILINEAR)
    module = seeded(lambda: Watching(turns), seed=2, dtype=torch.float32)
    net = make_net(info, module, tuple("abcd"), LAYERS, how, torch.device("cpu"))
    module.clean.copy_(net.preprocess(PICTURE)[0])
    channels_last(module, net.preprocess(PICTURE), ("conv1", "conv2", *LAYERS))  # once for a network
    module.seen.clear()
    return net


def same_tables(first, second):
    """Where a map is all but 0, rounding shuffles the ranks of its pixels."""
    pd.testing.assert_frame_equal(*(t.table.drop(columns="spearman") for t in (first, second)), rtol=0, atol=1e-5)
    pd.testing.assert_series_equal(first.table.spearman, second.table.spearman, rtol=0, atol=1e-3)
    pd.testing.assert_series_equal(first.table.overlap, second.table.overlap, rtol=0, atol=1e-9)
