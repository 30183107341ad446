"""The Explore page: its link, the clean and the noisy picture, and the curve over the noise level."""
