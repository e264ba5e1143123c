"""R-precision (AttnGAN, section 4): does a picture find its own caption among a hundred?

For each generated picture the caption it was made from competes with captions of other classes; the picture counts
if its own caption is nearest. How high a number can get depends on the encoder, so the real pictures' own value is
always measured beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gancli.data.text import crop_tokens, pad_tokens, tokenize
from gancli.encoders.damsm import Damsm
from gancli.errors import DataError, UsageError
from gancli.samples import read_samples
from gancli.scores.features import encoder_network
from gancli.scores.pictures import FilePictures, Origin, Pictures, SplitPictures, open_pictures, origin_of
from gancli.scores.results import ScoreRow

Progress = Callable[[int, int], None]  # pictures done, pictures in all

CANDIDATES = 100
FOLDS = 10
TIE = 1e-6  # cosines closer than this are equal: float32 rounding in products of different shape
_CHUNK = 256  # pictures whose candidates are gathered at a time: 256 x 100 x D floats
_TEXTS = 256  # captions encoded at a time


@dataclass(frozen=True)
class RPrecision:
    """The result for one set of pictures.

    Attributes:
        value: Per cent of pictures whose own caption ranked first.
        std: Population standard deviation over the folds, in per cent.
        hits: (N,) per picture 1, 0, or 1/k where k captions share the first place.
    """

    value: float
    std: float
    hits: NDArray[np.float64]


def r_precision(
    image_codes: Tensor,
    caption_codes: Tensor,
    groups: NDArray[np.int64],
    pool_codes: Tensor,
    pool_groups: NDArray[np.int64],
    *,
    candidates: int = CANDIDATES,
    folds: int = FOLDS,
    seed: int = 0,
) -> RPrecision:
    """R-precision with R = 1: the share of pictures nearest to their own caption.

    The competitors of a picture are drawn without replacement from the captions of the pool that belong to another
    group. Captions at the same cosine share the first place: where k captions tie with the own one, it counts
    1 / (1 + k), the expected value of a fair draw. So codes that are all equal score 1 / candidates and not 100 %
    (the public code takes the first of equals, which is the picture's own), and a competitor with the same words as
    the own caption costs half.

    Args:
        image_codes: (N, D).
        caption_codes: (N, D), each picture's own caption.
        groups: (N,) class of each picture, or a running number where the dataset has no classes.
        pool_codes: (M, D) captions to draw competitors from.
        pool_groups: (M,) their classes.
        candidates: Captions in all, the own one among them.
        folds: The hits are shuffled and split into this many parts for the standard deviation; no hit is left out.
        seed: Of the draw and of the folds.

    Raises:
        DataError: No pictures, or the pool has too few captions of other groups for one of them.
    """
    count = len(image_codes)
    if count == 0:
        raise DataError("R-precision needs at least one picture")
    rng = np.random.default_rng(seed)
    rivals = torch.from_numpy(_draw_rivals(groups, pool_groups, candidates - 1, rng))  # (N, candidates - 1)
    images = F.normalize(image_codes.float(), dim=1)
    captions = F.normalize(caption_codes.float(), dim=1)
    pool = F.normalize(pool_codes.float(), dim=1)
    hits = []
    for start in range(0, count, _CHUNK):
        rows = slice(start, start + _CHUNK)
        each = torch.cat(
            [captions[rows, None], pool[rivals[rows].to(pool.device)]], dim=1
        )  # (b, candidates, D)
        cosines = torch.einsum("bd,bcd->bc", images[rows], each)
        lead = cosines[:, 1:] - cosines[:, :1]  # of each competitor over the own caption
        beaten = (lead > TIE).any(dim=1)
        ties = (lead.abs() <= TIE).sum(dim=1)
        hits.append(torch.where(beaten, 0.0, 1.0 / (1.0 + ties.double())).cpu().numpy())
    every = np.concatenate(hits)
    parts = np.array_split(rng.permutation(every), min(folds, count))
    return RPrecision(100 * float(every.mean()), 100 * float(np.std([part.mean() for part in parts])), every)


def batch_accuracy(image_codes: Tensor, caption_codes: Tensor, batch: int) -> tuple[float, float]:
    """How often the right partner is the nearest one of a batch: what a DAMSM learns to do.

    Args:
        image_codes: (N, D).
        caption_codes: (N, D), in the same order.
        batch: Pairs that compete with each other; a last smaller batch competes among itself.

    Returns:
        Per cent of pictures that find their caption, and of captions that find their picture; ties do not count.
    """
    pairs = zip(
        F.normalize(image_codes.float(), dim=1).split(batch),
        F.normalize(caption_codes.float(), dim=1).split(batch),
        strict=True,
    )
    found = torch.zeros(2)
    for images, captions in pairs:
        cosines = images @ captions.T  # (b, b), rows are pictures
        own = cosines.diagonal()
        others = cosines.masked_fill(torch.eye(len(own), dtype=torch.bool, device=own.device), -torch.inf)
        best = torch.stack([others.amax(dim=1), others.amax(dim=0)])  # (2, b)
        found += (own > best).sum(dim=1).cpu()
    by_picture, by_caption = (100 * found / len(image_codes)).tolist()
    return by_picture, by_caption


def _draw_rivals(
    groups: NDArray[np.int64], pool_groups: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """For each picture `count` different positions of the pool, none of them of its group: (N, count).

    With the pool in order of groups, the members of one group are a block, so the others are numbered by skipping
    it. The draw is Floyd's: step k takes a number of the first `limit` ones, or number `limit` itself where that
    one was drawn before; it runs over all pictures at once.
    """
    order = np.argsort(pool_groups, kind="stable")
    in_order = pool_groups[order]
    first = np.searchsorted(in_order, groups, side="left")  # (N,)
    block = np.searchsorted(in_order, groups, side="right") - first  # (N,)
    others = len(pool_groups) - block  # (N,)
    if others.min() < count:
        raise DataError(
            f"R-precision of 1 in {count + 1} needs {count} captions of other classes, here are {others.min()}",
            "Take a split with more images, or ask for fewer candidates.",
        )
    drawn = np.empty((len(groups), count), np.int64)
    for k in range(count):
        limit = others - count + k
        number = rng.integers(0, limit + 1)
        again = (drawn[:, :k] == number[:, None]).any(axis=1)
        drawn[:, k] = np.where(again, limit, number)
    drawn += (drawn >= first[:, None]) * block[:, None]
    rivals: NDArray[np.int64] = order[drawn]
    return rivals


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


def picture_codes(
    pictures: Pictures, encoder: Damsm, *, batch: int = 64, progress: Progress | None = None
) -> Tensor:
    """Global image codes of all pictures, (N, D) on the CPU."""
    network = encoder_network(encoder, "code")
    codes = []
    done = 0
    for chunk in pictures.batches(batch):
        codes.append(network(chunk))
        done += len(chunk)
        if progress is not None:
            progress(done, len(pictures))
    return torch.cat(codes)


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
    """R-precision of a folder of `gancli sample`, and the real pictures' own value as the ceiling.

    Competitors are captions of the split's images, one drawn by the seed for each image. The real pictures query
    with the same captions, at the side of the generated ones.

    Args:
        samples: The folder, with captions of a dataset's split.
        encoder: Best one that the generator did not learn from: its own raises the number.
        data: "DIR:split" the captions come from; None: where sampling.json says.
        candidates: Captions in all, the own one among them.
        seed: Of competitors and folds.
        batch: Pictures at a time.
        progress: Called after each batch with pictures done and in all, first for the generated ones.

    Returns:
        The row of the generated pictures and the row of the real ones, whose method is "real".

    Raises:
        DataError: Pictures, captions or the split do not fit together.
        UsageError: It is not known which split the captions come from.
    """
    fake = open_pictures(samples)
    if not isinstance(fake, FilePictures):
        raise UsageError(f"{samples}: is a dataset; R-precision scores a folder of gancli sample")
    records = read_samples(fake.folder)
    if data is None:
        if fake.sampling is None or fake.sampling.data is None:
            raise UsageError(
                f"{samples}: does not say which dataset its captions come from",
                "Sample with --data DIR --split SPLIT, or name the split with --data DIR:SPLIT.",
            )
        data = f"{fake.sampling.data}:{fake.sampling.split}"
    real = open_pictures(data)
    if not isinstance(real, SplitPictures):
        raise UsageError(f"{data}: is not a split of a dataset", "Say it as DIR:split.")
    real = real.at(min(records[0].stage, real.side))
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

    generated = r_precision(
        picture_codes(fake, encoder, batch=batch, progress=progress),
        own,
        groups[rows],
        pool,
        groups,
        candidates=candidates,
        seed=seed,
    )
    ceiling = r_precision(
        picture_codes(real, encoder, batch=batch, progress=progress),
        pool,
        groups,
        pool,
        groups,
        candidates=candidates,
        seed=seed,
    )
    note = ""
    if fake.sampling is not None and fake.sampling.encoder_hash == encoder.hash:
        note = "the generator learned from this very encoder: the number is inflated"
    ceiling_note = "ceiling: the real pictures with their own captions"
    return (
        _row(generated, origin_of(fake), len(real), len(fake), real, encoder, candidates, note),
        _row(ceiling, origin_of(real), len(real), 0, real, encoder, candidates, ceiling_note),
    )


def _row(
    result: RPrecision,
    origin: Origin,
    n_real: int,
    n_fake: int,
    real: SplitPictures,
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
        f"codes, first {words} words, ties shared, std over {FOLDS} folds",
        network=network.name,
        network_sha256=network.sha256,
        resize=network.resize,
        note=note,
        **dataclasses.asdict(origin),
    )
