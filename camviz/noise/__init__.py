"""Perturbations of a network's view, and whether explanations change along with the prediction."""

from camviz.noise.kinds import KINDS, AtStrength, Noise, NoiseInput, apply, apply_levels, register

__all__ = ["KINDS", "AtStrength", "Noise", "NoiseInput", "apply", "apply_levels", "register"]
