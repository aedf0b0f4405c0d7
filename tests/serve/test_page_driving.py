"""The page in a headless browser: captures, videos and photos that drive the photo, and which of its faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from page_in_browser import (
    FACE_BOXES,
    FITTED_SMILE,
    PHOTO,
    capture,
    detect_centre,
    detect_two,
    download,
    driving_video,
    fit,
    serving,
    set_slider,
    wait_for_image,
)
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api", reason="the page's long tests drive a browser with playwright")
expect = sync_api.expect
expect.set_options(timeout=60_000)  # for busy machines

pytestmark = pytest.mark.drill


def count_frames(video: bytes, folder: Path) -> int:
    (folder / "video.mp4").write_bytes(video)
    return int(cv2.VideoCapture(str(folder / "video.mp4")).get(cv2.CAP_PROP_FRAME_COUNT))


def test_a_capture_plays_and_is_rendered(open_page, tmp_path):
    page = open_page()
    fit(page)
    page.set_input_files("#driving", {"name": "take.csv", "mimeType": "text/csv", "buffer": capture()})
    expect(page.locator("#capture-name")).to_have_text("take")
    expect(page.locator("#play")).to_have_text("Play")  # it has ended
    expect(page.locator("#jawOpen")).to_have_value("1")
    wait_for_image(page)
    page.click("#render")
    expect(page.locator("#result")).to_be_visible()
    assert count_frames(download(page, "#video-download"), tmp_path) == 40
    page.locator("#seek").fill("0")
    expect(page.locator("#jawOpen")).to_have_value("0")


def test_what_was_found_in_a_capture_is_said(open_page):
    page = open_page()
    fit(page)
    lines = capture().decode().splitlines()
    lines[11:16] = [line.split(",")[0] + ",0" for line in lines[11:16]]
    content = "\n".join(lines).encode()
    page.set_input_files("#driving", {"name": "take.csv", "mimeType": "text/csv", "buffer": content})
    expect(page.locator("#capture-notes")).to_contain_text("Of 40 frames, 5 show no face")
    expect(page.locator("#jawOpen")).to_have_value("1")
    page.click("#demo")
    expect(page.locator("#capture-notes")).to_be_hidden()


def test_a_broken_capture_is_explained(open_page):
    page = open_page(allowed="status of 422")
    fit(page)
    page.set_input_files(
        "#driving", {"name": "take.csv", "mimeType": "text/csv", "buffer": b"Timecode,JawOpen\n1,0.5\n"}
    )
    expect(page.locator("#problem")).to_contain_text("Capture: column eyeBlinkLeft")
    page.click("#problem-close")
    expect(page.locator("#problem")).to_be_hidden()


def test_a_video_and_another_photo_drive_the_photo(open_page, toy_model, tmp_path):
    with serving(toy_model, detector=detect_centre) as address:
        page = open_page(address)
        page.set_input_files("#photo", PHOTO)
        expect(page.locator("#status")).to_contain_text("Face fitted")  # detected
        set_slider(page, "jawOpen", 0.9)
        slider_image = wait_for_image(page)
        page.set_input_files("#driving", PHOTO)
        expect(page.locator("#status")).to_contain_text("has the expression and head pose of someone.png; the sliders")
        expect(page.locator("#status")).to_contain_text("Someone.png: the confidence is low")
        wait_for_image(page, slider_image)
        expect(page.locator("#jawOpen")).to_have_value("0")  # the driving face's, as fitted by the fake networks
        expect(page.locator("#mouthSmileLeft")).to_have_value(str(FITTED_SMILE))
        driven = cv2.imdecode(np.frombuffer(download(page, "#download-image"), np.uint8), cv2.IMREAD_COLOR)
        assert driven.shape == (360, 480, 3) and driven[170:190, 230:250].mean() > 140
        page.set_input_files("#driving", {"name": "clip.mp4", "mimeType": "video/mp4", "buffer": driving_video(12)})
        expect(page.locator("#result")).to_be_visible()
        assert count_frames(download(page, "#video-download"), tmp_path) == 12
        page.close()


def test_a_face_is_chosen_among_several(open_page, toy_model):
    with serving(toy_model, detector=detect_two) as address:
        page = open_page(address)
        page.set_input_files("#photo", PHOTO)
        expect(page.locator("#status")).to_contain_text("The photo shows 2 faces")
        faces = page.locator("#faces input")
        expect(faces).to_have_count(2)
        expect(faces.nth(0)).to_be_checked()
        for chosen, (left, top, right, bottom) in ((1, FACE_BOXES[1]), (0, FACE_BOXES[0])):
            faces.nth(chosen).check(force=True)
            expect(page.locator("#spinner")).to_be_hidden()
            expect(faces.nth(chosen)).to_be_checked()
            set_slider(page, "jawOpen", 0.9)
            wait_for_image(page)
            image = cv2.imdecode(np.frombuffer(download(page, "#download-image"), np.uint8), cv2.IMREAD_GRAYSCALE)
            centre = image[int((0.55 * top + 0.45 * bottom) * 360), int((left + right) / 2 * 480)]
            assert centre < 60, "the chosen face is darkened"
        page.set_input_files("#photo", PHOTO)
        expect(page.locator("#spinner")).to_be_hidden()
        page.click("#mark-face")
        page.click("#box-use")
        expect(page.locator("#faces")).to_be_hidden()  # a marked face needs no choice
        page.close()


def test_the_face_that_drives_is_chosen(open_page, toy_model, tmp_path):
    with serving(toy_model, detector=detect_two) as address:
        page = open_page(address)
        page.set_input_files("#photo", PHOTO)
        expect(page.locator("#status")).to_contain_text("Face fitted")
        expect(page.locator("#driving-faces")).to_be_hidden()
        page.set_input_files("#driving", {"name": "two.mp4", "mimeType": "video/mp4", "buffer": driving_video(12)})
        faces = page.locator("#driving-faces input")
        expect(faces).to_have_count(2)
        expect(page.locator("#film-notes")).to_contain_text("Face 0 of 2 is followed")
        faces.nth(1).check(force=True)
        expect(page.locator("#film-notes")).to_contain_text("Face 1 of 2 is followed")
        assert count_frames(download(page, "#video-download"), tmp_path) == 12
        tiff = tmp_path / "two.tiff"  # browsers do not show it
        Image.fromarray(cv2.imdecode(np.frombuffer(PHOTO["buffer"], np.uint8), cv2.IMREAD_COLOR)).save(tiff)
        page.evaluate(
            """() => {
              const send = window.fetch;
              window.sent = [];
              window.fetch = (url, request) => {
                if (`${url}`.endsWith("/v1/reenact")) window.sent.push(request.body.get("driving_face"));
                return send(url, request);
              };
            }"""
        )
        page.set_input_files("#driving", tiff)
        expect(page.locator("#status")).to_contain_text("head pose of two.tiff")
        expect(page.locator("#driving-faces")).to_be_visible()
        faces.nth(1).check(force=True)
        expect(page.locator("#spinner")).to_be_hidden()
        download(page, "#download-image")
        assert page.evaluate("window.sent") == [None, "1", "1"]
        page.set_input_files("#driving", {"name": "take.csv", "mimeType": "text/csv", "buffer": capture()})
        expect(page.locator("#driving-faces")).to_be_hidden()
        page.close()


def test_a_driving_photo_without_a_face_is_explained(open_page):
    page = open_page(allowed="status of 422")
    fit(page)
    page.set_input_files("#driving", PHOTO)
    expect(page.locator("#problem")).to_contain_text("no face detector")


def test_motion_refers_to_a_chosen_moment(open_page):
    page = open_page()
    fit(page)
    page.set_input_files("#driving", {"name": "take.csv", "mimeType": "text/csv", "buffer": capture()})
    expect(page.locator("#play")).to_have_text("Play")  # it has ended
    page.locator("#relative").evaluate("(control) => (control.closest('details').open = true)")
    page.check("#relative", force=True)
    expect(page.locator("#reference-seconds")).to_be_hidden()
    page.select_option("#reference", "instant")
    page.fill("#reference-seconds", "0.1")  # the third frame: the jaw is open by 0.3
    page.locator("#seek").fill("5")
    expect(page.locator("#jawOpen")).to_have_value("0.2")
