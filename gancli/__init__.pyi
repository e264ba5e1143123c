"""The public functions: read by type checkers, and by `__init__.py`, which imports each one when it is first used."""

from .config import load_recipe as load_recipe
from .data.inspect import contact_sheet as contact_sheet
from .data.preparation.merge import merge_parts as merge_parts
from .data.preparation.prepare import prepare as prepare
from .data.verify import verify as verify
from .encoders.embeddings import export_embeddings as export_embeddings
from .inpainting.inpaint import inpaint as inpaint
from .inpainting.inpaint import preview_holes as preview_holes
from .inpainting.inpaint_split import inpaint_split as inpaint_split
from .sampling.attributes import sample_attributes as sample_attributes
from .sampling.sample import sample as sample
from .scores.agreement import agreement_rows as agreement_rows
from .scores.cost import score_cost as score_cost
from .scores.fid import score_fid as score_fid
from .scores.image_retrieval import score_map as score_map
from .scores.image_retrieval import score_recall as score_recall
from .scores.inception_score import score_is as score_is
from .scores.r_precision import score_r_precision as score_r_precision
from .scores.reconstruction import score_psnr as score_psnr
from .scores.reconstruction import score_ssim as score_ssim
from .scores.shapes import score_shapes as score_shapes
from .scores.tables import table as table
from .training import pretrain_encoder as pretrain_encoder
from .training import train as train
from .version import __version__ as __version__
