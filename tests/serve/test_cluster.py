"""Drills on a real cluster: nothing is lost and nothing mixed up while replicas die, weights change, numbers change."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import ray
import websockets
from ray import serve
from ray.cluster_utils import Cluster
from small_networks import BOX, picture, settings_of, write_networks

from jobs.ray_settings import LOCAL_SETTINGS, SERVE_SETTINGS
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.inference.photo import Photo
from jr2net.inference.reconstruction import Reconstructor
from serve import app

pytestmark = pytest.mark.drill

CLIENTS, SEEDS = 6, range(12)
PATIENCE = 600.0  # seconds for what the cluster does in its own time, on a busy machine


@pytest.fixture(scope="module")
def versions(tmp_path_factory, face_model) -> dict[str, dict[str, str]]:
    """Two versions of the weights."""
    return {name: write_networks(tmp_path_factory.mktemp(name), face_model, seed) for seed, name in enumerate("ab")}


@pytest.fixture(scope="module")
def expected(versions, face_model) -> dict[str, list[list[float]]]:
    """By digest: what each picture's expression is, each fitted alone."""
    crops = [Photo.open(picture(seed), box=[float(v) for v in BOX.split(",")]).crop_image(64) for seed in SEEDS]
    answers = {}
    for folders in versions.values():
        network = Reconstructor.load(folders["recnet"], face_model=face_model)
        answers[network.info.digest] = [network.fit([crop])[0].face["expression"].tolist() for crop in crops]
    spread = np.std(np.array(list(answers.values())), axis=1).max()
    assert spread > 1e-3, "the pictures' answers must differ, or a mix-up would not be seen"
    return answers


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One machine, which more can join."""
    environment = {
        **LOCAL_SETTINGS,
        **SERVE_SETTINGS,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "120",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "30",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 8, "resources": {"steady": 8}})
        try:
            ray.init(machines.address)
            yield machines
        finally:
            ray.shutdown()
            machines.shutdown()


@pytest.fixture(scope="module")
def address(cluster: Cluster) -> Iterator[str]:
    """An empty Serve whose only proxy is on the first machine: all machines here have one address between them, and a
    proxy on each would share the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        serve.start(
            proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port, "request_timeout_s": 600}
        )
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()


def deploy(folders: dict[str, str], replicas: int = 1, fitting_on: dict[str, float] | None = None) -> None:
    scale = {"min_replicas": replicas, "max_replicas": replicas, "num_cpus": 0.2, "graceful_shutdown_timeout_s": 60}
    scale |= {"upscale_delay_s": 0, "downscale_delay_s": 0}
    own = {"reconstruction": {"weights": folders["recnet"], "max_batch_size": 8, **scale}}
    own["reconstruction"]["resources"] = fitting_on or {}
    own |= {
        "reenactment": {"weights": folders["dcnet"], **scale},
        "ingress": {"num_cpus": 0.2, "resources": {"steady": 1}},
    }
    settings = settings_of(folders, **own, attempts=10, limits={"requests_per_second": 1000, "burst": 1000})
    serve.run(app.bind(settings))


class Load:
    """Clients that ask without pause and check every answer against what the picture's must be."""

    def __init__(self, address: str, expected: dict[str, list[list[float]]]) -> None:
        self.address, self.expected = address, expected
        self.answered: list[str] = []
        self.wrong: list[str] = []
        self.stop = threading.Event()

    def ask(self, client: httpx.Client, seed: int) -> None:
        query = {"box": BOX}
        response = client.post(
            "/v1/reconstruct", content=picture(seed), params=query, headers={"Content-Type": "image/png"}
        )
        if response.status_code != 200:
            self.wrong.append(f"{response.status_code}: {response.text[:200]}")
            return
        answer = response.json()
        found = list(answer["faces"][0]["expression"].values())
        if np.abs(np.array(found) - self.expected[answer["model"]][seed]).max() > 1e-4:
            self.wrong.append(f"picture {seed}: another picture's answer")
        self.answered.append(answer["model"])

    def run(self, seeds: Iterator[int]) -> None:
        with httpx.Client(base_url=self.address, timeout=PATIENCE) as client:
            while not self.stop.is_set():
                try:
                    self.ask(client, next(seeds))
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))

    def wait_for(self, more: int) -> None:
        """Until so many more answers have come."""
        wanted, until = len(self.answered) + more, time.monotonic() + PATIENCE
        while len(self.answered) < wanted and not self.wrong:
            assert time.monotonic() < until, "the server answers too slowly"
            time.sleep(0.1)


@contextmanager
def load(address: str, expected: dict[str, list[list[float]]]) -> Iterator[Load]:
    under_way = Load(address, expected)
    with ThreadPoolExecutor(CLIENTS) as clients:
        for first in range(CLIENTS):
            clients.submit(under_way.run, itertools.islice(itertools.cycle(SEEDS), first, None))
        try:
            under_way.wait_for(2 * CLIENTS)
            yield under_way
            under_way.wait_for(2 * CLIENTS)
        finally:
            under_way.stop.set()
    assert under_way.wrong == []


def replicas(name: str) -> list[psutil.Process]:
    """Processes of a deployment's replicas, of this cluster alone."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if f"ServeReplica:default:{name}" in " ".join(child.cmdline())]


def running(name: str) -> int:
    states = serve.status().applications["default"].deployments[name].replica_states
    return states.get("RUNNING", 0)


def until(condition, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.5)


def test_a_killed_replica_loses_no_request(address, versions, expected):
    deploy(versions["a"], replicas=2)
    for name in ("Reconstruction", "Reenactment"):
        until(lambda name=name: running(name) == 2, f"two replicas of {name}")
    with load(address, expected) as under_way:
        killed = replicas("Reconstruction")[0]
        os.kill(killed.pid, signal.SIGKILL)
        under_way.wait_for(10 * CLIENTS)
        until(lambda: running("Reconstruction") == 2, "a new replica")
        assert killed.pid not in [process.pid for process in replicas("Reconstruction")]


def test_new_weights_take_over_without_a_gap(address, versions, expected):
    deploy(versions["a"])
    until(lambda: running("Reconstruction") == 1, "one replica")
    with load(address, expected) as under_way:
        seen = len(under_way.answered)
        deploy(versions["b"])
        new = next(digest for digest in expected if digest != under_way.answered[0])
        until(lambda: new in under_way.answered[seen:] or under_way.wrong, "an answer of the new weights")
    assert under_way.answered[-1] == new


def test_replicas_come_and_go_without_a_gap(address, versions, expected):
    deploy(versions["a"])
    with load(address, expected) as under_way:
        for count in (3, 1):
            deploy(versions["a"], replicas=count)
            until(lambda count=count: running("Reconstruction") == count, f"{count} replicas")
            under_way.wait_for(4 * CLIENTS)


def test_a_removed_machine_loses_no_request(cluster, address, versions, expected):
    machine = {"num_cpus": 1, "resources": {"fitting": 1}}
    leaving, _ = cluster.add_node(**machine), cluster.add_node(**machine)
    cluster.wait_for_nodes()
    deploy(versions["a"], replicas=2, fitting_on={"fitting": 1})
    until(lambda: running("Reconstruction") == 2, "a replica on each of two machines")
    with load(address, expected) as under_way:
        cluster.remove_node(leaving, allow_graceful=False)
        under_way.wait_for(10 * CLIENTS)
        cluster.add_node(**machine)
        until(lambda: running("Reconstruction") == 2, "a replica on the new machine")


def test_a_group_of_large_pictures_arrives(address, tmp_path, face_model):
    """Sixteen answers at the paper's 224 pixels are 15 MB, and gRPC's messages end at 4 MiB unless told otherwise."""
    deploy(write_networks(tmp_path, face_model, seed=0, size=224))
    with httpx.Client(base_url=address, timeout=PATIENCE) as client, ThreadPoolExecutor(24) as clients:
        until(lambda: client.get("/readyz").status_code == 200, "ready")

        def act(seed: int) -> int:
            files, data = {"source": ("a.png", picture(seed))}, {"box": BOX, "expression": '{"jawOpen": 1}'}
            return client.post("/v1/reenact", files=files, data=data).status_code

        assert set(clients.map(act, range(48))) == {200}


def test_reenactment_video_and_socket(address, versions):
    deploy(versions["a"])
    source = {"source": ("a.png", picture(), "image/png")}
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        until(lambda: client.get("/readyz").status_code == 200, "ready")
        acted = client.post("/v1/reenact", files=source, data={"box": BOX, "expression": '{"jawOpen": 1}'})
        assert acted.status_code == 200 and acted.headers["content-type"] == "image/jpeg"
        capture = (
            "Timecode,"
            + ",".join(ARKIT_NAMES)
            + "\n"
            + "".join(f"00:00:00:{n:02}.0," + "0.1," * 50 + "0.1\n" for n in range(12))
        )
        files = {**source, "driving": ("take.csv", capture, "text/csv")}
        with client.stream("POST", "/v1/reenact/video", files=files, data={"box": BOX}) as film:
            assert film.status_code == 200
            assert b"".join(film.iter_bytes())[4:8] == b"ftyp"
    asyncio.run(_converse(address.replace("http", "ws")))


async def _converse(address: str) -> None:
    async with websockets.connect(f"{address}/v1/stream", max_size=2**24) as socket_:
        encoded = base64.b64encode(picture()).decode()
        await socket_.send(json.dumps({"source": encoded, "box": [float(v) for v in BOX.split(",")]}))
        assert json.loads(await socket_.recv())["ready"]
        pictures = []
        for value in (0.0, 1.0):
            await socket_.send(json.dumps({"expression": {"jawOpen": value}}))
            pictures.append(await socket_.recv())
        assert all(isinstance(content, bytes) and content[:2] == b"\xff\xd8" for content in pictures)
        await socket_.send("{")
        assert json.loads(await socket_.recv())["status"] == 400
