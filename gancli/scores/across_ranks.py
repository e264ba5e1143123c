"""Images looked at in parts, one for each process that torchrun started; a process by itself looks at all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from gancli.engine import distributed
from gancli.errors import GancliError
from gancli.progress import Progress

T = TypeVar("T")


def own_part(count: int, batch: int) -> slice:
    """The images of this process: one part after the other, all about as long.

    They are whole batches, so that a batch holds the same images however many processes there are: what a network
    says of an image depends in its last digit on how many it sees at a time.
    """
    batches = math.ceil(count / batch)
    rank = distributed.rank()
    first, end = (number * batches // distributed.world_size() for number in (rank, rank + 1))
    return slice(first * batch, min(end * batch, count))


def by_parts(
    count: int, batch: int, work: Callable[[slice], Iterable[T]], progress: Progress | None = None
) -> list[T]:
    """What the processes find in their parts, put together in the order of the images.

    Args:
        count: Images in all, the same in every process.
        batch: Images at a time.
        work: Takes a part and gives something for each batch of it.
        progress: Called after each batch with images done and in all, as if the other processes were as far.

    Returns:
        One of each batch of all images, the same in every process.

    Raises:
        GancliError: What `work` raised in any process, in every one of them; where several raised it, with all their
            messages.
    """
    part = own_part(count, batch)
    own = part.stop - part.start
    found: list[T] = []
    failure: Exception | None = None
    try:
        for each in work(part):
            found.append(each)
            if progress is not None:
                progress(min(len(found) * batch, own) * count // own, count)
    except Exception as error:
        failure = error
    everything = distributed.gather((found, failure))
    failures = [error for _, error in everything if error is not None]
    if failures:
        raise failure if failure is not None and len(failures) == 1 else _joined(failures)
    return [each for results, _ in everything for each in results]


def _joined(failures: list[Exception]) -> Exception:
    """One error for those of several processes."""
    first = failures[0]
    same = [error for error in failures if type(error) is type(first)]
    if not isinstance(first, GancliError) or len(same) == 1:
        return first
    return type(first)("\n".join(dict.fromkeys(map(str, same))), first.hint)
