"""Batches depend on (seed, step) alone, cover every image, and equal those made with Pillow."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from gancli.data.holes import Holes
from gancli.data.loader import Batch, BatchSource, Rank, Sentences, batches, evaluation_batches, pyramid
from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.shards import Dataset, Split
from gancli.data.sources import cub
from gancli.errors import DataError


@pytest.fixture
def split(tiny_dataset: Path) -> Split:
    return Dataset.open(tiny_dataset).split("train")


def source(split: Split, **options: object) -> BatchSource:
    settings: dict[str, object] = {"sizes": (8, 16, 32), "batch": 4, "words": 6, "seed": 1} | options
    return BatchSource(split, **settings)  # type: ignore[arg-type]


def same(one: Batch, other: Batch) -> bool:
    pairs = zip(one.images, other.images, strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("tokens", "lengths", "class_ids", "indices")
    )


def test_shapes_and_ranges(split: Split) -> None:
    batch = source(split)[0]
    assert [tuple(image.shape) for image in batch.images] == [(4, 3, 8, 8), (4, 3, 16, 16), (4, 3, 32, 32)]
    for image in batch.images:
        assert image.dtype == torch.float32
        assert image.min() >= -1
        assert image.max() <= 1
        assert image.is_contiguous(memory_format=torch.channels_last)
    assert batch.tokens.shape == (4, 6)
    assert batch.tokens.dtype == batch.lengths.dtype == batch.class_ids.dtype == torch.int64
    assert ((batch.tokens != 0).sum(dim=1) == batch.lengths).all()
    assert batch.class_ids.tolist() == split.class_ids[batch.indices.numpy()].tolist()
    assert len(batch) == 4


def test_batch_depends_on_seed_and_step_only(split: Split) -> None:
    straight = source(split)
    walked = [straight[step] for step in range(8)]
    fresh = source(split)
    assert all(same(fresh[step], walked[step]) for step in (7, 2, 0, 5))
    assert not same(source(split, seed=2)[0], walked[0])
    assert not same(walked[0], walked[3])  # the same place in the next epoch


def test_epoch_takes_every_image_once_in_an_order_of_its_own(split: Split) -> None:
    shuffled = source(split)
    assert len(shuffled) == 3
    epochs = [
        [int(index) for step in range(3 * epoch, 3 * epoch + 3) for index in shuffled[step].indices]
        for epoch in range(3)
    ]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_incomplete_batch_is_left_out(split: Split) -> None:
    assert len(source(split, batch=5)) == 2


def test_ranks_together_see_what_one_process_sees(split: Split) -> None:
    for step in range(4):
        alone = source(split, batch=6)[step]
        parts = [source(split, batch=2, rank=Rank(rank, 3))[step] for rank in range(3)]
        for level, image in enumerate(alone.images):
            assert torch.equal(torch.cat([part.images[level] for part in parts]), image)
        assert torch.equal(torch.cat([part.tokens for part in parts]), alone.tokens)
        assert torch.equal(torch.cat([part.indices for part in parts]), alone.indices)


def to_bytes(image: torch.Tensor) -> np.ndarray:
    """Convert (3, S, S) in [-1, 1] back to (S, S, 3) uint8."""
    return ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def test_largest_image_is_a_window_flipped_or_not(split: Split) -> None:
    flips: Counter[bool] = Counter()
    places: set[tuple[int, int]] = set()
    train = source(split, sizes=(32,))
    for step in range(30):
        batch = train[step]
        for image, index in zip(batch.images[0], batch.indices.tolist(), strict=True):
            window, stored = to_bytes(image), split.image(index)
            found = [
                (flip, top, left)
                for flip, candidate in ((False, window), (True, window[:, ::-1]))
                for top in range(stored.shape[0] - 31)
                for left in range(stored.shape[1] - 31)
                if np.array_equal(candidate, stored[top : top + 32, left : left + 32])
            ]
            assert found
            flips[found[0][0]] += 1
            places.add(found[0][1:])
    assert 35 < flips[True] < 85  # of 120
    tops, lefts = {top for top, _ in places}, {left for _, left in places}
    assert tops >= set(range(7))  # all there are where the side is 38; the other side may be longer
    assert lefts >= set(range(7))


def test_captions_are_drawn_from_all_of_an_image(split: Split) -> None:
    seen: dict[int, set[tuple[int, ...]]] = {}
    train = source(split, words=18)
    for step in range(60):
        batch = train[step]
        for index, tokens, length in zip(batch.indices, batch.tokens, batch.lengths, strict=True):
            seen.setdefault(int(index), set()).add(tuple(tokens[:length].tolist()))
    for index, captions in seen.items():
        assert captions == {tuple(row.tolist()) for row in split.tokens(index)}


def test_long_captions_keep_their_order(split: Split) -> None:
    short = source(split, words=3)
    for step in range(12):
        batch = short[step]
        assert (batch.lengths == 3).all()
        for index, tokens in zip(batch.indices.tolist(), batch.tokens.tolist(), strict=True):
            candidates = [row.tolist() for row in split.tokens(index)]
            assert any(tokens in map(list, itertools.combinations(row, 3)) for row in candidates)


@pytest.mark.parametrize("size", [64, 128, 37, 299])
def test_resize_is_pillows(size: int) -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (24, 24, 3)).astype(np.uint8)).resize((256, 256))
    noise = Image.fromarray(rng.integers(0, 256, (256, 256, 3)).astype(np.uint8))
    windows = torch.from_numpy(np.stack([np.asarray(smooth), np.asarray(noise)])).permute(0, 3, 1, 2)
    (resized,) = pyramid(windows, [size])
    for image, original in zip(resized, (smooth, noise), strict=True):
        expected = np.asarray(original.resize((size, size), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(to_bytes(image).astype(int) - expected).max() <= 1


def test_smaller_and_larger_than_the_dataset(split: Split) -> None:
    small, large = source(split, sizes=(16,))[0], source(split, sizes=(48,))[0]
    full = source(split, sizes=(32,))[0]
    for other in (small, large):  # the same window, resized
        resized = torch.nn.functional.interpolate(other.images[0], size=(4, 4), mode="area")
        reference = torch.nn.functional.interpolate(full.images[0], size=(4, 4), mode="area")
        assert (resized - reference).abs().mean() < 0.03


def test_workers_make_the_same_batches(split: Split) -> None:
    train = source(split)
    made = list(batches(train, 2, 6, workers=2))
    assert len(made) == 4
    assert all(same(batch, train[step]) for step, batch in zip(range(2, 6), made, strict=True))


class Groups(TorchDataset[int]):
    """Source of the process groups in which batches are made."""

    def __getitem__(self, step: int) -> int:
        return os.getpgrp()


def test_a_signal_to_the_process_group_does_not_reach_workers() -> None:
    (group,) = batches(Groups(), 0, 1, workers=1)
    assert group != os.getpgrp()


@pytest.mark.parametrize("workers", [0, 1])
def test_endless_batches(split: Split, workers: int) -> None:
    train = source(split)
    stream = batches(train, 4, None, workers=workers)
    assert all(same(next(stream), train[step]) for step in range(4, 9))


def test_loading_leaves_the_global_random_state_alone(split: Split) -> None:
    """A resumed training makes one loader more than an uninterrupted one and must end the same."""
    before = torch.get_rng_state()
    list(batches(source(split), 0, 2, workers=1))
    list(batches(source(split), 0, 2, workers=0))
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_takes_every_image_once_in_order(split: Split) -> None:
    made = list(evaluation_batches(split, sizes=(16, 32), batch=5, words=4))
    assert [len(batch) for batch in made] == [5, 5, 2]
    assert torch.cat([batch.indices for batch in made]).tolist() == list(range(12))
    first = made[0]
    height, width = split.shape(0)
    window = split.crop(0, (height - 32) // 2, (width - 32) // 2, 32)
    assert np.array_equal(to_bytes(first.images[1][0]), window)
    assert first.tokens[0].tolist() == split.tokens(0)[0][:4].tolist()
    limited = list(evaluation_batches(split, sizes=(16,), batch=5, words=18, limit=7, caption=4))
    assert [len(batch) for batch in limited] == [5, 2]
    assert limited[0].tokens[0, : limited[0].lengths[0]].tolist() == split.tokens(0)[1].tolist()


def test_jpeg_shards_give_nearly_the_same(tiny_raw_cub: Path, tmp_path: Path, split: Split) -> None:
    prepare(
        cub.read(tiny_raw_cub), tmp_path / "jpeg", PrepareOptions(image_size=32, codec="jpeg", shard_images=5)
    )
    jpeg = source(Dataset.open(tmp_path / "jpeg").split("train"))[0]
    raw = source(split)[0]
    assert torch.equal(jpeg.indices, raw.indices)
    assert torch.equal(jpeg.tokens, raw.tokens)
    assert (jpeg.images[2] - raw.images[2]).abs().mean() < 0.03


def test_too_few_images(split: Split) -> None:
    with pytest.raises(DataError, match="split 'train' holds 12 images, a batch takes 13") as caught:
        source(split, batch=13)
    assert "loader.batch to 12" in str(caught.value.hint)
    with pytest.raises(DataError, match="takes 5 on each of 3 processes") as caught:
        source(split, batch=5, rank=Rank(0, 3))
    assert "loader.batch to 4" in str(caught.value.hint)


def test_batch_moves(split: Split) -> None:
    batch = source(split)[0]
    moved = batch.to("meta")
    assert all(image.device.type == "meta" for image in moved.images)
    assert moved.tokens.device.type == moved.indices.device.type == "meta"
    assert same(batch.to("cpu"), batch)


class DamagedSource(BatchSource):
    def __getitem__(self, step: int) -> Batch:
        raise DataError("train-00000-of-00001.h5: damaged")


@pytest.mark.slow
def test_an_error_in_a_worker_reads_as_if_there_were_none(tiny_dataset):
    source = DamagedSource(Dataset.open(tiny_dataset).split("train"), sizes=[8], batch=2, words=5, seed=0)
    with pytest.raises(DataError, match=r"^train-00000-of-00001\.h5: damaged$"):
        next(batches(source, 0, 2, workers=1))


class Vectors:
    """Vectors n + 0.0, n + 0.1 and n + 0.2 for image n."""

    def mean_of(self, index: int, number: int, rng: np.random.Generator) -> np.ndarray:
        return np.array([index + rng.permutation(3)[:number].mean() / 10, index], np.float32)


def test_sentence_vectors_belong_to_their_images_and_are_averaged(split: Split) -> None:
    batch = source(split, sentences=Sentences(Vectors(), averaged=2), words=0)[0]
    assert batch.sentences is not None
    assert batch.sentences.dtype == torch.float32
    assert batch.sentences[:, 1].tolist() == batch.indices.tolist()
    assert set((batch.sentences[:, 0] - batch.indices).mul(100).round().int().tolist()) <= {5, 10, 15}
    assert batch.tokens.shape == (4, 0)


@pytest.mark.parametrize("wrong", ["image", "text"])
def test_wrong_pairs_are_of_other_classes_and_a_function_of_seed_and_step(split: Split, wrong: str) -> None:
    options: dict[str, object] = {"sentences": Sentences(Vectors(), wrong=wrong), "sizes": (8,), "words": 0}
    batches_ = [source(split, **options)[step] for step in range(20)]
    again = source(split, **options)
    for step in (19, 3):
        one, other = batches_[step], again[step]
        assert same(one, other)
        if wrong == "image":
            assert torch.equal(one.wrong_images[0], other.wrong_images[0])
        else:
            assert torch.equal(one.wrong_sentences, other.wrong_sentences)  # type: ignore[arg-type]
    if wrong == "image":
        assert batches_[0].wrong_images[0].shape == (4, 3, 8, 8)
        assert batches_[0].wrong_sentences is None
        return
    drawn = torch.cat(
        [batch.wrong_sentences[:, 1] for batch in batches_ if batch.wrong_sentences is not None]
    )
    own = torch.cat([batch.class_ids for batch in batches_])
    assert (torch.from_numpy(split.class_ids[drawn.int().numpy()]) != own).all()
    assert set(drawn.int().tolist()) == set(range(len(split))), "every image of another class may be drawn"


def test_wrong_images_have_windows_of_their_own(split: Split) -> None:
    plain = source(split, sizes=(32,))
    mixed = source(split, sizes=(32,), sentences=Sentences(Vectors(), wrong="image"))
    for step in range(3):
        assert torch.equal(plain[step].images[0], mixed[step].images[0]), "the real pairs stay what they were"
        assert not torch.equal(mixed[step].images[0], mixed[step].wrong_images[0])


def test_a_single_class_has_no_wrong_pairs(
    tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Split, "class_ids", np.zeros(len(split), np.int64))
    with pytest.raises(DataError, match="one class"):
        source(split, sentences=Sentences(Vectors(), wrong="image"))


def test_two_processes_draw_the_wrong_pairs_of_one(split: Split) -> None:
    options: dict[str, object] = {"sentences": Sentences(Vectors(), wrong="text"), "words": 0}
    whole = source(split, batch=4, **options)[1]
    halves = [source(split, batch=2, rank=Rank(rank, 2), **options)[1] for rank in (0, 1)]
    assert whole.wrong_sentences is not None
    assert torch.equal(torch.cat([half.wrong_sentences for half in halves]), whole.wrong_sentences)  # type: ignore[misc]
    assert torch.equal(torch.cat([half.sentences for half in halves]), whole.sentences)  # type: ignore[misc,arg-type]


def test_some_images_of_a_split(split: Split) -> None:
    images = np.array([1, 4, 5, 7, 8, 10])
    part = source(split, images=images, batch=3)
    assert len(part) == 2
    for epoch in range(3):
        seen = torch.cat([part[2 * epoch + step].indices for step in range(2)])
        assert sorted(seen.tolist()) == images.tolist()
    assert same(source(split, images=np.arange(len(split)))[3], source(split)[3])
    held_out = list(evaluation_batches(split, sizes=(8,), batch=4, words=0, images=images))
    assert [batch.indices.tolist() for batch in held_out] == [[1, 4, 5, 7], [8, 10]]
    assert held_out[0].tokens.shape == (4, 0)
    with pytest.raises(DataError, match=f"holds {len(split)} images, 6 of them to train on, a batch takes 7"):
        source(split, images=images, batch=7)


def test_holes_are_a_function_of_the_step(split: Split) -> None:
    cut = source(split, holes=Holes("irregular"))
    first, again, next_one = cut[2].holes, source(split, holes=Holes("irregular"))[2].holes, cut[3].holes
    assert first is not None
    assert again is not None
    assert next_one is not None
    assert first.shape == (4, 1, 32, 32), "at the largest size"
    assert set(first.unique().tolist()) == {0, 1}
    assert torch.equal(first, again)
    assert not torch.equal(first, next_one)
    assert len({hole.numpy().tobytes() for hole in first}) == 4, "each image has its own"
    assert source(split)[2].holes is None


def test_two_processes_cut_the_holes_of_one(split: Split) -> None:
    whole = source(split, holes=Holes("irregular"))[1].holes
    parts = [source(split, holes=Holes("irregular"), batch=2, rank=Rank(rank, 2))[1].holes for rank in (0, 1)]
    assert torch.equal(whole, torch.cat(parts))  # type: ignore[arg-type]


def test_evaluation_holes_belong_to_their_image(split: Split) -> None:
    def holes(batch: int, images: list[int]) -> torch.Tensor:
        order = np.array(images, np.int64)
        found = evaluation_batches(
            split, sizes=[16], batch=batch, words=6, images=order, holes=Holes("irregular"), seed=3
        )
        return torch.cat([each.holes for each in found if each.holes is not None])

    straight = holes(4, [0, 1, 2, 3, 4])
    assert straight.shape == (5, 1, 16, 16)
    assert torch.equal(holes(2, [4, 2]), straight[[4, 2]])


def test_some_images_lose_their_colours(split: Split) -> None:
    plain, faded = source(split, sizes=(32,)), source(split, sizes=(32,), grayscale=0.5)
    lost = 0
    for step in range(6):
        for colourful, image in zip(plain[step].images[0], faded[step].images[0], strict=True):
            if torch.equal(colourful, image):
                continue
            lost += 1
            levels = ((colourful + 1) * 127.5).permute(1, 2, 0)
            luma = (levels @ torch.tensor([0.299, 0.587, 0.114])).round()
            for channel in (image + 1) * 127.5:
                torch.testing.assert_close(channel, luma, atol=1e-3, rtol=0)
    assert 4 <= lost <= 20
