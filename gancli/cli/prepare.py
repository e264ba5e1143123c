"""`gancli prepare`: raw data to a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gancli.cli.app import command, prepare_app
from gancli.cli.console import Output
from gancli.cli.options import options
from gancli.cli.prepare_options import (
    BirdArguments,
    DatasetArguments,
    DemoDatasetArguments,
    FromClassNames,
    RawDatasetArguments,
    Root,
    TestList,
)
from gancli.cli.prepare_report import mib, print_plan, print_report
from gancli.cli.speech_options import SpeechArguments
from gancli.errors import UsageError

if TYPE_CHECKING:
    from gancli.data.source import Source

FROM_CLASS_NAMES = "captions are made from the class names: scores do not compare with those of real captions"
DEMO_CAPTIONS = 10  # per image


@command(
    prepare_app,
    "demo",
    examples=(
        "gancli prepare demo --out data/demo",
        "gancli prepare demo --out data/demo128 --images 10000 --image-size 128 --seed 1",
    ),
    progress=True,
)
def demo(
    out: Output,
    dataset: DemoDatasetArguments,
    birds: BirdArguments,
    speech: SpeechArguments,
    images: Annotated[int, typer.Option(min=2, help="Number of images to draw.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawing.")] = 0,
    raw: Annotated[
        Path | None,
        typer.Option(help="Folder for the drawn images, in CUB's layout.", show_default="OUT-raw"),
    ] = None,
) -> None:
    """Draw birds from known attributes: no download, and captions whose effect can be measured.

    The images are written in the layout of CUB-200-2011, with ten captions, attributes and silhouettes each, and
    then read like the real ones. Test species are not among the training species.
    """
    raw = raw or dataset.out.with_name(f"{dataset.out.name}-raw")
    settings = speech.options  # checked before the drawing, which takes a while
    if dataset.dry_run:
        from gancli.data.preparation.plan import clip_bytes, image_bytes

        voices = len(settings.voices) if settings else 0
        size = images * (image_bytes(dataset.image_size) + DEMO_CAPTIONS * voices * clip_bytes(settings))
        out.result(
            {"dry_run": True, "out": dataset.out, "raw": raw, "images": images, "bytes": size},
            f"would draw {images:,} images into {raw} and write {dataset.out}, about {mib(size)}",
        )
        return
    from gancli.data.preparation.finish import refuse_foreign
    from gancli.data.sources.demo.dataset import read, write_demo

    refuse_foreign(dataset.out)
    with out.progress("drawing") as advance:
        write_demo(
            raw,
            images=images,
            image_size=dataset.image_size,
            seed=seed,
            jobs=dataset.jobs,
            progress=advance,
        )
    source = read(raw, attributes=birds.attributes, silhouettes=birds.silhouettes)
    _prepare(out, speech.recorded(source, raw / "audio"), dataset, speech, birds)


@command(
    prepare_app,
    "cub",
    examples=(
        "gancli prepare cub --root raw/CUB_200_2011 --out data/cub",
        "gancli prepare cub --root raw --out data/cub64 --image-size 64 --split official --jobs 4",
        "gancli prepare cub --root raw --out data/cub --shards 3/16",
        "gancli prepare cub --root raw --out data/cub75 --split official --crop ratio75 --silhouettes estimate",
    ),
    progress=True,
)
def cub(
    out: Output,
    root: Root,
    dataset: RawDatasetArguments,
    birds: BirdArguments,
    speech: SpeechArguments,
    split: Annotated[
        Literal["zero-shot", "official"],
        typer.Option(help="zero-shot: 150 classes train, 50 other classes test."),
    ] = "zero-shot",
    silhouette_list: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Names of the images whose silhouettes are good, one a line.",
            show_default="the quality filter decides",
        ),
    ] = None,
    test_list: TestList = None,
) -> None:
    """Caltech-UCSD Birds 200-2011 with ten captions per image.

    The captions (text/ or text_c10/, one .txt per image) and the folder segmentations/ lie beside or inside
    CUB_200_2011. For attr2image: --split official --crop ratio75 --silhouettes official or estimate.
    """
    from gancli.data.sources.cub import read

    source = read(root, split=split, attributes=birds.attributes, silhouettes=birds.silhouettes)
    source = _listed(source, test_list, dataset, official=split == "official")
    source = speech.recorded(source, root / "CUB_200_2011" / "audio", root / "audio")
    _prepare(out, source, dataset, speech, birds, silhouette_list)


@command(
    prepare_app,
    "oxford102",
    examples=(
        "gancli prepare oxford102 --root raw/flowers --out data/oxford102",
        "gancli prepare oxford102 --root raw/flowers --out data/flowers64 --image-size 64 --captions-from-class-names",
    ),
    progress=True,
)
def oxford102(
    out: Output,
    root: Root,
    dataset: RawDatasetArguments,
    speech: SpeechArguments,
    split: Annotated[
        Literal["82-20", "62-40", "official"],
        typer.Option(help="By class, 82 or 62 of which train; official: setid.mat, by image."),
    ] = "82-20",
    captions_from_class_names: FromClassNames = False,
    test_list: TestList = None,
) -> None:
    """Oxford-102 flowers with ten captions per image.

    ROOT holds jpg/ and imagelabels.mat; the captions (text_c10/, one .txt per image) lie inside or beside it. With
    --captions-from-class-names they are not needed.
    """
    from gancli.data.sources.oxford102 import read

    source = read(
        root,
        split=split,
        captions_from_class_names=captions_from_class_names,
        partial=dataset.skip_bad,
    )
    if captions_from_class_names:
        out.note(FROM_CLASS_NAMES)
    source = _listed(source, test_list, dataset, official=split == "official")
    source = speech.recorded(source, root / "Oxford102" / "audio", root / "audio")
    _prepare(out, source, dataset, speech)


@command(
    prepare_app,
    "flickr8k",
    examples=(
        "gancli prepare flickr8k --root raw/flickr8k --out data/flickr8k",
        "gancli prepare flickr8k --root raw/flickr8k --out data/flickr64 --image-size 64 --split official --codec jpeg",
    ),
    progress=True,
)
def flickr8k(
    out: Output,
    root: Root,
    dataset: RawDatasetArguments,
    speech: SpeechArguments,
    split: Annotated[
        Literal["7000-1000", "official"],
        typer.Option(help="7000-1000: development images train; official: they are the split val."),
    ] = "7000-1000",
    test_list: TestList = None,
) -> None:
    """Flickr8k with five captions per image, and recordings of people who read them.

    ROOT holds Flickr8k_text/, the images in Flicker8k_Dataset/ or images/, and, for speech, flickr_audio/.
    """
    from gancli.data.sources.flickr8k import read

    source = read(root, split=split, test_list=test_list, partial=dataset.skip_bad)
    _prepare(out, speech.recorded(source), dataset, speech)


@options()
class PlacesFiles:
    """Files of the Places audio captions."""

    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder that holds b/bedroom/….",
            show_default="image_base_path of the JSON file, or ROOT/images",
        ),
    ] = None
    audio: Annotated[
        Path | None,
        typer.Option(
            help="Folder that holds wavs/….", show_default="audio_base_path of the JSON file, or ROOT"
        ),
    ] = None
    train: Annotated[
        Path | None,
        typer.Option(
            help="JSON file of the training images.",
            show_default="ROOT/train.json or ROOT/metadata/train.json",
        ),
    ] = None
    test: Annotated[
        Path | None,
        typer.Option(help="JSON file of the test images.", show_default="test.json or val.json there"),
    ] = None


@command(
    prepare_app,
    "places",
    examples=(
        "gancli prepare places --root raw/places --out data/places",
        "gancli prepare places --root raw/places --images raw/images256 --test-share 0.2 --out data/places",
    ),
    progress=True,
)
def places(
    out: Output,
    root: Root,
    files: PlacesFiles,
    dataset: RawDatasetArguments,
    speech: SpeechArguments,
    classes: Annotated[
        str,
        typer.Option(
            help="Names of the classes to take, separated by commas; all: every class.",
            show_default="the seven of S2IGAN",
        ),
    ] = "",
    test_list: TestList = None,
    test_share: Annotated[
        float | None,
        typer.Option(
            min=0, help="Share of all images to draw for test.", show_default="the JSON files' split"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn test split.")] = 0,
    captions_from_class_names: FromClassNames = False,
) -> None:
    """Places audio captions: images of scenes, spoken descriptions, and a recognizer's transcripts of them.

    ROOT holds train.json and test.json or val.json, or metadata/ with them. The seven classes: bedroom, dinette,
    dining_room, home_office, hotel_room, kitchenette, living_room. --captions-from-class-names is for speech without
    transcripts.
    """
    from gancli.data.sources.places import SUBSET, read

    names = None if classes.strip().lower() == "all" else tuple(classes.split(",")) if classes else SUBSET
    source = read(
        root,
        train=files.train,
        test=files.test,
        images=files.images,
        audio=files.audio,
        classes=names,
        test_list=test_list,
        test_share=test_share,
        seed=seed,
        captions_from_class_names=captions_from_class_names,
        partial=dataset.skip_bad,
    )
    if captions_from_class_names:
        out.note(FROM_CLASS_NAMES)
    _prepare(out, speech.recorded(source), dataset, speech)


@command(
    prepare_app,
    "coco",
    examples=(
        "gancli prepare coco --root raw/coco --out data/coco",
        "gancli prepare coco --root raw/coco --out data/coco64 --image-size 64 --year 2017 --codec jpeg",
    ),
    progress=True,
)
def coco(
    out: Output,
    root: Root,
    dataset: RawDatasetArguments,
    speech: SpeechArguments,
    year: Annotated[
        Literal["auto", "2014", "2017"], typer.Option(help="Release; auto: the one in ROOT.")
    ] = "auto",
    test_list: TestList = None,
) -> None:
    """COCO's captions of 2014 or 2017: train becomes train, val becomes test.

    ROOT holds annotations/captions_*.json and the images: train2014/, images/train2014/ or all in images/.
    """
    from gancli.data.sources.coco import read

    source = _listed(read(root, year=year), test_list, dataset, official=False)
    _prepare(out, speech.recorded(source, root / "audio"), dataset, speech)


@command(
    prepare_app,
    "folder",
    examples=(
        "gancli prepare folder --root my-images --out data/mine",
        "gancli prepare folder --root my-images --captions captions.csv --out data/mine --image-size 64 --skip-bad",
    ),
    progress=True,
)
def folder(
    out: Output,
    root: Root,
    dataset: RawDatasetArguments,
    speech: SpeechArguments,
    captions: Annotated[
        Path | None,
        typer.Option(
            help="A .csv or .jsonl file, or a folder of .txt files.",
            show_default="ROOT/captions.csv or .jsonl, ROOT/text, or .txt files beside the images",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Short name of the dataset.", show_default="that of ROOT")
    ] = None,
    test_share: Annotated[
        float,
        typer.Option(min=0, help="Share of test images, unless table or folders say which."),
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn test split.")] = 0,
    folder_classes: Annotated[
        bool, typer.Option("--folder-classes", help="Take the folder of an image as its class.")
    ] = False,
) -> None:
    """Your own images and captions.

    The split of an image is the column `split` of the captions table, else the folder train/ or test/ it lies in, else
    drawn.
    """
    from gancli.data.sources.image_folder import read

    source = read(
        root, captions=captions, test_share=test_share, seed=seed, folder_classes=folder_classes, name=name
    )
    _prepare(out, speech.recorded(source, root / "audio"), dataset, speech)


def _listed(
    source: Source, test_list: Path | None, dataset: RawDatasetArguments, *, official: bool
) -> Source:
    """Return the source with the split of a list of test images, where one is named.

    Raises:
        UsageError: The official split is asked for too.
    """
    if test_list is None:
        return source
    if official:
        raise UsageError(
            "--test-list and --split official: the images are split by one of them", "Leave one out."
        )
    from gancli.data.sources.test_list import with_test_list

    return with_test_list(source, test_list, partial=dataset.skip_bad)


def _prepare(
    out: Output,
    source: Source,
    dataset: DatasetArguments,
    speech: SpeechArguments,
    birds: BirdArguments | None = None,
    silhouette_list: Path | None = None,
) -> None:
    """Prepare a source, or report what would be written, and print the result."""
    from gancli.data.preparation.options import Part
    from gancli.data.preparation.plan import make_plan
    from gancli.data.preparation.prepare import prepare

    settings = dataset.prepare_options(speech, birds, silhouette_list)
    part = Part.parse(dataset.shards) if dataset.shards else None
    if dataset.dry_run:
        plan = make_plan(source, settings, fewest_shards=part.of if part else 1)
        print_plan(out, plan, dataset.out, part)
        return
    skip_bad = isinstance(dataset, RawDatasetArguments) and dataset.skip_bad
    with out.progress("preparing") as advance:
        report = prepare(
            source, dataset.out, settings, jobs=dataset.jobs, skip_bad=skip_bad, part=part, progress=advance
        )
    if part and report.bad and not skip_bad:
        out.warn(
            f"cannot be used: {len(report.bad)} (-v: which); `gancli data merge` will ask for --skip-bad"
        )
    print_report(out, report)
