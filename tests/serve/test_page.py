"""The page in a headless browser, with the real HTTP application and fake networks."""

from __future__ import annotations

import hashlib
import io
import json
import re

import cv2
import numpy as np
import pytest
import trimesh
from page_in_browser import FITTED_SMILE, centre_brightness, download, fit, serving, set_slider, wait_for_image

from jr2net.face.arkit import ARKIT_NAMES

sync_api = pytest.importorskip("playwright.sync_api", reason="the page's long tests drive a browser with playwright")
expect = sync_api.expect
expect.set_options(timeout=60_000)  # for busy machines

pytestmark = pytest.mark.drill


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


def test_a_low_confidence_is_said(open_page):
    page = open_page()
    fit(page)
    expect(page.locator("#photo-notes")).to_contain_text("The confidence is low (0.0")
    expect(page.locator("#facts")).to_contain_text("Confidence0.0")


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
