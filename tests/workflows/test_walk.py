"""From a search to the trained network as a file for other programs, in every space of the package."""

import warnings

import numpy as np
import onnxruntime
import pytest
import torch

import autogas
from autogas.datasets.mini import make_translation
from autogas.errors import InputError

AUTOENCODER = {"base_width": 4, "decoder_divisor": 16, "stem_stride": 1, "image_size": 16}
OF_AUTOENCODERS = {"images": "dead-leaves", "train_images": 8, "held_out_images": 4}
OF_AUTOENCODERS["recipe"] = {"steps": 2, "batch_size": 2}
ADVERSARIAL = {"steps": 2, "generator_batch": 2, "discriminator_batch": 2, "critic_steps": 1}
OF_GANS = {"images": "dead-leaves", "train_images": 8, "samples": 12}
TRANSLATION = {"discriminator_width": 2, "discriminator_layers": 1, "batch": 2, "steps": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folders of small data sets, by kind."""
    folder = tmp_path_factory.mktemp("data")
    for kind, size in (("edges2photo", 32), ("labels2photo", 64)):
        make_translation(kind, folder / kind, images="dead-leaves", count=4, held_out_count=4, size=size)
    return {kind: str(folder / kind) for kind in ("edges2photo", "labels2photo")}


CASES = {
    "transnas": (AUTOENCODER, OF_AUTOENCODERS, "ssim"),
    "transnas-macro": (AUTOENCODER, OF_AUTOENCODERS, "ssim"),
    "transnas-micro": (AUTOENCODER, OF_AUTOENCODERS, "ssim"),
    "eagan-generator": (
        {"width": 4},
        {**OF_GANS, "recipe": {**ADVERSARIAL, "discriminator_width": 2}},
        "fid-cifarnet",
    ),
    "eagan-discriminator": (
        {"width": 4},
        {**OF_GANS, "recipe": ADVERSARIAL, "generator_width": 4},
        "fid-cifarnet",
    ),
    "resnet-translation": (
        {"image_size": 32, "divisor": 8},
        {"task": "pix2pix", "data": "edges2photo", "recipe": TRANSLATION},
        "fid-cifarnet",
    ),
    "diffusion-unet": (
        {"image_size": 16},
        {**OF_GANS, "held_out_images": 4, "recipe": {"steps": 2, "batch": 2}},
        "denoising-loss",
    ),
    "spade-translation": (
        {"image_size": 64, "divisor": 8, "num_labels": 6, "layout": "coco"},
        {"data": "labels2photo", "recipe": TRANSLATION},
        "fid-cifarnet",
    ),
}


def test_every_space_of_the_package_is_walked():
    own = {name: type(autogas.get_space(name)) for name in autogas.list_spaces()}
    assert {name for name, kind in own.items() if kind is not autogas.ChoiceSpace} == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_winner_is_trained_and_exported(name, data, tmp_path):
    settings, training, metric = CASES[name]
    training = {**training, **({"data": data[training["data"]]} if "data" in training else {})}
    images = {"images": "dead-leaves"} if name == "eagan-discriminator" else {}
    few = {"population": 2, "iterations": 1, "sample": 2, "agreement": 0, "scored_at": {}, **images}
    found = autogas.search(name, "params", space_settings=settings, out=str(tmp_path / "search"), **few)
    run = autogas.train(str(found.path), out=str(tmp_path / "train"), **training)
    assert run.results["arch"] == found.results["winner"]["arch"]
    assert np.isfinite(run.results["metrics"][metric])
    trained = autogas.load_network(run.path)
    written = autogas.export(run.path)
    assert 0 < written["difference"] < 1e-4
    inputs = trained.space.inputs(batch_size=3, seed=5)  # another batch than the one that it was traced with
    session = onnxruntime.InferenceSession(written["file"])
    names = [node.name for node in session.get_inputs()]
    (outputs,) = session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))
    expected = trained.network(*inputs)
    torch.testing.assert_close(torch.from_numpy(outputs), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_torchscript_and_latency(tmp_path):
    settings, training, _ = CASES["eagan-generator"]
    given = {"space_settings": settings, **training}
    run = autogas.train("eagan-best", out=str(tmp_path / "train"), **given)
    written = autogas.export(run.path, format="torchscript", file=tmp_path / "g.pt")
    inputs = autogas.load_network(run.path).space.inputs(batch_size=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, which would rather have another format
        outputs = torch.jit.load(written["file"])(*inputs)
    torch.testing.assert_close(outputs, autogas.load_network(run.path).network(*inputs))
    times = autogas.latency(run.path)
    for program in ("torch", "onnxruntime"):
        assert 0 < times[program]["median"] <= times[program]["p95"]
        assert times[program]["runs"] >= 20
    with pytest.raises(InputError, match="a training, or a space and an architecture"):
        autogas.latency(run.path, space="eagan-generator", arch="eagan-best")
    with pytest.raises(InputError, match="format 'tflite': expected onnx, torchscript, safetensors"):
        autogas.export(run.path, format="tflite")


@pytest.mark.parametrize(
    ("format", "name", "said"),
    [
        ("onnx", "generator.safetensors", "expected a name that ends in .onnx"),
        ("onnx", "results.json", "expected a name that ends in .onnx"),
        ("safetensors", "checkpoint.safetensors", "is a file of a run"),
        ("onnx", "samples", "is a folder"),
        ("torchscript", "nowhere/x.pt", "expected a name in a folder that exists"),
    ],
)
def test_an_export_writes_over_nothing_of_the_run(format, name, said, image_folder, tmp_path):
    run = autogas.train(
        "eagan-best",
        out=str(tmp_path / "run"),
        images=str(image_folder),
        width=2,
        samples=4,
        checkpoint_samples=2,
        recipe={
            "steps": 1,
            "generator_batch": 2,
            "discriminator_batch": 2,
            "critic_steps": 1,
            "discriminator_width": 2,
        },
    )
    before = {file.name: file.read_bytes() for file in run.path.iterdir() if file.is_file()}
    with pytest.raises(autogas.InputError, match=said):
        autogas.export(run.path, format=format, file=run.path / name)
    assert {file.name: file.read_bytes() for file in run.path.iterdir() if file.is_file()} == before


def test_outputs_that_differ_leave_no_file(tmp_path, monkeypatch):
    settings, training, _ = CASES["eagan-generator"]
    run = autogas.train("eagan-best", out=str(tmp_path / "train"), space_settings=settings, **training)
    monkeypatch.setattr("autogas.training.interchange.run_onnx", lambda path, inputs: torch.zeros(2, 3, 32, 32))
    with pytest.raises(InputError, match="onnx: outputs differ"):
        autogas.export(run.path)
    assert not (run.path / "generator.onnx").exists()


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["transnas-macro", "eagan-discriminator", "diffusion-unet"])
def test_a_network_is_trained_on_cuda(name, tmp_path):
    settings, training, metric = CASES[name]
    arch = str(next(autogas.get_space(name, **settings).enumerate()))
    given = {"space": name, "space_settings": settings, "device": "cuda", **training}
    run = autogas.train(arch, out=str(tmp_path / "train"), **given)
    assert np.isfinite(run.results["metrics"][metric])
