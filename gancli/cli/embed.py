"""`gancli embed`: the sentence vectors of a dataset's captions as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gancli.cli.app import TRAIN, app, command
from gancli.cli.console import Output


@command(
    app,
    "embed",
    examples=(
        "gancli embed data/cub --encoder encoders/char-cnn-rnn-cub --out cub.npz",
        "gancli embed data/demo --encoder encoders/damsm-demo",
    ),
    panel=TRAIN,
    progress=True,
)
def embed(
    out: Output,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Dataset folder.", show_default=False)],
    encoder: Annotated[
        Path,
        typer.Option(
            "--encoder",
            metavar="DIR",
            help="Encoder folder of pretrain-encoder char-cnn-rnn or damsm.",
            show_default=False,
        ),
    ],
    file: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path("embeddings.npz"),
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
) -> None:
    """One vector for every caption of a dataset, by a trained text encoder.

    The .npz holds keys, counts (captions of each image), embeddings (captions, dim) and the encoder's hash. Training
    StackGAN needs no such file: it is for other programs, and text=precomputed reads it.
    """
    count = write_embeddings(out, data, encoder, file, device)
    out.result(
        {"data": data, "encoder": encoder, "file": file, "captions": count},
        f"vectors of {count:,} captions: {file}",
        quiet=str(file),
    )


def write_embeddings(out: Output, data: Path, encoder: Path, file: Path, device: str) -> int:
    """Writes the vectors of all captions of a dataset, and returns their number.

    Raises:
        DataError: Dataset or encoder are missing or broken, or the encoder reads nothing of a caption.
    """
    from gancli.data.shards import Dataset
    from gancli.encoders.embeddings import export_embeddings
    from gancli.encoders.sentence import load_sentence_encoder
    from gancli.engine.device import pick_device

    dataset = Dataset.open(data)
    network = load_sentence_encoder(encoder, pick_device(device))
    file.parent.mkdir(parents=True, exist_ok=True)
    with out.progress("encoding", "captions") as advance:
        return export_embeddings(dataset, network, file, progress=advance)
