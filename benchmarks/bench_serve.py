"""Serving: the HTTP API against the bare batched forward and a plain FastAPI server on the same core; the network.

``python -m benchmarks serve``. Ray, its proxy, the ingress and the network share the first core that this process may
use; the clients have the others. Every request is one photo with the box of its face, fitted and answered as JSON, or
made to act and answered as a JPEG.
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
from benchmarks.serve_plain import Plain
from jr2net.config import BackboneConfig, DCNetConfig, FaceConfig, OptimizerConfig
from jr2net.face.load import load_face_model
from jr2net.face.model import FaceModel
from jr2net.inference.messages import ModelInfo, ReenactRequest, to_face_arrays
from jr2net.inference.openvino import compile_reconstructor, studio_images
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
BATCH = {"reconstruct": 16, "reenact": 8}  # of the bare loop, and the most that a replica takes at once
CLIENTS = 24
START_TIMEOUT_S = 180
CORES = sorted(os.sched_getaffinity(0))
SECONDS = float(os.environ.get("JR2NET_BENCH_SECONDS", "12"))
SIZES = {"laptop's sizes, 64 px": (64, 18, 18, 32), "paper's sizes, 224 px": (224, 50, 34, 64)}
WINDOWS = {64: SECONDS, 224: 3 * SECONDS}  # by a picture's side: where a batch takes seconds, a window must hold many


def measure() -> Iterator[Measurement]:
    model = load_face_model(FaceConfig())
    yield from _recaugnet_alone(model)
    yield from _dcnet_alone(model)
    yield from _what_precision_changes(model)
    with tempfile.TemporaryDirectory() as folder:
        for label, sizes in SIZES.items():
            weights = _untrained(Path(folder, str(sizes[0])), model, *sizes)
            yield from _serving(label, weights, WINDOWS[sizes[0]])


def _recaugnet_alone(model: FaceModel) -> Iterator[Measurement]:
    """RecAugNet at the paper's sizes, one picture on one core. The paper has 20 ms on a GPU."""
    plain = Reconstructor(_recaugnet(model, 50, 34, 64), model, ModelInfo("recaugnet", "", 224, 5.0))
    picture = torch.rand(1, 3, 224, 224)
    name = "recaugnet_224_one_core_ms ({})"
    for precision in ("fp32", "bf16"):
        prepared = replace(plain, network=prepare(copy.deepcopy(plain.network), precision))
        took = best_ms(partial(prepared.predict, picture))
        yield Measurement(name.format(f"PyTorch, {precision}"), took, "ms", "paper, GPU: 20 ms")
    if importlib.util.find_spec("openvino") is None:
        print("OpenVINO is not installed: PyTorch alone")
        return
    for precision in ("fp32", "bf16", "int8"):
        compiled = compile_reconstructor(plain, precision, torch.rand(16, 3, 224, 224))
        took = best_ms(partial(compiled.predict, picture))
        yield Measurement(name.format(f"OpenVINO, {precision}"), took, "ms", "paper, GPU: 20 ms")


def _dcnet_alone(model: FaceModel) -> Iterator[Measurement]:
    """A picture of 224 pixels made to act on one core: its scene is rendered, DCNet draws it."""
    neutral = to_face_arrays(model.neutral(1))
    request = ReenactRequest(np.full((224, 224, 3), 128, np.uint8), neutral, neutral)
    for precision in ("fp32", "bf16"):
        reenactor = Reenactor(prepare(_dcnet(64), precision), model, ModelInfo("dcnet", "", 224, 5.0))
        took = best_ms(partial(reenactor.reenact, [request]))
        yield Measurement(f"dcnet_224_one_core_ms (with its scene, PyTorch, {precision})", took, "ms")


def _what_precision_changes(model: FaceModel) -> Iterator[Measurement]:
    """Of trained weights: how far coefficients and pixels move, on pictures that int8 was not calibrated with."""
    network, info = load_checkpoint(shipped_weights("recaugnet"), model)
    reconstructor = Reconstructor(network, model, info)
    pictures = studio_images(model, reconstructor.camera.size, people=32)
    seen, unseen = pictures[0::2], pictures[1::2]
    faces = reconstructor.predict(unseen)
    places = landmarks_2d(model, faces, reconstructor.camera)
    eyes = (places[:, 36] - places[:, 45]).norm(dim=-1).mean()
    computed = {"PyTorch, bf16": replace(reconstructor, network=prepare(copy.deepcopy(reconstructor.network), "bf16"))}
    if importlib.util.find_spec("openvino") is not None:
        for precision in ("fp32", "bf16", "int8"):
            computed[f"OpenVINO, {precision}"] = compile_reconstructor(reconstructor, precision, seen)
    for how, changed in computed.items():
        answer = changed.predict(unseen)
        moved = (answer.expression - faces.expression).abs()
        share = moved.mean() / faces.expression.std(0).mean()
        for what, value, unit in (("mean", moved.mean(), "of [0, 1]"), ("largest", moved.max(), "of [0, 1]")):
            yield Measurement(f"expression_change ({how}, {what})", float(value), unit, "PyTorch fp32")
        yield Measurement(f"expression_change ({how}, of spread)", float(share), "", "PyTorch fp32")
        distance = (landmarks_2d(model, answer, reconstructor.camera) - places).norm(dim=-1) / eyes
        for what, value in (("mean", distance.mean()), ("largest", distance.max())):
            yield Measurement(f"landmark_change ({how}, {what})", float(value), "of the eyes' distance", "PyTorch fp32")

    dcnet = load_checkpoint(shipped_weights("dcnet"), model)[0]
    with torch.inference_mode():
        driving = faces.replace(expression=faces.expression.roll(1, 0))
        scene = set_scene(model, reconstructor.camera, unseen, faces, driving)
        moved = (prepare(copy.deepcopy(dcnet), "bf16")(scene).picture - dcnet(scene).picture).abs()
    for what, value in (("mean", moved.mean()), ("largest", moved.max())):
        yield Measurement(f"picture_change (PyTorch, bf16, {what})", float(value), "of [0, 1]", "PyTorch fp32")


def _serving(label: str, weights: Path, seconds: float) -> Iterator[Measurement]:
    """``seconds``: how long each rate is measured."""
    photos = [_photo(seed) for seed in range(8)]
    with _on_first_core():
        bare = _bare_rates(weights, photos, seconds)
    for request, rate in bare.items():
        yield Measurement(f"bare_{request}_per_s ({label}, batch {BATCH[request]})", rate, "pictures/s")

    with _server("fastapi", weights) as plain:
        theirs = {request: _saturate(plain.address, photos, seconds, request)[0] for request in BATCH}
    for request, rate in theirs.items():
        yield Measurement(f"fastapi_{request}_per_s ({label})", rate, "requests/s")

    with _server("ray", weights) as ours:
        yield Measurement(f"serve_cold_start_s ({label})", ours.start_s, "s")
        for request in BATCH:
            name = "serve" if request == "reconstruct" else "serve_reenact"
            rate, _ = _saturate(ours.address, photos, seconds, request)
            yield Measurement(f"{name}_per_s ({label})", rate, "requests/s")
            share = rate / bare[request]
            yield Measurement(f"{name}_vs_bare_forward ({label})", share, "of its rate", "bare batched forward")
            times_theirs = rate / theirs[request]
            yield Measurement(f"{name}_vs_fastapi ({label})", times_theirs, "times", "FastAPI + uvicorn, one by one")
            for load in (0.2, 0.5, 0.8):
                for percentile, value in _percentiles(_steady(ours.address, photos, seconds, request, load * rate)):
                    yield Measurement(f"{name}_{percentile}_ms ({label}, {load:.0%} of saturation)", value, "ms")
        many, _ = _saturate(ours.address, photos, seconds, "reconstruct", pictures=16)
        share = many / bare["reconstruct"]
        yield Measurement(f"serve_vs_bare_forward ({label}, 16 pictures a call)", share, "of its rate", "bare")
        for name, megabytes in ours.memory().items():
            yield Measurement(f"serve_memory_mb ({label}, {name})", megabytes, "MB")
    fewer_bits = {"ray-bf16": "bf16"}
    if importlib.util.find_spec("openvino") is not None:
        fewer_bits["ray-int8"] = "OpenVINO int8, DCNet bf16"
    for kind, how in fewer_bits.items():
        with _server(kind, weights) as ours:
            for request in BATCH:
                name = "serve" if request == "reconstruct" else "serve_reenact"
                rate, _ = _saturate(ours.address, photos, seconds, request)
                yield Measurement(f"{name}_per_s ({label}, {how})", rate, "requests/s")
                peer = "FastAPI + uvicorn, one by one, PyTorch fp32"
                yield Measurement(f"{name}_vs_fastapi ({label}, {how})", rate / theirs[request], "times", peer)


def _bare_rates(weights: Path, photos: list[bytes], seconds: float) -> dict[str, float]:
    """Pictures a second on one thread: decoded, cropped and fitted in batches; reenacted, pasted and encoded too."""
    tune_malloc()  # as our replicas do
    plain = Plain(weights)

    def batch(request: str) -> None:
        some = [photos[number % len(photos)] for number in range(BATCH[request])]
        if request == "reconstruct":
            plain.reconstruct(some, BOX)
        else:
            plain.reenact(some, BOX, EXPRESSION)

    rates = {}
    for request, pictures in BATCH.items():
        batch(request)
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            batch(request)
            done += pictures
        rates[request] = done / (time.perf_counter() - start)
    return rates


class _Server:
    def __init__(self, process: subprocess.Popen, address: str, start_s: float) -> None:
        self.process, self.address, self.start_s = process, address, start_s

    def memory(self) -> dict[str, float]:
        """Megabytes of each replica that are its own (unique set size)."""
        import psutil

        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            name = " ".join(child.cmdline())
            if "ServeReplica" in name:
                found[name.split(":")[-1].split()[0]] = child.memory_full_info().uss / 2**20
        return found


@contextmanager
def _server(kind: str, weights: Path) -> Iterator[_Server]:
    """A server in a process of its own, on the first core; the clients then have the others."""
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
            while not _answers(client):
                if process.poll() is not None or time.perf_counter() - started > START_TIMEOUT_S:
                    raise RuntimeError(f"the {kind} server did not answer with 200 within {START_TIMEOUT_S} s")
                time.sleep(0.2)
        yield _Server(process, address, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(60)


def _answers(client: httpx.Client) -> bool:
    try:
        return _ask(client, _photo(0)) == 200
    except httpx.HTTPError:
        return False


def _ask(client: httpx.Client, photo: bytes, request: str = "reconstruct", pictures: int = 1) -> int:
    box = ",".join(map(str, BOX))
    if request == "reenact":
        data = {"box": box, "expression": json.dumps(EXPRESSION)}
        return client.post("/v1/reenact", files={"source": ("a.jpg", photo)}, data=data).status_code
    if pictures > 1:
        files = [("image", (f"{n}.jpg", photo)) for n in range(pictures)]
        return client.post("/v1/reconstruct", files=files, params={"box": box}).status_code
    headers = {"Content-Type": "image/jpeg"}
    return client.post("/v1/reconstruct", content=photo, params={"box": box}, headers=headers).status_code


def _saturate(
    address: str, photos: list[bytes], seconds: float, request: str, pictures: int = 1
) -> tuple[float, list[float]]:
    """Pictures a second that many clients get who never pause, and the seconds that each request took."""
    times: list[float] = []
    until = time.perf_counter() + seconds + 2
    counts_from = until - seconds

    def client(number: int) -> None:
        with httpx.Client(base_url=address, timeout=120) as connection:
            while (start := time.perf_counter()) < until:
                status = _ask(connection, photos[number % len(photos)], request, pictures)
                end = time.perf_counter()
                if status != 200:
                    raise RuntimeError(f"answered {status}")
                if counts_from <= end <= until:
                    times.append(end - start)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(max(2, CLIENTS // pictures))))
    return len(times) * pictures / seconds, times


def _steady(address: str, photos: list[bytes], seconds: float, request: str, rate: float) -> list[float]:
    """Seconds of requests that begin at a steady rate, whether or not earlier ones are answered."""
    count, begin = max(20, int(rate * seconds)), time.perf_counter() + 0.5

    def one(number: int) -> float:
        due = begin + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        _ask(client, photos[number % len(photos)], request)
        return time.perf_counter() - due  # waiting for a free connection counts

    # One client for all: a new one takes the clients' core 20 ms, which would count as the server's.
    with httpx.Client(base_url=address, timeout=120) as client, ThreadPoolExecutor(4 * CLIENTS) as pool:
        return list(pool.map(one, range(count)))


def _percentiles(times: list[float]) -> Iterator[tuple[str, float]]:
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
    for percent in (50, 95, 99):
        yield f"p{percent}", 1000 * cuts[percent - 1]


@contextmanager
def _on_first_core() -> Iterator[None]:
    """What runs or is started inside has the first core of this process, and torch one thread."""
    os.sched_setaffinity(0, CORES[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES[1:] or CORES)


def _photo(seed: int) -> bytes:
    """A JPEG of 512 × 512 pixels."""
    blots = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(blots, (512, 512), interpolation=cv2.INTER_CUBIC))[1].tobytes()


def _recaugnet(model: FaceModel, rec_layers: int, et_layers: int, width: int) -> RecAugNet:
    """Untrained; with the frozen batch normalisation of published backbones where it is as wide as those."""
    torch.manual_seed(0)
    published = "published.pth" if width == 64 else None

    def backbone(layers: int) -> BackboneConfig:
        return BackboneConfig.model_validate({"layers": layers, "width": width, "weights": published})

    recnet = RecNet(model.sizes, backbone(rec_layers), pretrained=False)
    return RecAugNet(recnet, ETNet(backbone(et_layers), pretrained=False)).eval()


def _dcnet(width: int) -> DCNet:
    """Half as wide as the backbones beside it."""
    steps = OptimizerConfig(steps=1, batch_size=1, learning_rate=1e-3)
    return DCNet(DCNetConfig(width=width // 2, scales=3, blocks=2, optimizer=steps))


def _untrained(folder: Path, model: FaceModel, size: int, rec_layers: int, et_layers: int, width: int) -> Path:
    """Both networks of one size as checkpoints: how fast they are does not depend on what they have learnt."""
    seen = {"image_size": size, "focal_ratio": 5.0}
    save_network(_recaugnet(model, rec_layers, et_layers, width), folder / "recaugnet", seen, model.digest, {})
    save_network(_dcnet(width), folder / "dcnet", seen, model.digest, {})
    return folder
