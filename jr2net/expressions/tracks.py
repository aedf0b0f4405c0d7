"""Captured expression tracks: files of every producer as ``Track``, and the project's own Parquet.

``csv_capture``, ``json_capture`` and ``track_file`` read the rows of a file, ``columns`` tells what its columns are,
``timing`` when its rows were recorded, and ``gaps`` fills what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyarrow import fs

from jr2net.expressions.columns import TrackError
from jr2net.expressions.csv_capture import read_csv
from jr2net.expressions.json_capture import is_json, read_json
from jr2net.expressions.recording import Track, to_track
from jr2net.expressions.text import without_padding
from jr2net.expressions.timing import infer_fps
from jr2net.expressions.track_file import read_track, write_track
from jr2net.storage import base_name, exists, join, open_filesystem, read_bytes

__all__ = (
    "CAPTURE_EXTENSIONS", "Captures", "Track", "TrackError", "infer_fps", "is_folder", "parse_capture", "parse_csv",
    "read_capture", "read_captures", "read_track", "write_track",
)  # fmt: skip

CAPTURE_EXTENSIONS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
COMPANIONS = ("take.json", "frame_log.csv", "audio_metadata.json", "video_metadata.json")
"""What Live Link Face writes beside a capture."""

_PARQUET = b"PAR1"
_CALIBRATED, _UNCALIBRATED = "_cal.csv", ("_raw.csv", "_neutral.csv", ".csv")


@dataclass(frozen=True)
class Captures:
    """Usable captures, sorted by name, and the unusable files of the folder with the reasons."""

    tracks: list[Track]
    damaged: Mapping[str, str] = field(default_factory=dict)


def read_capture(uri: str) -> Track:
    """Reads a capture: Parquet, CSV or JSON, told by its content, or a folder with one of them. Raises TrackError.

    Of a recording that Live Link Face calibrated (``…_cal.csv``), its folder stands for the calibrated file.
    """
    uri = str(uri)
    if is_folder(uri):
        return read_capture(_only_capture_in(uri))
    if base_name(uri).lower() in COMPANIONS:
        raise TrackError(f"{uri}: describes a recording; give its folder, or the CSV beside it")
    if uri.lower().endswith(".parquet"):
        return read_track(uri)
    content = read_bytes(uri)
    return read_track(uri) if content.startswith(_PARQUET) else parse_capture(content, uri)


def _only_capture_in(folder: str) -> str:
    names = _captures_in(folder)
    if not names and exists(join(folder, "take.json")):
        raise TrackError(
            f"{folder}: holds a recording without a CSV; Live Link Face writes one in its ARKit mode only: record in "
            "that, or give the video"
        )
    if not names:
        raise TrackError(
            f"{folder}: holds no capture: a .csv (Live Link Face), .json (ARKit, Audio2Face) or track .parquet"
        )
    if len(names) > 1:
        raise TrackError(f"{folder}: holds {len(names)} captures; give one of them, e.g. {join(folder, names[0])}")
    return join(folder, names[0])


def read_captures(uri: str) -> Captures:
    """Reads one capture, or every capture of a folder. Raises TrackError where none can be used."""
    if not is_folder(uri):
        return Captures([read_capture(uri)])
    names = _captures_in(uri)
    if not names:
        extensions = ", ".join(CAPTURE_EXTENSIONS)
        raise TrackError(f"{uri}: holds no captures ({extensions}); give one or a folder of them")
    tracks, damaged = [], {}
    for name in names:
        try:
            tracks.append(read_capture(join(uri, name)))
        except TrackError as error:
            damaged[name] = str(error).replace(join(uri, name), name)
    if not tracks:
        raise TrackError(f"{uri}: none of {len(names)} captures can be used, e.g. {damaged[names[0]]}")
    return Captures(tracks, damaged)


def parse_capture(content: bytes, source: str) -> Track:
    """Reads a capture in CSV or JSON. ``source`` is its name in errors; the stem is the track's. Raises TrackError."""
    content = without_padding(content)
    return to_track(read_json(content, source) if is_json(content) else read_csv(content, source))


def parse_csv(content: bytes, source: str) -> Track:
    """Reads a capture in CSV. Raises TrackError."""
    return to_track(read_csv(content, source))


def is_folder(uri: str) -> bool:
    filesystem, path = open_filesystem(uri)
    return filesystem.get_file_info(path).type == fs.FileType.Directory


def _captures_in(uri: str) -> list[str]:
    """The names of the captures in a folder, sorted; empty if there is no such folder."""
    filesystem, path = open_filesystem(uri)
    infos = filesystem.get_file_info(fs.FileSelector(path)) if is_folder(uri) else []
    names = sorted(info.base_name for info in infos if info.is_file)
    names = [name for name in names if name.lower().endswith(CAPTURE_EXTENSIONS) and name.lower() not in COMPANIONS]
    calibrated = [name.removesuffix(_CALIBRATED) for name in names if name.endswith(_CALIBRATED)]
    return [name for name in names if name not in {stem + end for stem in calibrated for end in _UNCALIBRATED}]
