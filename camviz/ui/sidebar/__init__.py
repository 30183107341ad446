"""The sidebar: which picture, network, method and noise."""
