"""Images that are labelled with the 51 coefficients, in every form that tracking is evaluated on.

- a Parquet of ``image``, ``expression`` and ``identity``: exact truth, e.g. of rendered rigs
- a Parquet of ``identity``, ``clip_id``, ``frame`` and one column of coefficients: another system's answers on the
  frames of clip shards, which serve as weak truth
- clip shards with ground truth, as the studio films its test sets
- pair shards, as synthesis makes them

In a Parquet of the first two forms, every further list of 51 numbers is another system's answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from jr2net.data.clips import ClipSource, FrameRef
from jr2net.data.evaluation_frames import evenly_spaced
from jr2net.data.pairs import PairSource, list_pair_shards
from jr2net.data.readers.coefficients import coefficient_columns, coefficients, read_whole_table
from jr2net.data.readers.problems import DatasetError
from jr2net.data.shards import COLUMNS as CLIP_COLUMNS
from jr2net.images.arrays import decode_image
from jr2net.storage import base_name, join, parent
from jr2net.storage.parquet import open_parquet

TRUTH = "expression"
KEYS = ("identity", "clip_id", "frame", "name", "pair_id")
"""Columns that tell one labelled image from another."""


@dataclass(frozen=True)
class LabelledImages:
    """M face crops with coefficients.

    name      folder or file that they were read from
    truth     (M, 51) float64
    source    what the truth is: ``exact``, or the system whose answers serve as truth
    identity  M names
    image     number -> crop (S, S, 3) uint8 RGB; raises DatasetError or ShardError where it cannot be decoded
    keys      column -> M values that tell the images apart
    kind      M names of parts of the set that are evaluated apart
    answers   system -> its coefficients (M, 51)
    clips     for each video: the numbers of its images in order, and their rate in frames per second
    """

    name: str
    truth: np.ndarray
    source: str
    identity: Sequence[str]
    image: Callable[[int], np.ndarray]
    keys: Mapping[str, Sequence]
    kind: Sequence[str]
    answers: Mapping[str, np.ndarray] = field(default_factory=dict)
    clips: Sequence[tuple[np.ndarray, float]] = ()

    def __len__(self) -> int:
        return len(self.truth)


def read_labelled(uri: str, clips: str | None = None, limit: int = 5000) -> LabelledImages:
    """Reads any of the forms.

    clips  folder of the clip shards that a table without images belongs to; None: ``clips`` beside the table's folder
    limit  largest number of frames or pairs of shards, evenly spaced; tables are read whole

    Raises DatasetError, ShardError or StorageError naming the file.
    """
    files = list_pair_shards(uri)
    first = files[0]
    with open_parquet(first, []) as file:
        columns = set(file.schema_arrow.names)
    if "pair_id" in columns:
        return _pairs(uri, limit)
    if set(CLIP_COLUMNS) <= columns:
        return _filmed(uri, limit)
    is_table, is_of_clips = {"image", "identity", TRUTH} <= columns, {"identity", "clip_id", "frame"} <= columns
    if (is_table or is_of_clips) and len(files) > 1:
        names = ", ".join(base_name(file) for file in files[:5]) + (", …" if len(files) > 5 else "")
        raise DatasetError("several tables", f"{uri}: holds {len(files)} tables ({names}); give one of the files")
    if is_table:
        return _table(first)
    if is_of_clips:
        return _answers_on_clips(first, clips or join(parent(parent(first)), "clips"))
    raise DatasetError(
        "no labels",
        f"{uri}: has no labelled images. Give pair shards, clip shards with ground truth, a table with the columns "
        "identity, image and expression, or one with identity, clip_id, frame and a column of coefficients",
    )


def _table(uri: str) -> LabelledImages:
    table = read_whole_table(uri)
    images = table["image"].to_pylist()

    def image(number: int) -> np.ndarray:
        decoded = decode_image(images[number] or b"")
        if decoded is None:
            raise DatasetError(
                "damaged image", f"{uri}: row {number}: image is not a square JPEG or PNG; write it again"
            )
        return decoded

    names = table.column_names
    return LabelledImages(
        uri,
        coefficients(table, TRUTH, uri),
        "exact",
        [str(name) for name in table["identity"].to_pylist()],
        image,
        {key: table[key].to_pylist() for key in KEYS if key in names},
        [str(kind) for kind in table["kind"].to_pylist()] if "kind" in names else [""] * table.num_rows,
        {
            name: coefficients(table, name, uri)
            for name in coefficient_columns(table)
            if name not in (TRUTH, "landmarks")
        },
    )


def _answers_on_clips(uri: str, folder: str) -> LabelledImages:
    table = read_whole_table(uri)
    systems = [name for name in coefficient_columns(table) if name != "landmarks"]
    if not systems:
        raise DatasetError("no labels", f"{uri}: has no column of 51 coefficients (a list of floats); add one")
    source = TRUTH if TRUTH in systems else systems[0]
    clips = ClipSource(folder)
    places = {
        (row.identity, row.clip_id, int(number)): FrameRef(index, position)
        for index in range(len(clips))
        for row in [clips.read(index)]
        for position, number in enumerate(row.frame)
    }
    keys = {name: table[name].to_pylist() for name in ("identity", "clip_id", "frame")}
    wanted = [(str(i), str(c), int(f)) for i, c, f in zip(*keys.values())]
    missing = [key for key in wanted if key not in places]
    if missing:
        identity, clip, frame = missing[0]
        raise DatasetError(
            "missing frames",
            f"{uri}: {len(missing)} of {len(wanted)} frames are not in {folder}, e.g. frame {frame} of clip {clip!r} "
            f"of {identity!r}; give the folder of the clips that the table was made from",
        )
    refs = [places[key] for key in wanted]
    return LabelledImages(
        uri,
        coefficients(table, source, uri),
        "exact" if source == TRUTH else source,
        [identity for identity, _, _ in wanted],
        lambda number: clips.load_frame(*refs[number])[0],
        keys,
        [""] * len(wanted),
        {name: coefficients(table, name, uri) for name in systems if name != source},
        _videos([key[:2] for key in wanted], [key[2] for key in wanted], [clips.read(ref.row).fps for ref in refs]),
    )


def _filmed(uri: str, limit: int) -> LabelledImages:
    clips = ClipSource(uri)
    refs = [clips.locate(number) for number in evenly_spaced(clips.frame_count, limit).tolist()]
    rows = [clips.read(ref.row) for ref in refs]
    truth = [row.truth.expression[ref.frame] for row, ref in zip(rows, refs) if row.truth is not None]
    if len(truth) < len(refs):
        raise DatasetError(
            "no labels",
            f"{uri}: these clip shards have no ground truth (truth_expression); give shards that have, or a table of "
            "coefficients on their frames",
        )
    frames = [int(row.frame[ref.frame]) for row, ref in zip(rows, refs)]
    everything = len(refs) == clips.frame_count
    names = [(row.identity, row.clip_id) for row in rows]
    return LabelledImages(
        uri,
        np.stack(truth).astype(np.float64),
        "exact",
        [row.identity for row in rows],
        lambda number: clips.load_frame(*refs[number])[0],
        {"identity": [name for name, _ in names], "clip_id": [clip for _, clip in names], "frame": frames},
        [""] * len(refs),
        clips=_videos(names, frames, [row.fps for row in rows]) if everything else (),
    )


def _pairs(uri: str, limit: int) -> LabelledImages:
    source = PairSource(uri)
    numbers = evenly_spaced(len(source), limit).tolist()
    pairs = [source.read(number) for number in numbers]
    return LabelledImages(
        uri,
        np.stack([pair.expression for pair in pairs]).astype(np.float64),
        "exact",
        [pair.source_id.rsplit("/", 2)[0] for pair in pairs],  # identity/clip/frame, or a photo's name
        lambda number: source.decode(numbers[number], pairs[number], 1 << 16),
        {"pair_id": [pair.pair_id for pair in pairs]},
        [""] * len(pairs),
    )


def _videos(names: Sequence[tuple], frames: Sequence[int], rates: Sequence[float]) -> list[tuple[np.ndarray, float]]:
    """The clips of two frames and more, cut where frames are missing: where two are further apart than others are."""
    members: dict[tuple, list[int]] = {}
    for number, name in enumerate(names):
        members.setdefault(name, []).append(number)
    videos = []
    for numbers in members.values():
        ordered = np.array(sorted(numbers, key=lambda number: frames[number]))
        if len(ordered) < 2 or not rates[ordered[0]] > 0:
            continue
        steps = np.diff([frames[number] for number in ordered])
        cuts = np.flatnonzero(steps > steps.min()) + 1
        videos += [(part, float(rates[ordered[0]])) for part in np.split(ordered, cuts) if len(part) > 1]
    return videos
