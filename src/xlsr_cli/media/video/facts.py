"""Facts about a container that PyAV does not expose, from the description that FFmpeg prints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_args

import av.logging
from av.container import InputContainer

from xlsr_cli.media.video.layout import Siting
from xlsr_cli.media.video.pyav import ffmpeg_messages
from xlsr_cli.options import Size

#: A line that begins a program, a stream or a list of streams; everything about it is indented further.
_BEGINS = re.compile(r"^  (Program|Stream #0:(\d+)|No Program|Stream group)")
_PLACE = re.compile(rf"^  Stream #.* Video: .*\((?:[^()]*, )?({'|'.join(get_args(Siting))})\)")
_CROPPING = re.compile(r"^ +Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)")
_ENTRY = re.compile(r"^ {6}(service_name|service_provider) *: (.*)$")
#: The names that FFmpeg's muxer writes by default.
_NO_NAMES = {"service_name": "Service01", "service_provider": "FFmpeg"}


@dataclass(frozen=True, kw_only=True)
class Crop:
    """The number of hidden pixels at each side of the stored frame."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0

    def __bool__(self) -> bool:
        return any((self.left, self.right, self.top, self.bottom))

    def __str__(self) -> str:
        return f"{self.left} pixels left, {self.right} right, {self.top} at the top, {self.bottom} below"

    def of(self, size: Size) -> Size:
        """What is left of ``size``."""
        return Size(width=size.width - self.left - self.right, height=size.height - self.top - self.bottom)

    def fits(self, size: Size) -> bool:
        """Whether anything is left of ``size``."""
        return self.left + self.right < size.width and self.top + self.bottom < size.height

    def aligned(self, across: int, down: int) -> Crop:
        """The largest one inside whose left and top are multiples of these: chroma begins there too."""
        return Crop(
            left=self.left - self.left % across,
            right=self.right,
            top=self.top - self.top % down,
            bottom=self.bottom,
        )


NOTHING = Crop()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """``siting`` is where the chroma of the stream lies, None where nobody says; ``crop`` what its container
    hides; ``service`` the names of the television service that it belongs to, in a transport stream, which
    holds so many ``programs``."""

    siting: Siting | None = None
    crop: Crop = NOTHING
    service: Mapping[str, str] = field(default_factory=dict)
    programs: int = 0


def facts_of(container: InputContainer, index: int) -> Facts:
    """The facts about the video stream ``index`` of an open container."""
    siting, crop, programs = None, NOTHING, 0
    service: dict[str, str] = {}
    named: dict[str, str] = {}
    at: int | None = None
    for line in _description(container):
        begins = _BEGINS.match(line)
        if begins is not None:
            at = None if begins[2] is None else int(begins[2])
            programs += begins[1] == "Program"
            if at is None:
                named = {}  # of the program that begins here
        if at == index:
            service = service or named
            if siting is None and (place := _PLACE.match(line)):
                siting = cast(Siting, place[1])
            if (cropping := _CROPPING.match(line)) is not None:
                left, right, top, bottom = (int(number) for number in cropping.groups())
                crop = Crop(left=left, right=right, top=top, bottom=bottom)
        elif at is None and (entry := _ENTRY.match(line)) and entry[2] != _NO_NAMES[entry[1]]:
            named[entry[1]] = entry[2]
    return Facts(siting=siting, crop=crop, service=service, programs=programs)


def _description(container: InputContainer) -> list[str]:
    with ffmpeg_messages(av.logging.VERBOSE):
        return str(cast(Any, container).dumps_format()).splitlines()
