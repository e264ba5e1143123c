"""R-precision of a folder of images: its rows, its ceiling, and captions that do not fit."""

import dataclasses

import pytest
import torch

from gancli.data.shards import Dataset
from gancli.encoders.damsm import load_damsm
from gancli.errors import DataError, UsageError
from gancli.sampling.captions import DatasetCaptions
from gancli.sampling.sample import sample
from gancli.sampling.samples_folder import read_samples
from gancli.scores.r_precision import score_r_precision, sentence_codes


@pytest.fixture
def encoder(tiny_encoder):
    return load_damsm(tiny_encoder)


@pytest.fixture
def samples(tiny_model, tiny_dataset, tmp_path):
    sample(tiny_model, out=tmp_path / "samples", source=DatasetCaptions(tiny_dataset, n=20), seed=5)
    return str(tmp_path / "samples")


def test_score_of_a_samples_folder_and_its_ceiling(samples, encoder, tiny_dataset):
    generated, real = score_r_precision(samples, encoder, candidates=4)
    assert (generated.method.partition(" [")[0], real.method) == ("FF-GAN", "real")
    assert (generated.n_fake, generated.n_real, generated.seed) == (20, 12, 5)
    assert (real.n_fake, real.n_real) == (0, 12)
    for row in (generated, real):
        assert 0 <= row.value <= 100
        assert row.std is not None
        assert row.protocol.startswith("R = 1 of 4:")
        assert (row.dataset, row.split, row.network_sha256) == ("cub", "test", encoder.hash)
    assert "this very encoder" in generated.note
    other = dataclasses.replace(encoder, hash="0" * 64)
    assert "this very encoder" not in score_r_precision(samples, other, candidates=4)[0].note
    assert (
        score_r_precision(samples, encoder, data=f"{tiny_dataset}:test", candidates=4)[0].value
        == generated.value
    )


def test_batch_size_does_not_matter(samples, encoder):
    values = [
        [row.value for row in score_r_precision(samples, encoder, candidates=4, batch=b)] for b in (1, 64)
    ]
    assert values[0] == values[1]


def test_captions_that_are_no_datasets(tiny_model, tiny_dataset, encoder, tmp_path):
    sample(tiny_model, out=tmp_path / "own", texts=["a white bird"])
    with pytest.raises(UsageError, match="which dataset"):
        score_r_precision(str(tmp_path / "own"), encoder)
    with pytest.raises(DataError, match="no image ''"):
        score_r_precision(str(tmp_path / "own"), encoder, data=f"{tiny_dataset}:test")
    with pytest.raises(UsageError, match="is a dataset"):
        score_r_precision(f"{tiny_dataset}:test", encoder)


def test_captions_of_another_split(samples, encoder, tiny_dataset):
    key = read_samples_keys(samples)[0]
    with pytest.raises(DataError, match=key):
        score_r_precision(samples, encoder, data=f"{tiny_dataset}:train", candidates=4)


def read_samples_keys(folder):
    from pathlib import Path

    return [record.key for record in read_samples(Path(folder))]


def test_sentences_are_encoded_by_the_encoders_own_words(encoder, tiny_dataset):
    split = Dataset.open(tiny_dataset).split("test")
    captions = [split.captions(0)[0], split.captions(1)[0], split.captions(0)[0]]
    result = sentence_codes(captions, encoder, 18)
    assert result.shape == (3, 16)
    assert torch.equal(result[0], result[2])
    tokens = torch.from_numpy(split.tokens(1)[0]).long()[None]
    expected = encoder.text(tokens, torch.tensor([tokens.shape[1]]))[1]
    torch.testing.assert_close(result[1:2], expected, atol=1e-6, rtol=1e-5)
    with pytest.raises(DataError, match="xyzzy"):
        sentence_codes(["a bird", "xyzzy"], encoder, 18)
