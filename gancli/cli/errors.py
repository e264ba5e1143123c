"""Translation of exceptions into one message, one hint and one exit code (docs/exit-codes.md)."""

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
FAILED = 1  # a valid request failed
USAGE = 2  # wrong arguments or recipe, or an output folder that exists
DATA = 3  # missing or broken data
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
    """Report of an error to the user."""

    message: str
    hint: str | None
    exit_code: int


def explain(error: BaseException) -> Failure:
    """Return the message, hint and exit code of an exception."""
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
        # "operator torchvision::nms does not exist": torchvision was built for another torch
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
    torch = sys.modules.get("torch")  # not imported: it cannot have raised the error
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch on the CPU


@contextmanager
def reported(out: Output) -> Iterator[None]:
    """Turn any exception of a command into a message on stderr and an exit code.

    Raises:
        typer.Exit: The command failed. GANCLI_DEBUG=1 prints the traceback first.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except BrokenPipeError:
        # The reader of stdout has gone (`gancli recipes ls | head -1`), which needs no message. Buffered text goes to
        # /dev/null, or the interpreter would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(PIPE_CLOSED) from None
    except BaseException as error:
        if isinstance(error, (SystemExit, GeneratorExit)):
            raise
        if os.environ.get("GANCLI_DEBUG", "") not in ("", "0"):
            traceback.print_exc()
        raise typer.Exit(_report(out, error)) from error


def _report(out: Output, error: BaseException) -> int:
    """Report the error that ended the command, on one of the ranks that it ended on, and return the exit code."""
    failure, process = explain(error), out.process
    # A mistake of the user is the same on all ranks; the state of their machines may not be.
    same_everywhere = process.world_size == 1 or isinstance(error, GancliError)
    where = "" if same_everywhere else f"process {process.rank} of {process.world_size}: "

    def report() -> None:
        out.fail(where + failure.message, failure.hint, failure.exit_code)

    if "gancli.engine.distributed" in sys.modules:
        from gancli.engine import distributed

        if distributed.joined():
            return distributed.report_once(failure.exit_code, report)
    if process.local_rank == 0:
        report()
    return failure.exit_code
