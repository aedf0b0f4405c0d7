"""What a run will cost, stage by stage, before it runs: GPU hours, money, S3 requests, bytes, days. Starts nothing.

python jobs/plan.py --config configs/paper.yaml --fleet configs/fleets/aws-g5.yaml --frames 1.09e7 [key=value …]
    --gpus 1,8,64,1000          numbers of GPUs; batches, steps and actors are scaled to each, as by --gpus of a job
    --pairs 1000000,1000000000  sizes of the dataset; default: synthesis.pairs
    --measure                   measure the stages here, with untrained networks, on the GPU or one core (minutes)
    --run FOLDER                take the seconds from a finished run with the same sizes
    --times-one-core F          how many times faster one GPU is than the core that was measured; replaces the fleet's

Without --measure and --run, it uses what `make bench ARGS=reach` has measured for configs/paper.yaml.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from jr2net.config import Config, load, to_yaml
from jr2net.errors import UserError
from jr2net.process import use_threads
from jr2net.run.pace import Pace, measured, of_run
from jr2net.run.plan import Cost, DataSize, Fleet, load_fleet, plan, total
from jr2net.settings import ConfigError

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results.json"
PAPER_SIDE = 224
MEASURED_BATCH = 4
COLUMNS = (
    "stage",
    "core hours",
    "GPU hours",
    "days",
    "on demand",
    "on spot",
    "PUTs",
    "GETs",
    "requests",
    "written",
    "read",
    "note",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table for each number of GPUs and pairs; returns the exit status."""
    options = build_parser().parse_intermixed_args(arguments)
    try:
        config = load(options.config, options.overrides)
        if options.print_config:
            print(to_yaml(config), end="")
            return 0
        fleet = load_fleet(options.fleet)
        if options.times_one_core is not None:
            machine = fleet.gpu_machine.model_copy(update={"times_one_core": options.times_one_core})
            fleet = fleet.model_copy(update={"gpu_machine": machine})
        data = DataSize(options.frames, 1000 * options.frame_kb, 1000 * options.pair_kb)
        paces = list(find_paces(config, options))
        print(preface(fleet, paces))
        for pairs in options.pairs or [config.synthesis.pairs]:
            for gpus in options.gpus:
                sized = scaled(options, pairs, gpus)
                print(table(plan(sized, data, fleet, paces, gpus), fleet, f"{gpus:,} GPUs, {pairs:,} pairs"))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    def numbers(text: str) -> list[int]:
        return [int(float(part)) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="a file of configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings")
    parser.add_argument("--fleet", required=True, help="machines and prices, e.g. configs/fleets/aws-g5.yaml")
    parser.add_argument("--frames", type=float, required=True, help="frames of the training clips")
    parser.add_argument("--frame-kb", type=float, default=25.0, help="kilobytes of a frame in its shard (default 25)")
    parser.add_argument("--pair-kb", type=float, default=25.0, help="kilobytes of a pair in its shard (default 25)")
    parser.add_argument("--gpus", type=numbers, default=[8], metavar="N,…", help="numbers of GPUs (default 8)")
    parser.add_argument("--pairs", type=numbers, metavar="N,…", help="sizes of the dataset")
    parser.add_argument("--times-one-core", type=float, metavar="F", help="pace of one GPU, in measured cores")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--measure", action="store_true", help="measure the stages on this machine")
    where.add_argument("--run", metavar="FOLDER", help="a finished run with the same sizes")
    parser.add_argument("--print-config", action="store_true", help="print the configuration and exit")
    return parser


def find_paces(config: Config, options: argparse.Namespace) -> Iterator[Pace]:
    """Raises ConfigError where nothing was measured for these sizes."""
    if options.measure:
        use_threads(1)
        yield from measured(config, MEASURED_BATCH)
    elif options.run:
        yield from of_run(options.run, config)
    elif config.image_size == PAPER_SIDE and Path(options.config).stem == "paper":
        yield from recorded()
    else:
        raise ConfigError(f"{options.config}: nothing was measured for its sizes; add --measure, or --run FOLDER")


def recorded(path: Path = RESULTS) -> Iterator[Pace]:
    """What the benchmark ``reach`` has measured: seconds, and bytes of states, by stage."""
    entries = [entry for entry in json.loads(path.read_text()) if entry["name"].startswith("reach_")]
    values = {entry["name"]: entry for entry in entries}
    for name, entry in values.items():
        if name.startswith("reach_seconds "):
            stage = name.partition("(")[2].partition(",")[0]
            size = values.get(f"reach_state_bytes ({stage}, paper)", {"value": 0.0})["value"]
            device = "cpu" if ", CPU" in entry["machine"] else entry["machine"]
            yield Pace(stage, entry["value"], device, f"{entry['machine']}, {entry['date']}", size)


def scaled(options: argparse.Namespace, pairs: int, gpus: int) -> Config:
    """The configuration for so many GPUs and pairs. Overrides are applied after it was scaled."""
    gpu_file = load(options.config).scaling.gpu
    return load(options.config, [*options.overrides, f"synthesis.pairs={pairs}"], gpus if gpu_file else None)


def preface(fleet: Fleet, paces: Sequence[Pace]) -> str:
    machine, devices = fleet.gpu_machine, sorted({pace.source for pace in paces})
    spot = "" if machine.spot_price_per_hour is None else f" on demand, {machine.spot_price_per_hour:g} on spot"
    factor = "not given" if machine.times_one_core is None else f"{machine.times_one_core:g}, given, not measured"
    return (
        f"Prices: {fleet.source} ({fleet.date}); {machine.name}, {machine.gpus} GPUs: {machine.price_per_hour:g} "
        f"{fleet.currency} an hour{spot}.\nMeasured: {'; '.join(devices) or 'nothing'}. "
        f"One GPU in such cores: {factor}.\n"
    )


def table(costs: Sequence[Cost], fleet: Fleet, title: str) -> str:
    """A table in Markdown."""
    rows = [_row(cost, fleet) for cost in (*costs, total(costs))]
    lines = ["| " + " | ".join(row) + " |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    gigabytes = sum(cost.written for cost in costs if cost.stage.startswith("synthesis")) / 1e9
    monthly = gigabytes * fleet.storage.gb_month
    busiest = max(costs, key=lambda cost: cost.driver)
    after = [f"The dataset's {gigabytes:,.0f} GB cost {monthly:,.0f} {fleet.currency} a month."]
    if busiest.driver:
        after.append(f"The driver of synthesis is busy {busiest.driver:.1%} of the time.")
    return "\n".join([f"### {title}", "", *lines, "", " ".join(after), ""])


def _row(cost: Cost, fleet: Fleet) -> list[str]:
    def number(value: float | None, form: str = ",.0f") -> str:
        return "" if value is None else f"{value:{form}}"

    def size(value: float) -> str:
        return f"{value / 1e9:,.0f} GB" if value else ""

    def price(value: float | None) -> str:
        return "" if value is None else f"{value:,.0f} {fleet.currency}"

    requests = f"{cost.requests_money:,.2f} {fleet.currency}" if cost.puts else ""
    return [
        cost.stage,
        *(number(cost.core_hours), number(cost.gpu_hours), number(cost.days, ".3g")),
        *(price(cost.money), price(cost.spot_money)),
        *(number(cost.puts or None), number(cost.gets or None), requests),
        *(size(cost.written), size(cost.read), cost.note),
    ]


if __name__ == "__main__":
    sys.exit(main())
