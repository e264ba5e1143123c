"""The character encoder learns: what its vectors say of the demo birds, by the library's own functions.

Run: python -m tests.learn.char_cnn_rnn [--recipe char-cnn-rnn/demo] [--encoder damsm/demo] [--out FOLDER]

Beside the report of the training itself, a linear classifier on the vectors of training captions is asked which colours
held-out captions name.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gancli.data.shards import Dataset, Split
from gancli.data.sources.demo.captions import asked_colors
from gancli.data.sources.demo.drawing import COLORS
from gancli.encoders.embeddings import embed_split
from gancli.encoders.sentence import SentenceEncoder, load_sentence_encoder
from gancli.engine.events import Event, Events
from tests.learn import _demo


def prove(recipe: str, encoder: str, folder: Path) -> dict[str, float]:
    """Goes the whole way below a folder.

    Returns:
        Minutes of training, and in per cent: the training's own report, and per part of the bird how many held-out
        captions' colours are told from their vectors.
    """
    reports: list[dict[str, float]] = []

    def keep(event: Event) -> None:
        _demo.report(event)
        if event.kind == "metrics":
            reports.append(dict(event.data))

    data = _demo.drawn_birds(folder)
    _demo.encoder(encoder, folder, "damsm", f"data={data}")
    features = f"features.encoder={folder / 'damsm'}"
    run = _demo.encoder(recipe, folder, "encoder", f"data={data}", features, events=Events(keep))
    return {
        "minutes": run.loop.seconds / 60,
        "steps": float(run.loop.step),
        **{name: value for name, value in reports[-1].items() if name != "step"},
        **colours_told(data, load_sentence_encoder(folder / "encoder")),
    }


def colours_told(data: Path, encoder: SentenceEncoder) -> dict[str, float]:
    """Per part of the bird, per cent of held-out captions whose named colour a linear classifier tells."""
    dataset = Dataset.open(data)
    (train, train_colours), (test, test_colours) = (
        labelled(dataset.split(name), encoder) for name in ("train", "test")
    )
    spread, mean = torch.std_mean(train, dim=0)
    result = {}
    for part in ("primary", "belly", "wing", "crown"):
        known, asked = train_colours[part] >= 0, test_colours[part] >= 0
        probe = fit((train[known] - mean) / spread, train_colours[part][known])
        told = probe((test[asked] - mean) / spread).argmax(dim=1) == test_colours[part][asked]
        result[f"{part}_colour"] = 100 * told.float().mean().item()
    return result


def labelled(split: Split, encoder: SentenceEncoder) -> tuple[Tensor, dict[str, Tensor]]:
    """The vectors of a split's captions, and per part the colour that each caption names, -1 where it names none."""
    vectors = torch.from_numpy(embed_split(split, encoder).file.vectors.copy())
    names = list(COLORS)
    asked = [asked_colors(caption) for index in range(len(split)) for caption in split.captions(index)]
    return vectors, {
        part: torch.tensor([names.index(colours[part]) if part in colours else -1 for colours in asked])
        for part in ("primary", "belly", "wing", "crown")
    }


def fit(vectors: Tensor, colours: Tensor) -> torch.nn.Linear:
    """A linear classifier, with a little weight decay."""
    probe = torch.nn.Linear(vectors.shape[1], len(COLORS))
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=100)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(probe(vectors), colours) + 1e-4 * probe.weight.pow(2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return probe


if __name__ == "__main__":
    _demo.run(prove, __doc__, recipe="char-cnn-rnn/demo", encoder="damsm/demo")
