"""The whole cascade: prepare, RecNet, DCNet, synthesis, ETNet, RecAugNet, evaluation. What is done is not done again.

python jobs/cascade.py --config configs/laptop.yaml [key=value …]
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from jobs.command_line import main
from jobs.evaluate import evaluate
from jobs.prepare import prepare
from jobs.stage import Work, run_stage
from jobs.synthesize import synthesize
from jobs.train import train
from jr2net.run.cascade import NETWORKS, STAGES, Run

WORK: dict[str, Work] = {
    "prepare": prepare,
    "synthesis": synthesize,
    "evaluation": evaluate,
    **{network: partial(train, stage=network) for network in NETWORKS},
}


def cascade(run: Run, options: argparse.Namespace) -> None:
    for stage in STAGES:
        run_stage(run, stage, WORK[stage])
    print(f"[cascade] the report is {run.folder('evaluation')}/report.html", flush=True)


if __name__ == "__main__":
    sys.exit(main(__doc__, cascade))
