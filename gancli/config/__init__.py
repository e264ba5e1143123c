"""Recipes: the pydantic models of every training recipe, and functions to load, choose and compare them.

No torch is imported here: the command line lists recipes with it.
"""

from gancli.config.load import (
    choose_recipe,
    diff_recipes,
    differences_from_paper,
    dump_recipe,
    flatten,
    load_recipe,
    paper_recipe,
    recipe_names,
    recipes_folder,
)
from gancli.config.sections import (
    BackboneSection,
    BaseRecipe,
    Conditioning,
    EncoderRecipe,
    HolesSection,
    ModelRecipe,
    TrainSection,
)

__all__ = [
    "BackboneSection",
    "BaseRecipe",
    "Conditioning",
    "EncoderRecipe",
    "HolesSection",
    "ModelRecipe",
    "TrainSection",
    "choose_recipe",
    "diff_recipes",
    "differences_from_paper",
    "dump_recipe",
    "flatten",
    "load_recipe",
    "paper_recipe",
    "recipe_names",
    "recipes_folder",
]
