"""A small version of every model that `gancli train` trains, and a batch that any of them takes.

Small, but with all that makes one unlike the others: spectral norm, batch and instance norm, dropout, words of several
lengths, a frozen first stage, a gradient penalty, encoders that gradients pass through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gancli.data.loader import Batch
from gancli.engine.checkpoint import RunFolder
from gancli.engine.loop import Loop, LoopSettings
from gancli.engine.phases import Trainable
from gancli.models import attr2image, csfgan, ffgan, fusion_s2igan, stackgan
from tests.defaults import make_model, make_network
from tests.models.toy import TEXT_DIM, ImageEncoder, PerceptualNetwork, TextEncoder

COUNT = 4  # images in a batch
LEARNING_RATE = 0.01
SIZE = 32
ATTRIBUTES = 7
# The 16 features of a width of 4 meet a fault of torch's bf16 convolution (4x4, stride 4) on CPUs with AMX
DISCRIMINATOR_WIDTH = 8
NOISE = {"noise_dim": 5, "condition_dim": 6}


def frozen(network: nn.Module) -> Any:
    return network.eval().requires_grad_(False)


def ffgan_model() -> Trainable:
    return make_model(
        ffgan.FFGAN,
        make_network(ffgan.Generator, stages=(8, 16, 32), text_dim=TEXT_DIM, generator_width=4, **NOISE),
        {
            side: make_network(ffgan.Discriminator, size=side, discriminator_width=4, text_dim=TEXT_DIM)
            for side in (8, 16, 32)
        },
        frozen(TextEncoder()),
        frozen(ImageEncoder()),
        damsm=0.05,  # of encoders that were never trained, at this learning rate
    )


def stackgan_one() -> Trainable:
    return make_model(
        stackgan.StackGAN,
        make_network(stackgan.StageOneGenerator, size=SIZE, text_dim=TEXT_DIM, generator_width=4, **NOISE),
        make_network(
            stackgan.stage_one_discriminator,
            size=SIZE,
            text_dim=TEXT_DIM,
            discriminator_width=DISCRIMINATOR_WIDTH,
            condition_dim=3,
        ),
    )


def stackgan_two() -> Trainable:
    return make_model(
        stackgan.StackGAN,
        make_network(
            stackgan.StageTwoGenerator,
            size=SIZE,
            input_size=16,
            text_dim=TEXT_DIM,
            generator_width=8,
            condition_dim=6,
            residual_blocks=2,
        ),
        make_network(
            stackgan.stage_two_discriminator,
            size=SIZE,
            text_dim=TEXT_DIM,
            discriminator_width=DISCRIMINATOR_WIDTH,
            condition_dim=3,
        ),
        stage_one=make_network(
            stackgan.StageOneGenerator, size=16, text_dim=TEXT_DIM, generator_width=4, **NOISE
        ),
    )


def attr2shape() -> Trainable:
    return make_model(
        attr2image.Attr2Shape,
        make_network(attr2image.ShapeGenerator, size=SIZE, attributes=ATTRIBUTES, generator_width=4, **NOISE),
        {
            "global": make_network(
                attr2image.global_discriminator, size=SIZE, channels=1, discriminator_width=4
            ),
            "local": make_network(
                attr2image.local_discriminator, size=SIZE, channels=1, discriminator_width=4
            ),
        },
        make_network(
            attr2image.conditional_discriminator,
            attributes=ATTRIBUTES,
            size=SIZE,
            channels=1,
            discriminator_width=DISCRIMINATOR_WIDTH,
            condition_dim=3,
        ),
    )


def shape2image() -> Trainable:
    return make_model(
        attr2image.Shape2Image,
        make_network(
            attr2image.ImageGenerator, size=SIZE, attributes=ATTRIBUTES, generator_width=4, condition_dim=6
        ),
        {
            "global": make_network(
                attr2image.global_discriminator, size=SIZE, channels=3, discriminator_width=4
            )
        },
        make_network(
            attr2image.conditional_discriminator,
            attributes=ATTRIBUTES,
            size=SIZE,
            channels=3,
            discriminator_width=DISCRIMINATOR_WIDTH,
            condition_dim=3,
        ),
        d_sees_shape=False,
        shape_noise=0.0,
    )


def fusion(**changes: Any) -> Trainable:
    class Code(ImageEncoder):
        def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(images)[1]

    return make_model(
        fusion_s2igan.FusionS2iGan,
        make_network(
            fusion_s2igan.Generator,
            size=SIZE,
            condition_dim=TEXT_DIM,
            generator_width=4,
            noise_dim=5,
            modulation_hidden=4,
            **changes,
        ),
        make_network(fusion_s2igan.Discriminator, size=SIZE, condition_dim=TEXT_DIM, discriminator_width=4),
        image_encoder=frozen(Code()),
    )


def dfgan() -> Trainable:
    return fusion(block="dfgan", first_block=False, noise_in_condition=True)


def csfgan_model() -> Trainable:
    return make_model(
        csfgan.CSFGAN,
        make_network(csfgan.Generator, size=SIZE, text_dim=TEXT_DIM, generator_width=4, **NOISE),
        make_network(csfgan.Discriminator, discriminator_width=4),
        make_network(csfgan.WordLocalDiscriminator, text_dim=TEXT_DIM, discriminator_width=4),
        frozen(TextEncoder()),
        frozen(ImageEncoder()),
        frozen(PerceptualNetwork()),
    )


MODELS: dict[str, Callable[[], Trainable]] = {
    "ffgan": ffgan_model,
    "stackgan-1": stackgan_one,
    "stackgan-2": stackgan_two,
    "attr2image-shape": attr2shape,
    "attr2image-image": shape2image,
    "fusion-s2igan": fusion,
    "dfgan": dfgan,
    "csfgan": csfgan_model,
}


def build(name: str) -> Trainable:
    """The same weights at each call; those that a model starts at 0, behind which nothing would be seen, are drawn.

    Plain SGD: Adam makes whole steps of gradients that are rounding only, such as that of a bias before a batch norm.
    """
    torch.manual_seed(0)
    model = MODELS[name]()
    for network in model.networks.values():
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.1)
    for phase in model.phases:
        phase.optimizer = torch.optim.SGD(phase.trained(), lr=LEARNING_RATE)
    return model


def batch_of(name: str, number: int, count: int = COUNT) -> Batch:
    """Batch `number`; the longest caption has five words in even ones and four in odd ones."""
    random = torch.Generator().manual_seed(number)
    sides = (8, 16, 32) if name == "ffgan" else (SIZE,)

    def images() -> tuple[Tensor, ...]:
        return tuple(torch.rand(count, 3, side, side, generator=random) * 2 - 1 for side in sides)

    lengths = torch.tensor([5 - number % 2, 2, 3, 1, 4])[:count]
    tokens = torch.randint(1, 20, (count, 5), generator=random) * (torch.arange(5) < lengths[:, None])
    holes = torch.zeros(count, 1, SIZE, SIZE)
    holes[:, :, SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4] = 1
    return Batch(
        images=images(),
        tokens=tokens,
        lengths=lengths,
        class_ids=torch.arange(count),
        indices=torch.arange(count),
        sentences=torch.randn(count, TEXT_DIM, generator=random),
        wrong_images=images(),
        holes=holes,
        silhouettes=(torch.where(torch.rand(count, 1, SIZE, SIZE, generator=random) < 0.3, 1.0, -1.0),),
        attributes=(torch.rand(count, ATTRIBUTES, generator=random) < 0.4).float(),
        wrong_attributes=(torch.rand(count, ATTRIBUTES, generator=random) < 0.4).float(),
    )


def loop_of(name: str, run: RunFolder, model: Trainable | None = None, **options: Any) -> Loop:
    """A loop on the CPU, of three steps unless options, of LoopSettings and of Loop alike, say otherwise."""

    def batches(start: int) -> Iterator[Batch]:
        while True:
            yield batch_of(name, start)
            start += 1

    names = ("sample", "evaluate", "evaluate_every", "export", "events", "batches")
    of_loop = {key: options.pop(key) for key in names if key in options}
    settings: dict[str, Any] = {"steps": 3, "log_every": 1, "batch": COUNT, "ema_decay": 0.9} | options
    return Loop(
        model or build(name),
        of_loop.pop("batches", batches),
        run,
        LoopSettings(**settings),
        torch.device("cpu"),
        **of_loop,
    )


def trained(name: str, folder: Path, **options: Any) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Losses of the last step and the state of all networks and averages after it."""
    loop = loop_of(name, RunFolder.create(folder, name), **options)
    losses = loop.run().last
    averages = {f"averaged {name}": network for name, network in loop.averages.networks.items()}
    networks = {**loop.trainable.networks, **averages}
    state = {
        f"{network}.{key}": tensor.clone()
        for network, module in networks.items()
        for key, tensor in module.state_dict().items()
    }
    return dict(losses), state
