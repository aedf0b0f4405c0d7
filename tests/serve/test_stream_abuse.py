"""Abuse of the WebSocket: each bad message is a problem, none an error of the server, and memory does not grow."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import psutil
import pytest
import websockets
from small_networks import listening, make_client, make_photo, make_settings
from test_track_route import detect

from serve.problems import Problem
from serve.service import Service
from serve.websocket import close_with

SOURCE, BOX = base64.b64encode(make_photo()).decode(), [20, 20, 108, 108]
FRAME = make_photo(1, height=96, width=128, suffix=".jpg")
HUGE = "1" + "0" * 400  # an integer beyond every float
SURROGATE = "\\ud800"  # half of a character, as JSON may have it

FIRST = [
    "{", "[]", "null", '"a"', "{}", "[" * 100_000, '{"a":' * 50_000, f'{{"{SURROGATE}": "{SURROGATE}"}}',
    '{"source": 5}', '{"source": "!"}', '{"source": "data:,"}', '{"camera": "yes"}', '{"camera": 1}',
    '{"camera": true, "camera_face": -1}', '{"camera": true, "camera_box": [1]}', '{"camera": true, "smooth": "x"}',
    f'{{"camera": true, "camera_box": [0, 0, {HUGE}, 9]}}', '{"camera": true, "source": null}',
    '{"camera": true, "camara_face": 1}', json.dumps({"\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 99: 1}, ensure_ascii=False),
    *(
        f'{{"source": "{SOURCE}", {field}}}'
        for field in (
            '"box": [1, 2]', f'"box": [0, 0, {HUGE}, 9]', '"box": [NaN, 0, 9, 9]', '"box": [true, 0, 9, 9]',
            f'"yaw": {HUGE}', '"yaw": NaN', f'"strength": {HUGE}', f'"face": {HUGE}', '"face": [1]', '"regions": [1]',
            '"regions": {"a": 1}', '"source": "twice"', '"expression": {}',
        )
    ),
]  # fmt: skip
EXPRESSIONS = [
    f'{{"expression": {{"jawOpen": {HUGE}}}}}', f'{{"expression": {{"{SURROGATE}": 1}}}}', '{"expression": [1]}',
    '{"expression": {"jawOpen": NaN}}', '{"yaw": "a"}', f'{{"expression": {{}}, "pitch": {HUGE}}}', '[1]', '"x"',
    '{"expression": {}, "pitch": true}', '{"expression": {}, "yaw": [1]}', '{"x": 1}', b"\0\1",
]  # fmt: skip
FRAMES = [
    b"", b"\xff\xd8\xff" + bytes(range(256)), FRAME[: len(FRAME) // 2], b"GIF89a" + bytes(99),
    make_photo(2, height=3000, width=3000, suffix=".jpg"), f'{{"strength": {HUGE}}}', '{"strength": NaN}', "[]", "{",
    '{"regions": [1]}', '{"reference": 1}', f'{{"{SURROGATE}": 1}}', '{"camera": true}', '{"yaw": {"a": 1}}',
]  # fmt: skip


VALUES = [
    "null", "true", "false", "-1", "0", "1", "100", "1e308", HUGE, "NaN", "-Infinity", '""', '"x"', '"true"',
    '"0,0,9,9"', '"\\u0000"', f'"{SURROGATE}"', '"' + "x" * 3000 + '"', "[]", "[1]", "[1, 2, 3]", "[0, 0, 0, 0]",
    "[9, 9, 1, 1]", "[NaN, 0, 9, 9]", '["a", "b", "c", "d"]', "[[[[]]]]", "{}", '{"a": 1}', f"[{HUGE}, 0, 9, 9]",
    '"now"', '"mouth,nose"',
]  # fmt: skip
WHOLE = {
    "source": f'"{SOURCE}"', "box": json.dumps(BOX), "face": "0", "key": '"k"', "camera": "true", "camera_face": "0",
    "camera_box": "[0, 0, 90, 90]", "smooth": "true", "relative": "false", "pose": "true", "light": "false",
    "regions": '"mouth"', "strength": "1", "pitch": "1", "yaw": "1", "roll": "1", "retarget": '"lips"',
    "close_mouth": "true",
}  # fmt: skip


def bad_first_messages(count: int) -> Iterator[str | bytes]:
    """First messages with members of wrong types and ranges, that are cut off or damaged, or whose photo is; the same
    ones in every run."""
    generator = np.random.default_rng(0)
    photos = [make_photo(1, height=40, width=40, suffix=suffix) for suffix in (".png", ".jpg", ".webp", ".tiff")]
    for number in range(count):
        kept = [name for name in WHOLE if name == "source" or generator.random() < 0.3]
        members = {name: WHOLE[name] for name in kept}
        kind = number % 5
        if kind < 2:
            for name in generator.choice(list(WHOLE), 1 + kind):
                members[name] = VALUES[generator.integers(len(VALUES))]
        elif kind == 2:
            photo = bytearray(photos[number % len(photos)])
            for place in generator.integers(0, len(photo), 8):
                photo[place] = generator.integers(256)
            cut = len(photo) if number % 2 else generator.integers(len(photo))
            members["source"] = f'"{base64.b64encode(photo[:cut]).decode()}"'
        text = "{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}"
        if kind == 3:
            text = text[: generator.integers(len(text))]
        elif kind == 4:
            place = generator.integers(len(text))
            text = text[:place] + chr(generator.integers(1, 0x300)) + text[place + 1 :]
        yield text if number % 50 else text.encode()


def send(socket: Any, message: str | bytes) -> None:
    (socket.send_bytes if isinstance(message, bytes) else socket.send_text)(message)


def check_problem(document: dict[str, Any]) -> None:
    assert document["status"] in (400, 413, 415, 422) and document["detail"], document


def test_bad_first_messages_are_problems(networks, face_model, settings):
    client = make_client(networks, face_model, settings, detector=detect)
    for message in FIRST:
        with client.websocket_connect("/v1/stream") as socket:
            socket.send_text(message)
            check_problem(socket.receive_json())


def check_first_messages(client, messages: Iterable[str | bytes]) -> int:
    """How many of them were refused; the others must be served."""
    refused = 0
    for message in messages:
        with client.websocket_connect("/v1/stream") as socket:
            send(socket, message)
            document = socket.receive_json()
            if not document.get("ready"):
                check_problem(document)
                refused += 1
    return refused


def test_a_sample_of_damaged_first_messages(networks, face_model, settings):
    client = make_client(networks, face_model, settings, detector=detect)
    assert check_first_messages(client, list(bad_first_messages(2000))[::41]) > 20


@pytest.mark.drill
def test_two_thousand_damaged_first_messages_leave_memory_flat(networks, face_model, weights):
    settings = make_settings(weights, limits={"requests_per_second": 1e6, "burst": 10**6})
    client = make_client(networks, face_model, settings, detector=detect)
    messages = list(bad_first_messages(2000))
    refused = check_first_messages(client, messages[:1000])
    before = memory_mib()
    refused += check_first_messages(client, messages[1000:])
    print(f"{refused} of 2,000 refused; memory {before:.0f} MiB after 1,000, {memory_mib():.0f} after 2,000")
    assert refused > 1000 and memory_mib() - before < 40


@pytest.mark.parametrize(("first", "messages", "good"), [
    ({"source": SOURCE, "box": BOX}, EXPRESSIONS, '{"expression": {"jawOpen": 0.5}}'),
    ({"camera": True}, FRAMES, FRAME),
])  # fmt: skip
def test_bad_messages_are_problems_and_the_next_is_answered(networks, face_model, settings, first, messages, good):
    client = make_client(networks, face_model, settings, detector=detect)
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(first)
        assert socket.receive_json()["ready"]
        for message in messages:
            send(socket, message)
            check_problem(socket.receive_json())
        send(socket, good)
        assert socket.receive_json()["expression"] if first.get("camera") else socket.receive_bytes()


def test_sockets_that_say_nothing_are_limited(networks, face_model, weights):
    settings = make_settings(weights, limits={"concurrent": 2})
    client = make_client(networks, face_model, settings, detector=detect)
    with client.websocket_connect("/v1/stream") as one, client.websocket_connect("/v1/stream"):
        with client.websocket_connect("/v1/stream") as third:
            assert third.receive_json()["status"] == 429
        one.send_json({"camera": True})  # counts as a request from now on
        assert one.receive_json()["ready"]
        with client.websocket_connect("/v1/stream") as fourth:
            fourth.send_json({"camera": True})
            assert fourth.receive_json()["ready"]


def test_the_reason_of_a_closing_fits_its_frame() -> None:
    closed = []

    class Socket:
        async def send_json(self, document: dict[str, Any]) -> None: ...

        async def close(self, code: int, reason: str) -> None:
            closed.append((code, reason))

    asyncio.run(close_with(Socket(), Problem(422, "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 100)))  # type: ignore[arg-type]
    ((code, reason),) = closed
    assert code == 1007 and 100 < len(reason.encode()) <= 123


@pytest.fixture
def address(networks, face_model, weights) -> Iterator[str]:
    """Of a server in this process."""
    settings = make_settings(weights, limits={"requests_per_second": 1e6, "burst": 10**6, "concurrent": 1000})
    with listening(Service(settings, networks, face_model, detect)) as (host, port):
        yield f"{host}:{port}"


def memory_mib() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


async def abuse(url: str, number: int) -> None:
    """One connection: a bad first message, one that goes in the middle, a giant frame, or one that does not read."""
    kind, first = number % 5, {"camera": True, "source": SOURCE, "box": BOX}
    async with websockets.connect(url, max_size=None) as socket:
        if kind < 2:
            await socket.send(FIRST[number // 5 % len(FIRST)])
            check_problem(json.loads(await socket.recv()))
            return
        await socket.send(json.dumps(first if kind < 4 else {"source": SOURCE, "box": BOX}))
        await socket.recv()
        if kind == 2:
            await socket.send(FRAME)
        elif kind == 3:
            await socket.send(b"\xff\xd8\xff" + bytes(5 * 2**20))
            assert json.loads(await socket.recv())["status"] == 413
        else:
            for _ in range(100):
                await socket.send('{"expression": {}}')
        socket.transport.abort()


@pytest.mark.drill
def test_five_hundred_abused_connections_leave_memory_flat(address) -> None:
    url = f"ws://{address}/v1/stream"

    async def all_of_them() -> tuple[float, float]:
        for number in range(250):
            await abuse(url, number)
        before = memory_mib()
        for number in range(250, 500):
            await abuse(url, number)
        idle = [await websockets.connect(url) for _ in range(300)]
        async with websockets.connect(url) as socket:  # is served beside those that send nothing
            await socket.send('{"camera": true}')
            await socket.recv()
            await socket.send(FRAME)
            assert json.loads(await socket.recv())["expression"]
        for open_one in idle:
            open_one.transport.abort()
        await asyncio.sleep(1)
        return before, memory_mib()

    before, after = asyncio.run(all_of_them())
    print(f"memory: {before:.0f} MiB after 250 connections, {after:.0f} after 500 and 300 idle ones")
    assert np.isfinite(before) and after - before < 40
