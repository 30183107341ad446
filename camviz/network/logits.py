"""What a network returns, as logits (B, classes)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camviz.network.hooks import require_eval


def network_logits(module: nn.Module, x: Tensor) -> Tensor:
    """Run a network on images x (B, 3, H, W), which are not changed: its logits (B, classes), as by `logits_of`.

    Raises:
        ValueError: a network in training mode, as the pass would change its statistics, or one that returns no logits.
    """
    require_eval(module)
    return logits_of(module(x.clone()), len(x))  # some networks normalise their input in place


def class_probabilities(logits: Tensor, classes: Tensor) -> Tensor:
    """The probability of one class for each image: logits (N, B, C), classes (B,) -> float64 (N, B), on the CPU."""
    probabilities = logits.cpu().double().softmax(-1)  # some devices have no float64
    return probabilities.gather(-1, classes.cpu().expand(len(logits), -1)[..., None])[..., 0]


def logits_of(output: object, batch: int) -> Tensor:
    """Return the output of a network for `batch` images as logits (B, classes).

    One logit z for each image, (B,) or (B, 1), answers a question with yes or no. It becomes the two logits
    (-z/2, +z/2): class 0 is "no", class 1 is "yes", and their softmax is (1 - sigmoid(z), sigmoid(z)).

    Raises:
        ValueError: an output of another kind or shape.
    """
    if isinstance(output, Tensor) and len(output.shape) in (1, 2) and len(output) == batch:
        if output.ndim == 2 and output.shape[1] != 1:
            return output
        half = output.reshape(batch) / 2
        return torch.stack([-half, half], 1)
    raise ValueError(f"the network must return logits ({batch}, classes), got {described(output)}")


def described(value: object) -> str:
    """The type and shape of a value, for error messages."""
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
