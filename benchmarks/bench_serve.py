"""Serving: the HTTP API against a bare batched forward and a plain FastAPI server on the same core; the networks alone.

``python -m benchmarks serve``. Ray, its proxy, the ingress and the networks share the first core of this process; the
clients use the others. Every request is one photo with the box of its face: reconstruction returns JSON, reenactment a
JPEG.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import httpx
import numpy as np
import torch

from benchmarks.results import Measurement, best_ms
from benchmarks.serve_plain import LocalNetworks
from jr2net.config import BackboneConfig, DCNetConfig, FaceConfig, OptimizerConfig
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.inference.messages import ModelInfo, ReenactRequest, to_face_arrays
from jr2net.inference.openvino import compile_network, studio_images
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.inference.weights import load_checkpoint, shipped_weights
from jr2net.networks.checkpoint import save_network
from jr2net.networks.dcnet import DCNet
from jr2net.networks.etnet import ETNet
from jr2net.networks.precision import prepare
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet
from jr2net.process import tune_malloc
from jr2net.render.renderer import landmarks_2d
from jr2net.render.scene import set_scene

ROOT = Path(__file__).parents[1]
BOX = (150.0, 130.0, 370.0, 350.0)
EXPRESSION = {"jawOpen": 0.7}
BATCH = {"reconstruct": 16, "reenact": 8}  # of the bare loop, and max_batch_size of the replicas
CLIENTS = 24
START_TIMEOUT_S = 180
CORES = sorted(os.sched_getaffinity(0))
SECONDS = float(os.environ.get("JR2NET_BENCH_SECONDS", "12"))
SIZES = {"laptop's sizes, 64 px": (64, 18, 18, 32), "paper's sizes, 224 px": (224, 50, 34, 64)}
WINDOWS = {64: SECONDS, 224: 3 * SECONDS}  # by image size: a window must be much longer than a batch


def measure() -> Iterator[Measurement]:
    model = load_face_model(FaceConfig())
    yield from _recaugnet_alone(model)
    yield from _dcnet_alone(model)
    yield from _precision_errors(model)
    with tempfile.TemporaryDirectory() as folder:
        for label, sizes in SIZES.items():
            weights = _untrained(Path(folder, str(sizes[0])), model, *sizes)
            yield from _serving(label, weights, WINDOWS[sizes[0]])


def _recaugnet_alone(model: FaceModel) -> Iterator[Measurement]:
    """RecAugNet at the paper's sizes, one image on one core. The paper reports 20 ms on a GPU."""
    reconstructor = Reconstructor(_recaugnet(model, 50, 34, 64), model, ModelInfo("recaugnet", "", 224, 5.0))
    image = torch.rand(1, 3, 224, 224)
    name = "recaugnet_224_one_core_ms ({})"
    for precision in ("fp32", "bf16"):
        prepared = replace(reconstructor, network=prepare(copy.deepcopy(reconstructor.network), precision))
        milliseconds = best_ms(partial(prepared.predict, image))
        yield Measurement(name.format(f"PyTorch, {precision}"), milliseconds, "ms", "paper, GPU: 20 ms")
    if importlib.util.find_spec("openvino") is None:
        print("OpenVINO is not installed: measuring PyTorch only")
        return
    for precision in ("fp32", "bf16", "int8"):
        compiled = _compiled(reconstructor, precision, torch.rand(16, 3, 224, 224))
        milliseconds = best_ms(partial(compiled.predict, image))
        yield Measurement(name.format(f"OpenVINO, {precision}"), milliseconds, "ms", "paper, GPU: 20 ms")


def _dcnet_alone(model: FaceModel) -> Iterator[Measurement]:
    """One reenactment at 224 pixels on one core: rendering the scene, and DCNet."""
    neutral = to_face_arrays(model.neutral(1))
    request = ReenactRequest(np.full((224, 224, 3), 128, np.uint8), neutral, neutral)
    for precision in ("fp32", "bf16"):
        reenactor = Reenactor(prepare(_dcnet(64), precision), model, ModelInfo("dcnet", "", 224, 5.0))
        milliseconds = best_ms(partial(reenactor.reenact, [request]))
        yield Measurement(f"dcnet_224_one_core_ms (with its scene, PyTorch, {precision})", milliseconds, "ms")


def _precision_errors(model: FaceModel) -> Iterator[Measurement]:
    """Differences to PyTorch fp32 with trained weights: coefficients, landmarks and pixels.

    int8 is calibrated with other images than those that it is measured on.
    """
    network, info = load_checkpoint(shipped_weights("recaugnet"), model)
    reconstructor = Reconstructor(network, model, info)
    images = studio_images(model, reconstructor.camera.size, people=32)
    calibration, test = images[0::2], images[1::2]
    faces = reconstructor.predict(test)
    landmarks = landmarks_2d(model, faces, reconstructor.camera)
    eye_distance = (landmarks[:, 36] - landmarks[:, 45]).norm(dim=-1).mean()
    variants = {"PyTorch, bf16": replace(reconstructor, network=prepare(copy.deepcopy(reconstructor.network), "bf16"))}
    if importlib.util.find_spec("openvino") is not None:
        for precision in ("fp32", "bf16", "int8"):
            variants[f"OpenVINO, {precision}"] = _compiled(reconstructor, precision, calibration)
    for variant, changed in variants.items():
        prediction = changed.predict(test)
        error = (prediction.expression - faces.expression).abs()
        relative = error.mean() / faces.expression.std(0).mean()
        for statistic, value, unit in (("mean", error.mean(), "of [0, 1]"), ("largest", error.max(), "of [0, 1]")):
            yield Measurement(f"expression_change ({variant}, {statistic})", float(value), unit, "PyTorch fp32")
        yield Measurement(f"expression_change ({variant}, of spread)", float(relative), "", "PyTorch fp32")
        distance = (landmarks_2d(model, prediction, reconstructor.camera) - landmarks).norm(dim=-1) / eye_distance
        for statistic, value in (("mean", distance.mean()), ("largest", distance.max())):
            name, unit = f"landmark_change ({variant}, {statistic})", "of the eyes' distance"
            yield Measurement(name, float(value), unit, "PyTorch fp32")

    dcnet = load_checkpoint(shipped_weights("dcnet"), model)[0]
    with torch.inference_mode():
        driving = faces.replace(expression=faces.expression.roll(1, 0))
        scene = set_scene(model, reconstructor.camera, test, faces, driving)
        error = (prepare(copy.deepcopy(dcnet), "bf16")(scene).picture - dcnet(scene).picture).abs()
    for statistic, value in (("mean", error.mean()), ("largest", error.max())):
        yield Measurement(f"picture_change (PyTorch, bf16, {statistic})", float(value), "of [0, 1]", "PyTorch fp32")


def _compiled(reconstructor: Reconstructor, precision: str, images: torch.Tensor) -> Reconstructor:
    network = compile_network(reconstructor.network, reconstructor.camera.size, precision, images)
    return replace(reconstructor, network=network)


def _serving(label: str, weights: Path, seconds: float) -> Iterator[Measurement]:
    """Rates, latencies and memory of the servers. ``seconds``: the duration of each measurement."""
    photos = [_photo(seed) for seed in range(8)]
    with _on_first_core():
        bare = _bare_rates(weights, photos, seconds)
    for request, rate in bare.items():
        yield Measurement(f"bare_{request}_per_s ({label}, batch {BATCH[request]})", rate, "pictures/s")

    with _server("fastapi", weights) as baseline:
        baseline_rates = {request: _saturate(baseline.address, photos, seconds, request)[0] for request in BATCH}
    for request, rate in baseline_rates.items():
        yield Measurement(f"fastapi_{request}_per_s ({label})", rate, "requests/s")

    with _server("ray", weights) as ours:
        yield Measurement(f"serve_cold_start_s ({label})", ours.start_s, "s")
        for request in BATCH:
            name = "serve" if request == "reconstruct" else "serve_reenact"
            rate, _ = _saturate(ours.address, photos, seconds, request)
            yield Measurement(f"{name}_per_s ({label})", rate, "requests/s")
            fraction = rate / bare[request]
            yield Measurement(f"{name}_vs_bare_forward ({label})", fraction, "of its rate", "bare batched forward")
            speedup = rate / baseline_rates[request]
            yield Measurement(f"{name}_vs_fastapi ({label})", speedup, "times", "FastAPI + uvicorn, one by one")
            for load in (0.2, 0.5, 0.8):
                for percentile, value in _percentiles(_steady(ours.address, photos, seconds, request, load * rate)):
                    yield Measurement(f"{name}_{percentile}_ms ({label}, {load:.0%} of saturation)", value, "ms")
        rate, _ = _saturate(ours.address, photos, seconds, "reconstruct", photos_per_request=16)
        fraction = rate / bare["reconstruct"]
        yield Measurement(f"serve_vs_bare_forward ({label}, 16 pictures a call)", fraction, "of its rate", "bare")
        for name, megabytes in ours.memory().items():
            yield Measurement(f"serve_memory_mb ({label}, {name})", megabytes, "MB")
    reduced_precision = {"ray-bf16": "bf16"}
    if importlib.util.find_spec("openvino") is not None:
        reduced_precision["ray-int8"] = "OpenVINO int8, DCNet bf16"
    for kind, precision in reduced_precision.items():
        with _server(kind, weights) as ours:
            for request in BATCH:
                name = "serve" if request == "reconstruct" else "serve_reenact"
                rate, _ = _saturate(ours.address, photos, seconds, request)
                yield Measurement(f"{name}_per_s ({label}, {precision})", rate, "requests/s")
                peer = "FastAPI + uvicorn, one by one, PyTorch fp32"
                speedup = rate / baseline_rates[request]
                yield Measurement(f"{name}_vs_fastapi ({label}, {precision})", speedup, "times", peer)


def _bare_rates(weights: Path, photos: list[bytes], seconds: float) -> dict[str, float]:
    """Photos per second on one thread, in batches: decode, crop and fit; for reenactment, composite and encode too."""
    tune_malloc()  # as the replicas do
    networks = LocalNetworks(weights)

    def run_batch(request: str) -> None:
        batch = [photos[number % len(photos)] for number in range(BATCH[request])]
        if request == "reconstruct":
            networks.reconstruct(batch, BOX)
        else:
            networks.reenact(batch, BOX, EXPRESSION)

    rates = {}
    for request, batch_size in BATCH.items():
        run_batch(request)
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            run_batch(request)
            done += batch_size
        rates[request] = done / (time.perf_counter() - start)
    return rates


class _Server:
    def __init__(self, process: subprocess.Popen, address: str, start_s: float) -> None:
        self.process, self.address, self.start_s = process, address, start_s

    def memory(self) -> dict[str, float]:
        """The unique set size of each replica, in MiB."""
        import psutil

        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            name = " ".join(child.cmdline())
            if "ServeReplica" in name:
                found[name.split(":")[-1].split()[0]] = child.memory_full_info().uss / 2**20
        return found


@contextmanager
def _server(kind: str, weights: Path) -> Iterator[_Server]:
    """Runs a server in its own process, on the first core; the clients use the others."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    environment["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "120"
    environment.pop("RAY_ADDRESS", None)
    with _on_first_core():
        command = [sys.executable, "-m", "benchmarks.serve_servers", kind, str(weights), str(port)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=address, timeout=30) as client:
            while not _is_ready(client):
                if process.poll() is not None or time.perf_counter() - started > START_TIMEOUT_S:
                    raise RuntimeError(f"the {kind} server did not return 200 within {START_TIMEOUT_S} s")
                time.sleep(0.2)
        yield _Server(process, address, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(60)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return _send(client, _photo(0)) == 200
    except httpx.HTTPError:
        return False


def _send(client: httpx.Client, photo: bytes, request: str = "reconstruct", count: int = 1) -> int:
    """Sends a request with ``count`` copies of a photo. Returns the status."""
    box = ",".join(map(str, BOX))
    if request == "reenact":
        data = {"box": box, "expression": json.dumps(EXPRESSION)}
        return client.post("/v1/reenact", files={"source": ("a.jpg", photo)}, data=data).status_code
    if count > 1:
        files = [("image", (f"{n}.jpg", photo)) for n in range(count)]
        return client.post("/v1/reconstruct", files=files, params={"box": box}).status_code
    headers = {"Content-Type": "image/jpeg"}
    return client.post("/v1/reconstruct", content=photo, params={"box": box}, headers=headers).status_code


def _saturate(
    address: str, photos: list[bytes], seconds: float, request: str, photos_per_request: int = 1
) -> tuple[float, list[float]]:
    """Photos per second with many clients that never pause, and the latency of each request in seconds."""
    latencies: list[float] = []
    end_time = time.perf_counter() + seconds + 2
    start_time = end_time - seconds  # after a warm-up

    def client(number: int) -> None:
        with httpx.Client(base_url=address, timeout=120) as connection:
            while (start := time.perf_counter()) < end_time:
                status = _send(connection, photos[number % len(photos)], request, photos_per_request)
                end = time.perf_counter()
                if status != 200:
                    raise RuntimeError(f"status {status}")
                if start_time <= end <= end_time:
                    latencies.append(end - start)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(max(2, CLIENTS // photos_per_request))))
    return len(latencies) * photos_per_request / seconds, latencies


def _steady(address: str, photos: list[bytes], seconds: float, request: str, rate: float) -> list[float]:
    """Latencies in seconds of requests that are sent at a steady rate, without waiting for earlier responses."""
    count, begin = max(20, int(rate * seconds)), time.perf_counter() + 0.5

    def send(number: int) -> float:
        due = begin + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        _send(client, photos[number % len(photos)], request)
        return time.perf_counter() - due  # includes the wait for a free connection

    # One client for all threads: creating one takes 20 ms, which would be measured as latency of the server.
    with httpx.Client(base_url=address, timeout=120) as client, ThreadPoolExecutor(4 * CLIENTS) as pool:
        return list(pool.map(send, range(count)))


def _percentiles(latencies: list[float]) -> Iterator[tuple[str, float]]:
    cuts = statistics.quantiles(latencies, n=100, method="inclusive") if len(latencies) > 1 else latencies * 99
    for percent in (50, 95, 99):
        yield f"p{percent}", 1000 * cuts[percent - 1]


@contextmanager
def _on_first_core() -> Iterator[None]:
    """Pins this process, and those that it starts, to its first core; afterwards to the others."""
    os.sched_setaffinity(0, CORES[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES[1:] or CORES)


def _photo(seed: int) -> bytes:
    """A JPEG of 512 × 512 pixels."""
    noise = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(noise, (512, 512), interpolation=cv2.INTER_CUBIC))[1].tobytes()


def _recaugnet(model: FaceModel, rec_layers: int, et_layers: int, width: int) -> RecAugNet:
    """An untrained RecAugNet; with frozen batch normalisation if it has the width of the published backbones."""
    torch.manual_seed(0)
    published = "published.pth" if width == 64 else None

    def backbone(layers: int) -> BackboneConfig:
        return BackboneConfig.model_validate({"layers": layers, "width": width, "weights": published})

    recnet = RecNet(model.sizes, backbone(rec_layers), pretrained=False)
    return RecAugNet(recnet, ETNet(backbone(et_layers), pretrained=False)).eval()


def _dcnet(width: int) -> DCNet:
    """An untrained DCNet, half as wide as the backbones."""
    steps = OptimizerConfig(steps=1, batch_size=1, learning_rate=1e-3)
    return DCNet(DCNetConfig(width=width // 2, scales=3, blocks=2, optimizer=steps))


def _untrained(folder: Path, model: FaceModel, size: int, rec_layers: int, et_layers: int, width: int) -> Path:
    """Saves both networks untrained, which does not change their speed. Returns the folder."""
    architecture = {"image_size": size, "focal_ratio": 5.0}
    save_network(_recaugnet(model, rec_layers, et_layers, width), folder / "recaugnet", architecture, model.digest, {})
    save_network(_dcnet(width), folder / "dcnet", architecture, model.digest, {})
    return folder
