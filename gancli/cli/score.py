"""`gancli score`: measure images, and write the papers' tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gancli.cli.app import USE, app, command, score_app
from gancli.cli.console import Output
from gancli.cli.launch import set_rank

if TYPE_CHECKING:
    from gancli.scores.results import ScoreRow

app.add_typer(score_app, name="score", rich_help_panel=USE)


class Paper(StrEnum):
    """Papers whose tables are known."""

    FFGAN = "ffgan"
    STACKGAN = "stackgan"
    FUSION_S2IGAN = "fusion-s2igan"
    CSFGAN = "csfgan"
    ATTR2IMAGE = "attr2image"


class Window(StrEnum):
    """Windows of SSIM."""

    UNIFORM = "uniform"
    WANG = "wang"


def in_parts(score: Callable[..., None]) -> Callable[..., None]:
    """Runs a score on all processes that torchrun or srun started: each looks at a part of the images, on its own
    device where the score takes one, and process 0 reports.
    """

    @functools.wraps(score)
    def run(out: Output, **arguments: Any) -> None:
        from gancli.engine.device import pick_device
        from gancli.engine.distributed import process_group

        set_rank(out)
        with process_group(pick_device(arguments.get("device", "cpu"))) as device:
            if "device" in arguments:
                arguments["device"] = str(device)
            score(out, **arguments)

    return run


Samples = Annotated[
    str, typer.Argument(metavar="SAMPLES", help="Folder of gancli sample --data.", show_default=False)
]
Results = Annotated[Path, typer.Option("--results", help="CSV file that gets one row per number.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Images at a time; changes no number.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="DIR:SPLIT", help="Where the captions come from.", show_default="as sampled"
    ),
]
InceptionWeights = Annotated[
    Path | None,
    typer.Option(
        "--weights", help="File or folder of the Inception weights.", show_default="downloaded and checked"
    ),
]
RetrievalFeatures = Annotated[
    str,
    typer.Option(
        "--features",
        help="imagenet (Inception-v3), as published, inception (the FID's), or encoder:DIR (DAMSM or classifier).",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of whatever the metric draws.")]


@command(
    score_app,
    "fid",
    examples=(
        "gancli score fid data/cub:test images/cub",
        "gancli score fid data/demo:test images --features encoder:encoders/damsm-demo",
    ),
    progress=True,
)
@in_parts
def fid(
    out: Output,
    real: Annotated[
        str,
        typer.Argument(help="Dataset as DIR:split, folder of images, or .npz file.", show_default=False),
    ],
    fake: Annotated[str, typer.Argument(help="The generated images, likewise.", show_default=False)],
    features: Annotated[
        str,
        typer.Option(
            "--features",
            help="inception, as published FIDs, imagenet, or encoder:DIR (DAMSM or classifier).",
        ),
    ] = "inception",
    weights: InceptionWeights = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            min=1,
            help="Side at which the images of a dataset are taken.",
            show_default="the generated images'",
        ),
    ] = None,
    save_stats: Annotated[
        Path | None, typer.Option("--save-stats", help="Write the statistics of REAL to this .npz file.")
    ] = None,
    cache: Annotated[bool, typer.Option(help="Keep the statistics of REAL for the next time.")] = True,
    batch: Batch = 50,
    device: Device = "auto",
    results: Results = Path("results.csv"),
) -> None:
    """Fréchet distance between real and generated images; lower is better.

    The feature network is named with the number: distances of different networks cannot be compared.
    """
    from gancli.engine.device import pick_device
    from gancli.scores.features import load_features
    from gancli.scores.fid import score_fid

    network = load_features(features, weights=weights, device=pick_device(device))
    with out.progress("features", "images") as advance:
        row = score_fid(
            real,
            fake,
            network,
            batch=batch,
            size=size,
            cache=cache,
            save_stats=save_stats,
            progress=advance,
        )
    _report(out, [row], results)


@command(
    score_app,
    "is",
    examples=(
        "gancli score is images --network classifier:encoders/classifier-demo-test",
        "gancli score is images/coco --network imagenet",
        "gancli score is data/cub:test --network inception --json",
    ),
    progress=True,
)
@in_parts
def inception_score(
    out: Output,
    images: Annotated[
        str, typer.Argument(help="Folder of generated images, or dataset as DIR:split.", show_default=False)
    ],
    network: Annotated[
        str,
        typer.Option(
            "--network",
            help="classifier:DIR, imagenet (1000 classes) or inception (the FID network's 1008).",
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR:SPLIT", help="The real images.", show_default="as sampled"),
    ] = None,
    splits: Annotated[
        int, typer.Option("--splits", min=1, help="Parts of the shuffled images for mean and deviation.")
    ] = 10,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="File or folder of the weights of imagenet or inception.",
            show_default="downloaded and checked",
        ),
    ] = None,
    seed: Seed = 0,
    batch: Batch = 50,
    device: Device = "auto",
    results: Results = Path("results.csv"),
) -> None:
    """Inception score: images clearly of one class each, all together of many; from 1 to the number of classes.

    The network is named with the number: scores of different networks cannot be compared, and none of these three is
    the one behind the published scores on CUB and Oxford-102. The real images' own score stands beside.
    """
    from gancli.engine.device import pick_device
    from gancli.scores.features import load_logits
    from gancli.scores.inception_score import score_is

    judge = load_logits(network, weights=weights, device=pick_device(device))
    with out.progress("classes", "images") as advance:
        rows = score_is(images, judge, data=data, splits=splits, seed=seed, batch=batch, progress=advance)
    _report(out, rows, results)


@command(
    score_app,
    "r-precision",
    examples=(
        "gancli score r-precision images --encoder encoders/damsm-demo-seed1",
        "gancli score r-precision images/cub --encoder encoders/damsm-cub --data data/cub:test --json",
    ),
    progress=True,
)
@in_parts
def r_precision(
    out: Output,
    samples: Samples,
    encoder: Annotated[
        Path,
        typer.Option(
            "--encoder", help="DAMSM encoder, best one the model did not learn from.", show_default=False
        ),
    ],
    data: Data = None,
    candidates: Annotated[
        int, typer.Option("--candidates", min=2, help="Captions to choose from, the own one among them.")
    ] = 100,
    seed: Seed = 0,
    batch: Batch = 64,
    device: Device = "auto",
    results: Results = Path("results.csv"),
) -> None:
    """How often an image finds its own caption among 100; the real images' own value beside it.

    Mean and standard deviation over 10 folds, in per cent; chance is 1 %.
    """
    from gancli.encoders.damsm import load_damsm
    from gancli.engine.device import pick_device
    from gancli.scores.r_precision import score_r_precision

    damsm = load_damsm(encoder, pick_device(device))
    with out.progress("codes", "images") as advance:
        rows = score_r_precision(
            samples, damsm, data=data, candidates=candidates, seed=seed, batch=batch, progress=advance
        )
    _report(out, rows, results)


CompatS2igan = Annotated[
    bool,
    typer.Option(
        "--compat-s2igan",
        help="Generated images enter the network in [0, 1], as in S2IGAN's code, real ones in [-1, 1].",
    ),
]


@command(
    score_app,
    "map",
    examples=(
        "gancli score map images/cub-map",
        "gancli score map images --features encoder:encoders/classifier-demo-test --json",
    ),
    progress=True,
)
@in_parts
def mean_average_precision(
    out: Output,
    samples: Samples,
    features: RetrievalFeatures = "imagenet",
    weights: InceptionWeights = None,
    data: Data = None,
    images_per_class: Annotated[
        int, typer.Option("--images-per-class", min=1, help="Real images of each class that query.")
    ] = 2,
    compat_s2igan: CompatS2igan = False,
    seed: Seed = 0,
    batch: Batch = 50,
    device: Device = "auto",
    results: Results = Path("results.csv"),
) -> None:
    """Do real images find generated ones of their class? Mean average precision, in per cent, with chance beside it.

    The gallery is the images drawn from the captions of the querying images: gancli sample MODEL --data DIR
    --images-per-class 2 --captions-per-image 10.
    """
    from gancli.engine.device import pick_device
    from gancli.scores.features import load_features
    from gancli.scores.image_retrieval import score_map

    network = load_features(features, weights=weights, device=pick_device(device))
    with out.progress("features", "images") as advance:
        rows = score_map(
            samples,
            network,
            data=data,
            images_per_class=images_per_class,
            compat_s2igan=compat_s2igan,
            seed=seed,
            batch=batch,
            progress=advance,
        )
    _report(out, rows, results)


@command(
    score_app,
    "recall",
    examples=(
        "gancli score recall images/flickr8k",
        "gancli score recall images -k 1 -k 10 --features encoder:encoders/damsm-demo-seed1 --json",
    ),
    progress=True,
)
@in_parts
def recall(
    out: Output,
    samples: Samples,
    ranks: Annotated[
        list[int] | None,
        typer.Option(
            "-k", min=1, help="How many of the nearest count; again for more.", show_default="1 5 10 50"
        ),
    ] = None,
    features: RetrievalFeatures = "imagenet",
    weights: InceptionWeights = None,
    data: Data = None,
    compat_s2igan: CompatS2igan = False,
    seed: Seed = 0,
    batch: Batch = 50,
    device: Device = "auto",
    results: Results = Path("results.csv"),
) -> None:
    """Do real images find one drawn from their own captions among the k nearest? In per cent, with chance beside it.

    For every image of the split images of some captions: gancli sample MODEL --data DIR --captions-per-image 5.
    """
    from gancli.engine.device import pick_device
    from gancli.scores.features import load_features
    from gancli.scores.image_retrieval import RANKS, score_recall

    network = load_features(features, weights=weights, device=pick_device(device))
    with out.progress("features", "images") as advance:
        rows = score_recall(
            samples,
            network,
            ranks=ranks or RANKS,
            data=data,
            compat_s2igan=compat_s2igan,
            seed=seed,
            batch=batch,
            progress=advance,
        )
    _report(out, rows, results)


Filled = Annotated[
    str,
    typer.Argument(
        metavar="IMAGES",
        help="Folder of gancli inpaint --data, or any folder of filled images with --real.",
        show_default=False,
    ),
]
ImagesOf = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR:SPLIT", help="What the images are of.", show_default="as inpainted"),
]
Originals = Annotated[
    str | None,
    typer.Option("--real", metavar="DIR", help="Folder of the originals, of the same names."),
]
Masks = Annotated[
    str | None,
    typer.Option(
        "--mask",
        metavar="FILE|DIR",
        help="White where the images were filled: one for all, or a folder with one for each.",
        show_default="as inpainted",
    ),
]
InvertMask = Annotated[bool, typer.Option("--invert-mask", help="White is what was kept.")]


@command(
    score_app,
    "psnr",
    examples=(
        "gancli score psnr filled",
        "gancli score psnr results --real photos --mask hole.png --json",
    ),
    progress=True,
)
@in_parts
def psnr(
    out: Output,
    images: Filled,
    data: ImagesOf = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
    results: Results = Path("results.csv"),
) -> None:
    """How close filled images are to their originals, in dB: the whole images, and their holes alone.

    Beside it stands that of holes filled with the mean colour of their surroundings.
    """
    from gancli.scores.reconstruction import score_psnr

    with out.progress("comparing", "images") as advance:
        rows = score_psnr(
            images,
            data=data,
            real=real,
            mask=mask,
            invert_mask=invert_mask,
            batch=batch,
            progress=advance,
        )
    _report(out, rows, results)


@command(
    score_app,
    "ssim",
    examples=(
        "gancli score ssim filled",
        "gancli score ssim results --real photos --mask masks --window wang --json",
    ),
    progress=True,
)
@in_parts
def ssim(
    out: Output,
    images: Filled,
    window: Annotated[
        Window,
        typer.Option(
            "--window", help="uniform, 7 x 7, as the public code of this family has it, or wang, Gaussian."
        ),
    ] = Window.UNIFORM,
    data: ImagesOf = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
    results: Results = Path("results.csv"),
) -> None:
    """How alike in structure filled images and their originals are, at most 1: whole, and their holes alone.

    Beside it stands that of holes filled with the mean colour of their surroundings. Values of different windows
    cannot be compared.
    """
    from gancli.scores.reconstruction import score_ssim

    with out.progress("comparing", "images") as advance:
        rows = score_ssim(
            images,
            window=window.value,
            data=data,
            real=real,
            mask=mask,
            invert_mask=invert_mask,
            batch=batch,
            progress=advance,
        )
    _report(out, rows, results)


@command(
    score_app,
    "cost",
    examples=("gancli score cost runs/0001-csfgan-cub", "gancli score cost runs/0002-ffgan-cub --json"),
)
@in_parts
def cost(
    out: Output,
    run: Annotated[Path, typer.Argument(help="Run folder of gancli train.", show_default=False)],
    results: Results = Path("results.csv"),
) -> None:
    """Parameters of the generator in millions, and hours of training; the note names the machine."""
    from gancli.scores.cost import score_cost

    _report(out, score_cost(run), results)


@command(
    score_app,
    "agreement",
    examples=("gancli score agreement images", "gancli score agreement data/demo:test"),
    progress=True,
)
@in_parts
def agreement(
    out: Output,
    samples: Annotated[
        str,
        typer.Argument(
            metavar="SAMPLES",
            help="Folder of gancli sample with captions of the demo data, or DIR:split.",
            show_default=False,
        ),
    ],
    data: Data = None,
    results: Results = Path("results.csv"),
) -> None:
    """Whether images of the demo birds have the colours that their captions or attributes name.

    Of a model of attributes also whether the birds have the silhouettes that they were painted on. Measured without a
    neural network; chance is 12.5 %. The rows of the real images say how often the measure itself is right.
    """
    from gancli.scores.agreement import agreement_rows

    with out.progress("measuring", "images") as advance:
        rows = agreement_rows(samples, data=data, progress=advance)
    _report(out, rows, results)


@command(
    score_app,
    "shapes",
    examples=(
        "gancli score shapes images/shapes",
        "gancli score shapes images/shapes --features pixels --data data/demo:test --json",
    ),
    progress=True,
)
@in_parts
def shapes(
    out: Output,
    samples: Annotated[
        str,
        typer.Argument(
            metavar="SAMPLES", help="Folder of gancli sample of a model of attributes.", show_default=False
        ),
    ],
    features: Annotated[
        str,
        typer.Option(
            "--features",
            help="Of the FID: inception, imagenet, encoder:DIR, or pixels (the mask averaged to 16 x 16, no weights).",
        ),
    ] = "inception",
    weights: InceptionWeights = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR:SPLIT", help="The real masks.", show_default="as sampled"),
    ] = None,
    cache: Annotated[
        bool, typer.Option(help="Keep the statistics of the real masks for the next time.")
    ] = True,
    batch: Batch = 50,
    device: Device = "auto",
    results: Results = Path("results.csv"),
) -> None:
    """Silhouettes: FID, likeness to the nearest training mask, share of the image, pieces, and order of the sizes.

    The real masks' own values stand beside, as far as they pass the dataset's quality filter.
    """
    from gancli.engine.device import pick_device
    from gancli.scores.shapes import load_mask_features, score_shapes

    network = load_mask_features(features, weights=weights, device=pick_device(device))
    with out.progress("measuring", "silhouettes") as advance:
        rows = score_shapes(samples, network, data=data, batch=batch, cache=cache, progress=advance)
    _report(out, rows, results)


@command(
    score_app,
    "table",
    examples=(
        "gancli score table ffgan",
        "gancli score table stackgan --results results.csv --out tables --json",
    ),
)
def table(
    out: Output,
    paper: Annotated[Paper, typer.Argument(help="Which paper's tables.", show_default=False)],
    results: Annotated[Path, typer.Option("--results", help="Our scores.")] = Path("results.csv"),
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for CSV and Markdown files.")] = Path(
        "tables"
    ),
) -> None:
    """The paper's tables as CSV and Markdown: its rows, ours with where they come from, and the differences.

    A difference is only given where both numbers were measured in the same way; else the reason stands in its place.
    """
    from gancli.scores.tables import table as write_table

    report = write_table(paper.value, results, folder)
    ours = sum(row.source != "paper" for row in report.rows)
    files = "\n".join(str(file) for file in report.files)
    out.result(
        {"paper": paper.value, "files": report.files, "rows": len(report.rows), "ours": ours},
        f"{report.markdown}\n{files}",
        quiet=files,
    )


def _report(out: Output, rows: Sequence[ScoreRow], results: Path) -> None:
    """Appends rows to results.csv and shows them."""
    from gancli.engine.distributed import from_main
    from gancli.scores.results import append_row

    def write() -> None:
        for row in rows:
            append_row(results, row)

    from_main(write)
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
    for row in rows:
        if row.note:
            out.note(f"note: {row.method}: {row.note}")
    out.result(
        {"rows": [row.to_json() for row in rows], "results": results},
        text,
        quiet="\n".join(f"{row.value:.6g}" for row in rows),
    )
