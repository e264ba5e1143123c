"""Matching losses of images and captions, written or spoken (DAMSM; AttnGAN, section 3.2).

All image-caption pairs of the batch are computed at once, in float32: bfloat16 has too few digits for the exponents of
the softmaxes (gamma up to 10).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

COSINE_EPSILON = 1e-8


def padding_mask(lengths: Tensor, words: int) -> Tensor:
    """Return a mask (B, L), True at words and False at padding, of captions of B lengths padded to L words."""
    return torch.arange(words, device=lengths.device)[None, :] < lengths[:, None]


def word_region_similarity(
    regions: Tensor, words: Tensor, mask: Tensor, *, gamma1: float, gamma2: float
) -> Tensor:
    """Return R(image, caption) of AttnGAN eqs. 7-10 for every image with every caption.

    Each word attends to the regions of the image (softmax over words, then over regions with `gamma1`). The
    similarity is log sum_t exp(gamma2 * cos(context_t, word_t)), without the paper's outer 1/gamma2, as in its public
    code.

    Args:
        regions: Local image features (B, D, H, W).
        words: Word features (C, D, L).
        mask: (C, L) bool, True at words. Padding takes no part.
        gamma1: Sharpness of the attention over regions.
        gamma2: Sharpness of the soft maximum over words.

    Returns:
        (B, C) float32. Rows are images.
    """
    with torch.autocast(regions.device.type, enabled=False):
        regions = regions.float().flatten(2)  # (B, D, R)
        words = words.float()
        captions, dim, length = words.shape
        images = regions.shape[0]
        words_flat = words.permute(1, 0, 2).reshape(dim, captions * length)
        scores = regions.transpose(1, 2) @ words_flat  # (B, R, C*L)
        scores = scores.view(images, -1, captions, length)  # (B, R, C, L)
        over_words = scores.masked_fill(~mask, -torch.inf).softmax(dim=3)
        over_regions = (gamma1 * over_words).softmax(dim=1)  # (B, R, C, L)
        context = regions @ over_regions.flatten(2)  # (B, D, C*L)
        context_norm = context.norm(dim=1).view(images, captions, length)  # (B, C, L)
        # The dot product of context and word is the attention-weighted sum of the scores.
        dot = (over_regions * scores).sum(dim=1)  # (B, C, L)
        norms = (context_norm * words.norm(dim=1)).clamp(min=COSINE_EPSILON)
        cosine = dot / norms
        similarity: Tensor = (gamma2 * cosine).masked_fill(~mask, -torch.inf).logsumexp(dim=2)
        return similarity


def cosine_similarity_matrix(images: Tensor, sentences: Tensor) -> Tensor:
    """Return the cosine (B, C) of every image code (B, D) with every sentence vector (C, D)."""
    with torch.autocast(images.device.type, enabled=False):
        images, sentences = images.float(), sentences.float()
        norms = images.norm(dim=1)[:, None] * sentences.norm(dim=1)[None, :]
        cosine: Tensor = images @ sentences.T / norms.clamp(min=COSINE_EPSILON)
        return cosine


def matching_loss(similarity: Tensor, class_ids: Tensor) -> Tensor:
    """Return the cross-entropies of right pairs against the rest of the batch, both ways (AttnGAN eqs. 11-13).

    Wrong pairs of the same class are left out, because they may well match.

    Args:
        similarity: (B, B), already multiplied by gamma. Rows are images, right pairs are on the diagonal.
        class_ids: Class of each pair, (B,).

    Returns:
        Scalar: image-to-caption plus caption-to-image cross-entropy.
    """
    same_class = class_ids[:, None] == class_ids[None, :]
    same_class.fill_diagonal_(False)
    logits = similarity.masked_fill(same_class, -torch.inf)
    right = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)


def distinct_classes(class_ids: Tensor) -> Tensor:
    """Return class ids (B,) that make each pair a class of its own, so that every wrong pair counts."""
    return torch.arange(len(class_ids), device=class_ids.device)


def global_matching_loss(images: Tensor, captions: Tensor, class_ids: Tensor, *, gamma: float) -> Tensor:
    """Return the matching loss of global vectors: DAMSM's sentence loss, and the speech encoder's (S2IGAN code).

    Args:
        images: Image vectors (B, D). Only their direction counts.
        captions: Sentence or speech vectors (B, D), in the same order.
        class_ids: Class of each pair, (B,).
        gamma: Sharpness of the comparison within the batch.

    Returns:
        Scalar: image-to-caption plus caption-to-image cross-entropy of gamma * cosine.
    """
    return matching_loss(gamma * cosine_similarity_matrix(images, captions), class_ids)


@dataclass(frozen=True)
class DamsmGammas:
    """Smoothing factors of the DAMSM loss.

    Attributes:
        gamma1: Sharpness of the attention over regions.
        gamma2: Sharpness of the soft maximum over words.
        gamma3: Sharpness of the comparison within the batch.
    """

    gamma1: float
    gamma2: float
    gamma3: float


def damsm_losses(
    regions: Tensor,
    code: Tensor,
    words: Tensor,
    sentence: Tensor,
    mask: Tensor,
    class_ids: Tensor,
    gammas: DamsmGammas,
) -> tuple[Tensor, Tensor]:
    """Return the two halves of the DAMSM loss (AttnGAN eq. 14). `L_DAMSM` of FF-GAN eq. 10 is their sum.

    Args:
        regions: Local image features (B, D, H, W).
        code: Global image code (B, D).
        words: Word features (B, D, L).
        sentence: Sentence vectors (B, D).
        mask: (B, L) bool, True at words.
        class_ids: Class of each pair, (B,).
        gammas: Smoothing factors.

    Returns:
        Word loss and sentence loss, scalars.
    """
    by_words = word_region_similarity(regions, words, mask, gamma1=gammas.gamma1, gamma2=gammas.gamma2)
    by_sentence = global_matching_loss(code, sentence, class_ids, gamma=gammas.gamma3)
    return matching_loss(gammas.gamma3 * by_words, class_ids), by_sentence
