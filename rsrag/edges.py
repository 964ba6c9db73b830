"""Do the edges of two pictures run alike once one is laid on the other? A test of a match that no feature took part in.

Crops, seasons and light change the brightness on either side of an edge, but not where it runs and in which direction.
Both pictures become fields of edge directions, doubled so that light-to-dark and dark-to-light are the same, and the
fields are correlated over shifts (orientation correlation, Fitch et al. 2002, with doubled angles). Where the pictures
show the same ground, the correlation has a sharp peak at a shift near zero.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
_BLUR_PX, _AROUND_PX = 1.2, 16.0
_COARSE = 4
_NEAR_PX, _APART_PX, _FAR_PX = 4, 7, 48
_LEAST_PX, _MARGIN_PX, _ROOM_PX = 48, 4, 16


def directions(grey: Grey) -> npt.NDArray[np.complex64]:
    """Doubled edge directions, complex64 [H, W], of a length from 0 (flat) to 1 (much steeper than around)."""
    smooth = cv2.GaussianBlur(grey, (0, 0), _BLUR_PX).astype(np.float32)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    steep = cv2.magnitude(across, down)
    weight = 1 / ((steep + _around(steep) + 1e-3) * np.maximum(steep, 1e-6))
    field = np.empty(grey.shape, np.complex64)
    field.real, field.imag = (across**2 - down**2) * weight, 2 * across * down * weight
    return field


def _around(steep: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """How steep it is around each pixel, weighed by a Gaussian: made at a quarter of the size, where a blur that wide
    takes a tenth of the time and differs by 1 %."""
    height, width = steep.shape
    size = max(1, round(width / _COARSE)), max(1, round(height / _COARSE))
    coarse = cv2.GaussianBlur(cv2.resize(steep, size, interpolation=cv2.INTER_AREA), (0, 0), _AROUND_PX / _COARSE)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def agreement(moving: Grey, still: Grey, matrix: npt.NDArray[np.float64]) -> float | None:
    """How far the correlation near zero shift stands out from that of other shifts, in standard deviations.

    Pictures of different ground reach about 5 (``eval/benchmarks/chance_matches.py``).

    Args:
        moving: uint8 [H, W].
        still: uint8 [H, W].
        matrix: affine float64 [2, 3] from pixels of ``moving`` to pixels of ``still``.

    Returns:
        The figure; None where too little is common to both.
    """
    determinant = float(np.linalg.det(matrix[:, :2]))
    if abs(determinant) > 1:  # compare on the coarser grid
        return agreement(still, moving, cv2.invertAffineTransform(matrix))
    still, matrix = _common(moving, still, matrix)
    if abs(determinant) < 1e-4 or min(still.shape) < _LEAST_PX:
        return None
    shrink = math.sqrt(abs(determinant))
    if shrink < 0.7:
        moving = cv2.GaussianBlur(moving, (0, 0), 0.5 / shrink).astype(np.uint8)
    size = (still.shape[1], still.shape[0])
    laid = cv2.warpAffine(moving, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpAffine(np.ones_like(moving), matrix, size, flags=cv2.INTER_NEAREST)
    covered = cv2.erode(covered, np.ones((2 * _MARGIN_PX + 1,) * 2, np.uint8), borderValue=1)
    if covered.sum() < _LEAST_PX**2:
        return None
    first, second = directions(laid.astype(np.uint8)) * covered, directions(still)
    surface = np.fft.fftshift(np.fft.ifft2(np.conj(np.fft.fft2(first)) * np.fft.fft2(second)).real)
    row, col = still.shape[0] // 2, still.shape[1] // 2
    reach = min(_FAR_PX, row - 1, col - 1)
    window = surface[row - reach : row + reach + 1, col - reach : col + reach + 1]
    apart = np.ones(window.shape, bool)
    apart[reach - _APART_PX : reach + _APART_PX + 1, reach - _APART_PX : reach + _APART_PX + 1] = False
    peak = window[reach - _NEAR_PX : reach + _NEAR_PX + 1, reach - _NEAR_PX : reach + _NEAR_PX + 1].max()
    others = window[apart]
    spread = float(others.std())
    return max(0.0, (float(peak) - float(others.mean())) / spread) if spread > 1e-9 else 0.0


def _common(moving: Grey, still: Grey, matrix: npt.NDArray[np.float64]) -> tuple[Grey, npt.NDArray[np.float64]]:
    """The part of ``still`` that ``moving`` falls on, with a little room, and the matrix to it."""
    height, width = moving.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ matrix[:, :2].T + matrix[:, 2]
    left, top = np.floor(np.clip(corners.min(axis=0) - _ROOM_PX, 0, still.shape[::-1])).astype(int)
    right, bottom = np.ceil(np.clip(corners.max(axis=0) + _ROOM_PX, 0, still.shape[::-1])).astype(int)
    moved = matrix.astype(np.float64).copy()
    moved[:, 2] -= left, top
    return still[top:bottom, left:right], moved
