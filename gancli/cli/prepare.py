"""`gancli prepare`: raw data to a dataset folder."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gancli.cli.app import command, prepare_app
from gancli.cli.console import Output
from gancli.cli.prepare_report import done, mib, planned
from gancli.cli.speech_options import SpeechArguments
from gancli.errors import UsageError

if TYPE_CHECKING:
    from gancli.data.source import Source
    from gancli.data.text import Vocabulary

MOST_JOBS = 16  # a reader's disk rarely feeds more
FROM_CLASS_NAMES = "captions are made from the class names: scores do not compare with those of real captions"
DEMO_CAPTIONS = 10  # of an image


class Codec(StrEnum):
    """How shards hold images."""

    RAW = "raw"
    JPEG = "jpeg"


class CubSplit(StrEnum):
    """The two splits of CUB."""

    ZERO_SHOT = "zero-shot"
    OFFICIAL = "official"


class Crop(StrEnum):
    """What is cut out around a bird."""

    STACKGAN = "stackgan"
    RATIO75 = "ratio75"


class Silhouettes(StrEnum):
    """Where it comes from which pixels are the bird's."""

    OFFICIAL = "official"
    ESTIMATE = "estimate"
    NONE = "none"


class Encoding(StrEnum):
    """What the number of an attribute means."""

    BINARY = "binary"
    SOFT = "soft"
    CLASS = "class"


class OxfordSplit(StrEnum):
    """The splits of Oxford-102: two by class, one by image."""

    CLASSES_82_20 = "82-20"
    CLASSES_62_40 = "62-40"
    OFFICIAL = "official"


def _cores() -> int:
    return min(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST_JOBS
    )


Root = Annotated[Path, typer.Option("--root", help="Folder of the raw data.", show_default=False)]
Out = Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to make.", show_default=False)]
ImageSize = Annotated[
    int, typer.Option("--image-size", min=4, help="Side of the largest image in training, pixels.")
]
CodecOption = Annotated[
    Codec, typer.Option("--codec", help="raw: fast, lossless; jpeg: a sixth of the space, slower to read.")
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs", "-j", min=1, default_factory=_cores, show_default="all cores", help="Processes that decode."
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out what cannot be used instead of failing.")
]
VocabularyOption = Annotated[
    Path | None,
    typer.Option(
        "--vocabulary",
        help="Number the words as this encoder folder (or vocabulary.json) does, to use that encoder.",
        show_default="all words of the captions",
    ),
]
CropOption = Annotated[
    Crop,
    typer.Option(
        "--crop",
        help="stackgan: the bird takes about 2/3 of the side, as published; ratio75: 3/4, always square.",
    ),
]
SilhouettesOption = Annotated[
    Silhouettes | None,
    typer.Option(
        "--silhouettes",
        help="Silhouettes for attr2image: official files, or estimate them from box, parts and colours.",
        show_default="official where they are there, else none",
    ),
]
EncodingOption = Annotated[
    Encoding | None,
    typer.Option(
        "--attributes",
        help="binary or soft (with certainties): of each image; class: percentages of its class.",
        show_default="binary where there are labels of each image, else class",
    ),
]
SilhouetteListOption = Annotated[
    Path | None,
    typer.Option(
        "--silhouette-list",
        metavar="FILE",
        help="Names of the images whose silhouettes are good, a line each.",
        show_default="the quality filter judges",
    ),
]


def _read_part(text: str | None) -> str | None:
    """Refuses parts that there are not, before any raw data are read."""
    if text is not None:
        from gancli.data.preparation.plan import Part

        try:
            Part.parse(text)
        except UsageError as error:
            raise typer.BadParameter(str(error).removeprefix("--shards ")) from error
    return text


ShardsOption = Annotated[
    str | None,
    typer.Option(
        "--shards",
        metavar="PART",
        callback=_read_part,
        help="Make part 3/16 of the shards, or parts 3-5/16; `gancli data merge` puts the parts together.",
        show_default="all",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be written; touch nothing.")]


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
    folder: Out,
    images: Annotated[int, typer.Option("--images", min=2, help="Images to draw.")] = 2000,
    image_size: ImageSize = 64,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Other birds with another seed.")] = 0,
    raw: Annotated[
        Path | None,
        typer.Option("--raw", help="Where the drawn images go, in CUB's layout.", show_default="OUT-raw"),
    ] = None,
    codec: CodecOption = Codec.RAW,
    crop: CropOption = Crop.STACKGAN,
    silhouettes: SilhouettesOption = None,
    attributes: EncodingOption = None,
    *,
    jobs: Jobs,
    shards: ShardsOption = None,
    dry_run: DryRun = False,
    speech: SpeechArguments,
) -> None:
    """Birds drawn from known attributes: no download, and a yardstick for whether captions are obeyed.

    The images are written in the layout of CUB-200-2011, with ten captions, attributes and silhouettes each, and
    then read like the real ones. Test species are not among the training species.
    """
    raw = raw or folder.with_name(f"{folder.name}-raw")
    options = speech.options  # before the drawing, which takes a while
    if dry_run:
        from gancli.data.preparation.plan import clip_bytes, image_bytes

        voices = len(options.voices) if options else 0
        size = images * (image_bytes(image_size) + DEMO_CAPTIONS * voices * clip_bytes(options))
        out.result(
            {"dry_run": True, "out": folder, "raw": raw, "images": images, "bytes": size},
            f"would draw {images:,} images into {raw} and write {folder}, about {mib(size)}",
        )
        return
    from gancli.data.preparation.prepare import refuse_foreign
    from gancli.data.sources.demo.dataset import read, write_demo

    refuse_foreign(folder)
    with out.progress("drawing") as advance:
        write_demo(raw, images=images, image_size=image_size, seed=seed, jobs=jobs, progress=advance)
    source = read(raw, attributes=_value(attributes), silhouettes=_value(silhouettes))
    source = speech.recorded(source, raw / "audio")
    _prepare(out, source, folder, image_size, codec, jobs, shards=shards, speech=speech, crop=crop)


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
    folder: Out,
    image_size: ImageSize = 256,
    split: Annotated[
        CubSplit, typer.Option("--split", help="zero-shot: 150 classes train, 50 other classes test.")
    ] = CubSplit.ZERO_SHOT,
    codec: CodecOption = Codec.RAW,
    crop: CropOption = Crop.STACKGAN,
    silhouettes: SilhouettesOption = None,
    silhouette_list: SilhouetteListOption = None,
    attributes: EncodingOption = None,
    *,
    jobs: Jobs,
    skip_bad: SkipBad = False,
    vocabulary: VocabularyOption = None,
    shards: ShardsOption = None,
    dry_run: DryRun = False,
    speech: SpeechArguments,
) -> None:
    """Caltech-UCSD Birds 200-2011 with ten captions an image.

    The captions (text/ or text_c10/, one .txt an image) and the folder segmentations/ lie beside or inside
    CUB_200_2011. For attr2image: --split official --crop ratio75 --silhouettes official or estimate.
    """
    from gancli.data.sources.cub import read

    source = read(root, split=split.value, attributes=_value(attributes), silhouettes=_value(silhouettes))
    source = speech.recorded(source, root / "CUB_200_2011" / "audio", root / "audio")
    _prepare(
        out,
        source,
        folder,
        image_size,
        codec,
        jobs,
        skip_bad,
        vocabulary,
        dry_run,
        shards=shards,
        speech=speech,
        crop=crop,
        silhouette_list=silhouette_list,
    )


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
    folder: Out,
    image_size: ImageSize = 256,
    split: Annotated[
        OxfordSplit,
        typer.Option("--split", help="By class, 82 or 62 of which train; official: setid.mat, by image."),
    ] = OxfordSplit.CLASSES_82_20,
    captions_from_class_names: Annotated[
        bool,
        typer.Option(
            "--captions-from-class-names", help="Make plain sentences; needs the images and labels alone."
        ),
    ] = False,
    codec: CodecOption = Codec.RAW,
    *,
    jobs: Jobs,
    skip_bad: SkipBad = False,
    vocabulary: VocabularyOption = None,
    shards: ShardsOption = None,
    dry_run: DryRun = False,
    speech: SpeechArguments,
) -> None:
    """Oxford-102 flowers with ten captions an image.

    ROOT holds jpg/ and imagelabels.mat; the captions (text_c10/, one .txt an image) lie inside or beside it.
    """
    from gancli.data.sources.oxford102 import read

    source = read(
        root, split=split.value, captions_from_class_names=captions_from_class_names, partial=skip_bad
    )
    if captions_from_class_names:
        out.note(FROM_CLASS_NAMES)
    source = speech.recorded(source, root / "Oxford102" / "audio", root / "audio")
    _prepare(
        out,
        source,
        folder,
        image_size,
        codec,
        jobs,
        skip_bad,
        vocabulary,
        dry_run,
        shards=shards,
        speech=speech,
    )


class FlickrSplit(StrEnum):
    """The two readings of Flickr8k's split lists."""

    DEVELOPMENT_TRAINS = "7000-1000"
    OFFICIAL = "official"


TestList = Annotated[
    Path | None,
    typer.Option(
        "--test-list",
        help="Names of the test images, a line each, or S2IGAN's filenames.pickle; all others train.",
        show_default=False,
    ),
]


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
    folder: Out,
    image_size: ImageSize = 256,
    split: Annotated[
        FlickrSplit,
        typer.Option("--split", help="Development images train; official: they stay apart as val."),
    ] = FlickrSplit.DEVELOPMENT_TRAINS,
    test_list: TestList = None,
    codec: CodecOption = Codec.RAW,
    *,
    jobs: Jobs,
    skip_bad: SkipBad = False,
    vocabulary: VocabularyOption = None,
    shards: ShardsOption = None,
    dry_run: DryRun = False,
    speech: SpeechArguments,
) -> None:
    """Flickr8k with five captions an image, and the recordings of people who read them.

    ROOT holds Flickr8k_text/, the images in Flicker8k_Dataset/ or images/, and, for speech, flickr_audio/.
    """
    from gancli.data.sources.flickr8k import read

    source = read(root, split=split.value, test_list=test_list, partial=skip_bad)
    source = speech.recorded(source)
    _prepare(
        out,
        source,
        folder,
        image_size,
        codec,
        jobs,
        skip_bad,
        vocabulary,
        dry_run,
        shards=shards,
        speech=speech,
    )


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
    folder: Out,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="Folder that holds b/bedroom/….",
            show_default="image_base_path of the JSON file, or ROOT/images",
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            "--audio",
            help="Folder that holds wavs/….",
            show_default="audio_base_path of the JSON file, or ROOT",
        ),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(
            "--train", help="JSON file.", show_default="ROOT/train.json or ROOT/metadata/train.json"
        ),
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="JSON file.", show_default="test.json or val.json there")
    ] = None,
    classes: Annotated[
        str,
        typer.Option(
            "--classes",
            help="Names with commas between; all: every class.",
            show_default="the seven of S2IGAN",
        ),
    ] = "",
    test_list: TestList = None,
    test_share: Annotated[
        float | None,
        typer.Option(
            "--test-share",
            min=0,
            help="Draw this share of all images for test.",
            show_default="the JSON files' split",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another draw with another seed.")] = 0,
    captions_from_class_names: Annotated[
        bool,
        typer.Option(
            "--captions-from-class-names",
            help="For speech of which there is no text: the class is the caption.",
        ),
    ] = False,
    image_size: ImageSize = 256,
    codec: CodecOption = Codec.RAW,
    *,
    jobs: Jobs,
    skip_bad: SkipBad = False,
    vocabulary: VocabularyOption = None,
    shards: ShardsOption = None,
    dry_run: DryRun = False,
    speech: SpeechArguments,
) -> None:
    """Places audio captions: images of scenes, spoken descriptions, and what a recognizer understood of them.

    ROOT holds train.json and test.json or val.json, or metadata/ with them. The seven classes: bedroom, dinette,
    dining_room, home_office, hotel_room, kitchenette, living_room.
    """
    from gancli.data.sources.places import SUBSET, read

    names = None if classes.strip().lower() == "all" else tuple(classes.split(",")) if classes else SUBSET
    source = read(
        root,
        train=train,
        test=test,
        images=images,
        audio=audio,
        classes=names,
        test_list=test_list,
        test_share=test_share,
        seed=seed,
        captions_from_class_names=captions_from_class_names,
        partial=skip_bad,
    )
    if captions_from_class_names:
        out.note(FROM_CLASS_NAMES)
    source = speech.recorded(source)
    _prepare(
        out,
        source,
        folder,
        image_size,
        codec,
        jobs,
        skip_bad,
        vocabulary,
        dry_run,
        shards=shards,
        speech=speech,
    )


class CocoYear(StrEnum):
    """The two releases of COCO, or whichever is there."""

    AUTO = "auto"
    Y2014 = "2014"
    Y2017 = "2017"


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
    folder: Out,
    image_size: ImageSize = 256,
    year: Annotated[
        CocoYear, typer.Option("--year", help="Release; auto: the one that is there.")
    ] = CocoYear.AUTO,
    codec: CodecOption = Codec.RAW,
    *,
    jobs: Jobs,
    skip_bad: SkipBad = False,
    vocabulary: VocabularyOption = None,
    shards: ShardsOption = None,
    dry_run: DryRun = False,
    speech: SpeechArguments,
) -> None:
    """COCO's captions of 2014 or 2017: train becomes train, val becomes test.

    ROOT holds annotations/captions_*.json and the images: train2014/, images/train2014/ or all in images/.
    """
    from gancli.data.sources.coco import read

    source = read(root, year=year.value)
    source = speech.recorded(source, root / "audio")
    _prepare(
        out,
        source,
        folder,
        image_size,
        codec,
        jobs,
        skip_bad,
        vocabulary,
        dry_run,
        shards=shards,
        speech=speech,
    )


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
    folder: Out,
    captions: Annotated[
        Path | None,
        typer.Option(
            "--captions",
            help="A .csv or .jsonl file, or a folder of .txt files.",
            show_default="ROOT/captions.csv or .jsonl, ROOT/text, or .txt files beside the images",
        ),
    ] = None,
    image_size: ImageSize = 256,
    name: Annotated[
        str | None, typer.Option("--name", help="Short name of the dataset.", show_default="that of ROOT")
    ] = None,
    test_share: Annotated[
        float,
        typer.Option("--test-share", min=0, help="Share of test images, where nothing else says which."),
    ] = 0.1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another test split with another seed.")] = 0,
    folder_classes: Annotated[
        bool, typer.Option("--folder-classes", help="The folder an image lies in is its class.")
    ] = False,
    codec: CodecOption = Codec.RAW,
    *,
    jobs: Jobs,
    skip_bad: SkipBad = False,
    vocabulary: VocabularyOption = None,
    shards: ShardsOption = None,
    dry_run: DryRun = False,
    speech: SpeechArguments,
) -> None:
    """Your own images and captions.

    The split of an image is what the captions table says in a column `split`, else the folder train/ or test/ it
    lies in, else drawn.
    """
    from gancli.data.sources.image_folder import read

    source = read(
        root, captions=captions, test_share=test_share, seed=seed, folder_classes=folder_classes, name=name
    )
    source = speech.recorded(source, root / "audio")
    _prepare(
        out,
        source,
        folder,
        image_size,
        codec,
        jobs,
        skip_bad,
        vocabulary,
        dry_run,
        shards=shards,
        speech=speech,
    )


def _prepare(
    out: Output,
    source: Source,
    folder: Path,
    image_size: int,
    codec: Codec,
    jobs: int,
    skip_bad: bool = False,
    vocabulary: Path | None = None,
    dry_run: bool = False,
    *,
    shards: str | None,
    speech: SpeechArguments,
    crop: Crop = Crop.STACKGAN,
    silhouette_list: Path | None = None,
) -> None:
    from gancli.data.preparation.plan import Part, make_plan, read_mask_list
    from gancli.data.preparation.prepare import prepare

    words = _vocabulary(vocabulary) if vocabulary else None
    options = speech.options
    part = Part.parse(shards) if shards else None
    listed = None if silhouette_list is None else read_mask_list(silhouette_list)
    if dry_run:
        plan = make_plan(
            source,
            image_size=image_size,
            codec=codec.value,
            fewest_shards=part.of if part else 1,
            vocabulary=words,
            speech=options,
            crop=crop.value,
            silhouette_list=listed,
        )
        out.result(*planned(plan, folder, part))
        return
    with out.progress("preparing") as advance:
        report = prepare(
            source,
            folder,
            image_size=image_size,
            codec=codec.value,
            jobs=jobs,
            skip_bad=skip_bad,
            vocabulary=words,
            speech=options,
            crop=crop.value,
            silhouette_list=listed,
            part=part,
            progress=advance,
        )
    for warning in report.warnings:
        out.warn(warning)
    for sample in report.bad:
        out.detail(f"left out: {sample.key}: {sample.reason}")
    if part and report.bad and not skip_bad:
        out.warn(
            f"cannot be used: {len(report.bad)} (-v: which); `gancli data merge` will ask for --skip-bad"
        )
    data, text = done(report)
    out.result(data, text, quiet=str(report.out))


def _value(choice: Any) -> Any:
    """The text of a choice; None where the user left it open."""
    return None if choice is None else choice.value


def _vocabulary(path: Path) -> Vocabulary:
    from gancli.data.text import Vocabulary

    return Vocabulary.load(path / "vocabulary.json" if path.is_dir() else path)
