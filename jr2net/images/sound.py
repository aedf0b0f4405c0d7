"""The sound of a video, carried over into a video that is made from it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from jr2net.images.video_file import VideoFile, container_format

_KEPT = ("aac", "mp3", "opus")
"""Codecs that are copied into an MP4 as they are; others are encoded as AAC."""


def first_with_sound(*videos: VideoFile | None) -> VideoFile | None:
    """The first of the videos that has a sound; None if none has."""
    for video in filter(None, videos):
        sound = Sound(video)
        found = sound.stream is not None
        sound.close()
        if found:
            return video
    return None


class Sound:
    """The first audio stream of a video that can be decoded, muxed into another file as its frames are.

    Without a sound that can be read nothing is added.

    Instants count from the video's first frame; what sounds before it is left out. Damaged sound ends where the damage
    begins.
    """

    def __init__(self, video: bytes | VideoFile) -> None:
        self.packets: Iterator[Packet] = iter(())
        self.waiting: Packet | None = None
        self.container: InputContainer | None = None
        self.stream: AudioStream | None = None
        video = VideoFile.of(video)
        self.file: BinaryIO = video.open()
        kind = container_format(video.head)
        if kind is None:  # would be probed by the library, some of whose formats open other files
            return
        try:
            container = av.open(self.file, "r", format=kind)
            # Telephones write a second stream beside the usual one, of which no decoder is known.
            self.stream = next((each for each in container.streams.audio if each.codec_context is not None), None)
            if self.stream is not None:
                self.container = container
            else:
                container.close()
        except (av.error.FFmpegError, ValueError, IndexError, OverflowError):
            self.container = None

    def add_to(self, output: OutputContainer) -> None:
        """Adds a stream to the file that is written, before its first packet."""
        source = self.stream
        if source is None:
            return
        try:
            # AAC of streams states its form before each packet (ADTS), not once, which an MP4 does not hold.
            in_stream = source.codec_context.name == "aac" and not source.codec_context.extradata
            if source.codec_context.name in _KEPT and not in_stream:
                target = output.add_stream_from_template(source)
                self.packets = self._copied(target)
            else:
                encoded = output.add_stream("aac", rate=source.codec_context.sample_rate or 48000)
                encoded.layout = "mono" if source.codec_context.channels == 1 else "stereo"
                self.packets = self._encoded(encoded)
        except (av.error.FFmpegError, ValueError):
            self.packets = iter(())

    def mux_until(self, output: OutputContainer, seconds: float) -> None:
        """Adds the packets that begin before an instant."""
        while True:
            packet, self.waiting = self.waiting or self._next(), None
            if packet is None:
                return
            if packet.pts is not None and packet.time_base is not None and packet.pts * packet.time_base >= seconds:
                self.waiting = packet
                return
            try:
                output.mux(packet)
            except av.error.FFmpegError:  # damaged in a way that only the new file's format finds
                self.packets = iter(())

    def close(self) -> None:
        if self.container is not None:
            self.container.close()
        self.file.close()
        self.container, self.stream, self.packets, self.waiting = None, None, iter(()), None

    def _next(self) -> Packet | None:
        try:
            return next(self.packets, None)
        except (av.error.FFmpegError, ValueError):
            self.packets = iter(())
            return None

    def _begin(self) -> Fraction:
        """When the video's first frame is shown, in seconds."""
        assert self.container is not None
        video = self.container.streams.video
        if not video or video[0].start_time is None or video[0].time_base is None:
            return Fraction(0)
        return video[0].start_time * video[0].time_base

    def _copied(self, target) -> Iterator[Packet]:
        assert self.container is not None and self.stream is not None
        begin = self._begin()
        for packet in self.container.demux(self.stream):
            if packet.pts is None or packet.time_base is None:
                continue
            packet.pts -= round(begin / packet.time_base)
            packet.dts = packet.pts
            if packet.pts + (packet.duration or 0) // 2 < 0:
                continue
            packet.pts = packet.dts = max(packet.pts, 0)
            packet.stream = target
            yield packet

    def _encoded(self, target) -> Iterator[Packet]:
        assert self.container is not None and self.stream is not None
        source, begin = self.stream, self._begin()
        rate = target.codec_context.sample_rate
        resampler = av.AudioResampler(format="fltp", layout=target.layout.name, rate=rate)
        for frame in self.container.decode(source):
            if frame.pts is None or frame.time_base is None:
                continue
            start = frame.pts * frame.time_base - begin
            if start < 0:
                continue
            frame.pts, frame.time_base = round(start * frame.sample_rate), Fraction(1, frame.sample_rate)
            for part in resampler.resample(frame):
                yield from target.encode(part)
        yield from target.encode(None)
