"""The Robustness page: sweeps over pictures, explanations and noise, and one noisy copy in detail."""
