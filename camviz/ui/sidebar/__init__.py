"""The sidebar: picture, network, method and noise."""
