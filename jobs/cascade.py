"""Runs the whole cascade, from prepare to evaluation, with the reenactor of the configuration; skips finished stages.

python jobs/cascade.py --config configs/laptop.yaml [key=value …]
    --check all     decode every image of the clips, also where `prepare` is finished; default: a sample of each shard
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from jobs.command_line import main
from jobs.evaluate import evaluate
from jobs.films import film
from jobs.mattes import make_mattes
from jobs.pair_clips import make_pair_clips
from jobs.portraits import film_portraits
from jobs.prepare import add_options, check_again, prepare
from jobs.stage import StageFunction, run_stage
from jobs.synthesize import synthesize
from jobs.train import train
from jr2net import storage
from jr2net.run import manifest
from jr2net.run.cascade import NETWORKS, Run, stages, upstream
from jr2net.run.forecast import Forecast, expected_minutes

STAGE_FUNCTIONS: dict[str, StageFunction] = {
    "prepare": prepare,
    "mattes": make_mattes,
    "synthesis": synthesize,
    "films": film,
    "pair_clips": make_pair_clips,
    "portraits": film_portraits,
    "synthesis_2": partial(synthesize, stage="synthesis_2"),
    "evaluation": evaluate,
    **{network: partial(train, stage=network) for network in NETWORKS},
}


def cascade(run: Run, options: argparse.Namespace) -> None:
    """Runs all stages of the run in order. Says at the start, and with all progress, how long the run will take."""
    functions = STAGE_FUNCTIONS | {"prepare": partial(prepare, every_image=options.check == "all")}
    left = stages_left(run)
    forecast = Forecast(left, expected_minutes(run.config))
    print(f"[cascade] {forecast.summary()}", flush=True)
    for stage in stages(run.config):
        run.seconds_after = forecast.after(stage) if stage in left else None
        is_new = manifest.read_inputs(run.folder(stage)) is None  # else its seconds are those of a part of it
        seconds = run_stage(run, stage, functions[stage])
        if seconds is None and stage == "prepare" and options.check == "all":
            check_again(run)
        if seconds is not None and is_new:
            forecast.finished(stage, seconds)
    print(f"[cascade] the report is {storage.join(run.folder('evaluation'), 'report.html')}", flush=True)


def stages_left(run: Run) -> list[str]:
    """The stages that have not finished with what the configuration asks for now, in order."""
    left: list[str] = []
    for stage in stages(run.config):
        uses_left = not set(left).isdisjoint(upstream(run.config, stage))
        if uses_left or not manifest.is_done(run.folder(stage), run.inputs(stage)):
            left.append(stage)
    return left


if __name__ == "__main__":
    sys.exit(main(__doc__, cascade, extend=add_options))
