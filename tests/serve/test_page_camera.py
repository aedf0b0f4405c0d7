"""The page in a headless browser whose camera is a film of the sample face."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_in_browser import (
    FITTED_SMILE,
    FLAGS,
    PHOTO,
    detect_centre,
    download,
    driving_video,
    find_browser,
    serving,
    wait_for_image,
)

from jr2net.expressions.tracks import parse_csv
from jr2net.face.arkit import ARKIT_NAMES

sync_api = pytest.importorskip("playwright.sync_api", reason="the page's long tests drive a browser with playwright")
expect = sync_api.expect
expect.set_options(timeout=60_000)  # for busy machines

pytestmark = pytest.mark.drill

SAMPLE = Path(__file__).parents[2] / "serve" / "page" / "sample.jpg"


def film(path: Path, frames: int = 30) -> Path:
    """A camera's film, in MJPEG: the sample face, which sways."""
    face = cv2.resize(cv2.imread(str(SAMPLE)), (480, 480))
    with path.open("wb") as out:
        for n in range(frames):
            picture = np.full((480, 640, 3), 90, np.uint8)
            left = 80 + round(20 * np.sin(2 * np.pi * n / frames))
            picture[:, left : left + 480] = face
            out.write(cv2.imencode(".jpg", picture)[1].tobytes())
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[sync_api.Browser]:
    path = find_browser()
    camera = film(tmp_path_factory.mktemp("camera") / "face.mjpeg")
    flags = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags], timeout=120_000)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(toy_model) -> Iterator[str]:
    with serving(toy_model, detector=detect_centre) as address:
        yield address


def start(page: sync_api.Page) -> None:
    page.click("#camera")
    expect(page.locator("#live-facts")).to_contain_text("ms from frame to answer")


def test_the_mesh_and_the_values_follow_the_camera_and_are_recorded(open_page, toy_model):
    page = open_page(permissions=["camera"])
    expect(page.locator("#live-view")).to_be_hidden()
    start(page)
    expect(page.locator("#live-mesh")).to_be_visible()
    expect(page.locator("#mouthSmileLeft")).to_have_value(str(FITTED_SMILE))
    page.click("#record")
    expect(page.locator("#record")).to_contain_text(re.compile(r"Stop recording \((?!0\.|1\.0)"))
    page.click("#record")
    expect(page.locator("#take")).to_be_visible()
    track = parse_csv(download(page, "#take-download"), "take.csv")
    assert track.fps == 30 and len(track) >= 30
    assert np.allclose(track.expression[:, ARKIT_NAMES.index("mouthSmileLeft")], FITTED_SMILE, atol=1e-3)
    page.evaluate("document.getElementById('mouthSmileLeft').value = 0")
    page.click("#take-play")
    expect(page.locator("#capture-name")).to_contain_text("camera-")
    expect(page.locator("#mouthSmileLeft")).to_have_value(str(FITTED_SMILE))
    expect(page.locator("#camera")).to_have_text("Start the camera")
    assert page.evaluate("Object.keys(localStorage).length + Object.keys(sessionStorage).length") == 0


def test_the_camera_drives_the_photo(open_page):
    page = open_page(permissions=["camera"])
    page.set_input_files("#photo", PHOTO)
    expect(page.locator("#status")).to_contain_text("Face fitted")
    start(page)
    page.check("#live-drive", force=True)
    first = wait_for_image(page)
    wait_for_image(page, first)
    page.click("#camera")
    expect(page.locator("#live-view")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("The camera is off.")


def test_a_video_is_tracked(open_page):
    page = open_page()
    page.set_input_files("#track", {"name": "clip.mp4", "mimeType": "video/mp4", "buffer": driving_video(25)})
    expect(page.locator("#take-facts")).to_contain_text("25 frames of clip.mp4")
    expect(page.locator("#track-progress")).to_be_hidden()
    track = parse_csv(download(page, "#take-download"), "clip.csv")
    assert abs(len(track) / track.fps - 1) < 0.1
    assert np.allclose(track.expression[:, ARKIT_NAMES.index("mouthSmileLeft")], FITTED_SMILE, atol=1e-3)


def test_a_camera_that_is_not_allowed_is_explained(open_page):
    page = open_page()
    page.click("#camera")
    expect(page.locator("#problem")).to_contain_text("The camera was not allowed")
    expect(page.locator("#live-view")).to_be_hidden()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})", "come encrypted (https)"),
        (
            "void (navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError')))",
            "No camera was found",
        ),
    ],
)
def test_why_there_is_no_camera_is_said(open_page, script, words):
    page = open_page()
    page.evaluate(script)
    page.click("#camera")
    expect(page.locator("#problem")).to_contain_text(words)
