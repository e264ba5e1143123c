"""`gancli score`: measure images."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancli.cli.app import USE, app, command, score_app
from gancli.cli.console import Output
from gancli.cli.launch import set_rank
from gancli.registry import resolve

if TYPE_CHECKING:
    from gancli.scores.results import ScoreRow

app.add_typer(score_app, name="score", rich_help_panel=USE)


class Window(StrEnum):
    """Windows of SSIM."""

    UNIFORM = "uniform"
    WANG = "wang"


class RPrecisionRule(StrEnum):
    """Rules of R-precision."""

    FIXED = "fixed"
    OFFICIAL = "official"


Results = Annotated[Path, typer.Option(help="CSV file that gets one row per number.")]
Method = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Name of the images of a model of other people.", show_default="the folder's"
    ),
]
Check = Annotated[
    list[str] | None,
    typer.Option(
        metavar="BOUND", help='Bound such as "fid<20"; exit code 4 if the score breaks it. May repeat.'
    ),
]


def score_command(
    name: str, function: str, *, examples: Sequence[str], work: str = "", unit: str = "images"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a score: the function's signature declares the options, its docstring is the help.

    The library function gets the options by their names, without those that were not given. It runs on all processes
    that torchrun or srun started, each on its own device and its own part of the images. Process 0 reports the rows and
    appends them to results.csv.

    Args:
        name: Name of the command.
        function: Library function, as "module:attribute".
        examples: Command lines for the top of the help.
        work: The work in the progress display; without it, there is none.
        unit: The things it counts.
    """

    def register(declaration: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(declaration)
        def run(
            out: Output, *, results: Path, method: str | None, check: list[str] | None, **options: object
        ) -> None:
            from gancli.engine.device import pick_device
            from gancli.engine.distributed import process_group
            from gancli.scores.results import named
            from gancli.scores.summary import Bound, check_bounds

            bounds = [Bound.parse(text) for text in check or ()]

            set_rank(out)
            arguments = {key: value for key, value in options.items() if value is not None}
            with process_group(pick_device(str(arguments.get("device", "cpu")))) as device:
                if "device" in arguments:
                    arguments["device"] = str(device)
                if not work:
                    rows = resolve(function)(**arguments)
                else:
                    with out.progress(work, unit) as progress:
                        rows = resolve(function)(**arguments, progress=progress)
                rows = rows if isinstance(rows, tuple) else (rows,)
                rows = rows if method is None else named(rows, method)
                _report(out, rows, results)
                check_bounds(bounds, rows)

        own = inspect.signature(declaration, eval_str=True).parameters.values()
        keyword = inspect.Parameter.KEYWORD_ONLY
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter("out", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Output),
                *(parameter.replace(kind=keyword) for parameter in own),
                inspect.Parameter("results", keyword, default=Path("results.csv"), annotation=Results),
                inspect.Parameter("method", keyword, default=None, annotation=Method),
                inspect.Parameter("check", keyword, default=None, annotation=Check),
            ]
        )
        return command(score_app, name, examples=examples, progress=bool(work))(run)

    return register


def _report(out: Output, rows: Sequence[ScoreRow], results: Path) -> None:
    """Append rows to results.csv and show them."""
    from gancli.engine.distributed import from_main
    from gancli.scores.results import append_rows

    from_main(functools.partial(append_rows, results, rows))
    columns = ("metric", "of", "value", "±", "real", "generated", "network")
    cells = [
        (
            row.metric,
            row.method,
            f"{row.value:.4g}",
            "" if row.std is None else f"{row.std:.2f}",
            "?" if row.n_real is None else f"{row.n_real:,}",
            "?" if row.n_fake is None else f"{row.n_fake:,}",
            row.network or "–",
        )
        for row in rows
    ]
    table = out.table(columns, cells, right=("value", "±", "real", "generated"))
    protocol = dict.fromkeys(row.protocol for row in rows)
    text = "\n".join([table, "", *(f"protocol: {rule}" for rule in protocol), f"written to {results}"])
    for note in dict.fromkeys(f"note: {row.method}: {row.note}" for row in rows if row.note):
        out.note(note)
    out.result(
        {"rows": [row.to_json() for row in rows], "results": results},
        text,
        quiet="\n".join(f"{row.value:.6g}" for row in rows),
    )


# --- options of several scores --------------------------------------------------------------------------------

Samples = Annotated[
    str, typer.Argument(metavar="SAMPLES", help="Folder of gancli sample --data.", show_default=False)
]
Batch = Annotated[int, typer.Option(min=1, help="Images at a time; changes no number.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything the metric draws.")]
InceptionWeights = Annotated[
    Path | None,
    typer.Option(help="File or folder of the Inception weights.", show_default="downloaded and checked"),
]
RetrievalFeatures = Annotated[
    str,
    typer.Option(
        help="imagenet (Inception-v3) as published, inception (the FID's), or encoder:DIR (DAMSM or classifier)."
    ),
]
CompatS2igan = Annotated[
    bool,
    typer.Option(
        "--compat-s2igan",
        help="Generated images enter the network in [0, 1], as in S2IGAN's code, real ones in [-1, 1].",
    ),
]


def _split(help: str, default: str = "as sampled") -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar="DIR:SPLIT", help=help, show_default=default)
    return option


CaptionData = Annotated[str | None, _split("Split that the captions come from.")]
RealData = Annotated[str | None, _split("Split of the real images.")]


# --- images ---------------------------------------------------------------------------------------------------


@score_command(
    "fid",
    "gancli.scores.fid:score_fid",
    work="features",
    examples=(
        "gancli score fid data/cub:test images/cub",
        "gancli score fid data/demo:test images --features encoder:encoders/damsm-demo",
    ),
)
def fid(
    real: Annotated[
        str, typer.Argument(help="Dataset as DIR:split, folder of images, or .npz file.", show_default=False)
    ],
    fake: Annotated[
        str, typer.Argument(help="Generated images, in one of the same forms.", show_default=False)
    ],
    features: Annotated[
        str,
        typer.Option(
            help="inception, as published FIDs; clean or tf, the same behind another preparation; dmgan, as FF-GAN's "
            "and AttnGAN's FIDs; imagenet; efficientnet_lite1; or encoder:DIR (DAMSM or classifier)."
        ),
    ] = "inception",
    weights: InceptionWeights = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side at which the images of a dataset are taken.",
            show_default="the generated images'",
        ),
    ] = None,
    save_stats: Annotated[
        Path | None, typer.Option(help="Write the statistics of REAL to this .npz file.")
    ] = None,
    cache: Annotated[bool, typer.Option(help="Keep the features of all images for the next time.")] = True,
    batch: Batch = 50,
    device: Device = "auto",
) -> None:
    """Fréchet distance between real and generated images; lower is better.

    The feature network is named with the number: distances of different networks cannot be compared.
    """


Features = Annotated[str, typer.Option(help="Feature network, one of those of gancli score fid.")]
RealImages = Annotated[
    str, typer.Argument(metavar="REAL", help="Dataset as DIR:split, or folder of images.", show_default=False)
]
FakeImages = Annotated[
    str,
    typer.Argument(metavar="FAKE", help="Generated images, in one of the same forms.", show_default=False),
]
Cache = Annotated[bool, typer.Option(help="Keep the features of all images for the next time.")]


@score_command(
    "kid",
    "gancli.scores.distribution:score_kid",
    work="features",
    examples=(
        "gancli score kid data/cub:test images/cub",
        "gancli score kid data/demo:test images --features efficientnet_lite1 --json",
    ),
)
def kid(
    real: RealImages,
    fake: FakeImages,
    features: Features = "inception",
    subsets: Annotated[int, typer.Option(min=1, help="Random subsets.")] = 100,
    subset_size: Annotated[int, typer.Option(min=2, help="Images of each subset.")] = 1000,
    weights: InceptionWeights = None,
    cache: Cache = True,
    seed: Seed = 0,
    batch: Batch = 50,
    device: Device = "auto",
) -> None:
    """Kernel inception distance of real and generated images; lower is better, and few images do not bias it.

    Mean and standard deviation over random subsets. Near zero it may be negative.
    """


@score_command(
    "precision-recall",
    "gancli.scores.distribution:score_precision_recall",
    work="features",
    examples=(
        "gancli score precision-recall data/cub:test images/cub",
        "gancli score precision-recall data/demo:test images --features efficientnet_lite1 --json",
    ),
)
def precision_recall(
    real: RealImages,
    fake: FakeImages,
    features: Features = "inception",
    k: Annotated[
        int, typer.Option("-k", min=1, help="Neighbour that sets the radius around each image.")
    ] = 3,
    weights: InceptionWeights = None,
    cache: Cache = True,
    batch: Batch = 50,
    device: Device = "auto",
) -> None:
    """Do generated images look like real ones, and real ones like generated ones? Both in per cent.

    Improved precision and recall: the share of images that lie among the neighbours of the other side.
    """


@score_command(
    "is",
    "gancli.scores.inception_score:score_is",
    work="classes",
    examples=(
        "gancli score is images --network classifier:encoders/classifier-demo-test",
        "gancli score is images/coco --network imagenet",
        "gancli score is data/cub:test --network inception --json",
    ),
)
def inception_score(
    images: Annotated[
        str, typer.Argument(help="Folder of generated images, or dataset as DIR:split.", show_default=False)
    ],
    network: Annotated[
        str,
        typer.Option(
            help="classifier:DIR, imagenet (1000 classes) or inception (the FID network's 1008).",
            show_default=False,
        ),
    ],
    data: RealData = None,
    splits: Annotated[
        int, typer.Option(min=1, help="Parts of the shuffled images for mean and deviation.")
    ] = 10,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="File or folder of the weights of imagenet or inception.",
            show_default="downloaded and checked",
        ),
    ] = None,
    seed: Seed = 0,
    batch: Batch = 50,
    device: Device = "auto",
) -> None:
    """Inception score: each image clearly of one class, all images of many; from 1 to the number of classes.

    The network is named with the number: scores of different networks cannot be compared, and none of these three is
    the one behind the published scores on CUB and Oxford-102. The real images' own score is reported with it.
    """


@score_command(
    "r-precision",
    "gancli.scores.r_precision:score_r_precision",
    work="codes",
    examples=(
        "gancli score r-precision images --encoder encoders/damsm-demo-seed1",
        "gancli score r-precision images/cub --encoder encoders/damsm-cub --data data/cub:test --json",
    ),
)
def r_precision(
    samples: Samples,
    encoder: Annotated[
        Path,
        typer.Option(help="DAMSM encoder, best one that the model did not learn from.", show_default=False),
    ],
    data: CaptionData = None,
    candidates: Annotated[
        int, typer.Option(min=2, help="Captions to choose from, the image's own included.")
    ] = 100,
    rule: Annotated[
        RPrecisionRule,
        typer.Option(
            help="fixed, or official as in the public code, whose competitors repeat and whose ties count."
        ),
    ] = RPrecisionRule.FIXED,
    seed: Seed = 0,
    batch: Batch = 64,
    device: Device = "auto",
) -> None:
    """Share of images that find their own caption among 100; the real images' own value is reported with it.

    Mean and standard deviation over 10 folds, in per cent; chance is 1 %.
    """


@score_command(
    "map",
    "gancli.scores.image_retrieval:score_map",
    work="features",
    examples=(
        "gancli score map images/cub-map",
        "gancli score map images --features encoder:encoders/classifier-demo-test --json",
    ),
)
def mean_average_precision(
    samples: Samples,
    features: RetrievalFeatures = "imagenet",
    weights: InceptionWeights = None,
    data: CaptionData = None,
    images_per_class: Annotated[int, typer.Option(min=1, help="Real images of each class that query.")] = 2,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="List of the querying images instead: names in a text file, or S2IGAN's filenames.pickle.",
            show_default="the first of each class",
        ),
    ] = None,
    compat_s2igan: CompatS2igan = False,
    cache: Cache = True,
    seed: Seed = 0,
    batch: Batch = 50,
    device: Device = "auto",
) -> None:
    """Do real images find generated ones of their class? Mean average precision in per cent, and its chance level.

    The gallery is the images drawn from the captions of the querying images: gancli sample MODEL --data DIR
    --images-per-class 2 --captions-per-image 10.
    """


@score_command(
    "recall",
    "gancli.scores.image_retrieval:score_recall",
    work="features",
    examples=(
        "gancli score recall images/flickr8k",
        "gancli score recall images -k 1 -k 10 --features encoder:encoders/damsm-demo-seed1 --json",
    ),
)
def recall(
    samples: Samples,
    ranks: Annotated[
        list[int] | None,
        typer.Option("-k", min=1, help="Number of nearest images; may repeat.", show_default="1 5 10 50"),
    ] = None,
    features: RetrievalFeatures = "imagenet",
    weights: InceptionWeights = None,
    data: CaptionData = None,
    compat_s2igan: CompatS2igan = False,
    cache: Cache = True,
    seed: Seed = 0,
    batch: Batch = 50,
    device: Device = "auto",
) -> None:
    """Do real images find one drawn from their own captions among the k nearest? In per cent, with its chance level.

    Needs images of some captions of every image of the split: gancli sample MODEL --data DIR --captions-per-image 5.
    """


# --- filled images --------------------------------------------------------------------------------------------

Filled = Annotated[
    str,
    typer.Argument(
        metavar="IMAGES",
        help="Folder of gancli inpaint --data, or any folder of filled images with --real.",
        show_default=False,
    ),
]
OriginalData = Annotated[str | None, _split("Split of the originals.", "as inpainted")]
Originals = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Folder of the originals, with the same file names."),
]
Masks = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|DIR",
        help="White where the images were filled: one for all, or a folder with one for each.",
        show_default="as inpainted",
    ),
]
InvertMask = Annotated[bool, typer.Option("--invert-mask", help="White is the part that was kept.")]


@score_command(
    "psnr",
    "gancli.scores.reconstruction:score_psnr",
    work="comparing",
    examples=("gancli score psnr filled", "gancli score psnr results --real photos --mask hole.png --json"),
)
def psnr(
    images: Filled,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
) -> None:
    """Peak signal-to-noise ratio of filled images against their originals in dB: whole, and their holes alone.

    That of holes filled with the mean colour of their surroundings is reported with it.
    """


@score_command(
    "ssim",
    "gancli.scores.reconstruction:score_ssim",
    work="comparing",
    examples=(
        "gancli score ssim filled",
        "gancli score ssim results --real photos --mask masks --window wang --json",
    ),
)
def ssim(
    images: Filled,
    window: Annotated[
        Window,
        typer.Option(help="uniform, 7 x 7, as in the public code of this family, or wang, Gaussian."),
    ] = Window.UNIFORM,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
) -> None:
    """Structural similarity of filled images and their originals, at most 1: whole, and their holes alone.

    That of holes filled with the mean colour of their surroundings is reported with it. Values of different windows
    cannot be compared.
    """


@score_command(
    "ms-ssim",
    "gancli.scores.reconstruction:score_ms_ssim",
    work="comparing",
    examples=(
        "gancli score ms-ssim filled",
        "gancli score ms-ssim results --real photos --mask hole.png --json",
    ),
)
def ms_ssim(
    images: Filled,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
) -> None:
    """Multi-scale structural similarity of filled images and their originals, whole; at most 1.

    That of holes filled with the mean colour of their surroundings is reported with it. Needs sides of 161 pixels.
    """


@score_command(
    "l1",
    "gancli.scores.reconstruction:score_l1",
    work="comparing",
    examples=("gancli score l1 filled", "gancli score l1 results --real photos --mask hole.png --json"),
)
def l1(
    images: Filled,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
) -> None:
    """Mean absolute difference of filled images and their originals in per cent: whole, and their holes alone.

    That of holes filled with the mean colour of their surroundings is reported with it.
    """


@score_command(
    "l2",
    "gancli.scores.reconstruction:score_l2",
    work="comparing",
    examples=("gancli score l2 filled", "gancli score l2 results --real photos --mask hole.png --json"),
)
def l2(
    images: Filled,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
) -> None:
    """Mean squared difference of filled images and their originals in per cent: whole, and their holes alone.

    That of holes filled with the mean colour of their surroundings is reported with it.
    """


PerceptualWeights = Annotated[
    Path | None,
    typer.Option(help="File or folder of AlexNet's weights.", show_default="downloaded and checked"),
]


@score_command(
    "lpips",
    "gancli.scores.perceptual:score_lpips",
    work="comparing",
    examples=("gancli score lpips filled", "gancli score lpips results --real photos --mask hole.png --json"),
)
def lpips(
    images: Filled,
    weights: PerceptualWeights = None,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
    device: Device = "auto",
) -> None:
    """Perceptual distance (LPIPS) of filled images from their originals, whole; 0 is the same.

    That of holes filled with the mean colour of their surroundings is reported with it.
    """


@score_command(
    "hole-fid",
    "gancli.scores.hole_fid:score_hole_fid",
    work="features",
    examples=(
        "gancli score hole-fid filled",
        "gancli score hole-fid filled --features efficientnet_lite1 --json",
    ),
)
def hole_fid(
    images: Filled,
    features: Features = "inception",
    weights: InceptionWeights = None,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    cache: Cache = True,
    batch: Batch = 50,
    device: Device = "auto",
) -> None:
    """FID of the holes alone: their bounding boxes in filled images against those in the originals.

    The known pixels of a filled image are real, so its FID is low whatever fills the hole.
    """


@score_command(
    "diversity",
    "gancli.scores.perceptual:score_diversity",
    work="comparing",
    unit="captions",
    examples=("gancli score diversity images", "gancli score diversity images --json"),
)
def diversity(samples: Samples, weights: PerceptualWeights = None, device: Device = "auto") -> None:
    """Perceptual distance (LPIPS) between images of one caption: 0 means that the noise changes nothing.

    Takes images of gancli sample with --variants.
    """


@score_command(
    "spectrum",
    "gancli.scores.spectrum:score_spectrum",
    work="transforming",
    examples=(
        "gancli score spectrum data/cub:test images/cub",
        "gancli score spectrum photographs images --json",
    ),
)
def spectrum(real: RealImages, fake: FakeImages, batch: Batch = 50) -> None:
    """Fine detail of generated images over that of real ones: 1 is as much, more is a lattice of dots, less is blur.

    Mean power of the brightness from half of the Nyquist frequency on, radially averaged.
    """


@command(
    score_app,
    "all",
    examples=(
        "gancli score all images/cub --encoder encoders/damsm-cub",
        "gancli score all filled --features efficientnet_lite1",
    ),
    progress=True,
)
def every(
    out: Output,
    samples: Annotated[
        str,
        typer.Argument(
            metavar="SAMPLES",
            help="Folder of gancli sample --data or gancli inpaint --data.",
            show_default=False,
        ),
    ],
    features: Features = "inception",
    encoder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="DAMSM for R-precision.", show_default="left out")
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Classifier for the Inception score.", show_default="the features"),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of published weights.", show_default="downloaded"),
    ] = None,
    data: RealData = None,
    seed: Seed = 0,
    batch: Batch = 50,
    device: Device = "auto",
    results: Results = Path("results.csv"),
    method: Method = None,
    check: Check = None,
) -> None:
    """Every score that applies to a folder of images, each image through the feature network once.

    A score that cannot be measured, as its weights are missing, is left out and named with the reason.
    """
    from gancli.engine.device import pick_device
    from gancli.engine.distributed import process_group
    from gancli.scores.every import score_all
    from gancli.scores.results import named
    from gancli.scores.summary import Bound, check_bounds

    bounds = [Bound.parse(text) for text in check or ()]
    set_rank(out)
    with process_group(pick_device(device)) as own, out.progress("measuring", "images") as progress:
        scores = score_all(
            samples,
            features,
            encoder=encoder,
            classifier=classifier,
            weights=weights,
            data=data,
            seed=seed,
            batch=batch,
            device=str(own),
            progress=progress,
        )
        rows = scores.rows if method is None else named(scores.rows, method)
        for name, reason in scores.left_out.items():
            out.note(f"{name}: left out: {reason}")
        _report(out, rows, results)
        check_bounds(bounds, rows)


# --- the demo dataset, silhouettes and runs -------------------------------------------------------------------


@score_command(
    "agreement",
    "gancli.scores.agreement:score_agreement",
    work="measuring",
    examples=("gancli score agreement images", "gancli score agreement data/demo:test"),
)
def agreement(
    samples: Annotated[
        str,
        typer.Argument(
            metavar="SAMPLES",
            help="Folder of gancli sample with captions of the demo data, or DIR:split.",
            show_default=False,
        ),
    ],
    data: CaptionData = None,
) -> None:
    """Do images of the demo birds have the colours that their captions or attributes name?

    For a model of attributes, also whether the birds have the silhouettes that they were painted on. Measured without a
    neural network; chance is 12.5 %. The rows of the real images show how often the measure itself is right.
    """


@score_command(
    "shapes",
    "gancli.scores.shapes:score_shapes",
    work="measuring",
    unit="silhouettes",
    examples=(
        "gancli score shapes images/shapes",
        "gancli score shapes images/shapes --features pixels --data data/demo:test --json",
    ),
)
def shapes(
    samples: Annotated[
        str,
        typer.Argument(
            metavar="SAMPLES", help="Folder of gancli sample of a model of attributes.", show_default=False
        ),
    ],
    features: Annotated[
        str,
        typer.Option(
            help="Features of the FID: inception, imagenet, encoder:DIR, or pixels (16 x 16 averages, no weights)."
        ),
    ] = "inception",
    weights: InceptionWeights = None,
    data: Annotated[str | None, _split("Split of the real silhouettes.")] = None,
    cache: Annotated[
        bool, typer.Option(help="Keep the statistics of the real silhouettes for the next time.")
    ] = True,
    batch: Batch = 50,
    device: Device = "auto",
) -> None:
    """Silhouettes: FID, similarity to the nearest training silhouette, share of the image, pieces, order of sizes.

    The values of the real silhouettes that pass the dataset's quality filter are reported with them.
    """


@score_command(
    "cost",
    "gancli.scores.cost:score_cost",
    examples=("gancli score cost runs/0001-csfgan-cub", "gancli score cost latest --json"),
)
def cost(
    run: Annotated[
        str,
        typer.Argument(
            help="Run of gancli train: its folder, model/, a checkpoint, or latest.", show_default=False
        ),
    ],
) -> None:
    """Parameters of the generator in millions, and hours of training; the note names the machine."""
