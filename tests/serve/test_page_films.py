"""The page in a headless browser: a video as the source, progress of long work, and the files of a track."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from page_in_browser import (
    FITTED_SMILE,
    PHOTO,
    capture,
    detect_centre,
    detect_two,
    download,
    driving_video,
    serving,
    set_slider,
)
from PIL import Image

from jr2net.expressions.tracks import parse_csv
from jr2net.images.video import NO_LIMITS, encode_mp4, read_frames
from jr2net.images.video_file import VideoFile

sync_api = pytest.importorskip("playwright.sync_api", reason="the page's long tests drive a browser with playwright")
expect = sync_api.expect
expect.set_options(timeout=60_000)  # for busy machines

pytestmark = pytest.mark.drill


@pytest.fixture(scope="module")
def address(toy_model):
    with serving(toy_model, detector=detect_centre) as address:
        yield address


def upload(content: bytes, name: str = "clip.mp4", kind: str = "video/mp4") -> dict:
    return {"name": name, "mimeType": kind, "buffer": content}


def frames_of(video: bytes) -> list[np.ndarray]:
    return [frame.image for frame in read_frames(VideoFile.of(video), NO_LIMITS)]


def words_of_progress(page, container: str) -> None:
    """Keeps all words that the progress shows in the page's `said`."""
    page.evaluate(
        """(id) => {
          window.said = [];
          const words = document.querySelector(`#${id} span`);
          new MutationObserver(() => window.said.push(words.textContent)).observe(words, {childList: true});
        }""",
        container,
    )


def test_every_frame_of_a_video_acts_as_the_sliders_say(open_page):
    page = open_page()
    page.set_input_files("#photo", upload(driving_video(25)))
    expect(page.locator("#status")).to_contain_text("Face fitted")
    expect(page.locator("#source-name")).to_have_text("clip.mp4")
    page.click("#act")
    expect(page.locator("#status")).to_contain_text("Move a slider or turn the head first")
    set_slider(page, "jawOpen", 0.9)
    words_of_progress(page, "film-progress")
    page.click("#act")
    expect(page.locator("#result")).to_be_visible()
    film = frames_of(download(page, "#video-download"))
    before = frames_of(driving_video(25))
    assert len(film) == 25 and film[20].shape == before[20].shape
    assert film[20][55:65, 75:85].mean() < 0.4 * before[20][55:65, 75:85].mean(), "the fake network darkens the centre"
    assert abs(film[20][:10].mean() - before[20][:10].mean()) < 5
    assert any(word.startswith("25 of 25 frames done") for word in page.evaluate("window.said"))
    expect(page.locator("#film-progress")).to_be_hidden()


def test_a_capture_drives_a_video(open_page):
    page = open_page()
    page.set_input_files("#photo", upload(driving_video(12)))
    expect(page.locator("#status")).to_contain_text("Face fitted")
    page.set_input_files("#driving", upload(capture(), "take.csv", "text/csv"))
    expect(page.locator("#play")).to_have_text("Play")  # it has ended
    page.click("#render")
    expect(page.locator("#result")).to_be_visible()
    assert len(frames_of(download(page, "#video-download"))) == 12, "as long as the source"
    page.set_input_files("#photo", PHOTO)
    expect(page.locator("#source-video")).to_be_hidden()


def test_a_film_can_be_cancelled(open_page):
    page = open_page()
    long = b"".join(encode_mp4([np.full((120, 160, 3), n % 250, np.uint8) for n in range(1400)], 25, None))
    page.set_input_files("#photo", PHOTO)
    expect(page.locator("#status")).to_contain_text("Face fitted")
    page.set_input_files("#driving", upload(long))
    expect(page.locator("#film-facts")).to_contain_text("of 1400 frames done")
    expect(page.locator("#film-facts")).to_contain_text("left")
    page.dispatch_event("#cancel", "click")
    expect(page.locator("#status")).to_have_text("Cancelled.")
    expect(page.locator("#film-progress")).to_be_hidden()
    expect(page.locator("#result")).to_be_hidden()


def test_a_track_is_downloaded_as_csv_json_and_glb(open_page):
    page = open_page()
    words_of_progress(page, "track-progress")
    page.set_input_files("#track", upload(driving_video(25)))
    expect(page.locator("#take-facts")).to_contain_text("25 frames of clip.mp4")
    assert any(word.startswith("25 frames done") for word in page.evaluate("window.said"))
    track = json.loads(download(page, "#take-json"))
    assert len(track["frames"]) == 25 and track["fps"] == 25
    smile = track["names"].index("mouthSmileLeft")
    assert abs(track["frames"][9]["expression"][smile] - FITTED_SMILE) < 1e-3
    assert download(page, "#take-glb")[:4] == b"glTF"
    assert len(parse_csv(download(page, "#take-download"), "clip.csv")) == 25


def test_the_tracked_face_and_its_rest_are_chosen(open_page, toy_model):
    def smiles() -> float:
        track = json.loads(download(page, "#take-json"))
        return track["frames"][9]["expression"][track["names"].index("mouthSmileLeft")]

    with serving(toy_model, detector=detect_two) as address:
        page = open_page(address)
        expect(page.locator("#neutral-seconds")).to_be_hidden()
        page.set_input_files("#track", upload(driving_video(25)))
        expect(page.locator("#take-facts")).to_contain_text("Face 0 of 2 is followed")
        assert abs(smiles() - FITTED_SMILE) < 1e-3
        page.locator("#track-faces input").nth(1).check(force=True)
        expect(page.locator("#take-facts")).to_contain_text("Face 1 of 2 is followed")
        page.select_option("#neutral", "instant")
        expect(page.locator("#neutral-seconds")).to_be_visible()
        expect(page.locator("#track-progress")).to_be_hidden()
        assert smiles() == 0, "the fake networks' smile is the rest"
        expect(page.locator("#take-facts")).to_contain_text("Face 1 of 2 is followed")
        page.fill("#neutral-seconds", "9")
        page.locator("#neutral-seconds").blur()
        expect(page.locator("#problem")).to_contain_text("the video lasts 1.00 s; give an instant of it")
        page.set_input_files("#track", upload(driving_video(5), "other.mp4"))
        expect(page.locator("#track-faces input").nth(0)).to_be_checked()
        page.close()


@pytest.mark.parametrize("kind", ["tiff", "jp2", "png"])
def test_photos_that_browsers_do_not_show_are_shown(open_page, tmp_path, kind):
    page = open_page()
    path = tmp_path / f"photo.{kind}"
    image = cv2.imdecode(np.frombuffer(PHOTO["buffer"], np.uint8), cv2.IMREAD_COLOR)
    if kind == "png":  # 12 bits in 16
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 16)
    else:
        Image.fromarray(image[..., ::-1]).save(path)
    page.set_input_files("#photo", path)
    expect(page.locator("#status")).to_contain_text("Face fitted")
    expect(page.locator("#photo-notes")).to_contain_text("4095 as white" if kind == "png" else "confidence")
    shown = cv2.imdecode(np.frombuffer(page.locator("#image").screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert shown.mean() > 100


def test_a_video_without_a_face_is_explained(open_page, toy_model):
    with serving(toy_model, detector=lambda image: []) as address:
        page = open_page(address, allowed="status of 422")
        page.set_input_files("#photo", upload(driving_video(5)))
        expect(page.locator("#problem")).to_contain_text("none of its 5 frames shows a face")
        expect(page.locator("#welcome")).to_be_visible()
        page.close()
