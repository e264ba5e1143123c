"""`gancli recipes`: list, show, check and compare training recipes."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from gancli.cli.app import LOOK, app, command, recipes_app
from gancli.cli.completion import complete_recipe
from gancli.cli.console import Output
from gancli.errors import ConfigError

app.add_typer(recipes_app, name="recipes", rich_help_panel=LOOK)

Name = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="Shipped recipe, or path of a YAML file.",
        show_default=False,
        autocompletion=complete_recipe,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Values that replace the recipe's.", show_default=False),
]


@command(recipes_app, "ls", examples=("gancli recipes ls", "gancli recipes ls -q"))
def ls(out: Output) -> None:
    """List the shipped recipes with their purpose."""
    from gancli.config import recipe_names

    rows = [(name, _about(name)) for name in recipe_names()]
    out.result(
        {"recipes": [{"name": name, "about": about} for name, about in rows]},
        out.table(("recipe", "about"), rows),
        quiet="\n".join(name for name, _ in rows),
    )


@command(
    recipes_app,
    "show",
    examples=(
        "gancli recipes show ffgan/cub",
        "gancli recipes show ffgan/cub data=data/cub64 model.stages=[16,32,64] > my.yaml",
    ),
)
def show(out: Output, name: Name, overrides: Overrides = None) -> None:
    """Print the resolved recipe, and the number of parameters of each of its networks.

    The output is itself a recipe. The networks are built on the meta device: nothing is allocated.
    """
    from gancli.config import dump_recipe, load_recipe

    recipe = load_recipe(name, overrides or ())  # before torch is loaded, so that a mistake is told at once
    from gancli.training.parameters import count_parameters

    count = count_parameters(recipe)
    head = f"# Parameters, counted with {count.assumed}" if count.assumed else "# Parameters"
    width = max(map(len, count.networks))
    counts = "\n".join(f"#   {network:{width}}  {number:>12,}" for network, number in count.networks.items())
    text = dump_recipe(recipe)
    out.result(
        {
            "name": name,
            "recipe": recipe.model_dump(mode="json"),
            "parameters": count.networks,
            "counted_with": count.assumed,
        },
        f"{text}\n{head}\n{counts}",
        quiet=text.rstrip(),
    )


@command(
    recipes_app,
    "validate",
    examples=("gancli recipes validate", "gancli recipes validate my.yaml ffgan/cub"),
)
def validate(
    out: Output,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE",
            help="Recipes, or paths of YAML files.",
            show_default="all shipped",
            autocompletion=complete_recipe,
        ),
    ] = None,
) -> None:
    """Check recipes: every key and value, and whether the networks can be built.

    Ends with exit code 2 if one is wrong, after all have been checked.
    """
    from gancli.config import load_recipe, recipe_names
    from gancli.training.parameters import count_parameters

    wrong: list[str] = []
    names = names or recipe_names()
    for name in names:
        try:
            count_parameters(load_recipe(name))
        except ConfigError as error:
            wrong.append(f"{name}: {error}" + (f" ({error.hint})" if error.hint else ""))
    if wrong:
        raise ConfigError("\n".join([f"{len(wrong)} of {len(names)} recipes are wrong", *wrong]))
    out.result({"valid": names}, "\n".join(f"{name}: valid" for name in names), quiet="\n".join(names))


@command(
    recipes_app,
    "diff",
    examples=(
        "gancli recipes diff ffgan/cub ffgan/coco",
        "gancli recipes diff ffgan/cub runs/0001-ffgan-cub/recipe.yaml",
    ),
)
def diff(out: Output, first: Name, second: Name) -> None:
    """Show the differences between two recipes, after inheritance and defaults."""
    from gancli.config import diff_recipes, load_recipe

    lines = diff_recipes(load_recipe(first), load_recipe(second))
    out.result(
        {"first": first, "second": second, "differences": lines},
        "\n".join(lines) or "no difference",
        quiet="\n".join(lines),
    )


def _about(name: str) -> str:
    """Return the first sentence of the comment at a shipped recipe's top, up to its first pause."""
    from gancli.config import recipes_folder

    comment: list[str] = []
    for line in (recipes_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return re.split(r"[.:;](?:\s|$)", " ".join(comment))[0]
