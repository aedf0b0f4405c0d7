"""Fuzzing with thousands of invalid bodies: each returns a problem document, memory does not grow, nothing crashes.

The corpus is derived here from valid bodies; it is the same in every run.
"""

from __future__ import annotations

import gc
import io
import json
import struct
import zlib
from collections import Counter
from collections.abc import Iterator

import av
import numpy as np
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from PIL import Image
from schemathesis.checks import content_type_conformance, not_a_server_error, response_schema_conformance
from small_networks import BOX, make_client, make_photo, make_settings

from jr2net.face.arkit import ARKIT_NAMES
from jr2net.images.face_detector import Face
from serve.access import AccessControl
from serve.api import create_api
from serve.service import Service

Request = tuple[str, dict]
"""Path, and keyword arguments of ``client.post``."""

PATHS = {f"/v1/{name}" for name in ("reconstruct", "reenact", "reenact/video", "capture", "track", "picture")}

EXPRESSIONS = [
    '{"jawOpen": NaN}', '{"jawOpen": Infinity}', '{"jawOpen": -Infinity}', '{"jawOpen": 1e999}', '{"jawOpen": null}',
    '{"jawOpen": "0.5"}', '{"jawOpen": [0.5]}', '{"jawOpen": {}}', '{"jawOpen": true}', '{"jawOpen": -0.01}',
    '{"jawOpen": 1.01}', '{"jawopen": 0.5}', '{"": 0}', '{"tongueOut": 0.5}', '{"__proto__": 1}', "[]", "null", "0.5",
    '"jawOpen"', "", "{", "}", "{]", "{'jawOpen': 1}", '{"jawOpen": 0.5,}', "[" * 50_000, '{"a":' * 5_000,
    '{"jawOpen": ' + "9" * 5_000 + "}", json.dumps({f"name{n}": 0 for n in range(20_000)}), "\x00", "\ud7ff", "true",
]  # fmt: skip
BOXES = ["", "1", "1,2,3", "1,2,3,4,5", "a,b,c,d", "nan,0,10,10", "inf,0,inf,10", "0,0,0,0", "9,9,1,1", "0,0,1e30,1e30",
         "-500,-500,-400,-400", "0,0,10,", "0x10,0,20,20", "1;2;3;4", "٣,0,20,20", " ", "0," * 10_000]  # fmt: skip


def _png(width: int, height: int, data: bytes = b"", depth: int = 8, colour: int = 2) -> bytes:
    """A PNG whose header may contradict its data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def _valid_photos() -> dict[str, bytes]:
    """Valid photos in every format, to be corrupted."""
    image = Image.open(io.BytesIO(make_photo(height=40, width=40)))
    kinds = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"]
    out = {}
    for kind in kinds:
        buffer = io.BytesIO()
        image.save(buffer, kind)
        out[kind] = buffer.getvalue()
    return out


def _corrupt_photos() -> Iterator[bytes]:
    generator = np.random.default_rng(0)
    for content in _valid_photos().values():
        for cut in np.linspace(0, len(content) - 1, 60).astype(int):  # truncated
            yield content[:cut]
        for _ in range(150):  # random bytes replaced
            damaged = bytearray(content)
            for offset in generator.integers(0, len(damaged), 8):
                damaged[offset] = generator.integers(256)
            yield bytes(damaged)
    for side in (1, 10_000, 50_000, 100_000, 2**31 - 1):  # more pixels than the file has bytes
        for depth, colour in ((8, 2), (16, 6), (1, 0), (8, 3)):
            yield _png(side, side, b"", depth, colour)
    yield _png(6_000, 6_000, bytes(3 * 6_000 * 6_000))  # decompression bomb: 36 million black pixels in 100 kB
    yield _png(0, 0)
    for start in (b"GIF89a", b"BM", b"%PDF-1.7", b"%!PS-Adobe", b"<svg/>", b"\x80\x04",
                  b"PK\x03\x04", b"\x7fELF", b"#!/bin/sh\n", b"<?xml version='1.0'?>", b"\0" * 64, b"GIF"):  # fmt: skip
        for length in (0, 10, 1000, 30_000):
            yield start + generator.integers(0, 256, length, np.uint8).tobytes()
    for length in range(1, 200):
        yield generator.integers(0, 256, length * 7, np.uint8).tobytes()


def _requests() -> Iterator[Request]:
    """The corpus."""
    valid = make_photo(height=40, width=40)
    for body in _corrupt_photos():
        yield (
            "/v1/reconstruct",
            {"content": body, "params": {"box": "5,5,30,30"}, "headers": {"Content-Type": "image/png"}},
        )
    for number, body in enumerate(_corrupt_photos()):
        if number % 2:
            files = {"source": ("a", body, "image/png")}
            yield "/v1/reenact", {"files": files, "data": {"expression": "{}", "box": "5,5,30,30"}}
    for expression in EXPRESSIONS:
        for relative in ("true", "false", "maybe"):
            data = {"expression": expression, "relative": relative, "box": "5,5,30,30"}
            yield "/v1/reenact", {"files": {"source": ("a", valid)}, "data": data}
    for box in BOXES:
        yield (
            "/v1/reconstruct",
            {"content": valid, "params": {"box": box or "0"}, "headers": {"Content-Type": "image/png"}},
        )
        yield "/v1/reenact", {"files": {"source": ("a", valid)}, "data": {"expression": "{}", "box": box}}
    for query in ({"format": "exe"}, {"face": "-1"}, {"face": "many"}, {"face": "1e9"}, {"format": "glb" * 9999}):
        yield "/v1/reconstruct", {"content": valid, "params": {"box": "5,5,30,30", **query}}
    yield from _corrupt_forms(valid)
    yield from _corrupt_driving_files(valid)
    yield from _corrupt_controls(valid)
    yield from _corrupt_videos(valid)
    for number, body in enumerate(_corrupt_photos()):
        if number % 5 == 0:
            yield "/v1/picture", {"content": body}
            yield "/v1/track", {"content": body}


def _corrupt_forms(valid: bytes) -> Iterator[Request]:
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    head = b'--edge\r\nContent-Disposition: form-data; name="source"; filename="a"\r\n\r\n'
    for path in ("/v1/reconstruct", "/v1/reenact", "/v1/reenact/video"):
        for body in (b"", b"--edge", b"--edge--", head, head + valid, head + valid + b"\r\n--edg", b"\r\n" * 500, valid,
                     head.replace(b"name", b"nane") + valid + b"\r\n--edge--\r\n",
                     b"--edge\r\n" + b"X-Long: " + b"a" * 20_000 + b"\r\n\r\n", head * 300):  # fmt: skip
            yield path, {"content": body, "headers": kind}
        for boundary in ("", "boundary=", "boundary=" + "x" * 5_000, "boundary=\xff"):
            headers = {"Content-Type": f"multipart/form-data; {boundary}".encode("latin-1")}
            yield path, {"content": head + valid, "headers": headers}
        for media in ("", "text/plain", "application/json", "multipart/mixed; boundary=edge", "image/", "a" * 3_000):
            yield path, {"content": b"\x00" + valid, "headers": {"Content-Type": media}}
        many = [("source", (str(n), b"x")) for n in range(40)]
        yield path, {"files": many}
        yield path, {"files": {"source": ("a", valid)}, "data": {f"field{n}": "x" for n in range(100)}}
        yield path, {"data": {"source": "text", "image": "text"}, "files": {"driving": ("b", b"")}}
    names = json.dumps(dict.fromkeys(ARKIT_NAMES, 2))
    yield "/v1/reenact", {"files": {"source": ("a", valid), "driving": ("b", valid)}, "data": {"expression": names}}


def _corrupt_driving_files(valid: bytes) -> Iterator[Request]:
    generator = np.random.default_rng(1)
    header = "Timecode," + ",".join(ARKIT_NAMES)
    captures = [
        "", header, header + "\n", header + "\n" + "x," * 51 + "x", header + "\n1,2,3",
        header + "\n" + "0,nan" + ",0" * 50,
        "Timecode,Nothing\n0,0", header + "," + ARKIT_NAMES[0] + "\n" + "0," * 52 + "0",
        header + "\n" + "0,inf" + ",0" * 50, header + ("\n" + "0," * 51 + "0") * 5_000, '"' * 999, "a\rb\nc",
        "[" * 100_000, "{}", "[1, 2]", '{"fps": 1e999, "frames": [{"jawOpen": "x"}]}',
    ]  # fmt: skip
    files = [capture.encode() for capture in captures]
    files += [b"\0\0\0\x18ftypmp42" + generator.integers(0, 256, n * 50, np.uint8).tobytes() for n in range(30)]
    files += [b"\x1a\x45\xdf\xa3" + generator.integers(0, 256, n * 50, np.uint8).tobytes() for n in range(30)]
    files += [b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n"]
    files += [generator.integers(0, 256, 1 + n * 30, np.uint8).tobytes() for n in range(30)]
    for content in files:
        form = {"source": ("a", valid), "driving": ("b", content)}
        yield "/v1/reenact/video", {"files": form, "data": {"box": "5,5,30,30"}}
        yield "/v1/capture", {"content": content, "headers": {"Content-Type": "text/csv"}}
        yield "/v1/track", {"content": content, "params": {"format": "ndjson", "files": "csv,json,glb"}}


CONTROLS = {
    "regions": ["nose", "eyes,", ",", "eyes;mouth", "pose", "," * 5_000, "\x00"],
    "strength": ["nan", "inf", "-0.1", "2.1", "x", "1e999", "0x1", "1,5"],
    "pitch": ["46", "-46", "nan", "x", "1e308", "٣٣"],
    "yaw": ["90", "--5", "[]"],
    "roll": ["1e9", "true"],
    "retarget": ["all", "lip", "none,eyes", ""],
    "close_mouth": ["maybe", "2", "truefalse"],
    "reference": ["last", "-1", "nan", "1e999", "99"],
    "smooth": ["some"],
    "face": ["-1", "1.5", "100", "many"],
    "driving_face": ["-1", "7", "x"],
    "driving_box": BOXES,
}


def _corrupt_controls(valid: bytes) -> Iterator[Request]:
    capture = ("Timecode," + ",".join(ARKIT_NAMES) + "\n00:00:00:00" + ",0" * 51).encode()
    for name, values in CONTROLS.items():
        for value in values:
            data = {"box": "5,5,30,30", name: value}
            yield "/v1/reenact", {"files": {"source": ("a", valid)}, "data": {"expression": "{}", **data}}
            yield "/v1/reenact/video", {"files": {"source": ("a", valid), "driving": ("b", capture)}, "data": data}
    for query in ({"format": "fbx"}, {"smooth": "a lot"}, {"neutral": "nan"}, {"neutral": "-1"}, {"neutral": "1e5"},
                  {"face": "9"}, {"face": "-1"}, {"box": "1,2,3"}, {"box": "0,0,1e30,1e30"}, {"neutral": "9" * 99},
                  {"format": "ndjson", "smooth": "two-sided"}, {"format": "ndjson", "neutral": "auto"},
                  {"format": "ndjson", "files": "exe"}, {"files": "csv"}, {"format": "ndjson", "files": "," * 99},
                  {"format": "ndjson", "files": "csv", "neutral": "-1"}, {"box": "a"}, {"unknown": "1"}):  # fmt: skip
        yield "/v1/track", {"content": _video("mp4"), "params": query, "headers": {"Content-Type": "video/mp4"}}


def _video(form: str) -> bytes:
    """A valid video of three frames."""
    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 48, "yuv420p"
        for level in (60, 120, 180):
            frame = av.VideoFrame.from_ndarray(np.full((48, 48, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def _moving(form: str, pictures: list[Image.Image]) -> bytes:
    out = io.BytesIO()
    pictures[0].save(out, form, save_all=True, append_images=pictures[1:], duration=40)
    return out.getvalue()


def _corrupt_videos(valid: bytes) -> Iterator[Request]:
    """Videos that are cut off or damaged: tracked, driving, and as the source that acts."""
    generator = np.random.default_rng(2)
    pictures = [Image.fromarray(np.full((48, 48, 3), level, np.uint8)) for level in (60, 120, 180)]
    for form in ("mp4", "matroska", "avi", "mpegts", "GIF", "PNG", "WEBP", "AVIF"):
        whole = _video(form) if form.islower() else _moving(form, pictures)
        damaged = [whole[:cut] for cut in np.linspace(8, len(whole) - 1, 12).astype(int)]
        for _ in range(30):
            content = bytearray(whole)
            for offset in generator.integers(8, len(content), 12):
                content[offset] = generator.integers(256)
            damaged.append(bytes(content))
        for number, content in enumerate(damaged):
            kind = ("json", "csv", "glb", "ndjson")[number % 4]
            yield (
                "/v1/track",
                {"content": content, "params": {"format": kind}, "headers": {"Content-Type": "video/mp4"}},
            )
            yield "/v1/picture", {"content": content}
            if number % 3 == 0:
                yield "/v1/reenact/video", {"files": {"source": ("a", content)}, "data": {"yaw": "10"}}
            elif number % 3 == 1:
                files = {"source": ("a", valid), "driving": ("b", content)}
                yield "/v1/reenact/video", {"files": files, "data": {"box": "5,5,30,30"}}


def _face_in_the_middle(image: np.ndarray) -> list[Face]:
    height, width = image.shape[:2]
    return [Face((0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height))] if min(height, width) > 4 else []


@pytest.fixture(scope="module")
def abuse_settings(weights):
    limits = {"pixels": 4_000_000, "requests_per_second": 1e6, "burst": 1_000_000, "video_seconds": 10}
    return make_settings(weights, limits=limits)


def _memory_mib() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


@pytest.mark.drill
def test_two_thousand_invalid_bodies(networks, face_model, abuse_settings):
    client = make_client(networks, face_model, abuse_settings, detector=_face_in_the_middle)
    requests = list(_requests())
    np.random.default_rng(0).shuffle(requests)
    assert len(requests) >= 2_000
    before, statuses = 0.0, Counter[tuple[str, int]]()
    for number, (path, request) in enumerate(requests):
        if number == len(requests) // 2:  # all kinds of bodies have been sent, so everything is loaded
            before = _memory_mib()
        response = client.post(path, **request)
        statuses[path, response.status_code] += 1
        if response.status_code == 200:  # damage that the decoder tolerates
            continue
        assert response.status_code in (400, 408, 413, 415, 422), (path, str(request)[:300], response.text[:300])
        problem = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["detail"] and len(problem["detail"]) < 1_200 and "Traceback" not in response.text
    after = _memory_mib()
    print(
        f"{len(requests)} bodies; memory {before:.0f} MiB after half of them, {after:.0f} in the end;", dict(statuses)
    )
    assert {400, 413, 415, 422} <= {status for _, status in statuses}
    assert {path for path, _ in statuses} == PATHS
    assert after - before < 40, "memory grows with invalid bodies"
    assert client.post("/v1/reconstruct", content=make_photo(), params={"box": BOX}).status_code == 200


def test_a_sample_of_invalid_bodies(networks, face_model, abuse_settings):
    client = make_client(networks, face_model, abuse_settings, detector=_face_in_the_middle)
    for path, request in list(_requests())[::23]:
        response = client.post(path, **request)
        assert response.status_code in (200, 400, 413, 415, 422), (path, str(request)[:300], response.text[:300])


@pytest.mark.drill
def test_responses_conform_to_the_openapi_schema(networks, face_model, abuse_settings):
    service = Service(abuse_settings, networks, face_model, _face_in_the_middle)
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", create_api(service, AccessControl(abuse_settings.limits, None))
    )
    tried = set()
    for operation in schema.get_all_operations():

        @hypothesis_settings(max_examples=80, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.ok().as_strategy())
        def check_response(case):
            case.call_and_validate(checks=[not_a_server_error, content_type_conformance, response_schema_conformance])

        check_response()
        tried.add(operation.ok().path)
    assert tried >= PATHS
