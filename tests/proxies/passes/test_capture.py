import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.overrides import _get_current_function_mode_stack

from autogas.proxies.passes import capture
from autogas.proxies.primitives import REGISTRY, Stage


def images(n=4, channels=3, seed=0):
    return torch.randn(n, channels, 6, 6, generator=torch.Generator().manual_seed(seed))


def watch(kind, model, *inputs):
    """Copies of the captured features, taken when they are offered."""
    seen = []
    capture.run(model, inputs, [(REGISTRY[Stage.LAYERS][kind].function, lambda feature: seen.append(feature.clone()))])
    return seen


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class Fails(nn.Module):
    def forward(self, x):
        raise RuntimeError("no")


def equal(found, expected):
    return len(found) == len(expected) and all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


MODULES = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "hardtanh": nn.Hardtanh(0.0, 6.0),
    "leaky_relu": nn.LeakyReLU(0.2),
    "prelu": nn.PReLU(),
    "rrelu": nn.RReLU(),
    "elu": nn.ELU(),
    "celu": nn.CELU(),
    "selu": nn.SELU(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "gelu": nn.GELU(),
    "gelu-tanh": nn.GELU("tanh"),
    "hardswish": nn.Hardswish(),
}


@pytest.mark.parametrize("name", MODULES)
def test_activation_module(name):
    x = images()
    assert equal(watch("activations", nn.Sequential(nn.Identity(), MODULES[name]), x), [x])


@pytest.mark.parametrize(
    "make", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.SiLU, nn.Mish, nn.Hardswish]
)
def test_in_place_module_is_read_before_the_call(make):
    x = images()
    assert equal(watch("activations", nn.Sequential(Call(torch.clone), make(inplace=True)), x), [x])


FUNCTIONS = {
    "F.relu": F.relu,
    "F.relu, in place": lambda x: F.relu(x.clone(), inplace=True),
    "F.relu_": lambda x: F.relu_(x.clone()),
    "F.relu6": F.relu6,
    "torch.relu": torch.relu,
    "torch.relu, by keyword": lambda x: torch.relu(input=x),
    "torch.relu_": lambda x: torch.relu_(x.clone()),
    "x.relu": lambda x: x.relu(),
    "x.relu_": lambda x: x.clone().relu_(),
    "F.silu": F.silu,
    "F.silu, in place": lambda x: F.silu(x.clone(), inplace=True),
    "F.gelu": F.gelu,
    "F.mish": F.mish,
    "F.elu": F.elu,
    "F.elu_": lambda x: F.elu_(x.clone()),
    "torch.selu": torch.selu,
    "torch.celu": torch.celu,
    "F.leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "F.leaky_relu_": lambda x: F.leaky_relu_(x.clone(), 0.1),
    "F.hardswish": F.hardswish,
    "torch.prelu": lambda x: torch.prelu(x, torch.tensor([0.1])),
    "x.prelu": lambda x: x.prelu(torch.tensor([0.1])),
    "torch.rrelu": torch.rrelu,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activation_function(name):
    x = images()
    assert equal(watch("activations", Call(FUNCTIONS[name]), x), [x])


@pytest.mark.parametrize(
    "function",
    [torch.tanh, torch.sigmoid, torch.abs, lambda x: x.softmax(1), lambda x: x.clamp_min(1e-6), lambda x: x + x],
)
def test_other_functions_are_not_activations(function):
    assert watch("activations", Call(function), images()) == []


def mixed():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(4),
        nn.SiLU(),
        nn.ConvTranspose2d(4, 5, 3),
        Call(torch.relu),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(180, 6),
        nn.GELU(),
    )


def hooked(model, x, kinds, *, before):
    """What ordinary hooks see."""
    out = []
    for module in model:
        if isinstance(module, kinds):
            if before:
                module.register_forward_pre_hook(lambda _, args: out.append(args[0].detach().clone()))
            else:
                module.register_forward_hook(lambda _, args, result: out.append(result.detach().clone()))
    model(x)
    return out


def test_activations_in_order_with_the_values_of_hooks():
    found = watch("activations", mixed(), images())
    assert equal(found, hooked(mixed(), images(), (nn.ReLU, nn.SiLU, Call, nn.GELU), before=True))


def test_convolutions_in_order_with_the_values_of_hooks():
    found = watch("convolutions", mixed(), images())
    assert equal(found, hooked(mixed(), images(), (nn.Conv2d, nn.ConvTranspose2d, nn.Linear), before=False))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(3, 2, 3), (4, 3, 8)),
        (nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"), (4, 3, 6, 6)),
        (nn.Conv3d(3, 2, 2), (4, 3, 4, 4, 4)),
        (nn.ConvTranspose1d(3, 2, 3), (4, 3, 8)),
        (nn.ConvTranspose2d(3, 2, 3, stride=2), (4, 3, 6, 6)),
        (nn.ConvTranspose3d(3, 2, 2), (4, 3, 4, 4, 4)),
        (nn.Linear(3, 2), (4, 3)),
        (nn.Linear(3, 2), (4, 5, 3)),
        (Call(lambda x: F.linear(x, torch.ones(2, 3))), (4, 3)),
        (Call(lambda x: torch.conv2d(x, torch.ones(2, 3, 1, 1))), (4, 3, 6, 6)),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else str(v),
)
def test_convolution(layer, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = layer(x)
    channels_second = expected.movedim(-1, 1) if isinstance(layer, nn.Linear) else expected
    assert equal(watch("convolutions", layer, x), [channels_second])


def test_both_kinds_from_one_pass():
    seen = []
    consumers = [(REGISTRY[Stage.LAYERS][kind].function, lambda _, kind=kind: seen.append(kind)) for kind in
                 ("activations", "convolutions")]  # fmt: skip
    capture.run(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1)), (images(),), consumers)
    assert seen == ["convolutions", "activations", "convolutions"]


def test_nested_and_shared_modules_count_every_call():
    relu = nn.ReLU()
    model = nn.Sequential(relu, nn.Sequential(relu, nn.Conv2d(3, 3, 1)), relu)
    assert len(watch("activations", model, images())) == 3


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.relu(x[:2]),
        lambda x: F.relu(x.transpose(0, 1)),
        lambda x: F.relu(x.sum((1, 2, 3))),
    ],
    ids=["half a batch", "channels first", "vector"],
)
def test_another_leading_dimension_is_skipped(function):
    assert watch("activations", Call(function), images()) == []


def test_result_is_that_of_the_network():
    x = images()
    with torch.no_grad():
        expected = mixed().eval()(x)
    found = capture.run(mixed().eval(), (x,), [])
    assert torch.equal(found.output, expected)
    assert not found.failure


def test_second_input():
    model = Call(lambda x, y: F.relu(x) + F.silu(y))
    x, y = images(seed=0), images(seed=1)
    assert equal(watch("activations", model, x, y), [x, y])


class Stateful(nn.Module):
    """Everything that a forward pass may change."""

    def __init__(self):
        super().__init__()
        self.spectral = parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))
        self.weighted = parametrizations.weight_norm(nn.Conv2d(4, 4, 3))
        self.norm = nn.BatchNorm2d(4)
        self.instance = nn.InstanceNorm2d(4, track_running_stats=True)
        self.drop = nn.Dropout(0.5)
        self.rrelu = nn.RReLU(inplace=True)

    def forward(self, x):
        x = self.instance(self.norm(self.spectral(x)))
        return self.rrelu(self.drop(self.weighted(x))) + torch.randn(())


def fingerprint(model):
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "modes": [module.training for module in model.modules()],
        "hooks": [
            (*module._forward_hooks, *module._forward_pre_hooks, *module._backward_hooks) for module in model.modules()
        ],
        "grads": [(p.requires_grad, p.grad) for p in model.parameters()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
    }


def same(before, after):
    states = before.pop("state"), after.pop("state")
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert before == after


@pytest.mark.parametrize("training", [True, False])
def test_network_is_unchanged(training):
    model = Stateful().train(training)
    before = fingerprint(model)
    assert len(watch("activations", model, images())) == 1
    same(before, fingerprint(model))


def test_that_network_would_change():
    model = Stateful()
    before = copy.deepcopy(model.state_dict())
    model(images())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"norm.running_mean", "instance.running_var", "spectral.parametrizations.weight.0._u"} <= changed


def test_buffers_stay_the_same_objects():
    model = Stateful()
    before = {name: id(buffer) for name, buffer in model.named_buffers()}
    watch("activations", model, images())
    assert before == {name: id(buffer) for name, buffer in model.named_buffers()}


class Average(nn.Module):
    """Keeps a moving average by giving the buffer a new tensor."""

    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.zeros(()))

    def forward(self, x):
        self.average = 0.9 * self.average + 0.1 * x.mean()
        return F.relu(x - self.average)


def test_buffer_that_is_replaced_is_put_back():
    model = Average()
    watch("activations", model, images() + 1)
    assert model.average == 0


def test_random_state_is_unchanged():
    model = Stateful()
    before = torch.get_rng_state()
    watch("activations", model, images())
    assert torch.equal(torch.get_rng_state(), before)


def test_inputs_are_unchanged():
    x = images()
    before = x.clone()
    watch("activations", mixed(), x)
    assert torch.equal(x, before)


def test_no_gradients_are_kept():
    assert not capture.run(mixed(), (images(),), []).output.requires_grad


def test_exception_in_forward_restores_the_network():
    model = nn.Sequential(Stateful(), Fails())
    before, random = fingerprint(model), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no"):
        watch("activations", model, images())
    same(before, fingerprint(model))
    assert torch.equal(torch.get_rng_state(), random)


def test_exception_in_a_consumer_restores_the_network():
    def consume(_):
        raise KeyError("full")

    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    before = fingerprint(model)
    with pytest.raises(KeyError):
        capture.run(model, (images(),), [(REGISTRY[Stage.LAYERS]["activations"].function, consume)])
    same(before, fingerprint(model))


@pytest.mark.parametrize("last", [nn.Identity(), Fails()], ids=["returns", "raises"])
def test_nothing_watches_afterwards(last):
    seen = []
    model = nn.Sequential(nn.ReLU(), last)
    consumers = [(REGISTRY[Stage.LAYERS]["activations"].function, seen.append)]
    try:
        capture.run(model, (images(),), consumers)
    except RuntimeError:
        assert isinstance(last, Fails)
    F.relu(images())
    assert len(seen) == 1
    assert _get_current_function_mode_stack() == []
