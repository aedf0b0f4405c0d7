"""Runs the whole cascade, from prepare to evaluation, with the reenactor of the configuration; skips finished stages.

python jobs/cascade.py --config configs/laptop.yaml [key=value …]
    --check all     let `prepare` decode every image of the clips; default: a sample of each shard
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from jobs.command_line import main
from jobs.evaluate import evaluate
from jobs.mattes import make_mattes
from jobs.prepare import add_options, prepare
from jobs.stage import StageFunction, run_stage
from jobs.synthesize import synthesize
from jobs.train import train
from jr2net import storage
from jr2net.run import manifest
from jr2net.run.cascade import NETWORKS, Run, stages
from jr2net.run.forecast import Forecast

STAGE_FUNCTIONS: dict[str, StageFunction] = {
    "prepare": prepare,
    "mattes": make_mattes,
    "synthesis": synthesize,
    "evaluation": evaluate,
    **{network: partial(train, stage=network) for network in NETWORKS},
}


def cascade(run: Run, options: argparse.Namespace) -> None:
    """Runs all stages of the run in order. Says at the start, and with all progress, how long the run will take."""
    functions = STAGE_FUNCTIONS | {"prepare": partial(prepare, every_image=options.check == "all")}
    left = [stage for stage in stages(run.config) if manifest.read_manifest(run.folder(stage)) is None]
    forecast = Forecast(left, run.config.scaling.expected_minutes)
    print(f"[cascade] {forecast.summary()}", flush=True)
    for stage in stages(run.config):
        run.seconds_after = forecast.after(stage) if stage in left else None
        seconds = run_stage(run, stage, functions[stage])
        if seconds is not None and stage in left:
            forecast.finished(stage, seconds)
    print(f"[cascade] the report is {storage.join(run.folder('evaluation'), 'report.html')}", flush=True)


if __name__ == "__main__":
    sys.exit(main(__doc__, cascade, extend=add_options))
