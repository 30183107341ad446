"""The imputation of removed pixels, solved densely."""

import numpy as np


def imputed_by_hand(image, removed):
    """Solve, densely, for the removed pixels: each is the weighted mean of its neighbours inside the image."""
    channels, height, width = image.shape
    places = [(i, j) for i in range(height) for j in range(width) if removed[i, j]]
    number = {place: n for n, place in enumerate(places)}
    matrix, right = np.zeros((len(places), len(places))), np.zeros((len(places), channels))
    for (i, j), n in number.items():
        weights = {}
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                inside = 0 <= i + di < height and 0 <= j + dj < width
                if inside and (di, dj) != (0, 0):
                    weights[i + di, j + dj] = 1 / 6 if di == 0 or dj == 0 else 1 / 12
        total = sum(weights.values())
        matrix[n, n] = 1
        for place, weight in weights.items():
            if place in number:
                matrix[n, number[place]] -= weight / total
            else:
                right[n] += weight / total * image[:, place[0], place[1]]
    filled = image.copy()
    for (i, j), values in zip(places, np.linalg.solve(matrix, right), strict=True):
        filled[:, i, j] = values
    return filled
