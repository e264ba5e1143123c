"""Images split into parts, one for each process of torchrun. A single process takes all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

from gancli.engine import distributed
from gancli.errors import GancliError
from gancli.progress import Progress

T = TypeVar("T")


def own_part(count: int, batch: int) -> slice:
    """Return the images of this process. The parts follow each other and are about equally long.

    They consist of whole batches, so a batch holds the same images however many processes there are: the last digits of
    a network's output depend on the batch.
    """
    batches = math.ceil(count / batch)
    rank = distributed.rank()
    first, end = (number * batches // distributed.world_size() for number in (rank, rank + 1))
    return slice(first * batch, min(end * batch, count))


def by_parts(
    count: int, batch: int, work: Callable[[slice], Iterable[T]], progress: Progress | None = None
) -> list[T]:
    """Collect the results of all processes for their parts, in the order of the images, the same in every process.

    Args:
        count: Number of all images, the same in every process.
        batch: Images at a time.
        work: Function from a part to one result for each of its batches.
        progress: Callback after each batch with images done and in all, as if the other processes were as far.

    Raises:
        GancliError: `work` failed in any process. Every process raises it, with the messages of all that failed.
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
    """Merge the errors of several processes into one."""
    first = failures[0]
    same = [error for error in failures if type(error) is type(first)]
    if not isinstance(first, GancliError) or len(same) == 1:
        return first
    return type(first)("\n".join(dict.fromkeys(map(str, same))), first.hint)
