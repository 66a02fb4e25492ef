"""One input of ``xlsr upscale``: find out its kind, and call the job for it.

What pictures need is loaded with this module; what other kinds need, when there is one.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlsr_cli.cli.console import console
from xlsr_cli.cli.results import show_forecast, show_plan, show_result
from xlsr_cli.errors import InputError, OutputError, UsageError
from xlsr_cli.formats import HEAD_BYTES, animation_format, extension_for, writable_format
from xlsr_cli.jobs.inputs import STANDARD_STREAM, Item, is_pattern, kind_of_file, read_head, refuse_no_file
from xlsr_cli.jobs.picture import (
    check_target,
    default_output,
    open_file,
    refuse_same_file,
    upscale_picture,
)
from xlsr_cli.jobs.task import Task
from xlsr_cli.media.atomic import atomic_output, check_output
from xlsr_cli.media.picture.steps.opening import known_format, open_picture, read_all
from xlsr_cli.media.sniff import kind_of
from xlsr_cli.options import PictureOptions, VideoOptions
from xlsr_cli.progress import Counted

if TYPE_CHECKING:
    from xlsr_cli.cli.commands.upscale import UpscaleFlags
    from xlsr_cli.media.picture.source import Source

#: Other names of stdout.
_NAMES_OF_STDOUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@dataclass(kw_only=True, eq=False)
class Request:
    """One input and everything that was asked for.

    ``place``: its place among ``count``, from 1. Only of a single input are options refused that it would
    ignore. ``pairs``: gets source and result of a picture, for the page.
    """

    item: Item
    task: Task
    flags: UpscaleFlags
    html: Path | None
    place: int
    count: int
    pairs: list[tuple[Path, Path]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = self.item.source
        self.output = STANDARD_STREAM if self.item.output in _NAMES_OF_STDOUT else self.item.output
        self.options: PictureOptions = self.task.options
        self._taken: dict[Path, str] = {}
        self._made_folder = False

    @property
    def _target(self) -> Path | None:
        """The file that was named as output; None for stdout, and where none was named."""
        return None if self.output in (None, STANDARD_STREAM) else Path(str(self.output))

    def claim(self, taken: dict[Path, str]) -> None:
        """Add the output that this input will have to ``taken``, if its name tells which.

        Raises :class:`OutputError` if it is already that of another input.
        """
        self._taken = taken
        path, format = Path(self.source), self.options.format
        if self.output is None and path.is_file():
            if format is not None and kind_of_file(self.source) == "picture":
                path = path.with_suffix(extension_for(format))
            self._claimed(self._beside(path) if self.item.into is None else self.item.into / path.name)

    def run(self, taken: dict[Path, str] | None = None) -> None:
        """Do it. ``taken``: the outputs of the inputs so far, each with its input; this one is added.

        Raises a subclass of :class:`~xlsr_cli.errors.XlsrError`.
        """
        self._taken = {} if taken is None else taken
        if self.source == STANDARD_STREAM:
            self._run_stream(_standard_input(), "stdin")
            return
        if self._run_camera_or_sequence():
            return
        refuse_no_file(self.source)
        path = Path(self.source)
        if _is_pipe(path):  # such as a shell's <(curl …); it can be read only once
            with path.open("rb") as stream:
                self._run_stream(stream, self.source)
            return
        kind = kind_of(read_head(path, HEAD_BYTES), path.name)
        if kind == "y4m":
            with path.open("rb") as stream:
                self._run_y4m(stream)
        elif self.options.y4m:
            raise _no_y4m(self.source)
        elif kind == "video" or (kind == "unknown" and _is_film(path)):
            self._run_video(path)
        elif kind == "animation":
            self._run_animation(path)
        else:
            self._run_picture(path)

    # One for each kind of input

    def _run_picture(self, path: Path) -> None:
        self._refuse_video_options(path.name)
        target = self._target
        if target is not None and not self.flags.dry_run:
            check_target(path, target, self.options)
        source = open_file(path, max_pixels=self.options.max_pixels)
        if self.output is None:
            target = self._default_output(path, source)
            if not self.flags.dry_run:
                check_target(path, target, self.options)
        if self.html is not None and target is not None:
            refuse_same_file(path, self.html)
        self._upscale(source, target)
        if target is not None:
            self.pairs.append((path, target))

    def _default_output(self, path: Path, source: Source) -> Path:
        """The output file. A message follows if its extension is not that of the input."""
        target = self._claimed(default_output(path, self.options, source, self._folder()))
        if target.suffix != path.suffix and self.options.format is None:
            known = writable_format(source.format) == source.format
            why = "is what it holds" if known else "cannot be written"
            console.info(f"{path}: {source.format} {why}; the result is {target.name}")
        return target

    def _upscale(self, source: Source, target: Path | None) -> None:
        """One picture, to a file or, with None, to stdout."""
        if self.flags.dry_run:
            from xlsr_cli.jobs.picture_plan import plan_picture

            show_plan(plan_picture(source, target, self.task), json=self.flags.json)
        elif target is not None:
            self._do(partial(upscale_picture, source, target), Path(source.name).name)
        else:
            self._refuse_page("what goes to stdout")
            stdout, file = console.binary(), io.BytesIO()
            with self._under_a_bar(source.name) as task:
                result = upscale_picture(source, None, task, file=file)
            console.notices(source.name, result.notices)
            with console.writing_stdout():
                stdout.write(file.getbuffer())
                stdout.flush()

    def _run_stream(self, stream: Any, name: str) -> None:
        target = self._target
        if target is not None and not self.flags.dry_run:
            check_output(target, overwrite=self.options.overwrite)
        head = stream.peek(HEAD_BYTES)[:HEAD_BYTES]
        if kind_of(head) == "y4m":
            self._run_y4m(stream)
            return
        if self.options.y4m:
            raise _no_y4m(name)
        self._refuse_page("what comes from a stream")
        if kind_of(head) == "video":
            self._run_film_stream(stream, name, target)
            return
        self._refuse_video_options(name)
        if not head:
            raise InputError(f"{name} is empty")
        known_format(head, name)
        data = read_all(stream, name, self.options.max_pixels)
        self._upscale(open_picture(data, name), target)

    def _run_film_stream(self, stream: Any, name: str, target: Path | None) -> None:
        from xlsr_cli.jobs.video.spooled import upscale_stream

        if target is None:
            raise UsageError(f"a video from {name} needs an output file, such as film.mkv")
        self._refuse_options_of_pictures("a video from a stream")
        self._do(partial(upscale_stream, stream, name, target), name, resumes=True)

    def _run_video(self, path: Path) -> None:
        from xlsr_cli.jobs.video.forecast import forecast_video
        from xlsr_cli.jobs.video.pictures import film_to_animation, film_to_pictures
        from xlsr_cli.jobs.video.run import upscale_video

        if self.output == STANDARD_STREAM:
            raise UsageError("a video cannot go to stdout, except as Y4M from Y4M; give an output file")
        target = self._film_output(path)
        refuse_same_file(path, target)
        numbered = is_pattern(str(target))
        if numbered or animation_format(target.suffix[1:].lower()) is not None:
            self._refuse_options_of_pictures("a video")
            self._do(partial(film_to_pictures if numbered else film_to_animation, path, target), path.name)
            return
        self._refuse_page("a video")
        if self.flags.dry_run:
            show_forecast(forecast_video(path, target, self.task), json=self.flags.json)
        else:
            self._do(partial(upscale_video, path, target), path.name, resumes=True)

    def _run_animation(self, path: Path) -> None:
        from xlsr_cli.jobs.animation import upscale_animation
        from xlsr_cli.jobs.video.spooled import animation_to_film
        from xlsr_cli.media.video.output.containers import CONTAINERS

        if self.output == STANDARD_STREAM:
            raise UsageError("an animation cannot go to stdout; give an output file")
        target = self._named_output(path)
        refuse_same_file(path, target)
        self._refuse_options_of_pictures("an animation")
        source = open_file(path, max_pixels=self.options.max_pixels)
        is_film = target.suffix.lower() in CONTAINERS
        self._do(partial(animation_to_film if is_film else upscale_animation, source, target), path.name)

    def _run_camera_or_sequence(self) -> bool:
        """Whether the input was ``camera:0`` or a pattern such as ``frame_%05d.png``."""
        if not self.source.startswith("camera:") and "%" not in self.source:
            return False
        from xlsr_cli.jobs.sequence import upscale_camera, upscale_sequence
        from xlsr_cli.media.video.camera import camera_number

        number, target = camera_number(self.source), self._target
        if number is None and not is_pattern(self.source):
            return False
        if target is None:
            raise UsageError(f"{self.source} needs an output, such as out_%05d.png")
        self._refuse_options_of_pictures(self.source)
        if self.options.y4m:
            raise _no_y4m(self.source)
        if number is None:
            self._do(partial(upscale_sequence, Path(self.source), target), self.source)
        else:
            self._do(partial(upscale_camera, number, target), self.source)
        return True

    def _run_y4m(self, stream: Any) -> None:
        from xlsr_cli.jobs.video.stream import upscale_y4m

        self._refuse_options_of_pictures("a stream")
        target, name = self._target, "stdin" if self.source == STANDARD_STREAM else self.source
        if self.output is None and self.source != STANDARD_STREAM:
            target = self._named_output(Path(self.source))
        if target is None:
            result = upscale_y4m(stream, console.binary(), self.task, source=name)
            console.notices(name, result.notices)
            return
        if target.suffix.lower() != ".y4m":
            raise UsageError(
                f"{target.name}: raw frames stay raw frames; write a .y4m file, or pipe them into ffmpeg"
            )
        if self.source != STANDARD_STREAM:
            refuse_same_file(Path(self.source), target)
        with atomic_output(target, overwrite=self.options.overwrite) as file, self._under_a_bar(name) as task:
            result = upscale_y4m(stream, file, task, source=name, output=str(target))
        show_result(result, json=self.flags.json)

    def _do(self, work: Callable[[Task], Any], name: str, *, resumes: bool = False) -> None:
        """Do ``work`` and show its result; ``resumes`` is as in :meth:`_under_a_bar`."""
        with self._under_a_bar(name, resumes=resumes) as task:
            result = work(task)
        show_result(result, json=self.flags.json)

    @contextmanager
    def _under_a_bar(self, name: str, *, resumes: bool = False) -> Iterator[Task]:
        """The task, with a bar for this input. After Ctrl-C, a message says that the work ``resumes``, if it
        does."""
        title = name if self.count == 1 else f"{self.place}/{self.count} {name}"
        with console.progress(title) as bar:
            counted = Counted(bar)
            try:
                yield replace(self.task, progress=counted)
            except KeyboardInterrupt:
                if resumes:
                    console.info(f"note: {counted} were done; the same command continues")
                raise

    # Outputs, and what is refused

    def _named_output(self, path: Path) -> Path:
        if self.output is not None:
            return Path(self.output)
        folder = self._folder()
        if folder is not None:
            return self._claimed(folder / path.name)
        return self._claimed(self._beside(path))

    def _beside(self, path: Path) -> Path:
        return path.with_name(f"{path.stem}_{self.options.target.label}{path.suffix}")

    def _film_output(self, path: Path) -> Path:
        """Where a film goes. Says so where it gets another container than its own."""
        from xlsr_cli.media.video.output.containers import default_suffix

        target = self._named_output(path.with_suffix(default_suffix(path)))
        if self.output is None and target.suffix != path.suffix:
            console.info(
                f"{path}: {path.suffix or 'its container'} is not written; the result is {target.name}"
            )
        return target

    def _claimed(self, target: Path) -> Path:
        """Return ``target``. Raises :class:`OutputError` if it is already the output of another input."""
        other = self._taken.setdefault(target, self.source)
        if other != self.source:
            raise OutputError(f"{target} is already the result of {other}; give them different folders")
        return target

    def _folder(self) -> Path | None:
        """The output folder, which is made if it is missing; None: beside the input."""
        folder = self.item.into
        if folder is not None and not self.flags.dry_run and not folder.is_dir():
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
            self._made_folder = True
        return folder

    def remove_empty_folder(self) -> None:
        """Remove the folder again that was made for a result, if nothing was written into it."""
        if self._made_folder and self.item.into is not None:
            with suppress(OSError):
                self.item.into.rmdir()

    def _refuse_video_options(self, name: str) -> None:
        if self.count == 1 and self.task.video != VideoOptions():
            raise UsageError(f"{name} is a picture; --codec, --crf, --start and the like are for videos")

    def _refuse_options_of_pictures(self, what: str) -> None:
        if self.flags.dry_run:
            raise UsageError(f"--dry-run is for picture and video files; for {what}, try --frames 10")
        self._refuse_page(what)

    def _refuse_page(self, what: str) -> None:
        if self.count == 1 and self.html is not None:
            raise UsageError(f"--html shows a picture file before and after; it cannot show {what}")


def _standard_input() -> Any:
    """stdin as a binary stream. Raises :class:`InputError` where nothing can come from it."""
    if sys.stdin is None:
        raise InputError("stdin is closed; redirect a file to it, or give the file's name")
    if sys.stdin.isatty():
        raise InputError("stdin is a terminal; redirect a file to it, or give the file's name")
    return sys.stdin.buffer


def _is_film(path: Path) -> bool:
    """Whether FFmpeg knows a film where the first bytes alone tell nothing."""
    from xlsr_cli.media.video.demux import is_film

    return is_film(path)


def _is_pipe(path: Path) -> bool:
    try:
        return path.is_fifo()
    except (OSError, ValueError):
        return False


def _no_y4m(name: str) -> InputError:
    return InputError(f"{name} is no Y4M stream; make one with 'ffmpeg -i {name} -f yuv4mpegpipe -'")
