"""Long tests on a cluster: no request is lost or mixed up while replicas die, weights change and deployments scale."""

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
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import ray
import websockets
from ray import serve
from ray.cluster_utils import Cluster
from small_networks import BOX, make_photo, make_settings, write_networks

from jobs.ray_settings import LOCAL_SETTINGS, SERVE_SETTINGS
from jr2net.face.arkit import ARKIT_NAMES
from jr2net.inference.photo import Photo
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from serve import app

pytestmark = pytest.mark.drill

CLIENTS, SEEDS = 6, range(12)
TIMEOUT_S = 600.0  # for changes of the cluster, on a busy machine


@pytest.fixture(scope="module")
def versions(tmp_path_factory, face_model) -> dict[str, dict[str, str]]:
    """Two versions of the weights."""
    return {name: write_networks(tmp_path_factory.mktemp(name), face_model, seed) for seed, name in enumerate("ab")}


@pytest.fixture(scope="module")
def expected(versions, face_model) -> dict[str, list[list[float]]]:
    """By the network's digest: the expression of each photo, fitted alone."""
    crops = [Photo.open(make_photo(seed), box=[float(v) for v in BOX.split(",")]).crop_image(64) for seed in SEEDS]
    expressions = {}
    for folders in versions.values():
        network = Reconstructor.load(folders["recnet"], face_model=face_model)
        expressions[network.info.digest] = [network.fit([crop])[0].face["expression"].tolist() for crop in crops]
    spread = np.std(np.array(list(expressions.values())), axis=1).max()
    assert spread > 1e-3, "the photos must have different expressions, otherwise a mix-up would go unnoticed"
    return expressions


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one machine, to which others can be added."""
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
    """Ray Serve without applications. Only the first machine has a proxy: the machines share one address, so several
    proxies would need the same port."""
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


def deploy(
    folders: dict[str, str],
    replicas: int = 1,
    reconstruction_resources: dict[str, float] | None = None,
    reenactor: str = "dcnet",
) -> None:
    scale = {"min_replicas": replicas, "max_replicas": replicas, "num_cpus": 0.2, "graceful_shutdown_timeout_s": 60}
    scale |= {"upscale_delay_s": 0, "downscale_delay_s": 0}
    sections = {"reconstruction": {"weights": folders["recnet"], "max_batch_size": 8, **scale}}
    sections["reconstruction"]["resources"] = reconstruction_resources or {}
    sections |= {
        "reenactment": {"weights": folders[reenactor], **scale},
        "ingress": {"num_cpus": 0.2, "resources": {"steady": 1}},
    }
    settings = make_settings(folders, **sections, attempts=10, limits={"requests_per_second": 1000, "burst": 1000})
    serve.run(app.bind(settings))


class Load:
    """Clients that send requests without pause and compare every response with the expected expression."""

    def __init__(self, address: str, expected: dict[str, list[list[float]]]) -> None:
        self.address, self.expected = address, expected
        self.digests: list[str] = []
        self.errors: list[str] = []
        self.stop = threading.Event()

    def send(self, client: httpx.Client, seed: int) -> None:
        query = {"box": BOX}
        response = client.post(
            "/v1/reconstruct", content=make_photo(seed), params=query, headers={"Content-Type": "image/png"}
        )
        if response.status_code != 200:
            self.errors.append(f"{response.status_code}: {response.text[:200]}")
            return
        body = response.json()
        found = list(body["faces"][0]["expression"].values())
        if np.abs(np.array(found) - self.expected[body["model"]][seed]).max() > 1e-4:
            self.errors.append(f"photo {seed}: the expression of another photo")
        self.digests.append(body["model"])

    def run(self, seeds: Iterator[int]) -> None:
        with httpx.Client(base_url=self.address, timeout=TIMEOUT_S) as client:
            while not self.stop.is_set():
                try:
                    self.send(client, next(seeds))
                except httpx.HTTPError as error:
                    self.errors.append(repr(error))

    def wait_for(self, more: int) -> None:
        """Waits for ``more`` further responses."""
        target, deadline = len(self.digests) + more, time.monotonic() + TIMEOUT_S
        while len(self.digests) < target and not self.errors:
            assert time.monotonic() < deadline, "the server is too slow"
            time.sleep(0.1)


class ReenactmentLoad(Load):
    """The same with reenactments; every picture names the network that made it. ``expected``: by these digests."""

    def send(self, client: httpx.Client, seed: int) -> None:
        files, data = {"source": ("a.png", make_photo(seed))}, {"box": BOX, "expression": '{"jawOpen": 1}'}
        response = client.post("/v1/reenact", files=files, data=data)
        made_by = [digest for digest in self.expected if digest.encode() in response.content]
        if response.status_code != 200 or len(made_by) != 1:
            self.errors.append(f"{response.status_code}: {response.content[:200]!r}")
        self.digests += made_by


@contextmanager
def load(address: str, expected: dict[str, list[list[float]]], kind: type[Load] = Load) -> Iterator[Load]:
    running_load = kind(address, expected)
    with ThreadPoolExecutor(CLIENTS) as clients:
        for first in range(CLIENTS):
            clients.submit(running_load.run, itertools.islice(itertools.cycle(SEEDS), first, None))
        try:
            running_load.wait_for(2 * CLIENTS)
            yield running_load
            running_load.wait_for(2 * CLIENTS)
        finally:
            running_load.stop.set()
    assert running_load.errors == []


def replicas(name: str) -> list[psutil.Process]:
    """The processes of a deployment's replicas in this cluster."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if f"ServeReplica:default:{name}" in " ".join(child.cmdline()):
                found.append(child)
    return found


def num_running(name: str) -> int:
    states = serve.status().applications["default"].deployments[name].replica_states
    return states.get("RUNNING", 0)


def wait_until(condition, what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for: {what}"
        time.sleep(0.5)


def test_a_killed_replica_loses_no_request(address, versions, expected):
    deploy(versions["a"], replicas=2)
    for name in ("Reconstruction", "Reenactment"):
        wait_until(lambda name=name: num_running(name) == 2, f"second replica of {name}")
    with load(address, expected) as running_load:
        killed = replicas("Reconstruction")[0]
        os.kill(killed.pid, signal.SIGKILL)
        running_load.wait_for(10 * CLIENTS)
        wait_until(lambda: num_running("Reconstruction") == 2, "new replica")
        assert killed.pid not in [process.pid for process in replicas("Reconstruction")]


def test_replaced_weights_lose_no_request(address, versions, expected):
    deploy(versions["a"])
    wait_until(lambda: num_running("Reconstruction") == 1, "replica")
    with load(address, expected) as running_load:
        seen = len(running_load.digests)
        deploy(versions["b"])
        new = next(digest for digest in expected if digest != running_load.digests[0])
        wait_until(lambda: new in running_load.digests[seen:] or running_load.errors, "response of the new weights")
    assert running_load.digests[-1] == new


def test_another_reenactor_loses_no_request(address, versions, face_model):
    """From DCNet to flow3d and back, while pictures are asked for."""
    digests = {
        name: Reenactor.load_network(versions["a"][name], face_model).info.digest for name in ("dcnet", "flow3d")
    }
    deploy(versions["a"])
    wait_until(lambda: num_running("Reenactment") == 1, "replica")
    with load(address, {digest: [] for digest in digests.values()}, ReenactmentLoad) as running_load:
        for reenactor in ("flow3d", "dcnet"):
            seen = len(running_load.digests)
            deploy(versions["a"], reenactor=reenactor)
            wanted = digests[reenactor]
            wait_until(
                lambda seen=seen, wanted=wanted: wanted in running_load.digests[seen:] or running_load.errors, reenactor
            )
            running_load.wait_for(2 * CLIENTS)
    assert running_load.digests[-1] == digests["dcnet"]


def test_scaling_loses_no_request(address, versions, expected):
    deploy(versions["a"])
    with load(address, expected) as running_load:
        for count in (3, 1):
            deploy(versions["a"], replicas=count)
            wait_until(lambda count=count: num_running("Reconstruction") == count, f"{count} replicas")
            running_load.wait_for(4 * CLIENTS)


def test_a_removed_machine_loses_no_request(cluster, address, versions, expected):
    machine = {"num_cpus": 1, "resources": {"fitting": 1}}
    leaving, _ = cluster.add_node(**machine), cluster.add_node(**machine)
    cluster.wait_for_nodes()
    deploy(versions["a"], replicas=2, reconstruction_resources={"fitting": 1})
    wait_until(lambda: num_running("Reconstruction") == 2, "replica on each of two machines")
    with load(address, expected) as running_load:
        cluster.remove_node(leaving, allow_graceful=False)
        running_load.wait_for(10 * CLIENTS)
        cluster.add_node(**machine)
        wait_until(lambda: num_running("Reconstruction") == 2, "replica on the new machine")


def test_batches_of_large_images_arrive(address, tmp_path, face_model):
    """Sixteen results at the paper's 224 pixels are 15 MB; gRPC limits messages to 4 MiB by default."""
    deploy(write_networks(tmp_path, face_model, seed=0, size=224))
    with httpx.Client(base_url=address, timeout=TIMEOUT_S) as client, ThreadPoolExecutor(24) as clients:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")

        def reenact(seed: int) -> int:
            files, data = {"source": ("a.png", make_photo(seed))}, {"box": BOX, "expression": '{"jawOpen": 1}'}
            return client.post("/v1/reenact", files=files, data=data).status_code

        assert set(clients.map(reenact, range(48))) == {200}


def test_reenactment_video_and_socket(address, versions):
    deploy(versions["a"])
    source = {"source": ("a.png", make_photo(), "image/png")}
    with httpx.Client(base_url=address, timeout=TIMEOUT_S) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        reenacted = client.post("/v1/reenact", files=source, data={"box": BOX, "expression": '{"jawOpen": 1}'})
        assert reenacted.status_code == 200 and reenacted.headers["content-type"] == "image/jpeg"
        capture = (
            "Timecode,"
            + ",".join(ARKIT_NAMES)
            + "\n"
            + "".join(f"00:00:00:{n:02}.0," + "0.1," * 50 + "0.1\n" for n in range(12))
        )
        files = {**source, "driving": ("take.csv", capture, "text/csv")}
        with client.stream("POST", "/v1/reenact/video", files=files, data={"box": BOX}) as response:
            assert response.status_code == 200
            assert b"".join(response.iter_bytes())[4:8] == b"ftyp"
    asyncio.run(_check_stream(address.replace("http", "ws")))


async def _check_stream(address: str) -> None:
    async with websockets.connect(f"{address}/v1/stream", max_size=2**24) as socket_:
        encoded = base64.b64encode(make_photo()).decode()
        await socket_.send(json.dumps({"source": encoded, "box": [float(v) for v in BOX.split(",")]}))
        assert json.loads(await socket_.recv())["ready"]
        images = []
        for value in (0.0, 1.0):
            await socket_.send(json.dumps({"expression": {"jawOpen": value}}))
            images.append(await socket_.recv())
        assert all(isinstance(content, bytes) and content[:2] == b"\xff\xd8" for content in images)
        await socket_.send("{")
        assert json.loads(await socket_.recv())["status"] == 400
