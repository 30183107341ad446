"""Perturbations of a network's view, and how explanations follow what they do to the prediction."""

from camviz.noise.kinds import KINDS, AtStrength, Noise, NoiseInput, apply, apply_levels, register

__all__ = ["KINDS", "AtStrength", "Noise", "NoiseInput", "apply", "apply_levels", "register"]
