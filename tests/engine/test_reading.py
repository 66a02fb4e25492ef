"""Reads are bounded, and so is the memory for them."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from xlsr_cli.engine.reading import read_at_most


@pytest.mark.parametrize("length", [0, 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_all_is_read_up_to_the_bound(length: int) -> None:
    data = bytes(length)
    assert read_at_most(io.BytesIO(data), length) == data
    assert read_at_most(io.BytesIO(data + b"x"), length) is None


def test_an_endless_stream_is_read_no_further_than_the_bound() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += size
            return bytes(size)

    stream = Endless()
    assert read_at_most(stream, 5 << 20) is None  # type: ignore[arg-type]
    assert stream.given <= 7 << 20


def test_room_is_made_for_what_there_is_alone() -> None:
    tracemalloc.start()
    read_at_most(io.BytesIO(bytes(1000)), 4 << 30)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
