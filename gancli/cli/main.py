"""Entry point of the command line. Importing the modules of the subcommands registers them."""

from __future__ import annotations

from gancli.cli import (  # noqa: F401 - each registers its commands
    card,
    data,
    doctor,
    embed,
    export,
    human,
    importing,
    inpaint,
    prepare,
    pretrain_encoder,
    recipes,
    sample,
    score,
    score_filled,
    tables,
    train,
)
from gancli.cli.app import app
from gancli.ops.memory import keep_freed_memory


def main() -> None:
    """Run the command line and end the process with its exit code."""
    keep_freed_memory()
    app()
