"""``xlsr upscale`` as a program: streams, errors, interruptions, terminals."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.cli.pictures import photo, write
from xlsr_cli.cli import app as program
from xlsr_cli.cli.app import main
from xlsr_cli.engine import models
from xlsr_cli.engine import upscaler as engine
from xlsr_cli.engine.session import Session, TileOutOfMemory

Capture = pytest.CaptureFixture[str]
COMMAND = [sys.executable, "-m", "xlsr_cli"]
NOT_WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such thing")


def loaded(picture: Path, modules: list[str], *, beside: str) -> str:
    """Which of ``modules`` enlarging ``picture`` loads, beside those of the program ``beside``."""
    script = (
        f"{beside}"
        "brought = set(sys.modules)\n"
        "from xlsr_cli.cli.app import main\n"
        f"assert main(['upscale', {str(picture)!r}]) == 0\n"
        f"print(sorted(set({modules!r}) & set(sys.modules) - brought))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write(tmp_path / "in.png", photo(60, 40))


def xlsr(*arguments: object, data: bytes | None = None, **more: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], input=data, capture_output=True, check=False, timeout=60, **more
    )


def one_sentence(error: bytes | str) -> str:
    """What was said on stderr: exactly one line, an error."""
    text = error.decode() if isinstance(error, bytes) else error
    (line,) = text.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in line
    return line


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestStarting:
    @pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
    def test_help_and_version_import_nothing_heavy(self, arguments: list[str]) -> None:
        script = (
            "import sys\nfrom xlsr_cli.cli.app import main\n"
            f"code = main({arguments!r})\n"
            "heavy = {'cv2', 'onnxruntime', 'av', 'numpy', 'PIL', 'tifffile', 'dask', 'rich.console'}\n"
            "print(sorted(heavy & set(sys.modules)), code, file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stderr.splitlines()[-1] == f"[] {2 if not arguments else 0}"

    def test_version(self) -> None:
        done = xlsr("--version")
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"xlsr ")

    def test_a_picture_needs_no_containers(self, picture: Path) -> None:
        script = (
            "import sys\nfrom xlsr_cli.cli.app import main\n"
            f"assert main(['upscale', {str(picture)!r}]) == 0\n"
            "print(sorted({'av', 'tifffile', 'dask', 'sqlite3', 'rich.console'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_a_png_loads_no_module_that_it_does_not_need(self, picture: Path) -> None:
        unneeded = [
            *(
                "PIL.Image",
                "asyncio",
                "decimal",
                "email",
                "fractions",
                "importlib.metadata",
                "multiprocessing",
            ),
            *("pydoc", "rich", "secrets", "xlsr_cli.media.picture.animation"),
            *(
                "xlsr_cli.engine.golden",
                "xlsr_cli.engine.runtimes.foreign",
                "xlsr_cli.media.picture.codecs.netpbm",
                "xlsr_cli.media.picture.codecs.tiff",
                "xlsr_cli.media.picture.composing",
                "xlsr_cli.quality.page",
            ),
        ]
        by_typer = (
            "import sys, typer.main\n"
            "trivial = typer.Typer(rich_markup_mode=None, add_completion=False)\n"
            "trivial.command()(lambda number=1: None)\n"
            "typer.main.get_command(trivial)\n"
        )
        assert loaded(picture, unneeded, beside=by_typer) == "[]"

    def test_a_png_loads_nothing_that_its_libraries_do_not_load(self, picture: Path) -> None:
        unneeded = ["glob", "json", "numpy.ma", "pydantic", "random", "tempfile"]
        by_libraries = "import sys, cv2, numpy, onnxruntime, typer.main\n"
        assert loaded(picture, unneeded, beside=by_libraries) == "[]"

    def test_a_picture_parses_the_models_of_its_kind_alone(
        self, picture: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All 40 tables take 8 ms to parse, and a picture needs one."""
        read = models.read_manifest
        parsed: list[models.ModelSpec] = []

        def counted(folder: Path, *words: str) -> tuple[models.ModelSpec, ...]:
            found = read(folder, *words)
            parsed.extend(found)
            return found

        monkeypatch.setattr(models, "read_manifest", counted)
        models.bundled_models.cache_clear()
        assert main(["upscale", str(picture)]) == 0
        assert 0 < len(parsed) <= 2 * len({spec.scale for spec in models.bundled_models()})

    def test_loading_suspends_the_collector_and_lets_it_go_on_whatever_happens(self) -> None:
        script = (
            "import gc\nfrom xlsr_cli.cli.loading import loading\n"
            "try:\n"
            "    with loading():\n"
            "        with loading():\n"
            "            pass\n"
            "        print(gc.isenabled())\n"
            "        raise ImportError\n"
            "except ImportError:\n"
            "    print(gc.isenabled(), gc.get_freeze_count() > 0)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", "True", "True"]

    @pytest.mark.parametrize(("chosen", "used"), [(None, "1"), ("3", "3")])
    def test_openblas_starts_no_threads_unless_told_to(self, chosen: str | None, used: str) -> None:
        script = (
            "import os, sys\nfrom xlsr_cli.__main__ import run\n"
            "sys.argv[1:] = ['--version']\n"
            "try:\n    run()\nfinally:\n    print(os.environ['OPENBLAS_NUM_THREADS'])"
        )
        values = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
        if chosen is not None:
            values["OPENBLAS_NUM_THREADS"] = chosen
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=values
        )
        assert done.stdout.splitlines()[-1] == used

    def test_threads_and_libraries_end_before_the_process(self) -> None:
        """The process ends without freeing its objects, but after everything that still has to be done."""
        script = (
            "import atexit, sys, threading, time\nfrom xlsr_cli.__main__ import run\n"
            "from xlsr_cli.cli import app\n"
            "def work():\n    time.sleep(0.3)\n    print('thread')\n"
            "def main():\n"
            "    threading.Thread(target=work).start()\n"
            "    atexit.register(print, 'library')\n"
            "    return 5\n"
            "app.main = main\n"
            "class Object:\n    def __del__(self):\n        print('freed')\n"
            "kept = Object()\n"
            "run()"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.split(), done.stderr) == (5, ["thread", "library"], "")

    @NOT_WINDOWS
    @pytest.mark.parametrize(
        ("shell", "said"), [("bash", b"complete "), ("zsh", b"compdef"), ("fish", b"complete ")]
    )
    def test_completion(self, shell: str, said: bytes) -> None:
        done = xlsr(env={**os.environ, "_XLSR_COMPLETE": f"source_{shell}"})
        assert done.returncode == 0
        assert said in done.stdout

    @NOT_WINDOWS
    def test_completion_knows_commands_and_options(self) -> None:
        def completed(*words: str) -> str:
            values = {"_XLSR_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": "1"}
            values["COMP_CWORD"] = str(len(words) - 1)
            return xlsr(env={**os.environ, **values}).stdout.decode()

        assert "upscale" in completed("xlsr", "up")
        assert "--max-memory" in completed("xlsr", "upscale", "--max-")
        assert completed("xlsr", "upscale", "--color", "").split() == ["auto", "rgb", "ycbcr"]
        assert completed("xlsr", "batch", "--format", "j").split() == ["jpeg", "jp2"]
        assert "xlsr_x3_luma_int8" in completed("xlsr", "upscale", "--model", "xlsr_x3").split()


class TestStreams:
    def test_from_stdin_to_stdout(self, picture: Path) -> None:
        done = xlsr("upscale", "-", "-", data=picture.read_bytes())
        assert (done.returncode, done.stderr) == (0, b"")
        found = cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_COLOR)
        assert found is not None
        assert found.shape == (80, 120, 3)

    def test_from_a_file_to_stdout_is_the_file(self, picture: Path) -> None:
        done = xlsr("upscale", picture, "-", "--format", "jpeg")
        assert main(["upscale", str(picture), str(picture.with_name("o.jpg"))]) == 0
        assert done.stdout == picture.with_name("o.jpg").read_bytes()

    @NOT_WINDOWS
    def test_json_names_files_exactly_whatever_the_encoding(self, picture: Path) -> None:
        odd = os.fsencode(picture.parent) + b"/caf\xe9 \xc3\xb1.png"
        Path(os.fsdecode(odd)).write_bytes(picture.read_bytes())
        for encoding in ("utf-8", "ascii"):
            environment = {**os.environ, "PYTHONIOENCODING": encoding}
            done = subprocess.run(
                [*COMMAND, "upscale", odd, "--json", "--overwrite"],
                capture_output=True,
                check=True,
                env=environment,
            )
            assert os.fsencode(json.loads(done.stdout)["source"]) == odd

    def test_from_stdin_to_a_file(self, picture: Path) -> None:
        done = xlsr("upscale", "-", picture.with_name("o.webp"), data=picture.read_bytes())
        assert done.returncode == 0
        assert Image.open(picture.with_name("o.webp")).format == "WEBP"

    @pytest.mark.parametrize(
        ("data", "said"), [(b"", "stdin is empty"), (b"hello", "stdin is not a picture")]
    )
    def test_nothing_of_use_on_stdin(self, data: bytes, said: str) -> None:
        done = xlsr("upscale", "-", "-", data=data)
        assert (done.returncode, done.stdout) == (3, b"")
        assert said in one_sentence(done.stderr)

    @pytest.mark.parametrize("arguments", [["in.png", "-"], ["-", "-"], ["-"]])
    def test_json_and_the_picture_cannot_share_stdout(self, picture: Path, arguments: list[str]) -> None:
        done = xlsr("upscale", *arguments, "--json", data=picture.read_bytes(), cwd=picture.parent)
        assert (done.returncode, done.stdout) == (2, b"")
        one_sentence(done.stderr)

    @pytest.mark.parametrize("arguments", [["in.png", "-"], ["-", "-"], ["-", "o.png"]])
    def test_a_dry_run_writes_a_plan_and_no_picture(self, picture: Path, arguments: list[str]) -> None:
        done = xlsr("upscale", *arguments, "--dry-run", data=picture.read_bytes(), cwd=picture.parent)
        assert done.returncode == 0
        assert b"120x80 png" in done.stdout
        assert b"\x89PNG" not in done.stdout
        assert names(picture.parent) == ["in.png"]

    def test_an_output_that_exists_is_refused_before_stdin_is_read(self, picture: Path) -> None:
        with subprocess.Popen(
            [*COMMAND, "upscale", "-", str(picture)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.wait(30) == 4  # nobody ever wrote to it, or closed it
            assert process.stderr is not None
            one_sentence(process.stderr.read())

    @NOT_WINDOWS
    @pytest.mark.parametrize(
        ("closed", "arguments", "code"),
        [
            ("<&-", "- o.png", 3),
            (">&-", "in.png o.png", 0),
            ("2>&-", "in.png o.png", 0),
            ("<&- >&- 2>&-", "in.png o.png", 0),
            ("2>&-", "missing.png o.png", 3),
            (">&-", "in.png -", 4),
            (">&-", "in.png o.png --json", 4),
        ],
    )
    def test_standard_streams_may_be_closed(
        self, picture: Path, closed: str, arguments: str, code: int
    ) -> None:
        command = f"{shlex.join(COMMAND)} upscale {arguments} {closed}"
        done = subprocess.run(command, shell=True, cwd=picture.parent, capture_output=True, check=False)
        assert done.returncode == code
        assert (b"error: " in done.stderr) == (code != 0 and "2>" not in closed)
        assert names(picture.parent) == (["in.png", "o.png"] if code == 0 else ["in.png"])
        if code == 0:
            assert Image.open(picture.with_name("o.png")).size == (120, 80)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    @pytest.mark.parametrize(
        ("full", "arguments", "code"),
        [
            (">/dev/full", "upscale in.png -", 4),
            (">/dev/full", "upscale in.png --json --dry-run", 4),
            (">/dev/full", "--help", 4),
            (">/dev/full", "models list", 4),
            ("2>/dev/full", "upscale in.png o.png", 0),
        ],
    )
    def test_standard_streams_may_be_full(self, picture: Path, full: str, arguments: str, code: int) -> None:
        command = f"{shlex.join(COMMAND)} {arguments} {full}"
        done = subprocess.run(command, shell=True, cwd=picture.parent, capture_output=True, check=False)
        assert done.returncode == code
        if code:
            assert "No space left" in one_sentence(done.stderr)

    def test_a_format_that_cannot_be_written_becomes_another_and_it_says_so(
        self, tmp_path: Path, capsys: Capture
    ) -> None:
        Image.fromarray(photo(20, 10)).save(tmp_path / "in.tga")
        assert main(["upscale", str(tmp_path / "in.tga")]) == 0
        assert names(tmp_path) == ["in.tga", "in_x2.png"]
        assert "tga cannot be written" in capsys.readouterr().err

    def test_a_name_that_lies_is_put_right_and_it_says_so(self, tmp_path: Path, capsys: Capture) -> None:
        Image.fromarray(photo(20, 10)).save(tmp_path / "in.png", "JPEG")
        assert main(["upscale", str(tmp_path / "in.png")]) == 0
        assert names(tmp_path) == ["in.png", "in_x2.jpg"]
        assert "jpeg is what it holds; the result is in_x2.jpg" in capsys.readouterr().err

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's full disk")
    def test_a_full_disk_behind_stdout(self, picture: Path) -> None:
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "xlsr_cli", "upscale", str(picture), "-"],
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert done.returncode == 4
        assert "cannot write to stdout" in one_sentence(done.stderr)

    def test_what_decoders_print_becomes_part_of_the_sentence(self, picture: Path) -> None:
        data = picture.read_bytes()
        picture.write_bytes(data[: len(data) * 2 // 3])
        done = xlsr("upscale", picture)
        assert done.returncode == 3
        assert "is damaged" in one_sentence(done.stderr)


class TestRefusing:
    def test_the_input_itself(self, picture: Path, capsys: Capture) -> None:
        before = picture.read_bytes()
        assert main(["upscale", str(picture), str(picture), "--overwrite"]) == 4
        assert "is the input itself" in one_sentence(capsys.readouterr().err)
        assert picture.read_bytes() == before

    @NOT_WINDOWS
    @pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
    def test_the_input_by_another_name(self, picture: Path, link: str) -> None:
        other = picture.with_name("other.png")
        getattr(other, link)(picture)
        before = picture.read_bytes()
        assert main(["upscale", str(picture), str(other), "--overwrite"]) == 4
        assert picture.read_bytes() == before

    @pytest.mark.parametrize(
        ("source", "output", "code"),
        [
            ("missing.png", "o.png", 3),
            (".", "o.png", 3),
            ("in.png", "nowhere/o.png", 4),
            ("in.png", "o.xyz", 4),
            ("in.png", ".", 4),
            ("in.png\0", "o.png", 3),
        ],
    )
    def test_places_that_are_none(
        self, picture: Path, capsys: Capture, source: str, output: str, code: int
    ) -> None:
        folder = picture.parent
        assert main(["upscale", f"{folder}/{source}", f"{folder}/{output}"]) == code
        one_sentence(capsys.readouterr().err)
        assert names(folder) == ["in.png"]

    @NOT_WINDOWS
    @pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_is_read_only(self, picture: Path, capsys: Capture) -> None:
        folder = picture.parent / "locked"
        folder.mkdir(mode=0o500)
        assert main(["upscale", str(picture), str(folder / "o.png")]) == 4
        one_sentence(capsys.readouterr().err)

    def test_a_bug_is_one_sentence_too(
        self, picture: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError("boom")

        monkeypatch.setattr("xlsr_cli.cli.request.upscale_picture", broken)
        assert main(["upscale", str(picture)]) == 1
        line = one_sentence(capsys.readouterr().err)
        assert "internal error (ZeroDivisionError: boom)" in line
        assert "--debug" in line

    def test_unknown_options_and_commands(self, capsys: Capture) -> None:
        assert main(["upscale", "--nonsense"]) == 2
        assert "xlsr upscale --help" in one_sentence(capsys.readouterr().err)
        assert main(["paint"]) == 2


class TestFaults:
    @NOT_WINDOWS
    def test_a_full_disk(self, picture: Path) -> None:
        """A file may not grow beyond 4 KiB: the system answers as a full disk does."""
        import resource

        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        done = xlsr("upscale", picture, "--format", "bmp", preexec_fn=limit)
        assert done.returncode == 4
        one_sentence(done.stderr)
        assert names(picture.parent) == ["in.png"]

    @pytest.mark.slow
    @pytest.mark.skipif(
        sys.platform != "linux" or shutil.which("mount") is None or os.geteuid() != 0, reason="needs to mount"
    )
    def test_a_disk_that_is_really_full(self, picture: Path) -> None:
        disk = picture.parent / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], check=False)
        if mounted.returncode:
            pytest.skip("mounting is not allowed here")
        try:
            done = xlsr("upscale", picture, disk / "o.bmp")
            assert done.returncode == 4
            assert "full" in one_sentence(done.stderr)
            assert names(disk) == []
        finally:
            subprocess.run(["umount", str(disk)], check=True)

    @NOT_WINDOWS
    def test_killed_in_mid_write(self, tmp_path: Path) -> None:
        """What was there before stays as it was, and no half file has the final name."""
        source = write(tmp_path / "in.png", photo(1200, 900))
        target = tmp_path / "out.png"
        target.write_bytes(b"what was there before")
        for moment in (0.3, 0.5, 0.7, 0.9):
            process = subprocess.Popen([*COMMAND, "upscale", str(source), str(target), "--overwrite", "-q"])
            time.sleep(moment)
            process.kill()
            process.wait()
            if target.read_bytes() != b"what was there before":
                assert Image.open(target).size == (2400, 1800)  # it was faster, and complete
                break

    @NOT_WINDOWS
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", 0)])
    def test_a_signal_in_mid_write_leaves_nothing(self, picture: Path, number: int) -> None:
        """Service managers and closing terminals send such signals; the disk takes a part of the file."""
        # Where the tests themselves run under nohup, the child would go on ignoring SIGHUP, rightly.
        stuck = (
            "import signal, sys, time\n"
            f"if {number} != signal.SIGINT: signal.signal({number}, signal.SIG_DFL)\n"
            "from xlsr_cli.cli.app import main\nfrom xlsr_cli.media import atomic\n"
            "write = atomic._Watched.write\n"
            "def slow(self, data):\n    write(self, b'half'); print('now', flush=True); time.sleep(60)\n"
            "atomic._Watched.write = slow\nsys.exit(main(sys.argv[1:]))"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", stuck, "upscale", str(picture), str(picture.with_name("out.png"))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        assert len(names(picture.parent)) == 2
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert one_sentence(said) == "error: interrupted"
        assert names(picture.parent) == [picture.name]

    @NOT_WINDOWS
    def test_ctrl_c(self, tmp_path: Path) -> None:
        source = write(tmp_path / "in.png", photo(3000, 2000))
        process = subprocess.Popen([*COMMAND, "upscale", str(source), "-s", "4"], stderr=subprocess.PIPE)
        time.sleep(1.2)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(20) == 130
        assert one_sentence(said) == "error: interrupted"
        assert names(tmp_path) == ["in.png"]

    def test_a_tile_that_does_not_fit_memory_is_cut_smaller(
        self, picture: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert main(["upscale", str(picture), str(picture.with_name("plain.png"))]) == 0
        run, tiles = Session.run, []

        def scarce(self: Session, tile: np.ndarray) -> np.ndarray:
            tiles.append(tile.shape)
            if tile.shape[1] > 45:
                raise TileOutOfMemory
            return run(self, tile)

        monkeypatch.setattr(Session, "run", scarce)
        assert main(["upscale", str(picture), str(picture.with_name("scarce.png"))]) == 0
        assert max(shape[1] for shape in tiles) > 45
        assert picture.with_name("scarce.png").read_bytes() == picture.with_name("plain.png").read_bytes()

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            ImportError("cv2.abi3.so: failed to map segment from shared object"),
            ImportError("Exception caught: std::bad_alloc"),
        ],
    )
    def test_memory_that_is_gone_before_anything_began(
        self, picture: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def fails(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("xlsr_cli.cli.request.upscale_picture", fails)
        assert main(["upscale", str(picture)]) == 6
        assert "not enough memory" in one_sentence(capsys.readouterr().err)

    def test_memory_that_is_truly_gone(
        self, picture: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(self: Session, tile: np.ndarray) -> np.ndarray:
            raise TileOutOfMemory

        monkeypatch.setattr(Session, "run", gone)
        assert main(["upscale", str(picture)]) == 6
        assert "memory" in one_sentence(capsys.readouterr().err)
        assert names(picture.parent) == ["in.png"]
        assert engine is not None


@NOT_WINDOWS
class TestTerminal:
    """What a person sees, through a pseudo terminal."""

    def seen(self, arguments: Sequence[object], **values: str) -> str:
        import pty

        master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", **values}
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)], stderr=slave, stdout=subprocess.DEVNULL, env=environment
        )
        os.close(slave)
        shown = b""
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        process.wait()
        os.close(master)
        return shown.decode()

    @pytest.fixture
    def large(self, tmp_path: Path) -> Path:
        return write(tmp_path / "large.png", photo(1500, 1000))

    def test_progress_with_rate_and_time_left(self, large: Path) -> None:
        shown = self.seen(["upscale", large])
        assert "MP" in shown
        assert "MP/s" in shown
        assert "\x1b[" in shown

    def test_no_picture_is_thrown_at_a_terminal(self, picture: Path) -> None:
        import pty

        master, slave = pty.openpty()
        done = subprocess.run(
            [*COMMAND, "upscale", str(picture), "-"], stdout=slave, stderr=subprocess.PIPE, check=False
        )
        os.close(slave)
        os.close(master)
        assert done.returncode == 2
        assert "stdout is a terminal" in one_sentence(done.stderr)

    def test_quiet_shows_nothing(self, large: Path) -> None:
        assert self.seen(["upscale", large, "--quiet"]) == ""

    def test_no_colour_where_it_is_not_wanted(self, tmp_path: Path) -> None:
        coloured = self.seen(["upscale", tmp_path / "missing.png"])
        plain = self.seen(["upscale", tmp_path / "missing.png"], NO_COLOR="1")
        assert "\x1b[31m" in coloured
        assert "\x1b[3" not in plain

    def test_names_cannot_command_the_terminal(self, tmp_path: Path) -> None:
        shown = self.seen(["upscale", tmp_path / "a\x1b]0;evil\x07.png"])
        assert "\x1b]0;" not in shown
        assert "\\x1b" in shown


def test_the_command_is_the_programs(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in program.COMMANDS)
