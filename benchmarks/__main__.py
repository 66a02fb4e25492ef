"""``python -m benchmarks --threads 2 --write``: every benchmark, and docs/performance.md renewed."""

from __future__ import annotations

from benchmarks import engine, peers
from benchmarks.harness import parser

command = parser(__doc__)
peers.add_options(command)
options = command.parse_args()
engine.main(options)
peers.main(options)
