"""Runs whose stages are finished in an instant: records and one output file, with a stub face model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from jr2net import storage
from jr2net.config import load
from jr2net.run import manifest
from jr2net.run.cascade import Run, stages
from jr2net.run.stage import begin

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


def run_at(folder: Path, *overrides: str, face: str = "f" * 64) -> Run:
    """A run with a stub face model that has a digest only."""
    run = Run(load(SMOKE, [f"storage={folder}", *overrides]))
    run.__dict__["model"] = SimpleNamespace(digest=face)
    return run


def finish(run: Run, stage: str, output: str = "") -> None:
    """Finishes a stage with one output file, unless it is done."""
    record = begin(run, stage)
    if record is not None:
        storage.write_bytes(storage.join(run.folder(stage), "output"), (output or stage).encode())
        manifest.finish(run.folder(stage), record, ["output"], 1.0)


def finish_all(run: Run) -> None:
    for stage in stages(run.config):
        finish(run, stage)


def save_state(run: Run, stage: str, step: int) -> None:
    """Puts a file where the newest state of a training would be."""
    storage.write_bytes(storage.join(run.folder(stage), "state", f"{step:08d}.pt"), b"")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def as_version_0_1(run: Run, stage: str) -> None:
    """Rewrites the records of a finished stage as version 0.1 wrote them: with whole sections of the configuration."""
    config, folder = run.config, Path(run.folder(stage))
    tree = config.model_dump(mode="json")
    if stage == "prepare":
        clips = {"clips": 1, "hold_out": 7} if config.data.clips else {"studio": tree["data"]["studio"]}
        settings = {**clips, **({"turned": True} if config.evaluation.turned else {})}
        if config.data.clips:
            settings["clips"] = storage.file_sizes(config.data.clips, ".parquet")
    else:
        names = {"mattes": (), "recaugnet": ("recaugnet", "recnet")}.get(stage, (stage,))
        settings = {name: tree[name] for name in names}
    for name in ("inputs.json", "manifest.json"):
        content = json.loads((folder / name).read_text())
        record = content["inputs"] if name == "manifest.json" else content
        record |= {"seed": config.seed, "image_size": config.image_size, "focal_ratio": config.face.focal_ratio}
        record |= {"settings": settings, "code": "2" if stage == "synthesis" else "1"}
        (folder / name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
