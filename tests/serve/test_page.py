"""The page in a headless browser, with the real HTTP application and fake networks."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from page_in_browser import (
    FACE_BOXES,
    FITTED_SMILE,
    FLAGS,
    capture,
    detect_centre,
    detect_two,
    driving_video,
    find_browser,
    photo,
    serving,
)

from jr2net.face.arkit import ARKIT_NAMES
from serve.page.libraries import bundle

sync_api = pytest.importorskip("playwright.sync_api", reason="the page's drills drive a browser with playwright")
expect = sync_api.expect
expect.set_options(timeout=60_000)  # for busy machines

pytestmark = pytest.mark.drill
PHOTO = {"name": "someone.png", "mimeType": "image/png", "buffer": photo()}
OpenPage = Callable[..., "sync_api.Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    path = find_browser()
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=120_000)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(toy_model) -> Iterator[str]:
    if not bundle.BUNDLE.is_file():
        try:
            bundle.bundle()
        except bundle.BundleError as error:
            pytest.skip(f"the page's 3D library is missing: {error}")
    with serving(toy_model) as address:
        yield address


@pytest.fixture
def open_page(browser, address) -> Iterator[OpenPage]:
    """Opens the page. Afterwards its console must be empty, except for allowed messages, and all requests local."""
    errors: list[str] = []
    contexts = []

    def open_at(url: str = address, allowed: str = "^$", width: int = 1280, **options) -> sync_api.Page:
        def record(message: str) -> None:
            if not re.search(allowed, message):
                errors.append(message)

        options = {"reduced_motion": "reduce", "viewport": {"width": width, "height": 844}} | options
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: message.type in ("error", "warning") and record(message.text))
        page.on("pageerror", lambda error: record(str(error)))
        page.on(
            "request",
            lambda request: request.url.startswith((url, "blob:", "data:")) or record(f"requested {request.url}"),
        )
        page.goto(url)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert errors == []


def fit(page: sync_api.Page) -> None:
    """Chooses the photo and accepts the box of the face, because this server has no detector."""
    page.set_input_files("#photo", PHOTO)
    page.click("#box-use")
    expect(page.locator("#status")).to_contain_text("Face fitted")


def wait_for_image(page: sync_api.Page, previous: str | None = None) -> str:
    """Waits for a generated image other than the previous one. Returns its URL."""
    expect(page.locator("#provenance")).to_be_visible()
    image = page.locator("#image")
    if previous is not None:
        expect(image).not_to_have_attribute("src", previous)
    return image.get_attribute("src")


def centre_brightness(page: sync_api.Page) -> float:
    """Brightness, 0 to 255, of the centre of the displayed photo."""
    pixels = cv2.imdecode(np.frombuffer(page.locator("#view").screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
    height, width = pixels.shape
    return float(pixels[height // 2 - 5 : height // 2 + 5, width // 2 - 5 : width // 2 + 5].mean())


def download(page: sync_api.Page, button: str) -> bytes:
    with page.expect_download() as started:
        page.click(button)
    return Path(started.value.path()).read_bytes()


def count_frames(video: bytes, folder: Path) -> int:
    (folder / "video.mp4").write_bytes(video)
    return int(cv2.VideoCapture(str(folder / "video.mp4")).get(cv2.CAP_PROP_FRAME_COUNT))


def set_slider(page: sync_api.Page, name: str, value: float) -> None:
    page.locator(f"#{name}").evaluate("(slider) => slider.closest('details').open = true")
    page.locator(f"#{name}").fill(str(value))


def test_the_photo_is_fitted_and_updated_by_the_sliders(open_page):
    page = open_page()
    fit(page)
    expect(page.locator("#mouthSmileLeft")).to_have_value(str(FITTED_SMILE))
    expect(page.locator("#jawOpen")).to_have_value("0")
    expect(page.locator("#mesh")).to_be_visible()
    set_slider(page, "jawOpen", 0.1)
    first = wait_for_image(page)
    bright = centre_brightness(page)
    set_slider(page, "jawOpen", 0.9)
    wait_for_image(page, first)
    assert centre_brightness(page) < 0.5 * bright
    expect(page.locator("#response-time")).to_contain_text("(WebSocket)")
    page.click("#compare")
    expect(page.locator("#provenance")).to_be_hidden()
    assert centre_brightness(page) > 0.9 * bright


def test_the_mesh_rotates_and_deforms(open_page):
    page = open_page()
    fit(page)
    mesh = page.locator("#mesh")
    page.check("[name=layer][value=mesh]", force=True)
    screenshots = [mesh.screenshot()]
    mesh.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    screenshots.append(_settled(page, mesh))
    page.keyboard.press("Home")
    _settled(page, mesh)
    set_slider(page, "jawOpen", 1)
    screenshots.append(_settled(page, mesh))
    assert len({hashlib.sha256(screenshot).digest() for screenshot in screenshots}) == 3
    grey = cv2.imdecode(np.frombuffer(screenshots[0], np.uint8), cv2.IMREAD_GRAYSCALE)
    assert grey.std() > 3  # something is drawn


def _settled(page: sync_api.Page, locator: sync_api.Locator) -> bytes:
    page.wait_for_timeout(500)  # it is drawn with the next animation frame
    return locator.screenshot()


def test_without_websockets_the_photo_is_updated_by_requests(open_page, toy_model):
    with serving(toy_model, stream=False) as address:
        page = open_page(address, allowed="WebSocket")
        fit(page)
        set_slider(page, "jawOpen", 0.8)
        wait_for_image(page)
        expect(page.locator("#response-time")).to_contain_text("(HTTP)")
        assert centre_brightness(page) < 80
        page.close()


def test_the_page_works_without_the_3d_library(open_page, address):
    page = open_page(address + "nowhere", allowed=".")  # to set up the route before the page loads
    page.route("**/vendor/three.js", lambda route: route.abort())
    page.goto(address)
    fit(page)
    expect(page.locator("#status")).to_contain_text("make page")
    expect(page.locator("#mesh")).to_be_hidden()
    set_slider(page, "jawOpen", 0.9)
    wait_for_image(page)
    assert centre_brightness(page) < 80


def test_the_last_of_many_movements_is_shown(open_page):
    page = open_page()
    fit(page)
    for step in range(30):
        set_slider(page, "jawOpen", 1 - step / 30)
    set_slider(page, "jawOpen", 0)
    wait_for_image(page)
    page.wait_for_timeout(1500)
    assert centre_brightness(page) > 140


def test_left_and_right_move_together_or_separately(open_page):
    page = open_page()
    fit(page)
    set_slider(page, "eyeBlinkLeft", 0.6)
    expect(page.locator("#eyeBlinkRight")).to_have_value("0.6")
    page.uncheck("#link-sides", force=True)
    set_slider(page, "eyeBlinkLeft", 0.2)
    expect(page.locator("#eyeBlinkRight")).to_have_value("0.6")
    page.locator("#eyeBlinkLeft").press("Delete")
    expect(page.locator("#eyeBlinkLeft")).to_have_value("0")


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


def test_the_mesh_lets_the_face_shine_through(open_page):
    page = open_page()
    fit(page)
    opacity = "getComputedStyle(document.getElementById('mesh')).opacity"
    assert page.evaluate(opacity) == "0.6"
    page.locator("#opacity").fill("0.3")
    assert page.evaluate(opacity) == "0.3"
    page.check("[name=layer][value=mesh]", force=True)
    expect(page.locator("#opacity")).to_be_hidden()
    assert page.evaluate(opacity) == "1"


def test_a_driving_photo_without_a_face_is_explained(open_page):
    page = open_page(allowed="status of 422")
    fit(page)
    page.set_input_files("#driving", PHOTO)
    expect(page.locator("#problem")).to_contain_text("no face detector")


def test_downloads(open_page, toy_model):
    page = open_page()
    fit(page)
    set_slider(page, "jawOpen", 0.5)
    glb = trimesh.load(io.BytesIO(download(page, "#download-glb")), file_type="glb")
    obj = trimesh.load(io.BytesIO(download(page, "#download-obj")), file_type="obj", process=False)
    (mesh,) = glb.geometry.values()
    assert len(mesh.faces) == len(obj.faces) == len(toy_model.faces)
    coefficients = json.loads(download(page, "#download-coefficients"))["expression"]
    assert set(coefficients) == set(ARKIT_NAMES)
    assert coefficients["jawOpen"] == 0.5
    image = cv2.imdecode(np.frombuffer(download(page, "#download-image"), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (360, 480, 3)


def test_the_page_works_by_keyboard(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    focused = []
    for _ in range(8):
        page.keyboard.press("Tab")
        focused.append(page.evaluate("document.activeElement.id"))
    assert {"theme", "photo", "sample"} <= set(focused)
    page.locator("#sample").press("Enter")  # its box is known
    expect(page.locator("#status")).to_contain_text("Face fitted")
    page.locator("#mark-face").press("Enter")
    expect(page.locator("#face-box")).to_be_focused()
    for key in ("ArrowUp", "ArrowLeft", "Shift+ArrowRight"):
        page.keyboard.press(key)
    page.locator("#box-use").press("Enter")
    expect(page.locator("#box-controls")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("Face fitted")
    page.locator("#jawOpen").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#jawOpen")).to_have_value("0.05")
    wait_for_image(page)
    page.locator("#demo").press("Enter")
    page.locator("#play").press("Enter")
    expect(page.locator("#play")).to_have_text("Play")


def test_every_control_has_a_name(open_page):
    page = open_page()
    fit(page)
    nameless = page.locator("button, input, canvas, [tabindex='0']").evaluate_all(
        """(controls) => controls.filter((control) => {
          const name = control.getAttribute("aria-label") || control.textContent.trim();
          return !name && !control.labels?.length;
        }).map((control) => control.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(open_page, scheme):
    page = open_page(width=360, color_scheme=scheme, has_touch=True, is_mobile=True)
    fit(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.evaluate("document.getElementById('problem-detail').textContent = 'a reason in many words '.repeat(9)")
    page.evaluate("document.getElementById('problem').hidden = false")
    dismiss = page.locator("#problem-close").bounding_box()
    assert dismiss["width"] > 50 and dismiss["height"] < 40, "in one line"
    page.click("#problem-close")
    set_slider(page, "jawOpen", 0.8)
    wait_for_image(page)
    page.locator("#jawOpen").scroll_into_view_if_needed()
    expect(page.locator("#image")).to_be_in_viewport()  # the photo stays visible while the sliders scroll
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(re.findall(r"\d+", background)[0])
    assert (red < 60) == (scheme == "dark")


def test_a_chosen_theme_is_kept(open_page):
    page = open_page(color_scheme="light")
    for _ in range(2):
        page.click("#theme")
    page.reload()
    expect(page.locator("#theme")).to_have_text("Theme: dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_key_is_requested_and_kept_for_the_session(open_page, toy_model):
    with serving(toy_model, keys=(hashlib.sha256(b"open sesame").digest(),)) as address:
        page = open_page(address, allowed="status of 401")
        page.click("#sample")
        expect(page.locator("#key-dialog")).to_be_visible()
        page.fill("#key", "open sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#key-dialog")).to_be_hidden()
        page.click("#sample")
        expect(page.locator("#status")).to_contain_text("Face fitted")
        set_slider(page, "jawOpen", 0.7)
        wait_for_image(page)
        expect(page.locator("#response-time")).to_contain_text("(WebSocket)")
        assert page.evaluate("Object.keys(localStorage).concat(document.cookie)") == [""]
        page.close()


def test_a_file_that_is_not_a_photo_is_explained(open_page):
    page = open_page()
    page.set_input_files("#photo", {"name": "notes.txt", "mimeType": "image/png", "buffer": b"not a photo"})
    expect(page.locator("#problem")).to_contain_text("notes.txt is not a photo")
    expect(page.locator("#welcome")).to_be_visible()
