"""Where the console script begins: loads every subcommand's module, which registers it, and runs the application."""

from __future__ import annotations

from gancli.cli import (
    data,
    doctor,
    embed,
    human,
    inpaint,
    prepare,
    pretrain_encoder,
    recipes,
    sample,
    score,
    train,
)
from gancli.cli.app import app
from gancli.ops.memory import keep_freed_memory

__all__ = [
    "app",
    "data",
    "doctor",
    "embed",
    "human",
    "inpaint",
    "main",
    "prepare",
    "pretrain_encoder",
    "recipes",
    "sample",
    "score",
    "train",
]


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    keep_freed_memory()
    app()
