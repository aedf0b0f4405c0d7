"""Whom the pairs show: nobody who is tested or validated on, since networks are trained on the pairs.

The training clips have no such people. The clips that ``synthesis.sources`` names may: theirs are left out, by name of
the identity. Who is in photos, nobody knows.
"""

from __future__ import annotations

import json
from dataclasses import replace

from jr2net.config import Config
from jr2net.data.sets import held_out
from jr2net.data.source_list import SourceList, open_clips
from jr2net.errors import UserError
from jr2net.storage import base_name, exists, join, put_once_or_same, read_bytes
from jr2net.synthesis.dataset import SOURCES

PEOPLE = "people.json"
"""File of a dataset from other clips than the training clips: the sorted identities whose images were used."""


class LeakError(UserError, ValueError):
    """People who are trained on, and tested or validated on too; the message names them."""


def without_held_out(config: Config, prepare: str, uri: str, listed: SourceList) -> SourceList:
    """A list of the clips in ``uri`` without those whom the run is tested or validated on.

    prepare: folder or URI of that stage. Raises ShardError if nobody stays.
    """
    left_out = sorted(held_out(config, prepare).intersection(open_clips(uri, listed).identities))
    found = replace(listed, left_out=left_out)
    open_clips(uri, found)
    return found


def write_people(folder: str, uri: str, listed: SourceList) -> None:
    """Writes, into the folder of a dataset, whose images in the clips of ``uri`` it is made from."""
    put_once_or_same(join(folder, PEOPLE), json.dumps(open_clips(uri, listed).identities, indent=1).encode())


def shown_people(config: Config, folder: str) -> list[str]:
    """The identities that the pairs of a dataset show, if it is not made from the training clips.

    Opens the shards of the clips where older code made the dataset, which did not write who is in it. Empty where there
    is no dataset, and for photos.
    """
    uri = config.synthesis.sources
    if uri is None or not exists(join(folder, SOURCES)):
        return []
    if exists(join(folder, PEOPLE)):
        return json.loads(read_bytes(join(folder, PEOPLE)))
    made_from = json.loads(read_bytes(join(folder, SOURCES)))
    if made_from["kind"] != "clips":
        return []
    return open_clips(uri, SourceList("clips", made_from["files"], left_out=made_from.get("left_out", ()))).identities


def check_people(config: Config, prepare: str, folder: str) -> list[str]:
    """``shown_people`` of the dataset in ``folder``. Raises LeakError where some are tested or validated on.

    Such pairs are those of older code.
    """
    shown = shown_people(config, folder)
    if shown and (leaks := sorted(held_out(config, prepare).intersection(shown))):
        raise LeakError(
            f"{folder}: pairs show {len(leaks)} identities that are tested or validated on, e.g. {leaks[0]!r}: figures "
            f"of what is trained on them would be meaningless; give --redo {base_name(folder)}, which makes the pairs "
            "again without them"
        )
    return shown
