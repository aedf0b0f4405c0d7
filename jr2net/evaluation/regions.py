"""Regions of a reenacted image that are measured apart: the face, and the background that stays or comes to light."""

from __future__ import annotations

from torch import Tensor

_NONE, _ALL = 0.02, 0.98  # mattes beyond these show background or person alone


def region_masks(
    face: Tensor, source_matte: Tensor | None = None, driving_matte: Tensor | None = None
) -> dict[str, Tensor]:
    """Masks (B, 1, S, S) by region, from the driving face's mask and both frames' mattes, each (B, 1, S, S).

    whole       the whole image
    face        the driving face
    outside     everything else
    background  background in both frames: a copy of the source is right up to the camera's movement
    revealed    the person in the source, background in the driving frame: what no frame has shown

    Without mattes the last two are missing.
    """
    masks = {"whole": face.new_ones(face.shape), "face": face, "outside": 1 - face}
    if source_matte is not None and driving_matte is not None:
        behind = driving_matte <= _NONE
        masks["background"] = (behind & (source_matte <= _NONE)).to(face.dtype)
        masks["revealed"] = (behind & (source_matte >= _ALL)).to(face.dtype)
    return masks
