"""Completers for the shell. They answer while the user types, so they read names and load no torch."""

from __future__ import annotations

from collections.abc import Callable


def complete_recipe(incomplete: str) -> list[str]:
    """Return the names of shipped recipes that begin so."""
    # Here, as pydantic and YAML take a third of the start-up time of `gancli --help`
    from gancli.config import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


def recipes_of(kind: str) -> Callable[[str], list[str]]:
    """Return a completer for the shipped recipes of one model or encoder."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in complete_recipe(incomplete) if name.startswith(f"{kind}/")]

    return complete
