"""The public API (``Photo``, ``Reconstructor``, ``Reenactor``) with the shipped weights, on a synthetic photo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from jr2net import ARKIT_NAMES, FittedFace, Photo, Reconstructor, Reenactor
from jr2net.expressions.named import ExpressionError
from jr2net.expressions.tracks import Track
from jr2net.images.face_detector import Face
from jr2net.images.mark import is_marked
from jr2net.images.photo import PhotoError
from jr2net.images.video import VideoError
from jr2net.inference.control import ControlError
from jr2net.inference.face import OutputError
from jr2net.inference.photo import NoFaceError
from jr2net.inference.reenactment import ReenactmentError
from jr2net.networks.checkpoint import CheckpointError
from jr2net.storage import StorageError

SAMPLE = Path(__file__).parents[2] / "serve" / "page" / "sample.jpg"
BOX = (150.0, 150.0, 450.0, 450.0)


@pytest.fixture(scope="module")
def photo() -> Photo:
    return Photo.open(SAMPLE, box=BOX)


@pytest.fixture(scope="module")
def reconstructor(procedural_model) -> Reconstructor:
    return Reconstructor.load(face_model=procedural_model)


@pytest.fixture(scope="module")
def reenactor(reconstructor) -> Reenactor:
    return Reenactor.load(reconstructor=reconstructor, face_model=reconstructor.model)


@pytest.fixture(scope="module")
def face(reconstructor, photo) -> FittedFace:
    return reconstructor(photo)


def test_reconstruction_returns_named_coefficients(face: FittedFace) -> None:
    assert list(face.expression) == list(ARKIT_NAMES) and 0 <= face.expression["jawOpen"] <= 1
    assert face.landmarks.shape == (68, 2)
    left, top, right, bottom = BOX
    inside = (face.landmarks > [left - 40, top - 40]) & (face.landmarks < [right + 40, bottom + 40])
    assert inside.mean() > 0.9


def test_a_face_is_saved_by_file_extension(face: FittedFace, tmp_path: Path) -> None:
    for name in ("me.json", "me.glb", "me.obj", "me.jpg", "me.png"):
        face.save(tmp_path / name)
    saved = json.loads((tmp_path / "me.json").read_text())
    assert saved["expression"] == face.expression and len(saved["identity"]) == 80
    assert (tmp_path / "me.glb").read_bytes()[:4] == b"glTF"
    assert cv2.imread(str(tmp_path / "me.png")).shape == face.photo.image.shape
    with pytest.raises(OutputError, match=r"me\.ply: unsupported extension; use \.json, \.glb"):
        face.save(tmp_path / "me.ply")


def test_batches_agree_with_single_photos(reconstructor, photo, face) -> None:
    faces = reconstructor([photo] * 3)
    assert len(faces) == 3
    for fitted in faces:
        assert fitted.expression == pytest.approx(face.expression, abs=1e-4)


def test_reenactment_with_named_coefficients_is_marked_as_synthetic(reenactor, photo, face, tmp_path: Path) -> None:
    reenactor(photo, {"jawOpen": 0.8}).save(tmp_path / "out.jpg")
    assert is_marked((tmp_path / "out.jpg").read_bytes())
    jaw_alone = face.expression | {"jawOpen": 0.8}
    opened, unchanged = reenactor([face, face], jaw_alone)[0].image, reenactor(face, face.expression).image
    assert opened.shape == photo.image.shape
    assert np.array_equal(opened[:, :60], photo.image[:, :60])  # beside the face
    difference = np.abs(opened.astype(int) - unchanged).mean(-1)
    assert difference[350:450, 220:400].mean() > 4 * difference[150:250, 220:400].mean()  # the mouth, not the forehead


def test_reenactment_with_a_driving_photo(reenactor, photo, face) -> None:
    turned = Photo.from_image(photo.image[:, ::-1].copy(), box=(190, 150, 490, 450))
    assert reenactor(face, driving=turned, pose=True).image.shape == photo.image.shape


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ReenactmentError, "either an expression"),
        (
            {"expression": {"jawOpen": 0.1}, "pose": True},
            ControlError,
            "pose: named coefficients drive the expression alone",
        ),
        ({"expression": {"jawOpn": 0.1}}, ExpressionError, "did you mean 'jawOpen'"),
        ({"expression": {"jawOpen": 1.5}}, ExpressionError, r"jawOpen = 1.5 is not a number in \[0, 1\]"),
        ({"expression": {"jawOpen": float("nan")}}, ExpressionError, "jawOpen = nan"),
    ],
)
def test_invalid_arguments_are_explained(reenactor, face, arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        reenactor(face, **arguments)


def test_a_capture_drives_a_photo(reenactor, photo, tmp_path: Path) -> None:
    expression = np.zeros((24, 51), np.float32)
    expression[:, ARKIT_NAMES.index("jawOpen")] = np.linspace(0, 1, 24)
    progress: list[int] = []
    video = reenactor.animate(photo, Track("take", expression, 60.0), longest_side=320)
    assert video.fps == 30 and video.count == 12
    assert video.save(tmp_path / "videos" / "out.mp4", progress.append) == 12 and progress[-1] == 12
    with av.open(str(tmp_path / "videos" / "out.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert "Synthetic media" in container.metadata["comment"]
    assert len(frames) == 12 and frames[0].shape == (320, 320, 3)
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["out.mp4"]


def test_a_video_drives_a_photo(reenactor, photo, tmp_path: Path) -> None:
    video = reenactor.animate(photo, Track("take", np.zeros((6, 51), np.float32), 30.0), longest_side=256)
    video.save(tmp_path / "driving.mp4")
    detect = lambda image: [Face((60.0, 60.0, 180.0, 180.0))]  # noqa: E731
    driven = reenactor.animate(photo, tmp_path / "driving.mp4", pose=True, detector=detect, longest_side=256)
    assert driven.fps == 30
    assert len(list(driven)) == 6
    faceless = reenactor.animate(photo, tmp_path / "driving.mp4", detector=lambda image: [])
    with pytest.raises(NoFaceError, match=r"driving\.mp4: none of its 6 frames shows a face"):
        list(faceless)
    with pytest.raises(ControlError, match="a capture drives the expression alone"):
        reenactor.animate(photo, Track("take", np.zeros((6, 51), np.float32), 30.0), pose=True)


def test_a_video_acts_with_its_own_pose_and_length(reenactor, photo, tmp_path: Path) -> None:
    reenactor.animate(photo, Track("take", np.zeros((6, 51), np.float32), 30.0), longest_side=256).save(
        tmp_path / "source.mp4"
    )
    jaw = np.zeros((4, 51), np.float32)
    jaw[:, ARKIT_NAMES.index("jawOpen")] = [0, 1, 0, 1]
    seen: list[int] = []

    def detect(image: np.ndarray) -> list[Face]:
        if image.shape[:2] != (256, 256):  # the surroundings of the face before
            return []
        seen.append(len(seen))
        return [Face((60.0, 60.0, 180.0, 180.0))] if len(seen) != 3 else []

    film = reenactor.animate(tmp_path / "source.mp4", Track("take", jaw, 30.0), detector=detect, relative=True)
    frames = list(film)
    assert film.fps == 30 and len(frames) == 6  # the driving begins anew
    lower = [frame[140:180, 90:150].astype(int) for frame in frames]
    assert np.abs(lower[1] - lower[0]).mean() > 4 * np.abs(lower[4] - lower[0]).mean()
    assert np.abs(lower[5] - lower[1]).mean() < 0.5 * np.abs(lower[1] - lower[0]).mean()
    assert (
        np.array_equal(frames[0][:20], frames[1][:20]) or np.abs(frames[0][:20].astype(int) - frames[1][:20]).mean() < 3
    )
    with pytest.raises(NoFaceError, match=r"source\.mp4: none of its 6 frames shows a face"):
        list(reenactor.animate(tmp_path / "source.mp4", {"jawOpen": 0.5}, detector=lambda image: []))
    (tmp_path / "bad.mp4").write_bytes((tmp_path / "source.mp4").read_bytes()[:400])
    with pytest.raises(VideoError, match=r"bad\.mp4: "):
        reenactor.animate(photo, tmp_path / "bad.mp4")


def test_a_photo_turns_without_any_driving(reenactor, face) -> None:
    assert not np.array_equal(reenactor(face, yaw=20).image, reenactor(face, face.expression).image)
    with pytest.raises(ReenactmentError, match="or turn the head"):
        reenactor(face, regions="eyes")


def test_a_face_at_the_edge_turns_without_what_lies_beyond_the_photo(reconstructor, reenactor) -> None:
    """Crops for the fit end in black there, which would be moved into the picture."""
    bright = np.maximum(Photo.open(SAMPLE, box=BOX).image, 120)
    cut, size = 180, reenactor.camera.size
    photo = Photo.from_image(bright[:, cut:], box=(BOX[0] - cut, BOX[1], BOX[2] - cut, BOX[3]))
    assert photo.crop.leaves(photo.image)
    assert photo.crop_image(size).min() == 0 and photo.crop_image(size, continued=True).min() > 100
    turned = reenactor(reconstructor(photo), yaw=25).image
    assert (turned[:, :20] < 60).all(-1).mean() < 0.002


def test_a_crop_within_the_photo_is_the_same_for_fit_and_reenactment(photo) -> None:
    assert not photo.crop.leaves(photo.image)
    assert photo.crop_image(64) is photo.crop_image(64, continued=True)


def test_unusable_files_are_named(tmp_path: Path, procedural_model) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(PhotoError, match=r"text\.jpg: a text, not a photo"):
        Photo.open(tmp_path / "text.jpg", box=BOX)
    with pytest.raises(StorageError, match=r"gone\.jpg: .*no such file"):
        Photo.open(tmp_path / "gone.jpg", box=BOX)
    with pytest.raises(CheckpointError, match="train the network first"):
        Reconstructor.load(tmp_path, face_model=procedural_model)


def test_weights_of_the_wrong_kind_are_rejected(procedural_model) -> None:
    from jr2net.inference.weights import shipped_weights

    with pytest.raises(CheckpointError, match="holds a dcnet; give the folder of a RecAugNet or RecNet"):
        Reconstructor.load(shipped_weights("dcnet"), face_model=procedural_model)
    with pytest.raises(CheckpointError, match="holds a recaugnet; give the folder of a dcnet or flow3d"):
        Reenactor.load(shipped_weights("recaugnet"), face_model=procedural_model)
    with pytest.raises(CheckpointError, match="holds a flow3d; give the folder of a dcnet"):
        Reenactor.load(shipped_weights("flow3d"), face_model=procedural_model, reenactor="dcnet")


def test_weights_that_do_not_say_which_crops_they_take_are_rejected(tmp_path: Path, procedural_model) -> None:
    from jr2net.inference.weights import shipped_weights

    shutil.copytree(shipped_weights("flow3d"), tmp_path / "flow3d")
    description = json.loads((tmp_path / "flow3d" / "model.json").read_text())
    del description["architecture"]["image_size"]
    (tmp_path / "flow3d" / "model.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=r"flow3d/model\.json: architecture has no image_size, .*save_network"):
        Reenactor.load(tmp_path / "flow3d", face_model=procedural_model)
