"""From an exception to what the user reads: one message, one hint, one exit code (docs/exit-codes.md)."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer

from gancli.cli.console import Output
from gancli.errors import GancliError

OK = 0
FAILED = 1  # a run that was well asked for failed
USAGE = 2  # arguments, recipe, an output folder that exists
DATA = 3  # data missing or broken
INTERRUPTED = 130  # 128 + SIGINT
TERMINATED = 143  # 128 + SIGTERM
PIPE_CLOSED = 141  # 128 + SIGPIPE

MEMORY_HINT = "use a smaller batch (loader.batch=…, --batch) or smaller images"
TORCH_PAIR_CURE = (
    "install a pair that pip chooses itself: pip install --force-reinstall torch torchvision "
    "(a CPU-only torch needs torchvision from the same CPU-only index)"
)


@dataclass(frozen=True)
class Failure:
    """What to tell the user."""

    message: str
    hint: str | None
    exit_code: int


def explain(error: BaseException) -> Failure:
    """The message, hint and exit code of any exception."""
    if isinstance(error, GancliError):
        return Failure(str(error), error.hint, error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", None, INTERRUPTED)
    if isinstance(error, OSError):
        return _explain_os_error(error)
    if _is_out_of_memory(error):
        first = str(error).strip().splitlines()
        return Failure("out of memory" + (f": {first[0]}" if first else ""), MEMORY_HINT, FAILED)
    if "torchvision" in str(error) and isinstance(error, (ImportError, RuntimeError)):
        # "operator torchvision::nms does not exist": its binary was built for another torch
        return Failure(f"torchvision does not fit the installed torch: {error}", TORCH_PAIR_CURE, FAILED)
    return Failure(
        f"unexpected {type(error).__name__}: {error}",
        "this is a fault of gancli: run the command again with GANCLI_DEBUG=1 and report the traceback",
        FAILED,
    )


def _explain_os_error(error: OSError) -> Failure:
    name = str(error.filename) if error.filename is not None else ""
    where = f"{name}: " if name else ""
    if isinstance(error, FileNotFoundError):
        return Failure(f"{where}no such file or folder", "check the path", DATA)
    if isinstance(error, (NotADirectoryError, IsADirectoryError)):
        kind = "not a folder" if isinstance(error, NotADirectoryError) else "a folder, not a file"
        return Failure(f"{where}{kind}", "check the path", DATA)
    if isinstance(error, PermissionError):
        return Failure(
            f"{where}permission denied", "check the owner and the rights of the file or folder", FAILED
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(
            f"{where}no space left on the disk",
            "free some space and run the same command again: what was finished is kept",
            FAILED,
        )
    return Failure(f"{where}{error.strerror or error}", None, FAILED)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")  # where torch was never imported it raised nothing
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch on the CPU


@contextmanager
def reported(out: Output) -> Iterator[None]:
    """Turns whatever a command raises into a message on stderr and an exit code.

    Raises:
        typer.Exit: With the exit code; with GANCLI_DEBUG=1 after the traceback.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except BrokenPipeError:
        # The reader of our stdout has gone (`gancli recipes ls | head -1`): not worth a message. What is still
        # buffered goes to /dev/null, or the interpreter would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(PIPE_CLOSED) from None
    except BaseException as error:
        if isinstance(error, (SystemExit, GeneratorExit)):
            raise
        if os.environ.get("GANCLI_DEBUG", "") not in ("", "0"):
            traceback.print_exc()
        raise typer.Exit(_tell(out, error)) from error


def _tell(out: Output, error: BaseException) -> int:
    """Says what ended the command, in one of the processes that it ended in; the exit code."""
    failure, here = explain(error), out.place
    # what the user asked for is the same for all; the state of a machine need not be
    where = (
        "" if here.world == 1 or isinstance(error, GancliError) else f"process {here.rank} of {here.world}: "
    )

    def tell() -> None:
        out.fail(where + failure.message, failure.hint, failure.exit_code)

    if "gancli.engine.distributed" in sys.modules:
        from gancli.engine import distributed

        if distributed.joined():
            return distributed.told_once(failure.exit_code, tell)
    if here.local_rank == 0:
        tell()
    return failure.exit_code
