"""The pace of a video: its rate, its duration, and when its frames are shown, by its header and its packets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

_SHOWN_S = 1.0  # frames that are shown for longer, as while a screen stands still, count so much for the pace


def frame_rate(stream: VideoStream) -> float:
    """What the header says; 25 if it says nothing, or what no camera does."""
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    return rate if 1 <= rate <= 240 else 25.0


def duration(container: InputContainer, stream: VideoStream) -> float:
    """Seconds at most; 0: not said."""
    own = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    return max(own, (container.duration or 0) / av.time_base, 0.0)


def late_start(container: InputContainer) -> float:
    """Seconds that ``duration`` counts before the first frame: in Matroska, whose muxers mostly say when the last frame
    ends, where the clock begins late."""
    start, end = (container.start_time or 0) / av.time_base, (container.duration or 0) / av.time_base
    return start if "matroska" in container.format.name and 0 < start < end else 0.0


def instants_of(container: InputContainer, stream: VideoStream) -> Iterator[float]:
    """When frames are shown, in seconds, in the order of their packets; nothing is decoded."""
    with suppress(av.error.FFmpegError):  # what is cut off was a video until there
        for packet in container.demux(stream):
            if packet.pts is not None and packet.time_base is not None:
                yield float(packet.pts * packet.time_base)


def pace(instants: Sequence[float], said: float) -> tuple[float, bool]:
    """Frames per second, and whether they are equally spaced; ``said``: the header's rate."""
    steps = np.diff(np.sort(instants))
    steps = steps[steps > 1e-4]
    if len(steps) < 2:
        return said, True
    typical = float(np.median(steps))
    regular = bool((np.abs(steps - typical) < 0.25 * typical + 2e-3).mean() > 0.97)
    usual = steps[np.abs(steps - typical) < 0.5 * typical] if regular else np.minimum(steps, max(typical, _SHOWN_S))
    fps = 1 / float(usual.mean())
    return (said if regular and abs(fps - said) < 0.02 * said else min(fps, 240.0)), regular
