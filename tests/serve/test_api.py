"""The HTTP API with the networks in this process: its responses, and the status of invalid requests."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import trimesh
from PIL import Image
from small_networks import BOX, SIZE, InProcessNetworks, make_client, make_photo, make_settings

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.face_detector import Face
from jr2net.images.mark import is_marked
from jr2net.inference.messages import ModelInfo, ReenactRequest
from serve.access import AccessControl
from serve.problems import NetworkUnavailable

PNG = {"Content-Type": "image/png"}


def reconstruct(client, body: bytes = b"", **query):
    return client.post("/v1/reconstruct", content=body or make_photo(), params={"box": BOX, **query}, headers=PNG)


def reenact(client, files: dict | None = None, **data):
    files = {"source": make_photo(height=150, width=200)} if files is None else files
    return client.post("/v1/reenact", files=files, data={"box": BOX, **data})


def problem(response, status: int) -> str:
    """The detail of a problem document."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status and document["type"] and document["title"]
    assert "Traceback" not in document["detail"] and "/" not in document["detail"].split()[0]
    return document["detail"]


def test_reconstruction_returns_named_coefficients_and_all_parameters(client, face_model, networks):
    body = reconstruct(client).json()
    (face,) = body["faces"]
    assert list(face["expression"]) == list(ARKIT_NAMES)
    assert all(0 <= value <= 1 for value in face["expression"].values())
    assert {name: len(face[name]) for name in ("identity", "albedo")} == {
        name: face_model.sizes[name] for name in ("identity", "albedo")
    }
    assert np.shape(face["light"]) == (9, 3) and len(face["rotation"]) == len(face["translation"]) == 3
    assert face["box"] == [20, 20, 108, 108] and face["picture"] == {"width": 128, "height": 128}
    assert body["model"] == networks.reconstructor.info.digest
    assert face["camera"]["size"] == SIZE and np.shape(face["camera"]["crop"]) == (2, 3)
    # The landmarks in crop pixels, from the affine in the response.
    matrix = np.array(face["camera"]["crop"])
    inside = np.array(face["landmarks"]) @ matrix[:, :2].T + matrix[:, 2]
    assert inside.shape == (68, 2) and (np.abs(inside - SIZE / 2) < SIZE).all()


def test_several_images_in_one_request_return_faces_in_order(client):
    photos = [make_photo(seed) for seed in range(3)]
    files = [("image", (f"{n}.png", content, "image/png")) for n, content in enumerate(photos)]
    together = client.post("/v1/reconstruct", files=files, params={"box": BOX}).json()["faces"]
    alone = [reconstruct(client, content).json()["faces"][0] for content in photos]
    assert together == alone and together[0] != together[1]


def test_each_image_can_have_its_own_box(client):
    files = [("image", (f"{n}.png", make_photo(n), "image/png")) for n in range(2)]
    body = client.post("/v1/reconstruct", files=files, data={"box": ["10,10,90,90", BOX]}).json()
    assert [face["box"] for face in body["faces"]] == [[10, 10, 90, 90], [20, 20, 108, 108]]
    assert "box: 1 for 2 images" in problem(client.post("/v1/reconstruct", files=files, data={"box": BOX}), 422)


def test_each_image_can_have_its_own_face(networks, face_model, settings):
    faces = [Face((20, 20, 108, 108), 0.9), Face((0, 0, 30, 30), 0.8)]
    client = make_client(networks, face_model, settings, detector=lambda image: faces)
    files = [("image", (f"{n}.png", make_photo(n), "image/png")) for n in range(2)]
    body = client.post("/v1/reconstruct", files=files, data={"face": ["1", "0"]}).json()
    assert [face["face"] for face in body["faces"]] == [1, 0]
    assert [face["box"] for face in body["faces"]] == [[0, 0, 30, 30], [20, 20, 108, 108]]
    assert client.post("/v1/reconstruct", files=files, params={"face": 1}).json()["faces"][1]["face"] == 1
    assert "face: 1 for 2 images" in problem(client.post("/v1/reconstruct", files=files, data={"face": "1"}), 422)
    assert "not an index" in problem(client.post("/v1/reconstruct", files=files, data={"face": ["1", "x"]}), 422)
    assert reconstruct(client).json()["faces"][0]["face"] is None  # its box was given


def test_what_a_file_lost_is_said(client):
    buffer = io.BytesIO()
    Image.new("RGBA", (128, 128), (90, 60, 40, 100)).save(buffer, "PNG")
    answer = reconstruct(client, buffer.getvalue()).json()["faces"][0]
    assert answer["notes"][0] == "its transparent parts became white" and answer["confidence"] < 0.1
    (doubt,) = reconstruct(client).json()["faces"][0]["notes"]  # no face is drawn there
    assert doubt.startswith("the confidence is low (0.0")


def test_mesh_and_overlay_formats(client, face_model):
    glb, obj = reconstruct(client, format="glb"), reconstruct(client, format="obj")
    assert glb.headers["content-type"] == "model/gltf-binary" and len(glb.headers["x-model-digest"]) == 64
    (mesh,) = trimesh.load(io.BytesIO(glb.content), file_type="glb").geometry.values()
    assert mesh.faces.shape == tuple(face_model.faces.shape)
    assert obj.content.count(b"\nv ") == len(face_model.mean)
    overlay = reconstruct(client, format="overlay")
    assert Image.open(io.BytesIO(overlay.content)).size == (128, 128)
    files = [("image", (f"{n}.png", make_photo(n), "image/png")) for n in range(2)]
    rejected = client.post("/v1/reconstruct", files=files, params={"format": "obj", "box": BOX})
    assert "format=obj works with one image" in problem(rejected, 422)


def test_reenactment_with_named_coefficients(client):
    response = reenact(client, expression=json.dumps({"jawOpen": 1.0}))
    assert response.status_code == 200 and response.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(response.content)).size == (200, 150)
    assert is_marked(response.content)
    png = reenact(client, expression="{}", format="png")
    assert is_marked(png.content) and png.headers["content-type"] == "image/png"


def test_pixels_beyond_the_face_do_not_change(client):
    source = make_photo(height=400, width=600)
    response = reenact(client, {"source": source}, expression="{}", format="png")
    before, after = (np.asarray(Image.open(io.BytesIO(content))) for content in (source, response.content))
    assert np.array_equal(before[:, 300:], after[:, 300:])
    assert not np.array_equal(before[20:108, 20:108], after[20:108, 20:108])


def test_relative_coefficients_are_added_to_those_of_the_source(networks, face_model, settings):
    recorded: list[ReenactRequest] = []

    class Recording(InProcessNetworks):
        async def reenact(self, requests):
            recorded.extend(requests)
            return await super().reenact(requests)

    client = make_client(Recording(networks.reconstructor, networks.reenactor), face_model, settings)
    assert reenact(client, expression='{"jawOpen": 0.5, "eyeBlinkLeft": -1}', relative="true").status_code == 200
    assert reenact(client, expression='{"jawOpen": 0.5}').status_code == 200
    relative, absolute = recorded
    jaw, blink, smile = (ARKIT_NAMES.index(name) for name in ("jawOpen", "eyeBlinkLeft", "mouthSmileLeft"))
    own = relative.source["expression"]
    assert relative.driving["expression"][jaw] == pytest.approx(min(1, own[jaw] + 0.5))
    assert relative.driving["expression"][blink] == 0 and relative.driving["expression"][smile] == own[smile]
    assert absolute.driving["expression"][jaw] == 0.5 and absolute.driving["expression"].sum() == 0.5


def test_controls_change_what_is_driven(networks, face_model, settings):
    class Recording:
        fit, describe = networks.fit, networks.describe

        async def reenact(self, requests):
            self.requests = requests
            return await networks.reenact(requests)

    recording = Recording()
    client = make_client(recording, face_model, settings)

    def driven(**data: str):
        assert reenact(client, **data).status_code == 200
        return recording.requests[0].source, recording.requests[0].driving

    jaw, blink = (ARKIT_NAMES.index(name) for name in ("jawOpen", "eyeBlinkLeft"))
    own, target = driven(expression='{"jawOpen": 0.8, "eyeBlinkLeft": 1}', regions="eyes", strength="0.5")
    assert target["expression"][jaw] == own["expression"][jaw]
    assert target["expression"][blink] == pytest.approx((own["expression"][blink] + 1) / 2, abs=1e-6)
    own, target = driven(yaw="20", pitch="-5", close_mouth="true")
    assert target["rotation"] - own["rotation"] == pytest.approx(np.radians([-5, 20, 0]), abs=1e-6)
    assert target["expression"][jaw] == 0 and target["expression"][blink] == own["expression"][blink]


def test_reenactment_with_a_driving_photo(client):
    files = {"source": make_photo(), "driving": make_photo(1)}
    plain = reenact(client, files, driving_box=BOX)
    posed = reenact(client, files, driving_box=BOX, pose="true", light="true")
    assert plain.status_code == posed.status_code == 200 and plain.content != posed.content


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ({}, "either expression"),
        ({"expression": '{"jawOpne": 1}'}, "'jawOpne' is no blendshape"),
        ({"expression": '{"jawOpen": 1.5}'}, "jawOpen = 1.5 is not a number in"),
        ({"expression": '{"jawOpen": NaN}'}, "jawOpen = nan"),
        ({"expression": '{"jawOpen": true}'}, "jawOpen = True"),
        ({"expression": '{"jawOpen": 0, "jawOpen": 1}'}, "expression: 'jawOpen' is given twice"),
        ({"expression": '{"jawOpen": "1"}'}, "jawOpen = 1 is not a number"),
        ({"expression": "[1, 2]"}, "give blendshape names"),
        ({"expression": "{}", "pose": "true"}, "pose: named coefficients drive the expression alone; omit it"),
        ({"expression": "{}", "regions": "eyes,pose"}, "pose: named coefficients drive the expression alone"),
        ({"expression": "{}", "regions": "nose"}, "regions: 'nose' is unknown; give one or more of eyes, brows, mouth"),
        ({"expression": "{}", "strength": "3"}, "strength: '3' is not a number from 0 to 2"),
        ({"expression": "{}", "yaw": "left"}, "yaw: 'left' is not a number from -45 to 45 degrees"),
        ({"expression": "{}", "retarget": "nose"}, "retarget: 'nose' is unknown; give none, lips, eyes or both"),
        ({"expression": "{}", "close_mouth": "perhaps"}, "neither true nor false"),
        ({"expression": "{}", "reference": "first"}, "unknown field 'reference'"),
        ({"expression": "{}", "relative": "perhaps"}, "neither true nor false"),
        ({"expression": "{}", "format": "gif"}, "neither jpeg nor png"),
        ({"expression": "{}", "box": "1,2,3"}, "four numbers"),
        ({"expression": "{}", "box": "1,2,nan,9"}, "four numbers"),
        ({"expression": "{}", "box": "50,50,20,90"}, "right must be greater than left"),
        ({"expression": "{}", "box": "5000,50,5100,150"}, "lies outside the image"),
        ({"expression": "{}", "experssion": "{}"}, "unknown field 'experssion'"),
    ],
)
def test_invalid_fields_are_explained(client, data, detail):
    assert detail in problem(reenact(client, **data), 422)


def test_malformed_requests_are_rejected(client):
    assert "not JSON" in problem(reenact(client, expression="{jawOpen: 1}"), 400)
    assert "not JSON" in problem(reenact(client, expression="[" * 100_000), 400)
    assert "damaged" in problem(reconstruct(client, make_photo()[:100]), 400)
    assert "empty" in problem(client.post("/v1/reconstruct"), 400)
    assert "not a supported image format" in problem(reconstruct(client, b"\x7fELF" + bytes(100)), 415)
    assert "multipart" in problem(client.post("/v1/reenact", json={}), 415)
    assert "Content-Type" in problem(
        client.post("/v1/reconstruct", content=b"x", headers={"Content-Type": "text/html"}), 415
    )
    broken = client.post("/v1/reenact", content=b"--x\r\n", headers={"Content-Type": "multipart/form-data"})
    assert "multipart" in problem(broken, 400)
    assert problem(client.get("/v1/reconstruct"), 405)
    assert problem(client.get("/nothing"), 404)
    assert "face" in problem(reconstruct(client, face=-1), 422)


def test_limits_are_checked_before_decoding(networks, face_model, weights):
    small = make_settings(weights, limits={"body_bytes": 60_000, "pixels": 128 * 128, "images": 2})
    client = make_client(networks, face_model, small)
    assert reconstruct(client).status_code == 200
    assert "million pixels" in problem(reconstruct(client, make_photo(height=129)), 413)
    assert "60000 bytes" in problem(reconstruct(client, bytes(60_001)), 413)
    chunked = client.post("/v1/reconstruct", content=iter([b"x" * 1000] * 100), headers=PNG)
    assert "60000 bytes" in problem(chunked, 413)
    files = [("image", (f"{n}.png", b"x", "image/png")) for n in range(3)]
    assert "3 images in one request" in problem(client.post("/v1/reconstruct", files=files), 413)


def test_without_a_face_or_a_detector_the_error_names_the_remedy(networks, face_model, settings):
    faceless = make_client(networks, face_model, settings, detector=lambda photo: [])
    assert "no face was found" in problem(faceless.post("/v1/reconstruct", content=make_photo(), headers=PNG), 422)
    without_detector = make_client(networks, face_model, settings)
    assert "box=left,top,right,bottom" in problem(
        without_detector.post("/v1/reconstruct", content=make_photo(), headers=PNG), 422
    )


def test_face_selects_a_detected_face(networks, face_model, settings):
    faces = [Face((10, 10, 90, 90)), Face((50, 50, 80, 80))]
    client = make_client(networks, face_model, settings, detector=lambda photo: faces)
    for number, face in enumerate(faces):
        query = {"face": number}
        (found,) = client.post("/v1/reconstruct", content=make_photo(), params=query, headers=PNG).json()["faces"]
        assert found["box"] == list(face.box) and found["faces_found"] == 2
        assert found["boxes"] == [list(face.box) for face in faces]
    assert "face 2 was requested" in problem(
        client.post("/v1/reconstruct", content=make_photo(), params={"face": 2}, headers=PNG), 422
    )


def test_reenactment_takes_the_face_that_is_chosen(networks, face_model, settings):
    faces = [Face((10, 10, 60, 60)), Face((80, 80, 120, 120))]
    client = make_client(networks, face_model, settings, detector=lambda photo: faces)
    photo = np.array(Image.open(io.BytesIO(make_photo())).convert("RGB")).astype(int)

    def changed(**data) -> np.ndarray:
        """Where a photo changes."""
        files, fields = {"source": make_photo()}, {"expression": '{"jawOpen": 1}', "format": "png", **data}
        response = client.post("/v1/reenact", files=files, data=fields)
        assert response.status_code == 200, response.text
        taken = f"source: face {data.get('face', 0)} of 2 was taken, 0 is the largest"
        assert response.headers["X-Capture-Notes"].startswith(taken)
        return np.abs(np.array(Image.open(io.BytesIO(response.content))) - photo).max(-1) > 0

    assert changed()[:70, :70].any() and not changed()[80:, 80:].any()
    assert changed(face="1")[75:, 75:].any() and not changed(face="1")[:60, :60].any()
    both = {"source": make_photo(), "driving": make_photo()}
    for fields, detail in (
        ({"face": "2"}, "face 2 was requested"),
        ({"face": "-1"}, "face: '-1' is not an index"),
        ({"driving_face": "one"}, "driving_face: 'one' is not an index"),
        ({"driving_face": "9"}, "driving: face 9 was requested"),
    ):
        assert detail in problem(client.post("/v1/reenact", files=both, data=fields), 422)


def test_without_a_driving_face_its_own_field_is_named(networks, face_model, settings):
    client = make_client(networks, face_model, settings, detector=lambda photo: [])
    files = {"source": make_photo(), "driving": make_photo()}
    assert "give its box: driving_box=left" in problem(client.post("/v1/reenact", files=files, data={"box": BOX}), 422)


def test_requests_need_a_valid_key(networks, face_model, settings, monkeypatch):
    monkeypatch.setenv("JR2NET_API_KEYS", "first-key, second-key")
    digests = AccessControl.from_environment(settings.limits, "bearer").digests
    client = make_client(networks, face_model, settings, digests=digests)
    missing = reconstruct(client)
    assert "Authorization: Bearer" in problem(missing, 401) and missing.headers["www-authenticate"] == "Bearer"
    for authorization, status in (("Bearer wrong", 401), ("Basic first-key", 401), ("Bearer second-key", 200)):
        headers = {"Authorization": authorization, **PNG}
        response = client.post("/v1/reconstruct", content=make_photo(), params={"box": BOX}, headers=headers)
        assert response.status_code == status
    assert client.get("/healthz").status_code == client.get("/v1/model").status_code == 200


def test_the_rate_of_a_key_is_limited(networks, face_model, weights):
    slow = make_settings(weights, limits={"requests_per_second": 0.01, "burst": 2})
    client = make_client(networks, face_model, slow)
    assert [reconstruct(client).status_code for _ in range(2)] == [200, 200]
    rejected = reconstruct(client)
    assert "requests per second" in problem(rejected, 429) and int(rejected.headers["retry-after"]) >= 1


def test_unavailable_networks_return_503(face_model, settings):
    class UnavailableNetworks:
        async def fit(self, crops):
            raise NetworkUnavailable("the replica died")

        reenact = fit

        async def describe(self):
            return {"reconstruction": ModelInfo("recnet", "0" * 64, SIZE, 5.0)}

    client = make_client(UnavailableNetworks(), face_model, settings)
    response = reconstruct(client)
    assert "died" in problem(response, 503) and response.headers["retry-after"] == "1"


def test_unexpected_errors_expose_no_internals(networks, face_model, settings):
    def broken(photo):
        raise RuntimeError("secret path /srv/secret")

    client = make_client(networks, face_model, settings, detector=broken)
    response = client.post("/v1/reconstruct", content=make_photo(), headers=PNG)
    assert "secret" not in response.text and problem(response, 500)


def test_the_model_is_described(client, networks):
    described = client.get("/v1/model").json()
    assert described["model"] == networks.reconstructor.info.digest
    assert described["expression_names"] == list(ARKIT_NAMES)
    assert described["reenactment"]["kind"] == "dcnet" and described["detector"] is False
    assert client.get("/readyz").json() == {"status": "ok"}


def test_networks_with_different_cameras_are_not_ready(networks, face_model, settings):
    class MixedNetworks(InProcessNetworks):
        async def describe(self):
            return {
                "reconstruction": self.reconstructor.info,
                "reenactment": ModelInfo("dcnet", "0" * 64, SIZE, 4.0),
            }

    response = make_client(MixedNetworks(networks.reconstructor, networks.reenactor), face_model, settings).get(
        "/readyz"
    )
    assert "different cameras" in problem(response, 503)


def test_cross_origin_requests_are_not_allowed(client):
    response = client.options(
        "/v1/model", headers={"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    )
    assert "access-control-allow-origin" not in response.headers
    assert "access-control-allow-origin" not in client.get("/healthz", headers={"Origin": "https://x.example"}).headers


PATHS = {
    "/v1/reconstruct": "POST", "/v1/reenact": "POST", "/v1/reenact/video": "POST", "/v1/capture": "POST",
    "/v1/picture": "POST", "/v1/track": "POST", "/v1/model": "GET",
}  # fmt: skip


@pytest.mark.parametrize(("path", "allowed"), PATHS.items())
def test_other_methods_are_refused_with_those_allowed(networks, face_model, weights, path, allowed):
    client = make_client(networks, face_model, make_settings(weights, page=True))
    for method in {"GET", "HEAD", "POST", "PUT", "DELETE"} - {allowed}:
        response = client.request(method, path)
        assert response.status_code == 405 and response.headers["allow"] == allowed, method
    assert problem(client.delete(path), 405) == f"this path takes {allowed} only"
    assert client.get("/v1/nothing").status_code == 404 and client.get("/").status_code == 200


def test_openapi_describes_every_path(client):
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == PATHS.keys() | {"/healthz", "/readyz"}
    documentation = client.get("/docs")
    assert documentation.status_code == 200 and "//" not in documentation.text.replace("<!--", "").split("<body>")[0]
