"""R-precision of images (AttnGAN, section 4): does an image find its own caption among a hundred?

The caption that each image was drawn from competes with captions of other classes. The image counts if its own caption
is nearest. The number depends on the encoder, so the real images' own value is always measured with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli.data.shards import Split
from gancli.data.text import crop_tokens, pad_tokens, tokenize
from gancli.encoders.damsm import Damsm, load_damsm
from gancli.errors import DataError, UsageError
from gancli.progress import Progress, reporting
from gancli.scores.features import all_features, encoder_network
from gancli.scores.image_sets import FileImages, SplitImages, learned_from, open_samples, origin_of
from gancli.scores.results import ScoreRow
from gancli.scores.retrieval import CANDIDATES, FOLDS, RPrecisionRule, r_precision

_TEXTS = 256  # captions encoded at a time
_RULES: dict[RPrecisionRule, str] = {
    "fixed": "ties shared",
    "official": "competitors may repeat, ties won, folds without their last image",
}


@torch.no_grad()
def sentence_codes(captions: Sequence[str], encoder: Damsm, words: int) -> Tensor:
    """Return the sentence codes of N captions, (N, D) on the CPU. Equal captions are encoded once.

    Args:
        captions: N sentences.
        encoder: DAMSM whose own vocabulary numbers the words.
        words: Words that are used, counted from the first.

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
    samples: str | Path,
    encoder: Damsm | str | Path,
    *,
    data: str | Path | None = None,
    candidates: int = CANDIDATES,
    rule: RPrecisionRule = "fixed",
    seed: int = 0,
    batch: int = 64,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ScoreRow]:
    """Measure the R-precision of a folder of `gancli sample`, and the real images' own value as the ceiling.

    Competitors come from a pool with one random caption of each image of the split, or with all captions under the rule
    "official". The real images query with one random caption each, at the side of the generated ones.

    Args:
        samples: Folder of images drawn from captions of a dataset's split.
        encoder: DAMSM or its folder, best one that the generator did not learn from: its own raises the number.
        data: Split of the captions as "DIR:split"; None for the one in sampling.json.
        candidates: Captions an image chooses from, its own included.
        rule: "fixed", or "official" as in the public code of AttnGAN and DM-GAN, see `retrieval.r_precision`.
        seed: Seed of competitors and folds.
        batch: Images at a time.
        device: Device of the encoder.
        progress: Callback after each batch with images done and in all, or True for a bar.

    Returns:
        The row of the generated images and the row of the real ones, whose method is "real".

    Raises:
        DataError: Images, captions or the split do not fit together.
        UsageError: The split of the captions or the rule is unknown.
    """
    if rule not in get_args(RPrecisionRule):
        raise UsageError(
            f"{rule!r} is no rule of R-precision", f"One of: {', '.join(get_args(RPrecisionRule))}."
        )
    if not isinstance(encoder, Damsm):
        encoder = load_damsm(Path(encoder), device)
    fake, records, real = open_samples(samples, data)
    split = real.split
    words = int(encoder.settings["words"])
    own_of_real = sentence_codes(_one_caption_each(split, seed), encoder, words)
    pool, pool_classes = own_of_real, split.class_ids
    if rule == "official":
        by_image = [split.captions(index) for index in range(len(split))]
        pool = sentence_codes(list(chain.from_iterable(by_image)), encoder, words)
        pool_classes = np.repeat(split.class_ids, [len(captions) for captions in by_image])
    own = sentence_codes([record.caption for record in records], encoder, words)
    indices = np.array([split.find(record.key) for record in records])
    network = encoder_network(encoder, "code")

    def row(
        scored: SplitImages | FileImages, captions: Tensor, rows: slice | NDArray[np.int64], note: str
    ) -> ScoreRow:
        result = r_precision(
            all_features(scored, network, batch=batch, progress=report),
            captions,
            split.class_ids[rows],
            pool,
            pool_classes,
            candidates=candidates,
            rule=rule,
            seed=seed,
        )
        origin = origin_of(scored)
        return ScoreRow(
            **vars(real.data),
            **vars(origin),
            **vars(network.fields),
            metric="r_precision",
            value=result.value,
            std=result.std,
            n_real=len(real),
            n_fake=len(scored) if scored is fake else 0,
            k=1,
            candidates=candidates,
            encoder_words=words,
            r_precision_rule=rule,
            metric_seed=seed,
            protocol=f"R = 1 of {candidates}: own caption against {candidates - 1} of other classes, cosine of global "
            f"codes, first {words} words, {_RULES[rule]}, std over {FOLDS} folds{origin.holes_clause}",
            note=note,
        )

    with reporting(progress, "codes", "images") as report:
        return (
            row(fake, own, indices, "; ".join(learned_from(fake, encoder.hash))),
            row(real, own_of_real, slice(None), "ceiling: the real images with their own captions"),
        )


def _one_caption_each(split: Split, seed: int) -> list[str]:
    """Return a random caption of each image of a split."""
    draws = np.random.default_rng([seed, len(split)]).random(len(split))
    everything = (split.captions(index) for index in range(len(split)))
    return [captions[int(draw * len(captions))] for captions, draw in zip(everything, draws, strict=True)]
