"""How sure the fits of photos and videos are is said in headers and notes, of source and driving apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from small_networks import BOX, make_client, make_photo

from jr2net.images.face_detector import Face
from jr2net.images.video import encode_mp4
from jr2net.images.video_notes import read_notes
from jr2net.inference import face, following


def encode(greys: Sequence[int]) -> bytes:
    """A video of plain pictures."""
    return b"".join(encode_mp4([np.full((128, 128, 3), grey, np.uint8) for grey in greys], 25, None))


def test_the_confidences_of_source_and_driving_are_said_apart(client, monkeypatch):
    monkeypatch.setattr(face, "confidence", lambda image, *_: 0.95 if image.shape[0] == 150 else 0.3)
    files = {"source": make_photo(height=150, width=200), "driving": make_photo(1)}
    headers = client.post("/v1/reenact", files=files, data={"box": BOX, "driving_box": BOX}).headers
    assert (headers["X-Source-Confidence"], headers["X-Driving-Confidence"]) == ("0.9500", "0.3000")
    low = "the confidence is low (0.30): there may be no face, or a part of one, in the box"
    assert headers["X-Capture-Notes"] == f"driving: {low}"
    alone = client.post("/v1/reenact", files={"source": files["source"]}, data={"box": BOX, "expression": "{}"}).headers
    assert alone["X-Source-Confidence"] == "0.9500" and "X-Driving-Confidence" not in alone
    mesh = client.post("/v1/reconstruct", content=make_photo(), params={"box": BOX, "format": "glb"}).headers
    assert mesh["X-Confidence"] == "0.3000" and mesh["X-Capture-Notes"] == f"image: {low}"


def test_doubtful_frames_of_source_and_driving_are_counted_apart(networks, face_model, settings, monkeypatch):
    """No confidence is low but those of two frames of a film, by the brightness of its pictures."""
    client = make_client(networks, face_model, settings, detector=lambda image: [Face((20, 20, 108, 108))])
    monkeypatch.setattr(following, "confidence", lambda image, *_: 0.2 if 150 < image.mean() < 220 else 0.9)
    doubtful = encode([180 if n in (2, 5) else 90 for n in range(6)])
    files = {"source": ("a", doubtful), "driving": ("b", encode([90] * 6))}
    acted = client.post("/v1/reenact/video", files=files)
    assert acted.status_code == 200
    doubts = "2 of 6 {}frames have a confidence below 0.5 (the first at 0.1 s): there may be no face, or a part of one"
    assert [note for note in read_notes(acted.content) if "confidence" in note] == ["source: " + doubts.format("")]
    driven = client.post("/v1/reenact/video", files={"source": make_photo(), "driving": doubtful}, data={"box": BOX})
    assert driven.status_code == 200 and float(driven.headers["X-Source-Confidence"]) < 0.1
    source, driving = (note for note in read_notes(driven.content) if "confidence" in note)
    assert source.startswith("source: the confidence is low (0.0") and driving == doubts.format("driving ")
    assert source in driven.headers["X-Capture-Notes"]
