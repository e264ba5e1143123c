"""What a run costs: parameters counted in the file as in the network, and time as the log has it."""

import json
import shutil

import pytest
from torch import nn

from gancli.config import load_recipe
from gancli.errors import DataError, UsageError
from gancli.inference.csfgan import load_inpainter
from gancli.inference.load import load_model
from gancli.models.csfgan import Generator
from gancli.scores.cost import generator_parameters, score_cost
from gancli.training import train

SESSION = {"cpu": "Some CPU", "threads": 2, "gpus": []}


@pytest.fixture
def run(tiny_model, tmp_path):
    """A run folder around the untrained FF-GAN, of two sessions."""
    folder = tmp_path / "0001-ffgan-cub"
    shutil.copytree(tiny_model, folder / "model")
    (folder / "recipe.yaml").write_text("model: {name: ffgan}\n")
    (folder / "log.csv").write_text(
        "step,images_seen,seconds\n10,40,1800.5\n20,80,5400\n30,120,66"
    )  # cut short
    sessions = [SESSION, {**SESSION, "gpus": ["Fast", "Fast"]}]
    (folder / "environment.json").write_text(json.dumps({"sessions": sessions}))
    return folder


@pytest.mark.parametrize("model", ["tiny_model", "tiny_stackgan", "tiny_fusion_s2igan"])
def test_parameters_in_the_file_are_those_of_the_networks_that_draw(model, request):
    folder = request.getfixturevalue(model)
    parts = vars(load_model(folder)).items()
    drawing = [part for name, part in parts if name in ("generator", "stage1", "stage2")]
    assert all(isinstance(network, nn.Module) for network in drawing)
    parameters = sum(weight.numel() for network in drawing for weight in network.parameters())
    assert generator_parameters(folder) == parameters > 0


def test_rows_name_run_and_machines(run):
    parameters, hours = score_cost(run)
    assert parameters.metric == "parameters_million"
    assert parameters.value == generator_parameters(run / "model") / 1e6
    assert hours.metric == "training_hours"
    assert hours.value == 1.5
    assert "to step 20" in hours.protocol
    assert hours.note == (
        "trained on Some CPU, 2 threads, no GPU and on Some CPU, 2 threads, 2 GPU (Fast), 2 sessions"
    )
    for row in (parameters, hours):
        assert (row.method.partition(" [")[0], row.dataset, row.model, row.image_size) == (
            "FF-GAN",
            "cub",
            str(run),
            32,
        )
        assert row.model_hash == load_model(run).hash
        assert "ffgan" in row.protocol
    assert score_cost(run)[1].value == 1.5


def test_a_run_of_csfgan(tiny_dataset, tiny_encoder, tmp_path):
    small = ("size=32", "generator_width=2", "discriminator_width=2", "noise_dim=6", "condition_dim=5")
    changes = [f"data={tiny_dataset}", f"encoder={tiny_encoder}", *(f"model.{each}" for each in small)]
    changes += ["loader.batch=2", "loader.workers=0", "train.minutes=null", "train.steps=1"]
    result = train(load_recipe("csfgan/demo", changes), runs=tmp_path)
    parameters, hours = score_cost(result.run)
    generator = Generator(**load_inpainter(result.run).settings["generator"])
    assert parameters.value == sum(weight.numel() for weight in generator.parameters()) / 1e6
    assert (parameters.method.partition(" [")[0], parameters.dataset, parameters.image_size) == (
        "CSF-GAN",
        "cub",
        32,
    )
    assert 0 < hours.value < 0.1


def test_what_is_missing_is_named(run):
    (run / "environment.json").unlink()
    assert "machine unknown" in score_cost(run)[1].note
    (run / "log.csv").write_text("step,images_seen,seconds\n")
    with pytest.raises(DataError, match=r"log\.csv: has no row yet"):
        score_cost(run)
    (run / "log.csv").write_text("step,images_seen\n1,2\n")
    with pytest.raises(DataError, match=r"log\.csv: cannot be read"):
        score_cost(run)
    weights = run / "model/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(DataError, match="broken or cut short"):
        generator_parameters(run / "model")


def test_what_is_no_run(run, tiny_model):
    with pytest.raises(DataError, match="no run folder"):
        score_cost(tiny_model)
    shutil.rmtree(run / "model")
    with pytest.raises(UsageError, match="has no model/"):
        score_cost(run)
