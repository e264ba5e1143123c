"""The matching losses against slow float64 transcriptions of their equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gancli.losses.matching import (
    DamsmGammas,
    cosine_similarity_matrix,
    damsm_losses,
    global_matching_loss,
    matching_loss,
    padding_mask,
    word_region_similarity,
)

GAMMAS = (4.0, 5.0, 10.0)


def slow_similarity(regions, words, lengths, gamma1, gamma2):
    """AttnGAN eqs. 7-10, one image, one caption, one word at a time, in float64."""
    result = np.zeros((len(regions), len(words)))
    for i, v in enumerate(regions.reshape(*regions.shape[:2], -1)):  # (D, R)
        for j in range(len(words)):
            e = words[j][:, : lengths[j]]  # (D, T)
            s = v.T @ e  # (R, T)
            a = np.exp(s - s.max(1, keepdims=True))
            a /= a.sum(1, keepdims=True)
            total = 0.0
            for t in range(e.shape[1]):
                b = np.exp(gamma1 * a[:, t])
                b /= b.sum()
                c = v @ b
                cosine = c @ e[:, t] / max(np.linalg.norm(c) * np.linalg.norm(e[:, t]), 1e-8)
                total += np.exp(gamma2 * cosine)
            result[i, j] = np.log(total)
    return result


def slow_matching_loss(similarity, class_ids):
    """Both cross-entropies, pairs of one class left out, in float64."""
    total = 0.0
    for matrix in (similarity, similarity.T):
        for i in range(len(matrix)):
            kept = [j for j in range(len(matrix)) if j == i or class_ids[j] != class_ids[i]]
            total -= matrix[i, i] - np.log(np.exp(matrix[i, kept]).sum())
    return total / len(similarity)


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return {
        "regions": rng.normal(size=(5, 6, 3, 4)),
        "code": rng.normal(size=(5, 6)),
        "words": rng.normal(size=(5, 6, 7)),
        "sentence": rng.normal(size=(5, 6)),
        "lengths": np.array([7, 3, 1, 5, 2]),
        "class_ids": np.array([0, 1, 0, 2, 3]),
    }


def tensors(features):
    result = {name: torch.tensor(value) for name, value in features.items()}
    for name in ("regions", "code", "words", "sentence"):
        result[name] = result[name].float()
    result["mask"] = padding_mask(result.pop("lengths"), 7)
    return result


def test_word_similarity_is_the_equation(features):
    t = tensors(features)
    ours = word_region_similarity(t["regions"], t["words"], t["mask"], gamma1=4.0, gamma2=5.0)
    slow = slow_similarity(features["regions"], features["words"], features["lengths"], 4.0, 5.0)
    np.testing.assert_allclose(ours.numpy(), slow, rtol=1e-5)


def test_both_losses_are_the_equations(features):
    by_words, by_sentence = damsm_losses(**tensors(features), gammas=DamsmGammas(*GAMMAS))
    slow_words = slow_similarity(features["regions"], features["words"], features["lengths"], *GAMMAS[:2])
    code, sentence = features["code"], features["sentence"]
    cosine = (code @ sentence.T) / np.outer(np.linalg.norm(code, axis=1), np.linalg.norm(sentence, axis=1))
    for ours, similarity in ((by_words, slow_words), (by_sentence, cosine)):
        slow = slow_matching_loss(GAMMAS[2] * similarity, features["class_ids"])
        assert ours.item() == pytest.approx(slow, rel=1e-5)


def test_the_global_loss_is_the_equation_whatever_the_lengths_of_the_vectors(features):
    code, sentence = features["code"], features["sentence"]
    cosine = (code @ sentence.T) / np.outer(np.linalg.norm(code, axis=1), np.linalg.norm(sentence, axis=1))
    class_ids = torch.from_numpy(features["class_ids"])
    for stretch in (0.1, 1, 10):
        vectors = torch.tensor(code * stretch), torch.tensor(sentence)
        ours = global_matching_loss(*vectors, class_ids, gamma=7.0)
        slow = slow_matching_loss(7.0 * cosine, features["class_ids"])
        assert ours.item() == pytest.approx(slow, rel=1e-5)


def test_padding_takes_no_part(features):
    t = tensors(features)
    before = word_region_similarity(t["regions"], t["words"], t["mask"], gamma1=4.0, gamma2=5.0)
    t["words"] = t["words"].masked_fill(~t["mask"][:, None], 1e3)
    after = word_region_similarity(t["regions"], t["words"], t["mask"], gamma1=4.0, gamma2=5.0)
    torch.testing.assert_close(before, after)


def test_gradients_are_finite_with_padding(features):
    t = tensors(features)
    for name in ("regions", "words"):
        t[name].requires_grad_()
    word_region_similarity(t["regions"], t["words"], t["mask"], gamma1=4.0, gamma2=5.0).sum().backward()
    assert t["regions"].grad.isfinite().all()
    assert t["words"].grad.isfinite().all()
    assert (t["words"].grad.masked_select(~t["mask"][:, None]) == 0).all()


def test_wrong_pairs_of_one_class_are_left_out():
    similarity = torch.tensor([[1.0, 9.0], [9.0, 1.0]])
    assert matching_loss(similarity, torch.tensor([4, 4])).item() == pytest.approx(0.0)
    assert matching_loss(similarity, torch.tensor([4, 5])).item() > 10


def test_cosine_of_zero_vectors_is_zero():
    assert cosine_similarity_matrix(torch.zeros(1, 3), torch.ones(2, 3)).tolist() == [[0.0, 0.0]]
