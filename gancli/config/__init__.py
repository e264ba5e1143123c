"""Recipes: the pydantic models of every training recipe, and functions to load, choose and compare them.

No torch is imported here: the command line lists recipes with it.
"""

from gancli.config.attr2image import Attr2ImageAttributes, Attr2ImageModel, Attr2ImageRecipe
from gancli.config.char_cnn_rnn import CharCnnRnnModel, CharCnnRnnRecipe
from gancli.config.classifier import ClassifierModel, ClassifierRecipe
from gancli.config.csfgan import CSFGANModel, CSFGANRecipe
from gancli.config.damsm import DamsmLoss, DamsmModel, DamsmOptim, DamsmRecipe
from gancli.config.ffgan import FFGANLoss, FFGANModel, FFGANOptim, FFGANRecipe
from gancli.config.fusion_s2igan import FusionS2iGanModel, FusionS2iGanRecipe
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
    LoaderSection,
    ModelRecipe,
    Section,
    TrainSection,
)
from gancli.config.speech import SpeechModel, SpeechRecipe
from gancli.config.stackgan import StackGANModel, StackGANRecipe

__all__ = [
    "Attr2ImageAttributes",
    "Attr2ImageModel",
    "Attr2ImageRecipe",
    "BackboneSection",
    "BaseRecipe",
    "CSFGANModel",
    "CSFGANRecipe",
    "CharCnnRnnModel",
    "CharCnnRnnRecipe",
    "ClassifierModel",
    "ClassifierRecipe",
    "Conditioning",
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
    "Section",
    "SpeechModel",
    "SpeechRecipe",
    "StackGANModel",
    "StackGANRecipe",
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
