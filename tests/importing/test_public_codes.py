"""Import of public files: random tensors in each public layout, compared with transcriptions that read public names."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import inception_v3

import gancli
from gancli.config.load import load_recipe
from gancli.data.audio import MelSettings
from gancli.data.text import Vocabulary
from gancli.encoders.char_cnn_rnn import ALPHABET, load_char_cnn_rnn
from gancli.encoders.damsm import load_damsm
from gancli.encoders.speech import load_speech
from gancli.engine.checkpoint import RunFolder, read_checkpoint
from gancli.importing.attngan import import_damsm
from gancli.importing.char_cnn_rnn import import_char_cnn_rnn
from gancli.importing.csfgan import import_csfgan
from gancli.importing.dfgan import import_dfgan
from gancli.importing.ffgan import import_ffgan
from gancli.importing.s2igan import import_speech_encoder
from gancli.inference.csfgan import load_inpainter
from gancli.inference.ffgan import load_ffgan
from gancli.inference.fusion_s2igan import load_fusion_s2igan
from gancli.training.csfgan import networks as csfgan_networks
from gancli.training.ffgan import networks as ffgan_networks
from gancli.training.fusion_s2igan import build_networks, generator_arguments
from gancli.weights_folder import load_part, read_discriminators, read_settings
from tests.importing import public
from tests.importing.conftest import TEXT_DIM, WORDS, write_captions

CAPTION = "A small red bird, and this zebra"  # two words that the vocabulary lacks
KNOWN = [WORDS.index(word) for word in ("a", "small", "red", "bird", "this")]


def encoded(attngan_files):
    """Return the caption's words (1, D, L) and sentence (1, D) by the transcription."""
    return public.damsm_text(attngan_files[1], torch.tensor(KNOWN))


@pytest.mark.parametrize(("gates", "kind"), [(4, "lstm"), (3, "gru")])
def test_damsm_text_encoder(gates, kind, attngan_files, tmp_path):
    state = public.random_state(public.damsm_text_shapes(len(WORDS), 12, gates=gates))
    torch.save(state, tmp_path / "text.pth")
    write_captions(tmp_path / "captions.pickle")
    image = attngan_files[0] / "image_encoder200.pth"
    import_damsm(tmp_path / "text.pth", image, tmp_path / "captions.pickle", tmp_path / "encoder")
    encoder = load_damsm(tmp_path / "encoder")
    assert encoder.settings["text"]["rnn"] == kind
    assert encoder.vocabulary.words == WORDS
    expected_words, expected_sentence = public.damsm_text(state, torch.tensor(KNOWN))
    words, sentence = encoder.text(torch.tensor([KNOWN]), torch.tensor([len(KNOWN)]))
    assert (words - expected_words).abs().max() < 1e-6
    assert (sentence - expected_sentence).abs().max() < 1e-6


def test_damsm_image_encoder(attngan_files, imported_damsm):
    state = attngan_files[2]
    network = inception_v3(weights=None, transform_input=False, init_weights=False, aux_logits=False).eval()
    own = {name: tensor for name, tensor in state.items() if not name.startswith("emb_")}
    network.load_state_dict({**network.state_dict(), **own})
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    x = F.interpolate(images, size=(299, 299), mode="bilinear", align_corners=True)
    with torch.no_grad():
        for name, child in network.named_children():
            if name in ("avgpool", "dropout", "fc"):
                continue
            x = child(x)
            if name == "Mixed_6e":
                regions = F.conv2d(x, state["emb_features.weight"])
        code = F.linear(x.mean(dim=(2, 3)), state["emb_cnn_code.weight"], state["emb_cnn_code.bias"])
        encoder = load_damsm(imported_damsm)
        found_regions, found_code = encoder.image(images)
    assert (found_regions - regions).abs().max() < 1e-4 * regions.abs().max()
    assert (found_code - code).abs().max() < 1e-4 * code.abs().max()


FFGAN = ("model.generator_width=4", "model.discriminator_width=4", f"model.text_dim={TEXT_DIM}")


def test_ffgan(attngan_files, imported_damsm, tmp_path):
    state = public.random_state(public.ffgan_generator_shapes(4, TEXT_DIM, stages=3))
    torch.save(state, tmp_path / "netG.pth")
    judges = {
        side: public.random_state(public.ffgan_discriminator_shapes(4, TEXT_DIM, side), side)
        for side in (64, 128, 256)
    }
    for number, judge in enumerate(judges.values()):
        torch.save(judge, tmp_path / f"netD{number}.pth")
    files = [tmp_path / f"netD{number}.pth" for number in range(3)]
    out = tmp_path / "model"
    imported = import_ffgan(tmp_path / "netG.pth", imported_damsm, out, discriminators=files, overrides=FFGAN)
    assert len(imported.dropped) == 24
    model = load_ffgan(out)
    noises = {name: torch.randn(1, dim) for name, dim in model.noise_dims.items()}
    words, sentence = encoded(attngan_files)
    expected = public.ffgan_generator(state, sentence, words, noises["noise"], noises["condition_noise"])
    for found, image in zip(model.draw([CAPTION], noises).images, expected, strict=True):
        assert found.shape == image.shape
        assert (found - image).abs().max() < 1e-5

    tensors = read_discriminators(out)
    built = ffgan_networks(load_recipe("ffgan/cub", FFGAN)).networks
    for side, judge in judges.items():
        network = built[f"discriminator_{side}"].eval()
        load_part(network, tensors, f"discriminator_{side}.", out)
        images = torch.rand(2, 3, side, side) * 2 - 1
        unconditional, conditional = public.ffgan_discriminator(judge, images, sentence.expand(2, -1), 4)
        with torch.no_grad():
            features = network(images)
            assert torch.allclose(network.unconditional(features), unconditional, atol=1e-5, rtol=1e-4)
            found = network.conditional(features, sentence.expand(2, -1))
            assert torch.allclose(found, conditional, atol=1e-5, rtol=1e-4)


DFGAN = ("model.generator_width=4", "model.discriminator_width=4", "model.size=64")


@pytest.mark.parametrize("whole", [True, False])
def test_dfgan(whole, attngan_files, imported_damsm, tmp_path):
    net_g = public.random_state(public.dfgan_generator_shapes(4, TEXT_DIM, 64))
    shapes_d, shapes_c = public.dfgan_discriminator_shapes(4, TEXT_DIM, 64)
    net_d, net_c = public.random_state(shapes_d, 1), public.random_state(shapes_c, 2)
    saved = {"model": {"netG": net_g, "netD": net_d, "netC": net_c}, "epoch": 3} if whole else net_g
    torch.save(saved, tmp_path / "state.pth")
    out = tmp_path / "model"
    imported = import_dfgan(tmp_path / "state.pth", imported_damsm, out, overrides=DFGAN)
    model = load_fusion_s2igan(out)
    assert model.paper_name == "DF-GAN"
    noise = torch.randn(1, 100)
    _, sentence = encoded(attngan_files)
    expected = public.dfgan_generator(net_g, noise, sentence)
    assert (model.draw([CAPTION], {"noise": noise}).images[0] - expected).abs().max() < 1e-5
    tensors = read_discriminators(out)
    if not whole:
        assert tensors == {}
        assert imported.dropped == ()
        return
    assert imported.dropped == (
        "DBlocks.3.conv_s.weight",
        "DBlocks.3.conv_s.bias",
    )  # from 8 to 8 times the width
    recipe = load_recipe("dfgan/cub", DFGAN)
    network = build_networks(recipe, generator_arguments(recipe, TEXT_DIM))["discriminator"].eval()
    load_part(network, tensors, "discriminator.", out)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        found = network.score(network(images), sentence.expand(2, -1))
    expected = public.dfgan_discriminator(net_d, net_c, images, sentence.expand(2, -1))
    assert torch.allclose(found.flatten(), expected, atol=1e-5, rtol=1e-4)


CSFGAN = ("model.generator_width=4", "model.discriminator_width=4")


def test_csfgan(attngan_files, imported_damsm, tmp_path):
    state = public.random_state(public.csfgan_generator_shapes(4, TEXT_DIM))
    judge = public.random_state(public.csfgan_discriminator_shapes(4, TEXT_DIM), 1)
    torch.save(state, tmp_path / "G.pth")
    torch.save(judge, tmp_path / "D.pth")
    out = tmp_path / "model"
    import_csfgan(tmp_path / "G.pth", imported_damsm, out, discriminator=tmp_path / "D.pth", overrides=CSFGAN)
    model = load_inpainter(out)
    assert model.paper_name == "CSF-GAN"
    images, holes = torch.rand(1, 3, 256, 256) * 2 - 1, torch.zeros(1, 1, 256, 256)
    holes[:, :, 64:192, 64:192] = 1
    noises = {name: torch.randn(1, dim) for name, dim in model.noise_dims.items()}
    words, sentence = encoded(attngan_files)
    expected = public.csfgan_generator(
        state, images, holes, sentence, words, noises["noise"], noises["condition_noise"]
    )
    found = model.fill(images, holes, [CAPTION], noises).composite
    assert (found - expected).abs().max() < 2e-5

    tensors = read_discriminators(out)
    network = csfgan_networks(load_recipe("csfgan/cub", CSFGAN)).networks["discriminator"].eval()
    load_part(network, tensors, "discriminator.", out)
    with torch.no_grad():
        by_real, by_fake = network(images, found)
    assert torch.allclose(by_real, public.csfgan_discriminator(judge, images, found), atol=1e-5, rtol=1e-4)
    assert torch.allclose(by_fake, public.csfgan_discriminator(judge, found, images), atol=1e-5, rtol=1e-4)
    assert torch.equal(tensors["word_discriminator.weights.weight"], judge["gen_weight.weight"])
    assert torch.equal(tensors["word_discriminator.encoder.8.bias"], judge["local_discriminator.8.bias"])


def test_speech_encoder(tmp_path):
    state = public.random_state(public.speech_shapes())
    torch.save(state, tmp_path / "audio.pth")
    import_speech_encoder(tmp_path / "audio.pth", tmp_path / "encoder")
    encoder = load_speech(tmp_path / "encoder")
    assert encoder.image is None
    assert encoder.mel == MelSettings()
    mels = [torch.randn(frames, 40) for frames in (70, 31)]
    found = encoder.encode_mels([mel.numpy() for mel in mels])
    for vector, mel in zip(found, mels, strict=True):
        assert (vector - public.speech_vector(state, mel)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("hidden", "gated", "variant"), [(256, False, "A"), (512, True, "B"), (512, False, "C")]
)
@pytest.mark.parametrize("flat", [False, True])
def test_char_cnn_rnn(hidden, gated, variant, flat, tmp_path):
    state = public.random_state(public.char_cnn_rnn_shapes(hidden, gated=gated))
    saved = {name.replace(".", "_"): tensor for name, tensor in state.items()} if flat else state
    torch.save(saved, tmp_path / "encoder.pth")
    import_char_cnn_rnn(tmp_path / "encoder.pth", tmp_path / "encoder")
    encoder = load_char_cnn_rnn(tmp_path / "encoder")
    assert encoder.network.variant == variant
    caption = "this small bird is red, with a white belly"
    one_hot = torch.zeros(70, 201)
    for place, character in enumerate(caption):
        one_hot[ALPHABET.rindex(character), place] = 1
    expected = public.char_cnn_rnn(state, one_hot, third_pool=not gated)
    assert (encoder.encode([caption])[0] - expected).abs().max() < 1e-5


def test_a_folder_names_the_files_it_was_made_from(attngan_files, imported_damsm):
    settings = read_settings(imported_damsm)
    files = settings["imported"]["files"]
    assert [file["name"] for file in files] == ["text_encoder200.pth", "image_encoder200.pth"]
    assert all(len(file["sha256"]) == 64 for file in files)
    assert settings["dataset"]["name"] == "cub"
    assert settings["step"] is None


def test_an_imported_generator_and_its_discriminators_start_a_training(tiny_dataset, attngan_files, tmp_path):
    vocabulary = tiny_dataset / "vocabulary.json"
    entries = len(Vocabulary.load(vocabulary))
    torch.save(
        public.random_state(public.damsm_text_shapes(entries, TEXT_DIM, gates=4)), tmp_path / "text.pth"
    )
    encoder = tmp_path / "encoder"
    import_damsm(tmp_path / "text.pth", attngan_files[0] / "image_encoder200.pth", vocabulary, encoder)
    small = (*DFGAN[:2], "model.size=32")
    shapes_d, shapes_c = public.dfgan_discriminator_shapes(4, TEXT_DIM, 32)
    saved = {
        "netG": public.random_state(public.dfgan_generator_shapes(4, TEXT_DIM, 32)),
        "netD": public.random_state(shapes_d, 1),
        "netC": public.random_state(shapes_c, 2),
    }
    torch.save(saved, tmp_path / "state.pth")
    import_dfgan(tmp_path / "state.pth", encoder, tmp_path / "model", overrides=small)
    overrides = [*small, f"data={tiny_dataset}", f"encoder={encoder}", "loader.batch=2", "train.steps=1"]
    overrides += ["loader.workers=0", "optim.generator_lr=1e-12", "optim.discriminator_lr=1e-12"]
    recipe = gancli.load_recipe("dfgan/cub", overrides)
    result = gancli.train(recipe, runs=tmp_path / "runs", init_from=tmp_path / "model")
    checkpoint = RunFolder.open(result.run).resume_point()
    networks = read_checkpoint(checkpoint).networks
    assert torch.allclose(networks["generator.linear.weight"], saved["netG"]["fc.weight"], atol=1e-6)
    for name, public_name, net in (
        ("encoder.0.weight", "conv_img.weight", "netD"),
        ("head.0.weight", "joint_conv.0.weight", "netC"),
    ):
        assert torch.allclose(networks[f"discriminator.{name}"], saved[net][public_name], atol=1e-6)
