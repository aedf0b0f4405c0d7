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
from jr2net.expressions.timing import infer_fps
from jr2net.expressions.track_file import read_track, write_track
from jr2net.storage import base_name, join, open_filesystem, read_bytes

__all__ = (
    "CAPTURE_EXTENSIONS", "Captures", "Track", "TrackError", "infer_fps", "is_capture", "parse_capture", "parse_csv",
    "read_capture", "read_captures", "read_track", "write_track",
)  # fmt: skip

CAPTURE_EXTENSIONS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
COMPANIONS = ("take.json", "frame_log.csv", "audio_metadata.json", "video_metadata.json")
"""What Live Link Face writes beside a capture."""


@dataclass(frozen=True)
class Captures:
    """Usable captures, sorted by name, and the unusable files of the folder with the reasons."""

    tracks: list[Track]
    damaged: Mapping[str, str] = field(default_factory=dict)


def is_capture(uri: str) -> bool:
    """Whether a file is a capture by its extension, or a folder."""
    return base_name(uri).lower().endswith(CAPTURE_EXTENSIONS) or _is_folder(uri)


def read_capture(uri: str) -> Track:
    """Reads a capture: CSV, JSON or Parquet by its file extension, or a folder with one of them. Raises TrackError."""
    uri = str(uri)
    name = base_name(uri).lower()
    if name.endswith(".parquet"):
        return read_track(uri)
    if name.endswith(CAPTURE_EXTENSIONS):
        return parse_capture(read_bytes(uri), uri)
    names = _captures_in(uri)
    if not names:
        raise TrackError(f"{uri}: a capture is a .csv (Live Link Face), .json (ARKit, Audio2Face) or track .parquet")
    if len(names) > 1:
        raise TrackError(f"{uri}: holds {len(names)} captures; give one of them, e.g. {join(uri, names[0])}")
    return read_capture(join(uri, names[0]))


def read_captures(uri: str) -> Captures:
    """Reads one capture, or every capture of a folder. Raises TrackError where none can be used."""
    if not _is_folder(uri):
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
    return to_track(read_json(content, source) if is_json(content) else read_csv(content, source))


def parse_csv(content: bytes, source: str) -> Track:
    """Reads a capture in CSV. Raises TrackError."""
    return to_track(read_csv(content, source))


def _is_folder(uri: str) -> bool:
    filesystem, path = open_filesystem(uri)
    return filesystem.get_file_info(path).type == fs.FileType.Directory


def _captures_in(uri: str) -> list[str]:
    """The names of the captures in a folder, sorted; empty if there is no such folder."""
    filesystem, path = open_filesystem(uri)
    infos = filesystem.get_file_info(fs.FileSelector(path)) if _is_folder(uri) else []
    names = sorted(info.base_name for info in infos if info.is_file)
    return [name for name in names if name.lower().endswith(CAPTURE_EXTENSIONS) and name.lower() not in COMPANIONS]
