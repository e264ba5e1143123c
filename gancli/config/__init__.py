"""Recipes: the pydantic models of every training recipe, and how one is loaded.

No torch is imported here: the command line lists recipes with it.
"""

from gancli.config.attr2image import Attr2ImageAttributes, Attr2ImageModel, Attr2ImageRecipe
from gancli.config.char_cnn_rnn import CharCnnRnnModel, CharCnnRnnRecipe
from gancli.config.classifier import ClassifierModel, ClassifierRecipe
from gancli.config.csfgan import CSFGANModel, CSFGANRecipe, HolesSection
from gancli.config.damsm import DamsmLoss, DamsmModel, DamsmOptim, DamsmRecipe
from gancli.config.ffgan import FFGANLoss, FFGANModel, FFGANOptim, FFGANRecipe
from gancli.config.fusion_s2igan import FusionS2iGanModel, FusionS2iGanRecipe
from gancli.config.load import (
    RECIPES,
    EncoderRecipe,
    ModelRecipe,
    Recipe,
    diff_recipes,
    dump_recipe,
    flatten,
    load_recipe,
    recipe_names,
    recipes_folder,
    resolve_recipe_name,
)
from gancli.config.sections import BackboneSection, LoaderSection, Section, TrainSection
from gancli.config.speech import SpeechModel, SpeechRecipe
from gancli.config.stackgan import StackGANModel, StackGANRecipe

__all__ = [
    "RECIPES",
    "Attr2ImageAttributes",
    "Attr2ImageModel",
    "Attr2ImageRecipe",
    "BackboneSection",
    "CSFGANModel",
    "CSFGANRecipe",
    "CharCnnRnnModel",
    "CharCnnRnnRecipe",
    "ClassifierModel",
    "ClassifierRecipe",
    "DamsmLoss",
    "DamsmModel",
    "DamsmOptim",
    "DamsmRecipe",
    "EncoderRecipe",
    "FFGANLoss",
    "FFGANModel",
    "FFGANOptim",
    "FFGANRecipe",
    "FusionS2iGanModel",
    "FusionS2iGanRecipe",
    "HolesSection",
    "LoaderSection",
    "ModelRecipe",
    "Recipe",
    "Section",
    "SpeechModel",
    "SpeechRecipe",
    "StackGANModel",
    "StackGANRecipe",
    "TrainSection",
    "diff_recipes",
    "dump_recipe",
    "flatten",
    "load_recipe",
    "recipe_names",
    "recipes_folder",
    "resolve_recipe_name",
]
