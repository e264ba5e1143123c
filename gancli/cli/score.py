"""`gancli score`: measure drawn images and runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gancli.cli.app import USE, app, command, score_app
from gancli.cli.console import Output
from gancli.cli.launch import set_rank
from gancli.cli.score_command import (
    Batch,
    Cache,
    CaptionData,
    Check,
    CompatS2igan,
    Device,
    FakeImages,
    Features,
    InceptionWeights,
    Method,
    PerceptualWeights,
    RealData,
    RealImages,
    Results,
    RetrievalFeatures,
    Samples,
    Seed,
    bounds_of,
    record,
    score_command,
    split_option,
)

app.add_typer(score_app, name="score", rich_help_panel=USE)


class RPrecisionRule(StrEnum):
    """Rules of R-precision."""

    FIXED = "fixed"
    OFFICIAL = "official"


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

    bounds = bounds_of(check)
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
        for name, reason in scores.left_out.items():
            out.note(f"{name}: left out: {reason}")
        record(out, scores.rows, results, method, bounds)


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
    data: Annotated[str | None, split_option("Split of the real silhouettes.")] = None,
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
