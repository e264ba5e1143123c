"""Completers for the shell: they answer while the user types, so they read names and load no torch."""

from __future__ import annotations


def complete_recipe(incomplete: str) -> list[str]:
    """Names of shipped recipes."""
    from gancli.config import (
        recipe_names,
    )  # pydantic and YAML: a third of the start-up time of `gancli --help`

    return [name for name in recipe_names() if name.startswith(incomplete)]


def complete_damsm_recipe(incomplete: str) -> list[str]:
    """Names of shipped DAMSM recipes."""
    return [name for name in complete_recipe(incomplete) if name.startswith("damsm/")]


def complete_ffgan_recipe(incomplete: str) -> list[str]:
    """Names of shipped FF-GAN recipes."""
    return [name for name in complete_recipe(incomplete) if name.startswith("ffgan/")]
