"""``python -m benchmarks --threads 2 --write``: run every benchmark, rewrite docs/performance.md.

Takes about half an hour. A benchmark that finds the machine too noisy leaves its part of the page as it
was, and the others go on.
"""

from __future__ import annotations

import multiprocessing

from benchmarks import batch, engine, memory, older_cpu, peers, startup, video
from benchmarks.harness import parser


def main() -> None:
    """Run each benchmark in a process of its own, so that memory of one does not count for the next."""
    command = parser(__doc__)
    peers.add_options(command)
    batch.add_options(command)
    options = command.parse_args()
    fresh = multiprocessing.get_context("spawn")
    failed = []
    for benchmark in (engine, older_cpu, peers, startup, memory, batch, video):
        process = fresh.Process(target=benchmark.main, args=(options,))
        process.start()
        process.join()
        if process.exitcode != 0:
            failed.append(benchmark.__name__)
    if failed:
        raise SystemExit(f"not written: {', '.join(failed)}")


if __name__ == "__main__":
    main()
