import copy
import functools
import json
import os
import subprocess
import sys
import time
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as global_hooks
from torch.nn.utils import parametrizations, spectral_norm

from autogas import InputError, get_space, list_proxies, score, score_many
from autogas.proxies.named import SCORERS
from autogas.proxies.probe import Probe, gradients, reconstruction

OF_MODULE = [name for name in list_proxies() if not name.startswith(("num_down", "num_skips"))]
SHARING = ("grad_norm", "snip", "plain", "fisher", "eznas", "jacov", "nwot", "meco", "swap", "variance", "entropy")


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def images(n=6):
    return noise(n, 3, 8, 8)


class Functional(nn.Module):
    """Activations as functions and methods, in place and not, and a shape of its own."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.first(x)
        y = self.second(F.leaky_relu(x, 0.1, True))
        y += x
        return self.norm(y).relu_()


def everything():
    """A network with everything that a scorer could disturb."""
    torch.manual_seed(0)
    model = nn.Sequential(
        OrderedDict(
            first=nn.LeakyReLU(0.1, True),  # writes its input
            body=Functional(),
            spectral=parametrizations.spectral_norm(nn.Conv2d(4, 4, 3, padding=1)),
            old=spectral_norm(nn.Conv2d(4, 4, 1)),
            slope=nn.PReLU(4),
            dropout=nn.Dropout(0.2),
            instance=nn.InstanceNorm2d(4, affine=True),
            still=nn.BatchNorm2d(4).eval(),
            up=nn.ConvTranspose2d(4, 3, 3, padding=1),
            end=nn.Tanh(),
        )
    )
    model.body.first.weight.requires_grad_(False)
    model.old.bias.requires_grad_(False)
    model.up.weight.grad = torch.full_like(model.up.weight, 3.0)
    model.body.register_forward_hook(lambda *_: None)
    model.up.register_full_backward_hook(lambda *_: None)
    return model


def state(model):
    """Everything of a module that a scorer could change."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    plain = {
        f"{name}.{key}": value
        for name, m in model.named_modules()
        for key, value in vars(m).items()
        if torch.is_tensor(value)
    }
    hooks = [[dict(getattr(m, kind)) for kind in vars(m) if kind.endswith("_hooks")] for m in model.modules()] + [
        dict(getattr(global_hooks, kind)) for kind in dir(global_hooks) if kind.endswith("_hooks") and kind[0] == "_"
    ]
    return {
        "values": {name: (id(t), t.detach().clone()) for name, t in (tensors | plain).items()},
        "grad": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "flags": {name: (p.requires_grad, p.is_leaf) for name, p in model.named_parameters()},
        "training": [m.training for m in model.modules()],
        "hooks": hooks,
        "keys": [sorted(vars(m)) for m in model.modules()],
    }


def same(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, tuple):
        return all(map(same, first, second))
    return first == second


@pytest.mark.parametrize("name", OF_MODULE)
def test_no_scorer_changes_anything(name):
    model, x = everything(), images()
    before, input_before, random = state(model), x.clone(), torch.get_rng_state()
    score(model, x, name)
    assert same(before, state(model))
    assert torch.equal(x, input_before)
    assert x.grad is None
    assert not x.requires_grad
    assert torch.equal(torch.get_rng_state(), random)


class Broken(nn.Module):
    def forward(self, x):
        torch.rand(1)
        raise RuntimeError("no such layer")


RUNNING = [n for n in OF_MODULE if n not in ("params", "l2_norm")]


@pytest.mark.parametrize("name", RUNNING)
def test_no_scorer_changes_anything_when_the_network_fails(name):
    model, x = everything(), images()
    model.end = Broken()
    before, input_before, random = state(model), x.clone(), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no such layer"):
        score(model, x, name)
    assert same(before, state(model))
    assert torch.equal(x, input_before)
    assert torch.equal(torch.get_rng_state(), random)


def test_no_scorer_changes_anything_when_the_loss_fails():
    def no_loss(output, inputs):
        raise RuntimeError("no labels")

    for name in ("grad_norm", "grasp", "hessian_trace", "zico", "short_training"):
        model = everything()
        before, random = state(model), torch.get_rng_state()
        with pytest.raises(RuntimeError, match="no labels"):
            score(model, images(), name, loss=no_loss)
        assert same(before, state(model))
        assert torch.equal(torch.get_rng_state(), random)


@pytest.fixture(scope="module")
def alone():
    """Each score of the network with everything, from a probe of its own."""
    return {name: score(everything(), images(), name) for name in OF_MODULE}


@pytest.mark.parametrize("order", [1, -1])
def test_scorers_do_not_disturb_each_other(alone, order):
    model = everything()
    torch.manual_seed(7)  # which dropout must not see
    for _ in range(2):
        assert score_many(model, images(), OF_MODULE[::order]) == alone


def test_another_process_with_other_threads_finds_the_same():
    names = [name for name in OF_MODULE if name != "plain"]  # which is what rounding leaves of zero before a batch norm
    code = f"""
import json, torch
torch.set_num_threads(2)
from autogas import get_space, score_many
space = get_space("transnas-macro", base_width=8, decoder_divisor=64, stem_stride=1, image_size=16)
found = score_many(space.build(space.parse("64-1234-basic")), space.inputs(batch_size=4), {names})
print(json.dumps(found))
"""
    patient = {**os.environ, "OMP_WAIT_POLICY": "passive"}  # threads that wait do not keep a busy machine's cores
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=patient)
    here = {}
    exec(code.replace("torch.set_num_threads(2)", "").replace("print(json.dumps(found))", ""), here)
    assert json.loads(done.stdout) == pytest.approx(here["found"], rel=1e-3)


@pytest.mark.cuda
def test_cuda_finds_the_same():
    space = get_space("transnas-macro", base_width=8, decoder_divisor=64, stem_stride=1, image_size=16)
    model, (x,) = space.build(space.parse("64-1234-basic")), space.inputs(batch_size=4)
    names = [name for name in OF_MODULE if name not in ("plain", "short_training")]  # which rounding decides
    expected = score_many(model, x, names)
    assert score_many(model.cuda(), x.cuda(), names) == pytest.approx(expected, rel=1e-2)


def calls():
    """Counts what it is called with, in a closure, where nothing is put back; returns the counts."""
    counts = Counter()

    def call(what=None):
        counts[what] += what is not None
        return counts

    return call


class Counted(nn.Sequential):
    """Counts forward calls, and backward calls that reach its input, where no scorer puts anything back."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.calls = calls()

    def forward(self, x):
        self.calls("forwards")
        if x.requires_grad:
            x.register_hook(self.count)
        return super().forward(x)

    def count(self, gradient):
        self.calls("backwards")


def counted():
    torch.manual_seed(0)
    return Counted(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))


def test_gradient_scorers_share_one_forward_and_one_backward_pass():
    model = counted()
    score_many(model, images(), SHARING)
    assert model.calls()["forwards"] == 1
    assert model.calls()["backwards"] == 1  # of the Jacobian: that of the objective stops at the weights


def test_backward_passes_of_the_objective():
    model, calls = counted(), []

    def loss(output, inputs):
        value = reconstruction(output, inputs)
        value.register_hook(calls.append)
        return value

    score_many(model, images(), SHARING, loss=loss)
    assert len(calls) == 1
    score_many(model, images(), [*SHARING, "zico"], loss=loss)
    assert len(calls) == 1 + 1 + 2


def test_passes_of_all_scorers():
    model = counted()
    score_many(model, images(), [name for name in SCORERS if name in OF_MODULE and name != "short_training"])
    assert (
        model.calls()["forwards"] == 1 + 2 + 2 + 3 + 1 + 1
    )  # recorded, zen, the halves of zico, synflow's gates and small flow, macs, num_transposed


def out_of_place():
    """What ``Functional`` computes, step by step."""

    def features(model, x):
        first = model.first(x)
        inner = F.leaky_relu(first, 0.1)
        second = model.second(inner)
        y = model.norm(second + inner)
        return [first, y], [first, second], F.relu(y)

    return features


def test_what_in_place_layers_overwrite_is_recorded():
    torch.manual_seed(0)
    model, x = Functional(), images()
    activations, convolutions, output = out_of_place()(model, x)
    probe = Probe(copy.deepcopy(model), (x,))
    assert all(map(torch.equal, probe.recorded.activations, activations))
    assert all(map(torch.equal, probe.recorded.convolutions, convolutions))
    assert len(probe.recorded.activations) == len(probe.recorded.convolutions) == 2
    assert torch.equal(probe.recorded.output, output)
    expected = torch.autograd.grad(F.l1_loss(output, torch.zeros_like(output)), convolutions)
    assert all(torch.allclose(a, b) for a, b in zip(probe.gradient.convolutions, expected, strict=True))


@pytest.mark.parametrize(
    "make",
    [nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.ELU, nn.CELU, nn.SELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.RReLU],
)
@pytest.mark.parametrize("discarded", [False, True])
def test_in_place_modules_score_as_others(make, discarded):
    class Net(nn.Module):
        def __init__(self, inplace):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.act, self.end = nn.Conv2d(3, 4, 3), make(inplace=inplace), nn.Conv2d(4, 4, 3)
            self.inplace = inplace

        def forward(self, x):
            y = self.conv(x)
            z = self.act(y)
            return self.end(y if self.inplace and discarded else z)

    names = [name for name in OF_MODULE if name not in ("hessian_trace",)]
    expected = score_many(Net(False).eval(), images(), names)
    assert score_many(Net(True).eval(), images(), names) == pytest.approx(expected, rel=1e-5)


def mlp(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).to(dtype)


def square(output, inputs):
    return (output - inputs[0]).square().mean()


def test_gradient_is_that_of_finite_differences():
    model, x = mlp(), noise(5, 3, dtype=torch.float64)
    found = Probe(model, (x,), loss=square).gradient.weights
    assert [g.shape for g in found] == [(4, 3), (3, 4)]  # no biases
    for w, g in zip((model[0].weight, model[2].weight), found, strict=True):
        for place in np.ndindex(*w.shape):
            ends = []
            for step in (1e-6, -1e-6):
                changed = copy.deepcopy(model)
                next(p for n, p in changed.named_parameters() if p.shape == w.shape).data[place] += step
                ends.append(float(square(changed(x), (x,)).detach()))
            assert float(g[place]) == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-8)


def full_hessian(model, x, loss):
    """The Hessian by all weights ``[P, P]``, biases kept."""
    names = [name for name, p in model.named_parameters() if p.dim() > 1]
    rest = {name: p.detach() for name, p in model.named_parameters() if p.dim() == 1}
    weights = [model.get_parameter(name).detach() for name in names]
    sizes = [w.numel() for w in weights]

    def objective(flat):
        parts = (part.view_as(w) for part, w in zip(flat.split(sizes), weights, strict=True))
        return loss(torch.func.functional_call(model, {**rest, **dict(zip(names, parts, strict=True))}, (x,)), (x,))

    return torch.func.jacrev(torch.func.jacrev(objective))(torch.cat([w.flatten() for w in weights]))


def test_hessian_vector_is_that_of_the_full_hessian():
    model, x = mlp(), noise(5, 3, dtype=torch.float64)
    vector = [noise(4, 3, seed=1, dtype=torch.float64), noise(3, 4, seed=2, dtype=torch.float64)]
    found = Probe(model, (x,), loss=square).hessian_vector(vector)
    expected = full_hessian(model, x, square) @ torch.cat([v.flatten() for v in vector])
    assert torch.allclose(torch.cat([h.flatten() for h in found]), expected, rtol=1e-10)


def test_hessian_of_a_linear_objective_is_zero():
    probe = Probe(nn.Linear(3, 2), (noise(4, 3),), loss=lambda output, inputs: output.sum())
    assert [float(h.abs().sum()) for h in probe.hessian_vector([torch.ones(2, 3)])] == [0.0]


def test_gradients_are_zero_without_dependence():
    a, b, c = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True), torch.ones(4)
    assert [g.tolist() for g in gradients((3 * a).sum(), [c, a, b])] == [[0] * 4, [3] * 2, [0] * 3]
    assert gradients(c.sum(), [a])[0].tolist() == [0, 0]


def test_jacobian():
    model, x = mlp(), noise(5, 3, dtype=torch.float64)
    full = torch.autograd.functional.jacobian(lambda x: model(x).sum(1), x)  # [N, N, 3]
    assert torch.allclose(Probe(model, (x,)).jacobian, full.sum(0))


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.inner, self.wrap = mlp(torch.float32), wrap

    def forward(self, *inputs):
        return self.wrap(self.inner(inputs[0]))


WRAPS = {
    "tuple": lambda y: (y, y.sum()),
    "list": lambda y: [y],
    "dict": lambda y: {"image": y, "extra": y.mean()},
    "nested, first nothing": lambda y: {"loss": None, "out": ((y,), 3)},
}


@pytest.mark.parametrize("kind", WRAPS)
def test_first_tensor_of_an_output_counts(kind):
    x = noise(6, 3)
    names = [name for name in OF_MODULE if name in SHARING and name not in ("nwot", "eznas", "meco", "swap")]
    names += ["zico", "grasp", "short_training", "zen", "macs"]
    assert score_many(Wrapped(WRAPS[kind]), x, names) == score_many(Wrapped(lambda y: y), x, names)


@pytest.mark.parametrize("name", ["snip", "synflow", "short_training", "jacov"])
@pytest.mark.parametrize("nothing", [None, (), {"a": 3}])
def test_output_without_tensors(name, nothing):
    with pytest.raises(InputError, match=r"output of the network is a .* without tensors"):
        score(Wrapped(lambda y: nothing), noise(6, 3), name)


class Pair(nn.Module):
    """An image, a code for each sample, whole numbers, and a step that is not a batch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.code, self.words = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(2, 4), nn.Embedding(5, 4)
        self.end = nn.Conv2d(4, 3, 1)

    def forward(self, image, code, words, step):
        condition = self.code(code) + self.words(words) + step
        return self.end(F.relu(self.conv(image) + condition[:, :, None, None]))


def test_several_inputs():
    inputs = (images(), noise(6, 2), torch.arange(6) % 5, torch.tensor(0.5))
    found = score_many(Pair(), inputs, OF_MODULE)
    assert np.isfinite(list(found.values())).all()
    assert found["params"] == sum(p.numel() for p in Pair().parameters())
    assert found["macs"] == 64 * (3 * 4 * 9 + 4 * 3) + 2 * 4


def test_whole_numbers_as_the_only_input():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 50), nn.ReLU(), nn.Linear(50, 2))
    words = torch.arange(8)
    names = [n for n in OF_MODULE if n in SCORERS and n not in ("jacov", "zen", "eznas", "meco")]
    assert np.isfinite(list(score_many(model, words, names).values())).all()
    with pytest.raises(InputError, match=r"input of torch.int64 has no derivative"):
        score(model, words, "jacov")


@pytest.mark.parametrize("name", ["grad_norm", "snip", "fisher", "zico", "grasp", "short_training"])
def test_loss_is_the_callers(name):
    model, x = mlp(torch.float32), noise(6, 3)
    once = score(model, x, name, loss=square)
    assert once != score(model, x, name)
    powers = {"fisher": 2, "grasp": 2, "zico": 0}
    if name != "short_training":
        twice = score(model, x, name, loss=lambda output, inputs: 2 * square(output, inputs))
        assert twice == pytest.approx(once * 2 ** powers.get(name, 1), rel=1e-5)


@pytest.mark.parametrize("name", ["snip", "zico", "short_training"])
@pytest.mark.parametrize(
    ("loss", "given"),
    [(lambda y, x: y, r"a tensor of shape \([36], 3\)"), (lambda y, x: 3.0, "float"), (lambda y, x: y[:1, 0], "shape")],
)
def test_loss_that_is_no_scalar_tensor(name, loss, given):
    if name == "short_training" and "shape " in given:
        given = "a tensor of shape"
    with pytest.raises(InputError, match=f"loss gives .*{given}.*: expected a scalar tensor"):
        score(mlp(torch.float32), noise(6, 3), name, loss=loss)


def test_reconstruction():
    x, y = noise(4, 3), noise(4, 3, seed=1)
    assert float(reconstruction({"image": y}, (x,))) == pytest.approx(np.abs(y.numpy() - x.numpy()).mean())
    assert float(reconstruction((noise(4, 7), y), (x,))) == pytest.approx(np.abs(noise(4, 7).numpy()).mean())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_around_do_not_count(mode, alone):
    model = everything()
    with mode():
        assert score_many(model, images().clone(), ["params"]) == {"params": alone["params"]}
    x = images()
    with mode():
        assert score_many(model, x, ["snip", "grasp", "zico", "jacov", "short_training", "synflow"]) == {
            name: alone[name] for name in ("snip", "grasp", "zico", "jacov", "short_training", "synflow")
        }


class NotFinite(nn.Module):
    def forward(self, x):
        return x / 0.0


@pytest.mark.parametrize(
    "name", [n for n in OF_MODULE if n not in ("params", "macs", "num_transposed", "l2_norm", "synflow", "zen")]
)
def test_network_without_finite_output_has_no_score(name):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), NotFinite())
    with pytest.raises(InputError):
        score(model, images(), name)


class NotDifferentiable(nn.Module):
    """Finite, with a derivative that is not."""

    def forward(self, x):
        return (x * 0).sqrt() + x


@pytest.mark.parametrize("name", ["grad_norm", "snip", "plain", "fisher", "grasp", "jacov", "zico", "eznas"])
def test_gradient_that_is_not_finite_is_no_score(name):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), NotDifferentiable())
    with pytest.raises(InputError, match=f"proxy '{name}' has no finite score"):
        score(model, images(), name)


def test_a_single_sample():
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)), images(1)
    names = [n for n in SCORERS if n in OF_MODULE and n not in ("zico", "jacov", "nwot")]
    assert np.isfinite(list(score_many(model, x, names).values())).all()
    with pytest.raises(InputError, match="1 sample has no two halves"):
        score(model, x, "zico")
    with pytest.raises(InputError, match="1 sample has none to differ from"):
        score(model, x, "nwot")
    with pytest.raises(InputError, match="proxy 'jacov' has no finite score"):
        score(model, x, "jacov")


@pytest.mark.parametrize("n", [2, 3])
def test_few_samples(n):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3))
    assert np.isfinite(list(score_many(model, images(n), OF_MODULE).values())).all()


WITHOUT_WEIGHTS = {"grad_norm": 0, "snip": 0, "plain": 0, "grasp": 0, "zico": 0, "l2_norm": 0, "params": 0, "macs": 0}


def test_network_without_weights():
    found = score_many(nn.ReLU(), images(), [*WITHOUT_WEIGHTS, "fisher", "hessian_trace"])
    assert found == {**WITHOUT_WEIGHTS, "fisher": 0, "hessian_trace": 0}
    for name in ("zen", "synflow", "eznas", "variance", "entropy", "short_training", "meco"):
        with pytest.raises(InputError):
            score(nn.ReLU(), images(), name)


def test_frozen_parameters_count_as_others():
    frozen = mlp(torch.float32).requires_grad_(False)
    names = ["snip", "grasp", "zico", "synflow", "short_training", "l2_norm"]
    assert score_many(frozen, noise(6, 3), names) == score_many(mlp(torch.float32), noise(6, 3), names)


def test_shared_weights_count_once():
    torch.manual_seed(0)
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    found = score_many(model, noise(6, 3), ["params", "l2_norm", "macs"])
    assert found == {"params": 12, "l2_norm": pytest.approx(float(layer.weight.detach().norm())), "macs": 18}


def test_seconds_of_a_pass_are_without_those_it_needs(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def takes(seconds, result=0.0, needs=None):
        def run():
            if needs is not None:
                needs()
            clock[0] += seconds
            return result

        return run

    probe = Probe(nn.ReLU(), (images(),))
    inner = functools.partial(probe.once, "inner", takes(1.0))
    outer = functools.partial(probe.once, "outer", takes(2.0, needs=inner))
    assert probe.cost_of(lambda p: takes(4.0, result=5.0, needs=outer)()) == (5.0, 7.0)
    assert probe.seconds == {"inner": 1.0, "outer": 2.0, "score": 4.0}
    assert probe.cost_of(lambda p: takes(8.0, result=6.0, needs=inner)()) == (6.0, 9.0)
    assert probe.cost_of(lambda p: takes(8.0, result=6.0, needs=outer)()) == (6.0, 11.0)  # which needs the inner too


def test_scorers_of_one_kind_are_registered_once():
    from autogas.proxies.scorer import scorer

    with pytest.raises(ValueError, match="scorer 'snip' is registered twice"):

        @scorer()
        def snip(probe):
            return 0.0


@pytest.mark.parametrize("name", SCORERS)
def test_every_scorer_says_what_it_is_and_which_way(name):
    doc = SCORERS[name].of_network.__doc__
    assert SCORERS[name].doc
    assert "\n" not in SCORERS[name].doc
    assert "better" in doc.partition("igger is")[2]
