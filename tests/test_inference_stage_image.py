"""What a network is shown is made while the network before it runs, and is the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from livertumor_cli.inference.stage_image import made_ahead


def test_one_item_is_made_ahead_and_no_more() -> None:
    made: list[int] = []
    is_made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number in range(4):
            made.append(number)
            is_made[number].set()
            yield number

    ahead = made_ahead(items())
    assert made == []
    assert next(ahead) == 0
    assert is_made[1].wait(10)
    assert not is_made[2].wait(0.1)
    assert list(ahead) == [1, 2, 3]


def test_a_fault_of_the_maker_comes_with_its_item() -> None:
    def items() -> Iterator[int]:
        yield 7
        raise MemoryError

    ahead = made_ahead(items())
    assert next(ahead) == 7
    with pytest.raises(MemoryError):
        next(ahead)


def test_a_caller_that_stops_leaves_no_thread() -> None:
    before = threading.active_count()
    ahead = made_ahead(iter(range(3)))
    next(ahead)
    ahead.close()
    assert threading.active_count() == before
