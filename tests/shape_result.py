"""A result of the bundled ResNet-18 for one drawn shape, and what it is made of."""

import io

import numpy as np
from PIL import Image

from camviz import shapes
from camviz.recipe import Recipe
from camviz.results.finding import as_png

MODEL = "shapes-resnet18"
LAYERS = ("layer1", "layer2", "layer3", "layer4")
SAMPLE = shapes.sample(12)
PNG = as_png(SAMPLE.image)
RECIPE = Recipe("gradcam++", LAYERS)
FEW_PASSES = "ablationcam-fast"  # 32 for a layer, most of them through a small part of the network


def photo():
    """A JPEG that is not square."""
    stream = io.BytesIO()
    Image.fromarray(np.tile(SAMPLE.image, (1, 2, 1))).save(stream, "JPEG")
    return stream.getvalue()
