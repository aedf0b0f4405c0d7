"""A service on several machines whose replicas, proxies, machines and head are killed under load: no request is lost.

``JR2NET_DRILL_REQUESTS`` sets how many requests the random kills get. ``docs/reliability.md`` says how many its
figures are of.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from nodes import START_S, Machine, Machines, machines, wait_until, why_not
from serving_load import Load, least_difference, running

from jr2net.config import FaceConfig
from jr2net.face.load import load_face_model
from jr2net.inference.photo import Photo
from jr2net.inference.reconstruction import Reconstructor
from tests.serve.small_networks import BOX, make_photo, write_networks

pytestmark = [pytest.mark.drill, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

KEY, PORT = "a-key-of-the-drill", 8000
CLIENTS, PHOTOS = 6, 12
REQUESTS = int(os.environ.get("JR2NET_DRILL_REQUESTS", "3000"))
TOLERANCE = 1e-4  # of a coefficient: answers are rounded
READY_S = 600.0
REDIS_PASSWORD = "of-the-drill"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_networks(tmp_path_factory.mktemp("networks"), load_face_model(FaceConfig()), seed=0)


@pytest.fixture(scope="module")
def expected(folders: dict[str, str]) -> list[list[float]]:
    """The expression of each photo, fitted alone."""
    network = Reconstructor.load(folders["recnet"], face_model=load_face_model(FaceConfig()))
    crops = [
        Photo.open(make_photo(seed), box=[float(v) for v in BOX.split(",")]).crop_image(64) for seed in range(PHOTOS)
    ]
    expressions = [network.fit([crop])[0].face["expression"].tolist() for crop in crops]
    assert least_difference(expressions) > 10 * TOLERANCE
    return expressions


def application(folders: dict[str, str]) -> dict[str, Any]:
    """As ``configs/serve.yaml``: a proxy on every machine, the ingress on two machines at least, replicas spread."""
    scale = {"num_cpus": 0.5, "graceful_shutdown_timeout_s": 20}
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": PORT, "request_timeout_s": 60},
        "applications": [
            {
                "name": "jr2net",
                "import_path": "serve.app:build",
                "route_prefix": "/",
                "args": {
                    "reconstruction": {
                        "weights": folders["recnet"], "min_replicas": 3, "max_replicas": 3, "max_batch_size": 8,
                        "resources": {"network": 1}, **scale,
                    },
                    "reenactment": {
                        "weights": folders["dcnet"], "min_replicas": 1, "max_replicas": 1, "resources": {"network": 1},
                        **scale,
                    },
                    "ingress": {
                        "min_replicas": 3, "max_replicas": 3, "num_cpus": 0, "resources": {"steady": 1},
                    },
                    "authentication": "bearer",
                    "limits": {"requests_per_second": 1000, "burst": 1000, "concurrent": 1000},
                    "attempts": 10,
                },
            }
        ],
    }  # fmt: skip


NAMES = "abcdefghijklmnopqrstuvwxyz"  # of the machines that serve
NODE = {"cpus": 3.0, "resources": {"steady": 1.0, "network": 2.0}}


@contextmanager
def service(
    made: Machines, folders: dict[str, str], redis_password: str | None = None, **settings: str
) -> Iterator[Load]:
    """Three machines that serve, besides the head; their load, which has not begun."""
    settings |= {"JR2NET_API_KEYS": KEY, "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120"}
    made.start_head(redis_password=redis_password, **settings)
    for name in "abc":
        made.add_node(name, **NODE)
    file = made.folder / "serve.yaml"
    file.write_text(yaml.safe_dump(application(folders)))
    made.head.run(_SERVE, "deploy", f"--address={made.dashboard}", str(file))
    load = Load(addresses(made), send, lambda response, photo: True, PHOTOS)
    with httpx.Client(timeout=5) as client:
        wait_until(lambda: all(ready(client, address) for address in load.addresses), "the service", READY_S)
    yield load


def addresses(made: Machines) -> list[str]:
    return [f"http://{machine.address}:{PORT}" for machine in made.all if machine.runs and machine.name in NAMES]


def ready(client: httpx.Client, address: str) -> bool:
    try:
        return client.get(f"{address}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def health(client: httpx.Client, address: str) -> int | None:
    """What the proxy of a machine answers to a load balancer; None: nothing."""
    try:
        return client.get(f"{address}/-/healthz").status_code
    except httpx.HTTPError:
        return None


def send(client: httpx.Client, address: str, photo: int) -> httpx.Response:
    headers = {"Content-Type": "image/png", "Authorization": f"Bearer {KEY}"}
    return client.post(f"{address}/v1/reconstruct", content=make_photo(photo), params={"box": BOX}, headers=headers)


def checked(load: Load, expected: list[list[float]]) -> Load:
    def right(response: httpx.Response, photo: int) -> bool:
        found = list(response.json()["faces"][0]["expression"].values())
        return float(np.abs(np.array(found) - expected[photo]).max()) < TOLERANCE

    load.right = right
    return load


def test_replicas_proxies_and_machines_are_killed_at_random(folders, expected) -> None:
    dice = random.Random(0)
    with machines() as made, service(made, folders) as load, running(checked(load, expected), CLIENTS):
        names, kills, start = itertools.cycle(NAMES[3:]), Counter[str](), time.monotonic()
        load.wait_for(50)
        faults = max(8, REQUESTS // 1000)
        for number in range(faults):
            kind = "machine" if number % 4 == 1 else dice.choice(["replica", "replica", "proxy"])
            victim: Machine = dice.choice([machine for machine in made.all if machine.runs and machine.name in NAMES])
            if kind == "machine":  # clients find out by themselves
                made.remove(victim)
                made.add_node(next(names), **NODE)
                load.addresses[:] = addresses(made)
                kills[kind] += 1
            elif pids := victim.processes("ServeReplica" if kind == "replica" else "haproxy"):
                os.kill(dice.choice(pids), signal.SIGKILL)
                kills[kind] += 1
            load.wait_for(REQUESTS // faults)
            print(f"{time.monotonic() - start:.0f} s: {dict(kills)}: {load.summary()}", flush=True)
        load.wait_for(max(0, REQUESTS - load.answered()))
        rate = load.answered() / (time.monotonic() - start)
    assert all(kills[kind] for kind in ("replica", "proxy", "machine")), kills
    print(f"\nkilled at random {dict(kills)}: {load.summary()}; {rate:.0f} requests/s")


def test_a_machine_is_drained_under_load(folders, expected) -> None:
    with machines() as made, service(made, folders) as load, running(checked(load, expected), CLIENTS):
        load.wait_for(100)
        leaving = next(machine for machine in made.all if machine.name == "b")
        start = time.monotonic()
        made.drain(leaving, 60)
        made.add_node("d", **NODE)
        address = f"http://{leaving.address}:{PORT}"
        with httpx.Client(timeout=2) as client:
            seconds = wait_until(lambda: health(client, address) == 503, "its proxy takes no more requests", 90)
        load.addresses.remove(address)
        load.wait_for(300)
        made.remove(leaving)
        load.addresses[:] = addresses(made)
        load.wait_for(300)
        pause = load.longest_pause(start)
    print(
        f"\na drained machine (its proxy says so after {seconds:.1f} s): {load.summary()}; longest pause {pause:.1f} s"
    )


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="Redis is not installed (redis-server)")
def test_the_head_is_killed_under_load_with_redis(folders, expected) -> None:
    with machines() as made:
        store = made.add_machine("redis")
        store.start("redis-server", "--protected-mode", "no", "--save", "", "--requirepass", REDIS_PASSWORD)
        wait_until(lambda: store.processes("redis-server"), "Redis", START_S)
        survives = {
            "RAY_REDIS_ADDRESS": f"redis://{store.address}:6379",
            "RAY_external_storage_namespace": "jr2net",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "300",
        }
        with service(made, folders, REDIS_PASSWORD, **survives) as load, running(checked(load, expected), CLIENTS):
            load.wait_for(100)
            old, start = made.head, time.monotonic()
            answered, failed = load.answered(), sum(load.failed_attempts.values())
            old.kill()
            load.wait_for(200)
            without_head = time.monotonic() - start
            made.start_head(address=old.address, redis_password=REDIS_PASSWORD, **old.settings)
            seconds = wait_until(lambda: len(made.nodes()) == 4, "all nodes know the new head", START_S)
            victim = next(machine for machine in made.all if machine.name == "a")
            os.kill(victim.processes("ServeReplica:jr2net:Reconstruction")[0], signal.SIGKILL)
            wait_until(lambda: replicas(made) == 3, "the controller replaces a replica", READY_S)
            load.wait_for(200)
            pause = load.longest_pause(start)
        print(
            f"\nhead killed, with Redis: {load.answered() - answered} answers since, longest pause {pause:.1f} s, "
            f"{sum(load.failed_attempts.values()) - failed} attempts repeated; {without_head:.0f} s without a head, "
            f"the new one knew all nodes after {seconds:.1f} s; {load.summary()}"
        )


def replicas(made: Machines) -> int:
    return sum(len(machine.processes("ServeReplica:jr2net:Reconstruction")) for machine in made.all if machine.runs)


def test_the_head_is_killed_under_load_without_redis(folders, expected) -> None:
    """The nodes give up when the head stays away: the figure that Redis is for."""
    with machines() as made, service(made, folders, RAY_gcs_rpc_server_reconnect_timeout_s="20") as load:
        with pytest.raises(AssertionError), running(checked(load, expected), CLIENTS):
            load.wait_for(100)
            start = time.monotonic()
            made.head.kill()
            load.wait_for(1_000_000, seconds=300)
        assert load.lost and not load.mixed_up
        lasted = max(load.finished) - start
    print(f"\nhead killed, without Redis: answers for {lasted:.0f} s more, then none")


_SERVE = str(Path(sys.executable).with_name("serve"))
