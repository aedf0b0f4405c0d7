"""The servers that ``bench_serve`` measures: ``python -m benchmarks.serve_servers KIND WEIGHTS PORT``."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Form, Request, Response, UploadFile  # global: FastAPI resolves annotations here

from jobs.ray_settings import LOCAL_SETTINGS, SERVE_SETTINGS
from jr2net.process import use_threads


def serve_with_ray(weights: Path, port: int, runtime: str = "torch", *precisions: str) -> None:
    """Our server: Ray, proxy, ingress and both networks. ``precisions``: of RecAugNet and of DCNet."""
    os.environ.update(LOCAL_SETTINGS | SERVE_SETTINGS)  # before Ray Serve is imported

    import ray
    from ray import serve

    from serve.app import bind
    from serve.settings import check_settings

    ray.init("local", num_cpus=8, include_dashboard=False, logging_level=logging.WARNING)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    replica = {"num_cpus": 0.5}
    fitting, generating = ({"precision": precision, **replica} for precision in precisions or ("fp32", "fp32"))
    settings = {
        "reconstruction": {"weights": str(weights / "recaugnet"), "max_batch_size": 16, "runtime": runtime, **fitting},
        "reenactment": {"weights": str(weights / "dcnet"), "max_batch_size": 8, **generating},
        "ingress": replica,
        "authentication": "off",
        "detector": "off",
        "limits": {"requests_per_second": 1e6, "burst": 1_000_000, "concurrent": 10_000},
    }
    serve.run(bind(check_settings(settings)))
    while True:
        time.sleep(3600)


def serve_with_fastapi(weights: Path, port: int) -> None:
    """The baseline: one process, with the same decoding and networks, without batching."""
    import uvicorn

    from benchmarks.serve_plain import LocalNetworks

    networks, api = LocalNetworks(weights), FastAPI()

    @api.post("/v1/reconstruct")
    async def reconstruct(request: Request, box: str) -> dict:
        return networks.reconstruct([await request.body()], _numbers(box))[0]

    @api.post("/v1/reenact")
    async def reenact(source: UploadFile, box: Annotated[str, Form()], expression: Annotated[str, Form()]) -> Response:
        (image,) = networks.reenact([await source.read()], _numbers(box), json.loads(expression))
        return Response(image, media_type="image/jpeg")

    uvicorn.run(api, host="127.0.0.1", port=port, log_level="warning")


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


if __name__ == "__main__":
    kind, folder, number = sys.argv[1:]
    use_threads(1)
    servers: dict[str, Callable[..., None]] = {"ray": serve_with_ray, "fastapi": serve_with_fastapi}
    server, _, precision = kind.partition("-")
    options = {"": (), "bf16": ("torch", "bf16", "bf16"), "int8": ("openvino", "int8", "bf16")}
    servers[server](Path(folder), int(number), *options[precision])
