"""The Explore page: its link, clean and noisy side by side, and the curve over the noise."""
