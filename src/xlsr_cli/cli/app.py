"""``xlsr``: its commands, imported when used, and the one place where errors become messages."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
import typer.main

from xlsr_cli import __version__
from xlsr_cli.cli.console import console
from xlsr_cli.cli.help import Group
from xlsr_cli.cli.loading import loading
from xlsr_cli.errors import REPORT_AT, ExitCode, XlsrError

#: The commands, each a module of ``cli/commands`` with an ``app``, and their lines in ``xlsr --help``.
COMMANDS: dict[str, str] = {
    "upscale": "Enlarge a picture, an animation or a video.",
    "batch": "Enlarge all files of a folder; an interrupted run can be resumed.",
    "compare": "Measure PSNR and SSIM; show before and after on a page.",
    "bench": "Measure the speed of this machine, stage by stage.",
    "models": "List, describe and verify the bundled models.",
    "doctor": "Check that this machine computes the right pixels.",
}

#: The exceptions of click: of the package, or of the copy that Typer carries since 0.26.
_click_exceptions: Any = sys.modules[typer.BadParameter.__module__]


class _Commands(Group):
    """Imports a command's module only when the command is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        with loading():
            module = importlib.import_module(f"xlsr_cli.cli.commands.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant. An input in its place means ``upscale``, a folder ``batch``."""
        command = None if not args or args[0] in COMMANDS else _command_for(args[0])
        if command is not None:
            console.info(f"note: 'xlsr {args[0]}' is short for 'xlsr {command} {args[0]}'")
            args = [command, *args]
        elif args and "://" in args[0]:
            from xlsr_cli.jobs.inputs import refuse_no_file

            refuse_no_file(args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _command_for(word: str) -> str | None:
    """The command for a file, a folder, a quoted pattern that matches some, or stdin; else None."""
    if os.path.isdir(word):  # noqa: PTH112 - bytes that are no text
        return "batch"
    from xlsr_cli.jobs.inputs import STANDARD_STREAM, matches

    return "upscale" if word == STANDARD_STREAM or any(map(os.path.lexists, matches(word))) else None


app = typer.Typer(
    name="xlsr",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.data(f"xlsr {__version__}")
        raise typer.Exit


@app.callback()
def _xlsr(
    version: bool = typer.Option(
        False, "--version", "-V", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Super-resolution on the CPU for pictures, animations and videos."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code (:class:`~xlsr_cli.errors.ExitCode`).

    ``arguments`` are those after the program's name; None takes them from the process.
    """
    _fill_closed_descriptors()
    _heard.clear()
    words = sys.argv[1:] if arguments is None else arguments
    wants_traceback = "--debug" in words
    try:
        command = typer.main.get_command(app)
        with _ended_by_signals():
            result: Any = command.main(
                args=None if arguments is None else list(arguments), prog_name="xlsr", standalone_mode=False
            )
        if sys.stdout is not None:
            with console.writing_stdout():
                sys.stdout.flush()
        if result == ExitCode.INTERRUPTED:  # Typer swallows Ctrl-C and returns this
            console.error("interrupted")
        return result if isinstance(result, int) else ExitCode.OK
    except Exception as error:
        if _heard and not isinstance(error, typer.Exit):  # a library raised its own error
            console.error("interrupted")
            return ExitCode.INTERRUPTED
        if wants_traceback and not isinstance(error, typer.Exit):
            console.traceback()
        return _ended_by(error, words)
    except SystemExit as end:
        # Click ends by itself for a closed pipe (1, stdout silenced) and after completion (0).
        return ExitCode.OUTPUT if end.code == 1 else ExitCode.OK
    except KeyboardInterrupt:
        console.error("interrupted")
        return ExitCode.INTERRUPTED


def _fill_closed_descriptors() -> None:
    """Open the null device for closed standard streams; else libraries would print into our next file."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


#: The signals that were received: an interruption may arrive as an error of a library that is being loaded.
_heard: list[int] = []


def _interrupt(number: int, _frame: object) -> None:
    _heard.append(number)
    raise KeyboardInterrupt


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP end the work as cleanly as Ctrl-C does: no partial file stays."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ours = threading.current_thread() is threading.main_thread()
    # A signal that is ignored already, as nohup does it, stays ignored.
    before = {number: signal.getsignal(number) for number in numbers if ours}
    before = {n: was for n, was in before.items() if was in (signal.SIG_DFL, signal.default_int_handler)}
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _lacks_memory(message: str) -> bool:
    """Whether a library could not be loaded because memory ran out."""
    return any(words in message for words in ("failed to map segment", "bad_alloc", "allocate memory"))


def _hint(error: Any, words: Sequence[str]) -> str:
    """What to do about a command line that click does not understand."""
    if getattr(error, "ctx", None) is None:
        return ""
    see = f"; see '{error.ctx.command_path} --help'"
    if not isinstance(error, _click_exceptions.NoSuchOption):
        return see
    files = [word for word in words if word.startswith("-") and os.path.lexists(word)]
    if files:
        return f"; if the file is meant, write ./{files[0]}"
    if error.ctx.parent is None:
        return f"; options stand behind the command, as in 'xlsr upscale FILE {error.option_name}'"
    return see


def _ended_by(error: Exception, words: Sequence[str]) -> int:
    """Say what happened in one sentence, and return the exit code."""
    if isinstance(error, XlsrError):
        console.error(error.in_flags)
        return error.exit_code
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        console.error("interrupted")
        return ExitCode.INTERRUPTED
    if isinstance(error, _click_exceptions.NoArgsIsHelpError):
        sys.stderr.write(error.format_message() + "\n")
        return ExitCode.USAGE
    if isinstance(error, _click_exceptions.ClickException):
        console.error(error.format_message().rstrip(".") + _hint(error, words))
        return ExitCode.USAGE
    if isinstance(error, BrokenPipeError):
        # The reader closed the pipe, as `head` does: nothing to say, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OUTPUT
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        # Files name themselves in an OutputError; what has no name is the help or a table on stdout.
        console.discard_stdout()
        console.error(f"cannot write to stdout: {error.strerror}; send it elsewhere")
        return ExitCode.OUTPUT
    if isinstance(error, MemoryError) or (isinstance(error, ImportError) and _lacks_memory(str(error))):
        console.error("not enough memory; close other programs, or give --max-memory")
        return ExitCode.RESOURCE
    if isinstance(error, ImportError) and not (error.name or "").startswith("xlsr_cli"):
        console.error(f"a library cannot be loaded ({error}); 'xlsr doctor' says what to do")
        return ExitCode.RESOURCE
    console.error(
        f"internal error ({type(error).__name__}: {error}); please report it, with what --debug shows, "
        f"at {REPORT_AT}"
    )
    return ExitCode.INTERNAL
