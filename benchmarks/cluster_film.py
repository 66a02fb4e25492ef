"""One film on a scheduler and several workers of this machine, against one process on the same cores.

Three runs of ``xlsr batch`` on a made film, each by ``--cluster`` but the first:

1. in one worker process, on all cores;
2. on a scheduler with its workers, which are there before;
3. the same; in the middle a worker is killed, then the scheduler. With new ones, the same command continues.

The frames and the copied packets of 2 and 3 have to be equal. The overhead of 2 is told in seconds, and in
seconds of CPU of all processes from the start of the command to its end, which other work disturbs less.

``python -m benchmarks.cluster_film [--seconds 60] [--workers 4] [--scale 2]``
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from benchmarks.scenes import scenes
from benchmarks.video import Run, write_clip
from xlsr_cli.jobs.video.segments import PART_SUFFIX, work_folder
from xlsr_cli.options import Size

_SOURCE = Size(width=640, height=360)
_RATE = 25


class Cluster:
    """A Dask scheduler and workers with one thread each, as processes on loopback."""

    def __init__(self, folder: Path, workers: int) -> None:
        log = folder / f"scheduler-{time.monotonic_ns()}.log"
        self.scheduler = _dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", log=log)
        while not (found := re.search(r"Scheduler at:\s*(tcp://\S+)", log.read_text())):
            if self.scheduler.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.1)
        self.address = found[1]
        arguments = [self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        self.workers = [_dask("worker", *arguments, log=folder / f"{n}.log") for n in range(workers)]
        self._wait()

    def _wait(self) -> None:
        from distributed import Client

        with Client(self.address) as client:
            client.wait_for_workers(len(self.workers), timeout=60)

    def cpu(self) -> float:
        """Seconds of CPU of all processes and of what they have started."""
        import psutil

        roots = [psutil.Process(process.pid) for process in (self.scheduler, *self.workers)]
        every = [each for root in roots for each in (root, *root.children(recursive=True))]
        return sum(sum(each.cpu_times()[:4]) for each in every)

    def own_cpu(self) -> float:
        """The same of Dask's own processes alone, which also count seconds while they wait."""
        import psutil

        return sum(sum(psutil.Process(p.pid).cpu_times()[:2]) for p in (self.scheduler, *self.workers))

    def stop(self) -> None:
        """Kill what is still there."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def _dask(role: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments]
    with log.open("wb") as target:
        return subprocess.Popen(words, stdout=target, stderr=subprocess.STDOUT, cwd=log.parent)


@contextmanager
def _cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    cluster = Cluster(folder, workers)
    try:
        yield cluster
    finally:
        cluster.stop()


def _batch(films: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "xlsr_cli", "batch", str(films), "--out", str(out), "--quiet", *options]


def _timed(words: list[str], others: Callable[[], float] = lambda: 0.0) -> Run:
    """Run a process; to its CPU time comes what ``others`` has counted meanwhile."""
    import psutil

    before, began = others(), time.perf_counter()
    process = subprocess.Popen(words)
    own, watched = 0.0, psutil.Process(process.pid)
    while process.poll() is None:
        try:
            every = [watched, *watched.children(recursive=True)]
            own = max(own, sum(sum(each.cpu_times()[:4]) for each in every))
        except psutil.Error:
            pass
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return Run(seconds=time.perf_counter() - began, cpu=own + others() - before)


def _until_parts(process: subprocess.Popen[bytes], output: Path, count: int) -> None:
    while sum(1 for _ in work_folder(output).glob(f"*{PART_SUFFIX}")) < count:
        if process.poll() is not None:
            raise SystemExit("the film was done before anything could be killed; make it longer")
        time.sleep(0.05)


def _disturbed(folder: Path, films: Path, workers: int, parts: int) -> Path:
    """The third run; the film that it made."""
    output = folder / "disturbed" / "film.mkv"
    with _cluster(folder, workers) as cluster:
        process = subprocess.Popen(_batch(films, output.parent, "--cluster", cluster.address))
        _until_parts(process, output, parts // 4)
        cluster.workers[0].kill()
        _until_parts(process, output, parts // 2)
        cluster.scheduler.kill()
        print("one worker and the scheduler are killed; the batch ends with", process.wait(120))
    with _cluster(folder, workers) as cluster:
        _timed(_batch(films, output.parent, "--cluster", cluster.address))
    return output


def _content(path: Path) -> dict[str, str]:
    """A hash of the decoded frames with their times, and one of the packets of each other stream."""
    digests = {"frames": hashlib.sha256()}
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            digests["frames"].update(f"{frame.pts}".encode() + frame.to_ndarray().tobytes())
    with av.open(str(path)) as container:
        for packet in container.demux(*(stream for stream in container.streams if stream.type != "video")):
            digest = digests.setdefault(f"stream {packet.stream.index}", hashlib.sha256())
            digest.update(f"{packet.pts}".encode() + bytes(packet))
    return {name: digest.hexdigest() for name, digest in digests.items()}


def _told(name: str, run: Run) -> None:
    print(f"{name:28} {run.seconds:7.1f} s {run.cpu:7.1f} s of CPU", flush=True)


def main(words: Iterable[str] | None = None) -> None:
    """Measure, compare and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=int, default=60, help="of the film")
    arguments.add_argument("--workers", type=int, default=4)
    arguments.add_argument("--width", type=int, default=_SOURCE.width)
    given = arguments.parse_args(None if words is None else list(words))
    size = Size(width=given.width, height=given.width * 9 // 16 // 2 * 2)
    frames = given.seconds * _RATE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        write_clip(folder / "in" / "film.mkv", scenes(size, frames), rate=_RATE, seconds=given.seconds)
        one = _timed(_batch(folder / "in", folder / "one", "--jobs", "1"))
        _told("one process", one)
        with _cluster(folder, given.workers) as cluster:
            command = _batch(folder / "in", folder / "many", "--cluster", cluster.address)
            before = cluster.own_cpu()
            many = _timed(command, cluster.cpu)
            own = cluster.own_cpu() - before
        _told(f"{given.workers} workers", many)
        print(
            f"overhead: {many.seconds / one.seconds - 1:+.1%} of the time, "
            f"{many.cpu / one.cpu - 1:+.1%} of the CPU time, {own / one.cpu:.1%} by Dask's own processes"
        )
        disturbed = _disturbed(folder, folder / "in", given.workers, frames // 240)
        same = _content(disturbed) == _content(folder / "many" / "film.mkv")
        print("frames and packets:", "the same" if same else "NOT the same")
    raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    main()
