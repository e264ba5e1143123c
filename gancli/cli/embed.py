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
            metavar="DIR",
            help="Encoder folder, run folder or checkpoint of pretrain-encoder char-cnn-rnn or damsm, or latest.",
            show_default=False,
        ),
    ],
    file: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path("embeddings.npz"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
) -> None:
    """Write one vector for every caption of a dataset, by a trained text encoder.

    The .npz file holds keys, counts (captions of each image), embeddings (captions, dim) and the encoder's hash.
    Training StackGAN needs no such file. It is for other programs, and text=precomputed reads it.
    """
    count = write_embeddings(out, data, encoder, file, device)
    out.result(
        {"data": data, "encoder": encoder, "file": file, "captions": count},
        f"vectors of {count:,} captions: {file}",
        quiet=str(file),
    )


def write_embeddings(out: Output, data: Path, encoder: Path, file: Path, device: str) -> int:
    """Write the vectors of all captions of a dataset, and return their number."""
    from gancli.encoders.embeddings import export_embeddings
    from gancli.encoders.sentence import load_sentence_encoder
    from gancli.engine.device import pick_device

    network = load_sentence_encoder(encoder, pick_device(device))
    with out.progress("encoding", "captions") as advance:
        return export_embeddings(data, network, file, progress=advance)
