"""Long tests: trainings killed and resumed on a real S3 server, also behind a proxy that fails one request in 20."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from faulty_s3 import FaultyS3, faulty_s3
from test_resume import SETTINGS, STEPS, killed_and_resumed

from jr2net import storage
from jr2net.training.log import read_log

BUCKET = "jr2net-drill"
SCRIPT = Path(os.environ.get("JR2NET_CEPH_RGW", Path(__file__).parents[3] / "shared" / "tools" / "ceph-rgw.sh"))
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "access", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Ceph gateway with an empty bucket; its credentials are in the environment."""
    if not SCRIPT.exists():
        pytest.skip(f"no S3 server: {SCRIPT} does not exist (set JR2NET_CEPH_RGW)")
    uri = tmp_path_factory.mktemp("ceph")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        environment = os.environ | {"CEPH_RGW_PORT": str(free.getsockname()[1])}
    up = subprocess.run(["bash", SCRIPT, "up", uri], env=environment, capture_output=True, text=True)
    if up.returncode:
        pytest.skip(f"the S3 server did not start: {up.stderr.strip().splitlines()[-1:]}")
    exports = [line.removeprefix("export ") for line in up.stdout.splitlines() if line.startswith("export ")]
    settings = dict(item.split("=", 1) for line in exports for item in line.split())
    endpoint = next(value for name, value in settings.items() if name.startswith("AWS_ENDPOINT_URL"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value.strip("'\""))
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield endpoint.strip("'\"")
    subprocess.run(["bash", SCRIPT, "kill", uri], env=environment, capture_output=True)


@pytest.fixture(scope="module")
def proxy(real_server: str) -> Iterator[FaultyS3]:
    """A proxy, set in the environment before the cluster starts, so that its workers use it."""
    with faulty_s3(real_server, rate=0.0) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        patch.setenv("AWS_MAX_ATTEMPTS", "6")
        yield server


@pytest.fixture(scope="module")
def undisturbed(proxy: FaultyS3, submit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training in a local folder, uninterrupted."""
    uri = tmp_path_factory.mktemp("undisturbed") / "run"
    for job in (["jobs/prepare.py"], ["jobs/train.py", "recnet"]):
        status, log = submit(*job, f"storage={uri}", *SETTINGS)
        assert status == 0, log
    return uri


@pytest.mark.drill
@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_a_training_in_a_bucket_ends_with_the_same_weights(
    rate: float, proxy: FaultyS3, undisturbed: Path, start, submit, tmp_path: Path
) -> None:
    uri = f"s3://{BUCKET}/rate-{rate}"
    shutil.copytree(undisturbed / "prepare", tmp_path / "prepare")
    storage.upload_folder(tmp_path / "prepare", f"{uri}/prepare")
    before, proxy.rate = proxy.requests.total(), rate
    proxy.gets.clear()
    try:
        killed_and_resumed("recnet", uri, start, submit)
    finally:
        proxy.rate = 0.0
    assert (rate > 0) == bool(proxy.failed)
    for name in ("model.safetensors", "model.json"):
        assert storage.read_bytes(f"{uri}/recnet/{name}") == (undisturbed / "recnet" / name).read_bytes(), name
    assert [record["step"] for record in read_log(f"{uri}/recnet")] == list(range(1, STEPS + 1))
    assert proxy.requests.total() - before < 20 * STEPS, "too many retries"
    states_read = sum(count for path, count in proxy.gets.items() if path.endswith(".pt"))
    if rate == 0:
        assert states_read <= 3, "each of three resumes downloads one state, once for all workers"
