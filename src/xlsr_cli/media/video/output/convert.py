"""Convert sound and text that the output's container cannot hold as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import av.error
from av.container import OutputContainer
from av.subtitles.subtitle import SubtitleSet

from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.output.containers import Container
from xlsr_cli.media.video.output.tracks import codec_of
from xlsr_cli.media.video.pyav import AnyPacket
from xlsr_cli.notices import Notice

#: Lossless codecs of sound.
_LOSSLESS = ("pcm_", "flac", "alac", "truehd", "mlp", "tta", "wavpack", "ape", "tak", "shorten")
#: Those of them that no encoder here takes without rounding.
_FINER = ("pcm_f", "pcm_s32", "pcm_u32", "pcm_s64")
_LOSSLESS_ENCODERS = ("flac", "pcm_s16le", "pcm_s24le")
#: Text with positions, fonts and colours, which other kinds of text cannot express.
_STYLED = ("ass", "ssa")
_TEXT = (*_STYLED, "subrip", "srt", "text", "mov_text", "webvtt")
#: Bits per second and channel at which the encoders are hard to tell from the source.
_BIT_RATES = {"aac": 96_000, "libopus": 80_000, "ac3": 112_000}
#: Sample rates that an encoder takes, where not all.
_RATES = {"libopus": (48_000, 24_000, 16_000, 12_000, 8_000), "ac3": (48_000, 44_100, 32_000)}
#: Seconds by which sound may be late without anybody noticing; more is a gap.
_NO_GAP = Fraction(1, 50)
#: The longest gap that is filled with silence; a longer one is damage.
_LONGEST_FILL = 600
#: The usual layout of so many channels, for encoders that do not know the source's.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What the stream ``index`` of the source becomes: ``encoder`` is FFmpeg's name, ``rate`` and ``layout``
    are those of sound."""

    index: int
    encoder: str
    rate: int = 0
    layout: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it is a stream of subtitles."""
        return not self.rate


def conversion_of(stream: Any, container: Container) -> Conversion | None:
    """What ``container`` can hold instead of ``stream``; None if there is nothing similar."""
    codec, context = codec_of(stream), stream.codec_context
    if context is None:
        return None
    if stream.type == "subtitle" and codec in _TEXT and container.text is not None:
        return Conversion(index=stream.index, encoder=container.text)
    if stream.type != "audio" or container.sound is None or not context.sample_rate:
        return None
    lossy, lossless = container.sound
    encoder = lossless if codec.startswith(_LOSSLESS) else lossy
    if encoder == "pcm":
        encoder = "pcm_s24le" if _is_deep(context) else "pcm_s16le"
    return _fitted(stream.index, encoder, context)


def decodes(stream: Any, heads: Iterable[AnyPacket]) -> bool:
    """Whether a frame comes out of sound that begins with ``heads``; of text, nothing is asked."""
    if stream.type != "audio":
        return True
    for packet in heads:
        with contextlib.suppress(*pyav.FAULTS):
            if stream.decode(packet):
                return True
    return False


def notice_of(stream: Any, name: str, conversion: Conversion) -> Notice:
    """What is said of it; no loss where everything is as it was, in another form."""
    codec, encoder = codec_of(stream), conversion.encoder.removeprefix("lib")
    if conversion.is_text:
        styled = codec in _STYLED
        message = f"{name} becomes {encoder}" + (", without its styles" if styled else "")
        return Notice(code="subtitles-converted", message=message, loss=styled)
    channels = av.AudioLayout(conversion.layout).nb_channels
    mixed = channels != stream.codec_context.layout.nb_channels
    exact = encoder in _LOSSLESS_ENCODERS and not mixed and not codec.startswith(_FINER)
    message = f"{name} is coded again as {encoder}" + (f" of {channels} channels" if mixed else "")
    message += ", without loss" if exact else ", because the output's container does not hold it"
    return Notice(code="sound-converted", message=message, loss=not exact)


def _fitted(index: int, encoder: str, source: Any) -> Conversion | None:
    """With the nearest rate and layout of channels that ``encoder`` takes; None where it takes none."""
    rates = _RATES.get(encoder, (source.sample_rate, 48_000))
    rate = source.sample_rate if source.sample_rate in rates else rates[0]
    usual = _LAYOUTS.get(source.layout.nb_channels, "stereo")
    for layout in dict.fromkeys((source.layout.name, usual, "5.1", "stereo")):
        with contextlib.suppress(*pyav.FAULTS):
            conversion = Conversion(index=index, encoder=encoder, rate=rate, layout=layout)
            context = av.CodecContext.create(encoder, "w")
            _set_up(context, conversion, source)
            context.open()
            return conversion
    return None


def _set_up(context: Any, conversion: Conversion, source: Any) -> None:
    """Set an encoder of sound that is not open yet."""
    encoder = conversion.encoder
    context.sample_rate, context.layout = conversion.rate, conversion.layout
    context.time_base = Fraction(1, conversion.rate)
    formats = [format.name for format in av.Codec(encoder, "w").audio_formats or []]
    deep = [name for name in formats if name.startswith(("s32", "flt"))]
    context.format = deep[0] if deep and _is_deep(source) else formats[0]
    if encoder in _BIT_RATES:
        context.bit_rate = _BIT_RATES[encoder] * av.AudioLayout(conversion.layout).nb_channels


def _is_deep(source: Any) -> bool:
    """Whether samples have more than 16 bits."""
    return source.format is None or source.format.bits > 16


class _Fitting:
    """Brings sound to the samples, channels and rate of an encoder.

    Those of a broadcast change on the way, and PyAV's encoders take only what their first frame had.
    """

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._kind: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler | None = None

    def frames(self, frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
        """``frame`` as the encoder takes it, behind what was held back of frames of another kind."""
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if self._resampler is None or kind != self._kind:
            yield from self.rest()
            wanted = self._encoder
            self._kind = kind
            self._resampler = av.AudioResampler(wanted.format, wanted.layout, wanted.sample_rate)
        yield from self._resampler.resample(frame)

    def rest(self) -> list[av.AudioFrame]:
        """What is held back."""
        resampler, self._resampler = self._resampler, None
        left: list[Any] = [] if resampler is None else resampler.resample(None)
        return [frame for frame in left if frame is not None]


def _silence(like: av.AudioFrame, samples: int) -> Iterator[av.AudioFrame]:
    """Frames of so many silent samples."""
    middle = b"\x80" if like.format.name.startswith("u8") else b"\0"
    while samples > 0:
        count = min(samples, like.sample_rate)
        frame = av.AudioFrame(like.format.name, like.layout.name, count)
        frame.sample_rate = like.sample_rate
        for plane in frame.planes:
            plane.update(middle * plane.buffer_size)
        yield frame
        samples -= count


class SoundConverter:
    """Decodes the packets of a stream of sound and encodes them again; ``base`` is the unit of times, and
    ``damaged`` the number of packets that could not be decoded."""

    def __init__(self, output: OutputContainer, source: Any, conversion: Conversion) -> None:
        self.damaged = 0
        self._source = source
        context = source.codec_context
        context.flush_buffers()  # of an earlier pass over the file
        self.base = Fraction(1, conversion.rate)
        self.stream: Any = output.add_stream(conversion.encoder, rate=conversion.rate)
        _set_up(self.stream.codec_context, conversion, context)
        self.stream.time_base = self.base
        self._fitting = _Fitting(self.stream.codec_context)
        # These know no times but the number of samples or packets before.
        self._fills = conversion.encoder.startswith("pcm") or output.format.name == "avi"
        self._next: int | None = None
        self._rate = 0

    def convert(self, packet: AnyPacket) -> Iterator[AnyPacket]:
        """The converted packets for ``packet``; none while the encoder waits, or if it is damaged."""
        try:
            frames = self._source.decode(packet)
        except pyav.FAULTS:
            self.damaged += 1
            return
        for frame in frames:
            yield from self._encoded(frame)

    def finish(self) -> Iterator[AnyPacket]:
        """The remaining packets of decoder and encoder."""
        frames = []
        with contextlib.suppress(*pyav.FAULTS):
            frames = self._source.decode(None)
        for frame in frames:
            yield from self._encoded(frame)
        if self._next is not None:
            for frame in self._fitting.rest():
                yield from self.stream.encode(frame)
            yield from self.stream.encode(None)

    def _encoded(self, frame: av.AudioFrame) -> Iterator[AnyPacket]:
        base = pyav.exact(frame.time_base)
        rate = frame.sample_rate
        if self._next is not None and rate != self._rate:
            self._next = self._next * rate // self._rate
        self._rate = rate
        if frame.pts is not None and base is not None:
            # In samples, so that the rounding of a coarse clock is not heard as gaps, and never back, because
            # an encoder's times have to rise.
            place = round(frame.pts * base * rate)
            gap = 0 if self._next is None else place - self._next
            if self._fills and rate * _NO_GAP < gap <= rate * _LONGEST_FILL:
                for silent in _silence(frame, gap):
                    yield from self._placed(silent)
            elif self._next is None or gap > rate * max(_NO_GAP, 2 * base):
                self._next = place
        yield from self._placed(frame)

    def _placed(self, frame: av.AudioFrame) -> Iterator[AnyPacket]:
        """The packets for ``frame``, which comes behind all before it."""
        self._next = self._next or 0
        frame.pts, frame.time_base = self._next, Fraction(1, frame.sample_rate)
        self._next += frame.samples
        for fitting in self._fitting.frames(frame):
            yield from self.stream.encode(fitting)


class TextConverter:
    """Turns the packets of one stream of subtitles into another kind of text, as :class:`SoundConverter`."""

    def __init__(self, output: OutputContainer, source: Any, conversion: Conversion) -> None:
        self.damaged = 0
        self._source = source
        decoder: Any = source.codec_context
        decoder.open(strict=False)  # it makes the header that the encoder needs
        self.stream = cast(Any, output.add_stream(conversion.encoder))
        self.base = pyav.exact(source.time_base) or Fraction(1, 1000)
        self._encoder = self.stream.codec_context
        self._encoder.subtitle_header = decoder.subtitle_header
        self._encoder.time_base = self.stream.time_base = self.base
        self._encoder.open()

    def convert(self, packet: AnyPacket) -> Iterator[AnyPacket]:
        """What becomes of ``packet``: one for each line that it holds."""
        try:
            lines = self._source.decode(packet) if packet.size else []
        except pyav.FAULTS:
            self.damaged += 1
            return
        milliseconds = round(1000 * (packet.duration or 0) * self.base)
        for line in lines:
            text = getattr(line, "ass", None)
            if text:
                event = SubtitleSet.create(text=text, start=0, end=milliseconds)
                answer: AnyPacket = self._encoder.encode_subtitle(event)
                answer.time_base = self.base
                answer.pts = answer.dts = packet.pts
                answer.duration = packet.duration or 0
                answer.is_keyframe = True
                yield answer

    def finish(self) -> Iterator[AnyPacket]:
        """Nothing is held back."""
        return iter(())
