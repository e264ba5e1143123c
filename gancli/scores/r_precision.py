"""R-precision of images (AttnGAN, section 4): does an image find its own caption among a hundred?

For each generated image the caption it was made from competes with captions of other classes; the image counts
if its own caption is nearest. How high a number can get depends on the encoder, so the real images' own value is
always measured beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gancli.data.text import crop_tokens, pad_tokens, tokenize
from gancli.encoders.damsm import Damsm
from gancli.errors import DataError
from gancli.progress import Progress
from gancli.scores.features import all_features, encoder_network
from gancli.scores.image_sets import FileImages, SplitImages, holes_of, note_on, open_samples, origin_of
from gancli.scores.results import ScoreRow
from gancli.scores.retrieval import CANDIDATES, FOLDS, RPrecision, r_precision

_TEXTS = 256  # captions encoded at a time


@torch.no_grad()
def sentence_codes(captions: Sequence[str], encoder: Damsm, words: int) -> Tensor:
    """Sentence codes of captions; equal captions are encoded once.

    Args:
        captions: N sentences.
        encoder: Its own vocabulary numbers the words.
        words: Words that are used, counted from the first.

    Returns:
        (N, D) on the CPU.

    Raises:
        DataError: A caption has no word of the vocabulary.
    """
    position: dict[str, int] = {}
    rows = [position.setdefault(caption, len(position)) for caption in captions]
    tokens = [crop_tokens(encoder.vocabulary.encode(tokenize(text)), words, None) for text in position]
    empty = [text for text, numbers in zip(position, tokens, strict=True) if len(numbers) == 0]
    if empty:
        raise DataError(
            f"{len(empty)} captions have no word that the encoder {encoder.folder} knows, the first: {empty[0]!r}",
            "Score with an encoder trained on this dataset.",
        )
    device = encoder.image.code.weight.device
    codes = []
    for start in range(0, len(tokens), _TEXTS):
        padded, lengths = pad_tokens(tokens[start : start + _TEXTS])
        sentence = encoder.text(torch.from_numpy(padded).to(device), torch.from_numpy(lengths))[1]
        codes.append(sentence.float().cpu())
    return torch.cat(codes)[rows]


def score_r_precision(
    samples: str,
    encoder: Damsm,
    *,
    data: str | None = None,
    candidates: int = CANDIDATES,
    seed: int = 0,
    batch: int = 64,
    progress: Progress | None = None,
) -> tuple[ScoreRow, ScoreRow]:
    """R-precision of a folder of `gancli sample`, and the real images' own value as the ceiling.

    Competitors are captions of the split's images, one drawn by the seed for each image. The real images query
    with the same captions, at the side of the generated ones.

    Args:
        samples: The folder, with captions of a dataset's split.
        encoder: Best one that the generator did not learn from: its own raises the number.
        data: "DIR:split" the captions come from; None: where sampling.json says.
        candidates: Captions in all, the own one among them.
        seed: Of competitors and folds.
        batch: Images at a time.
        progress: Called after each batch with images done and in all, first for the generated ones.

    Returns:
        The row of the generated images and the row of the real ones, whose method is "real".

    Raises:
        DataError: Images, captions or the split do not fit together.
        UsageError: It is not known which split the captions come from.
    """
    fake, records, real = open_samples(samples, data)
    split = real.split
    words = int(encoder.settings["words"])
    rows = np.array([split.find(record.key) for record in records])

    draws = np.random.default_rng([seed, len(split)]).random(len(split))
    pool_captions = []
    for index, draw in enumerate(draws):
        captions = split.captions(index)
        pool_captions.append(captions[int(draw * len(captions))])
    pool = sentence_codes(pool_captions, encoder, words)
    own = sentence_codes([record.caption for record in records], encoder, words)
    groups = split.class_ids
    network = encoder_network(encoder, "code")

    generated = r_precision(
        all_features(fake, network, batch=batch, progress=progress),
        own,
        groups[rows],
        pool,
        groups,
        candidates=candidates,
        seed=seed,
    )
    ceiling = r_precision(
        all_features(real, network, batch=batch, progress=progress),
        pool,
        groups,
        pool,
        groups,
        candidates=candidates,
        seed=seed,
    )
    ceiling_note = "ceiling: the real images with their own captions"
    return (
        _row(
            generated,
            fake,
            len(real),
            len(fake),
            real,
            encoder,
            candidates,
            note_on(fake, encoder.hash),
        ),
        _row(ceiling, real, len(real), 0, real, encoder, candidates, ceiling_note),
    )


def _row(
    result: RPrecision,
    scored: SplitImages | FileImages,
    n_real: int,
    n_fake: int,
    real: SplitImages,
    encoder: Damsm,
    candidates: int,
    note: str,
) -> ScoreRow:
    network = encoder_network(encoder, "code")
    words = encoder.settings["words"]
    return ScoreRow(
        dataset=real.dataset,
        split=real.split.name,
        metric="r_precision",
        value=result.value,
        std=result.std,
        n_real=n_real,
        n_fake=n_fake,
        protocol=f"R = 1 of {candidates}: own caption against {candidates - 1} of other classes, cosine of global "
        f"codes, first {words} words, ties shared, std over {FOLDS} folds{holes_of(scored)}",
        network=network.name,
        network_sha256=network.sha256,
        resize=network.resize,
        note=note,
        **dataclasses.asdict(origin_of(scored)),
    )
