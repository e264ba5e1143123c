"""How well images match captions, written or spoken: as a whole, and word by region (DAMSM; AttnGAN, section 3.2).

Everything is batched over all image-caption pairs of the batch and computed in float32: the exponents of
the two softmaxes (gamma up to 10) lose digits that matter in bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

COSINE_EPSILON = 1e-8


def padding_mask(lengths: Tensor, words: int) -> Tensor:
    """True where a position holds a word and not padding.

    Args:
        lengths: (B,) number of words of each caption.
        words: Padded length L.

    Returns:
        (B, L) bool.
    """
    return torch.arange(words, device=lengths.device)[None, :] < lengths[:, None]


def word_region_similarity(
    regions: Tensor, words: Tensor, mask: Tensor, *, gamma1: float, gamma2: float
) -> Tensor:
    """R(image, caption) of AttnGAN eqs. 7-10 for every image with every caption.

    Each word attends to the regions of the image (softmax over words, then over regions with `gamma1`); the
    similarity is log sum_t exp(gamma2 * cos(context_t, word_t)), without the outer 1/gamma2 of the paper, as in
    its public code.

    Args:
        regions: (B, D, H, W) local image features.
        words: (C, D, L) word features.
        mask: (C, L) bool, True at words; padding takes no part anywhere.
        gamma1: Sharpness of the attention over regions.
        gamma2: Sharpness of the soft maximum over words.

    Returns:
        (B, C) float32; rows are images.
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
        # The dot product of context and word is the attention-weighted sum of the scores that exist already.
        dot = (over_regions * scores).sum(dim=1)  # (B, C, L)
        norms = (context_norm * words.norm(dim=1)).clamp(min=COSINE_EPSILON)
        cosine = dot / norms
        return (gamma2 * cosine).masked_fill(~mask, -torch.inf).logsumexp(dim=2)


def cosine_similarity_matrix(images: Tensor, sentences: Tensor) -> Tensor:
    """Cosine of every image code with every sentence vector.

    Args:
        images: (B, D).
        sentences: (C, D).

    Returns:
        (B, C) float32 in [-1, 1].
    """
    with torch.autocast(images.device.type, enabled=False):
        images, sentences = images.float(), sentences.float()
        norms = images.norm(dim=1)[:, None] * sentences.norm(dim=1)[None, :]
        return images @ sentences.T / norms.clamp(min=COSINE_EPSILON)


def matching_loss(similarity: Tensor, class_ids: Tensor) -> Tensor:
    """Cross-entropy of the right pair against the rest of the batch, both ways (AttnGAN eqs. 11-13).

    A wrong pair whose image and caption share a class is left out: it may well match.

    Args:
        similarity: (B, B), already sharpened; rows are images, the right pairs on the diagonal.
        class_ids: (B,) class of each pair.

    Returns:
        Scalar: image-to-caption plus caption-to-image cross-entropy.
    """
    same_class = class_ids[:, None] == class_ids[None, :]
    same_class.fill_diagonal_(False)
    logits = similarity.masked_fill(same_class, -torch.inf)
    right = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)


def distinct_classes(class_ids: Tensor) -> Tensor:
    """(B,) class ids in place of others (B,) with which every wrong pair counts: each pair is a class of its own."""
    return torch.arange(len(class_ids), device=class_ids.device)


def global_matching_loss(images: Tensor, captions: Tensor, class_ids: Tensor, *, gamma: float) -> Tensor:
    """The matching loss of global vectors: DAMSM's sentence loss, and the speech encoder's (S2IGAN code).

    Args:
        images: (B, D) of any length; only their direction counts.
        captions: (B, D) sentence or speech vectors, in the same order.
        class_ids: (B,) class of each pair.
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
    """The two halves of the DAMSM loss (AttnGAN eq. 14; `L_DAMSM` of FF-GAN eq. 10 is their sum).

    Args:
        regions: (B, D, H, W) local image features.
        code: (B, D) global image code.
        words: (B, D, L) word features.
        sentence: (B, D) sentence vector.
        mask: (B, L) bool, True at words.
        class_ids: (B,).
        gammas: Smoothing factors.

    Returns:
        Word loss and sentence loss, scalars.
    """
    by_words = word_region_similarity(regions, words, mask, gamma1=gammas.gamma1, gamma2=gammas.gamma2)
    by_sentence = global_matching_loss(code, sentence, class_ids, gamma=gammas.gamma3)
    return matching_loss(gammas.gamma3 * by_words, class_ids), by_sentence
