"""The Robustness page: sweeps over pictures, explanations and noise, and one copy looked at closely."""
