"""Long tests: with kills and storage faults, a dataset ends equal to that of an uninterrupted run on one worker.

2,000 pairs in 40 shards on a cluster of two nodes on this machine, one actor each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from faulty_s3 import faulty_s3
from moto.server import ThreadedMotoServer
from ray.cluster_utils import Cluster
from tiny_run import SMOKE, make_upstream

from jobs.ray_settings import LOCAL_SETTINGS
from jr2net import storage
from jr2net.data.pairs import read_description
from jr2net.storage import iter_files
from jr2net.synthesis import verify
from jr2net.synthesis.shards import MANIFESTS

pytestmark = pytest.mark.drill

ROOT = Path(__file__).parents[2]
SIZE = ["synthesis.pairs=2000", "synthesis.pairs_per_shard=50", "synthesis.batch_size=16"]
SHARDS = 40
NOT_IN_DATASET = ("manifest.json", "throughput.json")
"""Files of the run that are not part of the dataset: they depend on time."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testaccess",
    "AWS_SECRET_ACCESS_KEY": "testsecret",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}
CEPH = Path(
    os.environ.get("JR2NET_CEPH_RGW")
    or Path(os.environ.get("JR2NET_REAL_GROUND", ROOT.parent / "shared"), "tools", "ceph-rgw.sh")
)
"""Starts a real S3 server: ``ceph-rgw.sh up|kill|again FOLDER``."""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**LOCAL_SETTINGS, **CREDENTIALS, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="module")
def cluster(environment: None) -> Iterator[Cluster]:
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


@pytest.fixture
def start(cluster: Cluster) -> Start:
    """start(storage, setting=value …, endpoint=…) -> the process of a synthesis job."""

    def begin(storage_uri: str, *settings: str, endpoint: str = "") -> subprocess.Popen[str]:
        environment = os.environ | {"RAY_ADDRESS": cluster.address, "AWS_MAX_ATTEMPTS": "12"}
        if endpoint:
            environment["AWS_ENDPOINT_URL"] = endpoint
        command = [sys.executable, "jobs/synthesize.py", "--config", SMOKE, f"storage={storage_uri}", *SIZE, *settings]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    return begin


@pytest.fixture(scope="module")
def upstream(environment: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage of a run with all stages before synthesis."""
    folder = tmp_path_factory.mktemp("upstream")
    make_upstream(str(folder), *SIZE)
    return folder


@pytest.fixture(scope="module")
def undisturbed(upstream: Path, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The objects of an uninterrupted run on one worker, by name."""
    storage_uri = str(tmp_path_factory.mktemp("undisturbed"))
    storage.upload_folder(upstream, storage_uri)
    command = [sys.executable, "jobs/synthesize.py", "--config", SMOKE, f"storage={storage_uri}", *SIZE]
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    finished = subprocess.run(
        [*command, "scaling.synthesis_actors=1"], cwd=ROOT, env=environment, text=True, capture_output=True
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert read_description(f"{storage_uri}/synthesis")["shards"] == SHARDS
    return objects(f"{storage_uri}/synthesis")


def objects(folder: str) -> dict[str, bytes]:
    """Every file of a dataset, hidden or not, by name; without the run's own files."""
    if not storage.is_remote(folder):
        found = [path for path in Path(folder).rglob("*") if path.is_file()]
        contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    else:
        contents = {name: storage.read_bytes(f"{folder}/{name}") for name, _ in iter_files(folder)}
    return {name: content for name, content in contents.items() if name not in NOT_IN_DATASET}


def wait_for_shards(folder: str, count: int, process: subprocess.Popen[str]) -> None:
    """Waits until ``count`` shards are finished."""
    deadline = time.monotonic() + 600
    while sum(1 for _ in iter_files(f"{folder}/{MANIFESTS}")) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"fewer than {count} shards in ten minutes"
        time.sleep(0.02)


def assert_finished(process: subprocess.Popen[str]) -> str:
    log, _ = process.communicate(timeout=900)
    assert process.returncode == 0, log
    return log


def workers(cluster: Cluster) -> list[int]:
    """Pids of the cluster's synthesis actors."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, stat = (folder / "cmdline").read_bytes(), (folder / "stat").read_text()
        except OSError:
            continue
        parent = int(stat.rpartition(")")[2].split()[1])
        if b"PairActor" in name and parent in {raylet(node) for node in cluster.list_all_nodes()}:
            found.append(int(folder.name))
    return found


def raylet(node) -> int:
    return node.all_processes["raylet"][0].process.pid


def assert_same(folder: str, undisturbed: dict[str, bytes]) -> None:
    objects_found = objects(folder)
    assert sorted(objects_found) == sorted(undisturbed)
    assert [name for name in undisturbed if objects_found[name] != undisturbed[name]] == []
    description = read_description(folder)
    listing = verify.Listing(folder, description)
    problems = [*verify.check_objects(folder, description, listing), *verify.check_counts(description, listing)]
    assert problems + verify.check_shard(folder, listing[7], description) == []


def test_the_driver_is_killed_at_three_moments(
    start: Start, upstream: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    storage.upload_folder(upstream, str(tmp_path))
    for count in (1, SHARDS // 2, SHARDS - 2):
        process = start(str(tmp_path))
        wait_for_shards(str(tmp_path / "synthesis"), count, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "synthesis" / "dataset.json").exists()
    log = assert_finished(start(str(tmp_path)))
    assert "resumes" in log
    assert_same(str(tmp_path / "synthesis"), undisturbed)


def test_two_jobs_at_once_make_one_dataset(
    start: Start, upstream: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """One of which is killed and started again, and both of which finish."""
    storage.upload_folder(upstream, str(tmp_path))
    one = start(str(tmp_path), "scaling.synthesis_actors=1")
    wait_for_shards(str(tmp_path / "synthesis"), 1, one)
    other = start(str(tmp_path), "scaling.synthesis_actors=1")
    wait_for_shards(str(tmp_path / "synthesis"), SHARDS // 3, one)
    one.send_signal(signal.SIGKILL)
    one.communicate()
    one = start(str(tmp_path), "scaling.synthesis_actors=1")
    for process in (one, other):
        assert_finished(process)
    assert_same(str(tmp_path / "synthesis"), undisturbed)


def test_an_actor_and_a_node_are_killed_and_requests_fail(
    start: Start, cluster: Cluster, upstream: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    direct = "http://{}:{}".format(*server.get_host_and_port())
    monkeypatch.setenv("AWS_ENDPOINT_URL", direct)
    boto3.client("s3", endpoint_url=direct).create_bucket(Bucket="bucket")
    storage.upload_folder(upstream, "s3://bucket/run")
    with faulty_s3(direct, rate=0.05) as proxy:
        process = start("s3://bucket/run", endpoint=proxy.endpoint)
        wait_for_shards("s3://bucket/run/synthesis", 3, process)
        os.kill(workers(cluster)[0], signal.SIGKILL)
        wait_for_shards("s3://bucket/run/synthesis", 10, process)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        cluster.add_node(num_cpus=1)
        assert_finished(process)
        assert proxy.failed.total() > 0.02 * proxy.requests.total()
    assert_same("s3://bucket/run/synthesis", undisturbed)
    server.stop()


@pytest.fixture
def ceph() -> Iterator[Callable[[str], None]]:
    """ceph("kill"), ceph("again") on a real S3 server that keeps its data on disk."""
    if not CEPH.is_file():
        pytest.skip(f"no real S3 server: {CEPH} does not exist (set JR2NET_CEPH_RGW)")
    with tempfile.TemporaryDirectory(prefix="ceph-") as short:  # paths of Unix sockets must be short
        yield from serve_ceph(os.environ.get("JR2NET_CEPH_FOLDER") or short)


def serve_ceph(folder: str) -> Iterator[Callable[[str], None]]:
    def run(command: str, *arguments: str) -> None:
        finished = subprocess.run(["bash", str(CEPH), command, folder, *arguments], text=True, capture_output=True)
        if finished.returncode:
            pytest.skip(f"{CEPH.name} {command} failed: {finished.stderr.strip()[-500:]}")

    run("up", "bluestore")
    yield run
    run("kill")


def test_a_real_s3_server_is_killed_and_brought_back(
    start: Start,
    upstream: Path,
    undisturbed: dict[str, bytes],
    ceph: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = f"http://127.0.0.1:{os.environ.get('CEPH_RGW_PORT', '17480')}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "12")
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="bucket")
    storage.upload_folder(upstream, "s3://bucket/run")
    process = start("s3://bucket/run", endpoint=endpoint)
    wait_for_shards("s3://bucket/run/synthesis", 5, process)
    ceph("kill")
    time.sleep(2)
    ceph("again")
    assert_finished(process)
    assert_same("s3://bucket/run/synthesis", undisturbed)
