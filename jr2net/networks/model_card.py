"""The card that lies beside every checkpoint: what the network is, what it was trained on, use, limits, bias, licence.

``docs/model-cards`` holds the cards of the shipped weights; their sections on use, scope and bias are these texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

LICENSE = "MIT"
"""Of the code, and of networks that were trained in the studio alone."""

DEPENDS_ON_DATA = "other"
"""Of networks that were trained on clips: their licences and the face model's decide."""

STUDIO = (
    "Only the project's synthetic studio: procedural people under procedural light. No photo of a real person was used."
)
CLIPS = (
    "The clips that the run's configuration names (`data.clips`), and images synthesised from them. Their licences, "
    "the face model's and the consent of the people they show decide how these weights may be used."
)

_TITLES = {
    "recnet": "RecNet: 3D face reconstruction",
    "dcnet": "DCNet: face reenactment",
    "flow3d": "3DFlowRenderer: face reenactment",
    "etnet": "ETNet: expression tracking",
    "recaugnet": "RecAugNet: 3D face reconstruction with tracked expressions",
    "detector": "Face detector",
}
_OUTPUTS = {
    "recnet": "identity, expression (51 ARKit coefficients in [0, 1]) and albedo of a face, head pose, light",
    "dcnet": "the same crop with the driving face's expression and, by option, its pose and light",
    "flow3d": "the same crop with the driving face's expression and pose, and a mask of the pixels that were kept",
    "etnet": "51 ARKit coefficients in [0, 1]",
    "recaugnet": "identity, expression (51 ARKit coefficients in [0, 1]) and albedo of a face, head pose, light",
    "detector": "for each cell of 8 pixels whether a face's centre is near, and that face's 68 landmarks",
}
_GENERATES = ("dcnet", "flow3d")

USE = {
    False: "Fitting a coarse 3D face and ARKit coefficients to a roughly frontal photo; a starting point for a "
    "training of your own.",
    True: "Synthesis of labelled training images, demonstrations, and a starting point for a training of your own, on "
    "photos whose subjects agreed.",
}
USE_OF_DETECTOR = (
    "Finding the faces of a photo or a video, with 68 landmarks that place the crop of the other networks, and telling "
    "how probably a crop shows a face."
)
LIMITS_OF_DETECTOR = (
    "Profiles, and faces of which less than about half is seen, are found rarely. Landmarks are good enough to place a "
    "crop and to compare a fit with, not to measure a face."
)
OUT_OF_SCOPE = {
    False: "Identification or verification of people, estimates of age, sex, ethnicity, emotion, health or attention, "
    "medical or biometric measurement, surveillance, and any decision about a person. The coefficients describe a "
    "mesh; they are not a measurement of a person's face or of what a person feels.",
    True: "Images or videos of a person without that person's consent, impersonation, deception, defamation, "
    "pornography, forged evidence, and circumvention of identity checks. Do not remove the mark: files that the "
    "library writes say in their metadata that they are synthetic and name the model. The mark is a label and can be "
    "stripped; it is not a protection.",
}
BIAS = (
    "Accuracy by skin tone, age, sex or region has not been measured on real people and is likely to differ. Do not "
    "assume that it is uniform."
)


def model_card(description: Mapping[str, Any], data: str) -> str:
    """The card of a checkpoint as Markdown with a YAML header.

    description: the content of ``model.json``. data: what the network was trained on, in a sentence or two.
    """
    kind, architecture = description["kind"], description["architecture"]
    generates, detects = kind in _GENERATES, kind == "detector"
    size = architecture["side"] if detects else architecture.get("image_size", "?")
    task = "face-detection" if detects else "reenactment" if generates else "reconstruction"
    sources = "".join(
        f"| trained from: {name} | `{digest}` |\n" for name, digest in sorted(description["trained_from"].items())
    )
    return f"""---
license: {description["license"].lower()}
library_name: jr2net
tags: [face, {"" if detects else "arkit, "}{task}]
---

# {_TITLES[kind]}

| | |
|---|---|
| input | one {"picture" if detects else "face crop"}, {size} × {size} pixels, RGB in [0, 1] |
| output | {_OUTPUTS[kind]} |
| licence | {description["license"]} |
| digest of the weights | `{description["weights_sha256"]}` |
| digest of the face model | `{description["face_model"]}` |
{sources}
## Training data

{_wrapped(data)}

## Intended use

{_wrapped(USE_OF_DETECTOR if detects else USE[generates])}

## Out of scope

{_wrapped(OUT_OF_SCOPE[generates])}

## Limits

{_wrapped(LIMITS_OF_DETECTOR if detects else _limits(size, generates))}

## Bias

{_wrapped(BIAS)}
"""


def _limits(size: Any, generates: bool) -> str:
    if generates:
        return (
            f"Generated at {size} pixels. What the source does not show, such as the inside of a closed mouth, is "
            "invented. Quality depends on the fit of the face."
        )
    return (
        f"Crops are seen at {size} pixels. Tongue, hair and individual teeth are not modelled. The report of the run "
        "that made these weights has their errors beside the baselines."
    )


def _wrapped(text: str) -> str:
    return fill(text, 120, break_on_hyphens=False)
