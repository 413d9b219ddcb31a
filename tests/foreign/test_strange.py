"""Networks of kinds that strangers bring, each against the same arithmetic written plainly or a value by hand."""

import array
import functools
import itertools
import math
import random
from collections import UserDict, UserList
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from autogas import InputError, explain, score, score_many

TRACE = "convolutions > gram > trace > log"


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Net(nn.Module):
    """A network by its forward function."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args):
        return self.function(self, *args)


def images():
    return noise(8, 3, 16, 16)


def layers():
    torch.manual_seed(0)
    return {"a": nn.Conv2d(3, 8, 3, padding=1), "b": nn.Conv2d(8, 3, 3, padding=1)}


@pytest.mark.parametrize("proxy", ["autogas", "separation", "nwot", "snip", "macs", "zico", "num_activations"])
def test_labels_may_come_before_images(proxy):
    parts = layers() | {"e": nn.Embedding(10, 8)}
    x, y = images(), torch.arange(8)
    last = Net(lambda s, x, y: s.b((s.a(x) + s.e(y)[:, :, None, None]).relu()), **parts)
    first = Net(lambda s, y, x: s.b((s.a(x) + s.e(y)[:, :, None, None]).relu()), **parts)
    assert score(first, (y, x), proxy) == score(last, (x, y), proxy)
    by_scale = Net(lambda s, t, x: s.b((t * s.a(x)).relu()), **layers())
    assert score(by_scale, (torch.tensor(1.0), x), proxy) == score(
        Net(lambda s, x: s.b(s.a(x).relu()), **layers()), x, proxy
    )


def test_a_vector_of_indices_is_a_batch():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.arange(8)
    rest = score(net[1:], net[0](x).detach(), TRACE)
    assert score(net, x, TRACE) == pytest.approx(rest, rel=1e-6)
    assert len(explain(net, x, TRACE).layers) == 3


@pytest.mark.parametrize(
    ("x", "what"), [(torch.tensor(3.0), "a single number"), (torch.zeros(0, 3, 8, 8), "no samples")]
)
@pytest.mark.parametrize("proxy", ["autogas", "nwot", "snip", "macs", "num_activations", "params"])
def test_inputs_without_samples(x, what, proxy):
    with pytest.raises(InputError, match=f"^inputs of {what}: expected a tensor"):
        score(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), x, proxy)


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_compiled_scores_as_it_was_written(whole):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 3))
    expected = score_many(net, images(), ["autogas", "separation", "nwot"])
    if whole:
        net = torch.compile(net, backend="eager")
    else:
        net.compile(backend="eager")
    assert score_many(net, images(), ["autogas", "separation", "nwot"]) == expected
    assert [layer.kind for layer in explain(net, images(), "autogas").layers].count("activations") == 1


class Attention(nn.Module):
    """What ``nn.MultiheadAttention`` of two heads computes on itself, from its weights."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x):
        qkv = F.linear(x, self.of.in_proj_weight, self.of.in_proj_bias)
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return F.linear(mixed, self.of.out_proj.weight, self.of.out_proj.bias)


@pytest.mark.parametrize("proxy", [TRACE, "separation", "autogas", "synflow", "fisher", "zen"])
def test_attention_is_the_layers_that_it_is_made_of(proxy):
    torch.manual_seed(0)
    attention, last = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 16)
    x = noise(8, 6, 16)
    packed = Net(lambda s, x: s.last(F.relu(s.a(x, x, x, need_weights=False)[0])), a=attention, last=last)
    plain = Net(lambda s, x: s.last(F.relu(s.a(x))), a=Attention(attention), last=last)
    torch.testing.assert_close(packed(x), plain(x))
    if proxy != "zen":  # which draws other weights for other names
        assert score(packed, x, proxy) == pytest.approx(score(plain, x, proxy), rel=1e-4)
    else:
        assert score(Net(lambda s, x: s.a(x, x, x)[0], a=attention), x, proxy) < 100
    kinds = [layer.kind for layer in explain(packed, x, TRACE).layers]
    assert kinds.count("convolutions") == 3


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_recurrent_cells_are_layers(cell):
    torch.manual_seed(0)

    def steps(s, x):
        state = None
        for step in x.unbind(1):
            state = s.cell(step, state)
        return s.last((state[0] if isinstance(state, tuple) else state).tanh())

    net = Net(steps, cell=cell(4, 8), last=nn.Linear(8, 4))
    found = explain(net, noise(8, 5, 4), TRACE).layers
    assert [layer.shape for layer in found] == 5 * [(8, 8)] + [(8, 4)]


@pytest.mark.parametrize("rows", [8, 15, 16])
def test_learned_queries_are_no_samples(rows):
    torch.manual_seed(0)
    parts = {"to_q": nn.Linear(16, 16), "to_k": nn.Linear(16, 16), "last": nn.Linear(16, 4)}
    net = Net(
        lambda s, x: s.last(F.relu(F.scaled_dot_product_attention(s.to_q(s.q).expand(len(x), -1, -1), s.to_k(x), x))),
        q=nn.Parameter(noise(1, rows, 16)),
        **parts,
    )
    left_out = [layer.left_out for layer in explain(net, noise(8, 6, 16), TRACE).layers if layer.module == "to_q"]
    assert left_out == ["is made of weights alone"]


def test_a_learned_map_with_as_many_channels_as_there_are_samples():
    parts = layers() | {"c": nn.Conv2d(16, 8, 1)}
    with_map = Net(
        lambda s, x: s.b((s.a(x) + F.relu(s.c(s.map))).relu()), map=nn.Parameter(noise(1, 16, 16, 16)), **parts
    )
    added = F.relu(parts["c"](with_map.map)).detach()
    plain = Net(lambda s, x: s.b((s.a(x) + added).relu()), **parts)
    with pytest.warns(UserWarning, match="1 of 2 layers have no dimension of samples"):
        found = score(with_map, images(), "autogas")
    assert found == pytest.approx(score(plain, images(), "autogas"), rel=1e-6)


@pytest.mark.parametrize("length", [6, 8])
@pytest.mark.parametrize("proxy", ["autogas", "common", "nwot", "fisher"])
def test_sequences_as_long_as_the_batch_may_come_first(length, proxy):
    def net(first):
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=not first)
        turned = (lambda s, x: s.layer(x.transpose(0, 1)).transpose(0, 1)) if first else (lambda s, x: s.layer(x))
        return Net(turned, layer=layer)

    x = noise(8, length, 16)
    assert score(net(True), x, proxy) == pytest.approx(score(net(False), x, proxy), rel=1e-4)


def test_a_buffer_that_is_written_with_samples_is_no_weight():
    def through_memory(s, x):
        s.memory[: len(x)].copy_(x.flatten(1))
        return s.last(F.relu(s.first(s.memory)))

    torch.manual_seed(0)
    net = Net(through_memory, first=nn.Linear(12, 8), last=nn.Linear(8, 4))
    net.register_buffer("memory", torch.zeros(8, 12))
    assert [layer.left_out for layer in explain(net, noise(8, 3, 2, 2), TRACE).layers] == ["", "", ""]


class CAM(Net):
    """Keeps the gradient of its feature, as Grad-CAM does."""

    gradient = None

    def keep(self, gradient):
        self.gradient = gradient


@pytest.mark.parametrize("proxy", ["snip", "synflow", "zico", "grasp", "jacov", "fisher", "hessian_trace"])
def test_hooks_of_the_backward_pass_leave_nothing(proxy):
    def forward(s, x):
        feature = s.a(x).relu()
        if feature.requires_grad:
            feature.register_hook(s.keep)
        return s.b(feature)

    net = CAM(forward, **layers())
    net.seen = []
    net.b.register_full_backward_hook(lambda _, into, out: net.seen.append(len(into)))
    score(net, images(), proxy)
    assert net.gradient is None
    assert net.seen == []


def test_gradients_that_were_there_are_put_back():
    def forward(s, x):
        with torch.enable_grad():
            s.a(x).sum().backward()
        return s.b(s.a(x).relu())

    net = Net(forward, **layers())
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    score(net, images(), "autogas")
    assert all(bool((p.grad == 1).all()) for p in net.parameters())


@dataclass(slots=True)
class Memory:
    mean: torch.Tensor


class Counting(Net):
    count = 0
    mean = torch.zeros(())


def _random(s, _):
    return 1 + s.held.random()


def _slots(s, x):
    s.held.mean = s.held.mean + x.mean()
    return s.held.mean


def _class_attribute(s, x):
    Counting.mean = Counting.mean + x.mean()
    Counting.count += 1
    return Counting.mean + Counting.count


def _bytes(s, _):
    s.held[0] += 1
    return 1 + s.held[0]


@pytest.mark.parametrize(
    ("held", "factor"),
    [
        (lambda: random.Random(0), _random),
        (lambda: Memory(torch.zeros(())), _slots),
        (lambda: None, _class_attribute),
        (lambda: bytearray(2), _bytes),
        (lambda: array.array("l", [0, 0]), _bytes),
    ],
    ids=["random", "slots", "class", "bytearray", "array"],
)
def test_what_a_network_keeps_beside_tensors_is_put_back(held, factor):
    net = Counting(lambda s, x: s.b((s.a(x) * factor(s, x + 1)).relu()), held=held(), **layers())
    assert score(net, images(), "autogas") == score(net, images(), "autogas")
    assert Counting.count == 0


@pytest.mark.parametrize("proxy", ["fisher", "snip", "grad_norm"])
def test_derivatives_by_turned_features(proxy):
    def net(turned):
        torch.manual_seed(0)
        parts = {"a": nn.Linear(4, 8), "b": nn.Linear(8, 4)}
        if turned:
            return Net(lambda s, x: s.b(s.a(x.transpose(0, 1)).relu()).transpose(0, 1), **parts)
        return Net(lambda s, x: s.b(s.a(x).relu()), **parts)

    x = noise(8, 6, 4)
    assert score(net(True), x, proxy) == pytest.approx(score(net(False), x, proxy), rel=1e-5)


@pytest.mark.parametrize(
    "skipped",
    [
        nn.LayerNorm(12),
        nn.RMSNorm(12),
        Net(lambda _, x: torch.layer_norm(x, (12,))),
        Net(lambda _, x: x.sigmoid_()),
        Net(lambda _, x: torch.special.expit(x)),
        Net(lambda _, x: F.tanh(x)),
    ],
    ids=["LayerNorm", "RMSNorm", "torch.layer_norm", "sigmoid_", "expit", "F.tanh"],
)
def test_synflow_skips_normalisations_however_they_are_called(skipped):
    torch.manual_seed(0)
    first, last = nn.Linear(16, 12), nn.Linear(12, 16)
    x = noise(8, 6, 16)
    plain = score(nn.Sequential(first, nn.ReLU(), last), x, "synflow")
    assert score(nn.Sequential(first, skipped, nn.ReLU(), last), x, "synflow") == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("proxy", ["synflow", "zen", "nwot", "macs", "snip", "autogas"])
def test_exported_graphs_score_as_their_modules(proxy):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 3), nn.Tanh()).eval()
    graph = torch.export.export(net, (images(),)).module()
    assert score(graph, images(), proxy) == pytest.approx(score(net, images(), proxy), rel=1e-5)


def test_decomposed_graphs_score_as_their_modules():
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1)),
        *(nn.Flatten(), nn.Linear(3072, 16), nn.LayerNorm(16)),
    )
    graph = torch.export.export(net.eval(), (images(),)).run_decompositions().module()
    names = ["separation", "autogas", "num_transposed", "synflow", "fisher", "meco", "snip", "macs", "nwot", "zen"]
    assert score_many(graph, images(), names) == pytest.approx(score_many(net, images(), names), rel=1e-5)


def test_a_network_whose_only_rectifier_sees_no_samples_is_explained():
    torch.manual_seed(0)
    net = Net(
        lambda s, x: s.o(torch.sin(F.conv2d(x, F.relu(s.l(s.e)).view(5, 3, 3, 3)))),
        e=nn.Parameter(noise(5, 4)),
        l=nn.Linear(4, 27),
        o=nn.Conv2d(5, 3, 1),
    )
    found = explain(net, images(), "gram > trace > sum")
    assert found.score == pytest.approx(
        sum(v for layer in found.layers for v in layer.values if v is not None), rel=1e-5
    )


@pytest.mark.parametrize("proxy", ["autogas", "nwot", "macs"])
def test_one_sample_is_explained(proxy):
    found = explain(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), images()[:1], proxy)
    assert (found.score is None) == (proxy != "macs")


def test_packed_sequences_are_left_out_or_scored():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.last = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 4)

        def forward(self, x, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
            return self.last(nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0])

    lengths = torch.tensor([6, 6, 5, 5, 3, 3, 2, 2])  # 32 rows, four times the samples
    assert score(Packed(), (noise(8, 6, 4), lengths), "autogas") > 0


def test_scorers_that_take_fewer_samples_say_what_they_miss():
    fixed = Net(lambda s, x: s.b(s.a(x.view(8, 3, 16, 16)).relu()), **layers())
    with pytest.raises(InputError, match="the network does not run on half of the samples"):
        score(fixed, images(), "zico")
    assert score(fixed, images(), "macs") == 8 * 27 * 256 + 3 * 72 * 256

    def strict(s, x):
        assert len(x) == 8
        return s.b(s.a(x).relu())

    assert score(Net(strict, **layers()), images(), "macs") == 8 * 27 * 256 + 3 * 72 * 256
    assert score(Net(strict, **layers()), images(), "synflow") > 0


def test_buffers_may_be_resized():
    def resized(s, x):
        if not s.m.numel():
            s.m.resize_(8)
        return s.b((s.a(x) + s.m.fill_(1)[:, None, None]).relu())

    net = Net(resized, **layers())
    net.register_buffer("m", torch.zeros(0))
    first = score_many(net, images(), ["autogas", "nwot", "macs"])
    assert net.m.shape == (0,)
    assert score_many(net, images(), ["autogas", "nwot", "macs"]) == first
    assert explain(net, images(), "autogas").score == first["autogas"]


def test_complex_features_count_both_parts():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3, dtype=torch.cfloat)
    net = Net(lambda s, x: s.c(x.to(torch.cfloat)), c=conv)
    feature = conv(images().to(torch.cfloat)).detach().flatten(1)
    by_hand = float((feature.abs().double() ** 2).sum().log())
    assert score(net, images(), TRACE) == pytest.approx(by_hand, rel=1e-6)
    with pytest.raises(InputError, match="complex weights"):
        score(net, images(), "synflow")


@pytest.mark.filterwarnings("ignore:.*no dimension of samples")
@pytest.mark.parametrize("proxy", ["macs", "params", "nwot", "snip", "zen"])
def test_maps_over_samples_of_functorch_do_not_stop_a_scorer(proxy):
    torch.manual_seed(0)
    net = Net(lambda s, x: s.o(torch.vmap(lambda y: s.b(s.a(y).relu()))(x).relu()), o=nn.Conv2d(3, 4, 1), **layers())
    assert score(net, images(), proxy) != 0


def test_weights_of_inference_mode():
    with torch.inference_mode():
        net = Net(lambda s, x: s.b(s.a(x).relu()), **layers())
    plain = Net(lambda s, x: s.b(s.a(x).relu()), **layers())
    for proxy in ("params", "macs", "nwot", "autogas", "num_activations"):
        assert score(net, images(), proxy) == pytest.approx(score(plain, images(), proxy), rel=1e-6)


def test_a_forward_under_inference_mode():
    def inference(s, x):
        with torch.inference_mode():
            return s.b(s.a(x).relu())

    plain = Net(lambda s, x: s.b(s.a(x).relu()), **layers())
    for proxy in ("nwot", "num_activations", "autogas"):
        assert score(Net(inference, **layers()), images(), proxy) == pytest.approx(
            score(plain, images(), proxy), rel=1e-6
        )


def test_doubles_among_floats_in_synflow():
    parts = {name: part.double() for name, part in layers().items()}
    net = Net(lambda s, x: s.b((s.a(x.double()) * s.scale).relu()), scale=None, **parts)
    net.scale = torch.ones((), dtype=torch.float64)
    assert score(net, images(), "synflow") > 0


def test_iterators_are_told_apart():
    """Known limit: an iterator that a network advances is not put back."""
    net = Net(lambda s, x: s.b((s.a(x) * (1 + next(s.count))).relu()), count=itertools.count(), **layers())
    score(net, images(), "autogas")
    assert next(net.count) > 0


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("kind", ["transformer", "channels"])
def test_dropout_costs_no_layer_of_a_square(kind, rate):
    torch.manual_seed(0)
    if kind == "transformer":
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=rate, batch_first=True)
        net, x = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), noise(16, 16, 16)
    else:  # as many channels and positions as samples
        net = nn.Sequential(nn.Conv1d(16, 16, 1), nn.ReLU(), nn.Dropout(rate), nn.Conv1d(16, 16, 1))
        x = noise(16, 16, 16).abs()
    assert all(layer.left_out == "" for layer in explain(net, x, TRACE).layers)


def exported(net, x):
    return torch.export.export(net, (x,)).module()


@pytest.mark.parametrize("wrap", [lambda net, _: net, exported], ids=["module", "graph"])
def test_data_that_is_added_to_repeated_weights_is_data(wrap):
    torch.manual_seed(0)

    def forward(s, x):
        tokens = s.q.repeat(8, 1)
        tokens += x
        return s.last(F.relu(s.first(tokens)))

    x = noise(8, 6)
    net = wrap(Net(forward, q=nn.Parameter(noise(1, 6, seed=1)), first=nn.Linear(6, 6), last=nn.Linear(6, 2)), x)
    assert [layer.left_out for layer in explain(net, x, TRACE).layers] == ["", "", ""]


@pytest.mark.parametrize(
    "taken",
    [
        lambda s, x: s.book[x.argmax(1).tolist()],
        lambda s, x: s.book[x.argmax(1).numpy()],
        lambda s, x: s.book.new_tensor(x.tolist()),
    ],
)
def test_rows_that_data_chooses_are_data(taken):
    torch.manual_seed(0)
    parts = {"book": nn.Parameter(noise(6, 6)), "first": nn.Linear(6, 6), "last": nn.Linear(6, 2)}
    net = Net(lambda s, x: s.last(F.relu(s.first(taken(s, x)))), **parts)
    assert [layer.left_out for layer in explain(net, noise(8, 6, seed=3), TRACE).layers] == ["", "", ""]


@pytest.mark.parametrize("how", ["data", "set_", "fill", "script"])
def test_buffers_that_get_other_memory_or_are_filled_by_numbers_are_data(how):
    @torch.jit.script_if_tracing
    def _copy(b, x):
        b.copy_(x)

    def forward(s, x):
        if how == "data":
            s.memory.data = x
        elif how == "set_":
            s.memory.set_(x)
        elif how == "fill":
            for i, row in enumerate(x.tolist()):
                for j, number in enumerate(row):
                    s.memory[i, j] = number
        else:
            _copy(s.memory, x)
        return s.last(F.relu(s.first(s.memory)))

    torch.manual_seed(0)
    net = Net(forward, first=nn.Linear(6, 6), last=nn.Linear(6, 2))
    net.register_buffer("memory", torch.zeros(8, 6))
    assert [layer.left_out for layer in explain(net, noise(8, 6), TRACE).layers] == ["", "", ""]
    assert not net.memory.any()


def test_sparse_gradients_are_put_back():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(10, 6, sparse=True), nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 2))
    indices = torch.randint(0, 10, (8, 2))
    net(indices).sum().backward()
    before = net[0].weight.grad.to_dense().clone()
    assert score(net, indices, "autogas") > 0
    assert torch.equal(net[0].weight.grad.to_dense(), before)


def test_slots_behind_a_property_and_private_ones():
    class Base:
        __slots__ = ("__hidden", "value")

        def __init__(self):
            self.__hidden = 0

        def count(self):
            self.__hidden += 1
            return self.__hidden

    class Shown(Base):
        __slots__ = ()

        @property
        def value(self):
            return 1

    net = Net(lambda s, x: s.b((s.a(x) * s.held.count()).relu()), held=Shown(), **layers())
    assert score(net, images(), "autogas") == score(net, images(), "autogas")
    assert net.held.count() == 1


class Reached(nn.Module):
    """Two layers, the first weight reached under another name: ``net.get(net)``."""

    def __init__(self, keep):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = layers().values()
        keep(self)

    def forward(self, x):
        return self.b(F.conv2d(x, self.get(), self.a.bias, padding=1).relu()).tanh()


def in_closure(net):
    weight = net.a.weight
    object.__setattr__(net, "get", lambda: weight)


KEPT = {
    "itself": lambda net: object.__setattr__(net, "get", lambda: net.a.weight),
    "closure": in_closure,
    "tuple": lambda net: (setattr(net, "kept", (net.a.weight,)), object.__setattr__(net, "get", lambda: net.kept[0])),
    "view": lambda net: (
        setattr(net, "kept", net.a.weight.view(8, 27)),
        object.__setattr__(net, "get", lambda: net.kept.view(8, 3, 3, 3)),
    ),
    "partial": lambda net: object.__setattr__(net, "get", functools.partial(lambda w: w, net.a.weight)),
}


@pytest.mark.parametrize("where", KEPT)
@pytest.mark.parametrize("proxy", ["snip", "grad_norm", "zico", "grasp", "eznas", "fisher", "hessian_trace"])
def test_a_weight_under_a_name_that_is_not_looked_into_has_its_gradient(where, proxy):
    right = score(Reached(KEPT["itself"]), images(), proxy)
    assert score(Reached(KEPT[where]), images(), proxy) == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("where", ["closure", "tuple", "view"])
@pytest.mark.parametrize("proxy", ["zen", "synflow", "short_training", "frozen"])
def test_a_weight_that_cannot_be_replaced_is_said(where, proxy):
    net = Reached(KEPT[where]).requires_grad_(proxy != "frozen")
    with pytest.raises(InputError, match=r"the network keeps a weight \(8, .*\) where it cannot be replaced"):
        score(net, images(), "snip" if proxy == "frozen" else proxy)


@pytest.mark.parametrize("proxy", ["zen", "synflow", "short_training", "snip"])
def test_a_weight_that_is_only_asked_what_it_is_like_may_be_anywhere(proxy):
    def forward(s, x):
        return s.b(s.a(x.to(kept.dtype)).relu())

    net = Net(forward, counts=nn.Parameter(torch.arange(3), requires_grad=False), **layers())
    kept = net.a.weight
    plainly = Net(lambda s, x: s.b(s.a(x).relu()), **layers())
    assert score(net, images(), proxy) == pytest.approx(score(plainly, images(), proxy), rel=1e-6)


class Again(torch.autograd.Function):
    """A checkpoint of one's own: layers run again in the backward pass."""

    @staticmethod
    def forward(ctx, run, x, *weights):
        ctx.run, ctx.x, ctx.weights = run, x, weights
        with torch.no_grad():
            return run(x)

    @staticmethod
    def backward(ctx, slope):
        x = ctx.x.detach().requires_grad_()
        with torch.enable_grad():
            out = ctx.run(x.view_as(x))
        return None, *torch.autograd.grad(out, [x, *ctx.weights], slope, allow_unused=True)


@pytest.mark.parametrize("proxy", ["snip", "grad_norm", "zico", "plain", "eznas"])
def test_a_checkpoint_of_ones_own_has_its_gradients(proxy):
    def plainly(s, x):
        return s.b(s.a(x).relu()).tanh()

    def again(s, x):
        return s.b(Again.apply(lambda x: s.a(x).relu(), x, *s.a.parameters())).tanh()

    x = images()
    assert score(Net(again, **layers()), x, proxy) == pytest.approx(score(Net(plainly, **layers()), x, proxy), rel=1e-5)


@pytest.mark.parametrize("proxy", ["fisher", "grasp", "hessian_trace"])
def test_what_a_checkpoint_of_ones_own_hides_is_no_part_of_a_score(proxy):
    net = Net(
        lambda s, x: s.b(Again.apply(lambda x: s.a(x).relu(), x, *s.a.parameters())).tanh(),
        **layers(),
    )
    with pytest.raises(InputError, match="runs layers without gradients and again in its backward pass"):
        score(net, images(), proxy)

    def settled(s, x):  # as deep equilibria do: one layer, first without gradients, then with
        with torch.no_grad():
            h = s.a(x).relu()
        return s.b((s.a(x) + h).relu()).tanh()

    assert math.isfinite(score(Net(settled, **layers()), images(), proxy))


def test_a_backward_pass_that_fails_is_one_line():
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, slope):
            return ctx.never

    net = Net(lambda s, x: s.b(Fails.apply(s.a(x).relu())), **layers())
    with pytest.raises(InputError, match="the backward pass of the network fails"):
        score(net, images(), "snip")


def test_lazy_layers_without_weights_are_said():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LazyBatchNorm2d(affine=False, track_running_stats=False), nn.ReLU())
    with pytest.raises(InputError, match="lazy layers"):
        score(net, images(), "autogas")
    net(images())
    assert score(net, images(), "autogas") == score(net, images(), "autogas")


@pytest.mark.parametrize("use", ["t", "matmul", "function"])
def test_synflow_counts_every_use_of_a_weight(use):
    """log of twice R, as torch's own derivatives give it."""

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return F.linear(x, w)

        @staticmethod
        def backward(ctx, slope):
            x, w = ctx.saved_tensors
            return slope @ w, slope.T @ x

    ends = {
        "t": lambda w, h: F.linear(h, w.t()),
        "matmul": lambda w, h: h @ w,
        "function": lambda w, h: Linear.apply(h, w.t()),
    }
    torch.manual_seed(0)
    net = Net(lambda s, x: ends[use](s.w, F.linear(x, s.w).relu()), w=nn.Parameter(torch.randn(8, 16)))
    w = net.w.detach().abs().double()
    assert score(net, noise(8, 16), "synflow") == pytest.approx(
        math.log(2 * float((w.T @ (w @ torch.ones(16).double())).sum()))
    )


def test_synflow_where_flow_begins_elsewhere_than_at_the_input():
    shifted = Net(lambda s, x: s.l(x + s.p), l=nn.Linear(1, 1, bias=False), p=nn.Parameter(torch.ones(1, 1)))
    nn.init.ones_(shifted.l.weight)
    assert score(shifted, torch.ones(2, 1), "synflow") == pytest.approx(math.log(3))  # w (x + p): 2 by w, 1 by p
    words = nn.Sequential(nn.Embedding(4, 2), nn.Linear(2, 1, bias=False))
    nn.init.constant_(words[0].weight, 2.0)
    nn.init.constant_(words[1].weight, 3.0)
    assert score(words, torch.zeros(2, dtype=torch.long), "synflow") == pytest.approx(math.log(2 * 12))
    product = Net(lambda s, x: s.a(x) * s.b(x), a=nn.Linear(1, 1, bias=False), b=nn.Linear(1, 1, bias=False))
    nn.init.constant_(product.a.weight, 2.0)
    nn.init.constant_(product.b.weight, 5.0)
    assert score(product, torch.ones(2, 1), "synflow") == pytest.approx(math.log(2 * 10))


class Named(dict):
    """A dictionary with attributes."""


class Counted:
    def __init__(self):
        self.values = torch.zeros(8)

    def mean(self, h):
        self.values.mul_(0.9).add_(h.detach().mean((0, 2, 3)) * 0.1)
        return self.values


def named():
    kept = Named()
    kept.values = torch.zeros(8)
    return kept


def objects():
    kept = np.empty(1, dtype=object)
    kept[0] = torch.zeros(8)
    return kept


HOLDERS = {
    "attribute of a dictionary": (named, lambda kept: kept.values),
    "UserDict": (lambda: UserDict(values=torch.zeros(8)), lambda kept: kept["values"]),
    "UserList": (lambda: UserList([torch.zeros(8)]), lambda kept: kept[0]),
    "partial": (lambda: functools.partial(print, torch.zeros(8)), lambda kept: kept.args[0]),
    "read-only mapping": (lambda: MappingProxyType({"values": torch.zeros(8)}), lambda kept: kept["values"]),
    "frozenset": (lambda: frozenset([torch.zeros(8)]), lambda kept: next(iter(kept))),
    "array of objects": (objects, lambda kept: kept[0]),
    "method of an object": (lambda: Counted().mean, lambda kept: kept.__self__.values),
    "class": (lambda: type("Inner", (), {"values": torch.zeros(8)}), lambda kept: kept.values),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_is_kept_in_any_holder_is_put_back(holder):
    make, get = HOLDERS[holder]

    def forward(s, x):
        h = s.a(x)
        get(s.held).mul_(0.9).add_(h.detach().mean((0, 2, 3)) * 0.1)
        return s.b((h - get(s.held)[:, None, None]).relu())

    net = Net(forward, held=make(), **layers())
    assert score(net, images(), "autogas") == score(net, images(), "autogas")
    assert not get(net.held).any()


@pytest.mark.parametrize("proxy", ["nwot", "swap", "meco"])
def test_complex_features_have_no_sign(proxy):
    net = nn.Sequential(nn.Conv2d(3, 8, 3, dtype=torch.cfloat), nn.Conv2d(8, 3, 3, dtype=torch.cfloat))
    with pytest.raises(InputError, match="complex features"):
        score(net, images().to(torch.cfloat), proxy)


@pytest.mark.parametrize("proxy", ["snip", "zico", "short_training", "jacov", "autogas"])
def test_a_column_of_labels_before_images_changes_nothing(proxy):
    parts, labels = layers() | {"e": nn.Embedding(10, 8)}, torch.arange(8)[:, None]
    last = Net(lambda s, x, y: s.b((s.a(x) + s.e(y[:, 0])[:, :, None, None]).relu()), **parts)
    first = Net(lambda s, y, x: last.function(s, x, y), **parts)
    assert score(first, (labels, images()), proxy) == score(last, (images(), labels), proxy)


@pytest.mark.parametrize("proxy", ["grasp", "hessian_trace"])
def test_attention_has_second_derivatives(proxy):
    torch.manual_seed(0)
    net = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    with sdpa_kernel(SDPBackend.MATH):
        right = score(net, noise(8, 5, 16), proxy)
    assert score(net, noise(8, 5, 16), proxy) == pytest.approx(right, rel=1e-4)


def test_what_cannot_be_counted_is_said():
    net = Net(lambda s, x: torch.cond(x.sum() > -1e9, lambda x: s.l(x), lambda x: s.l(x), (x,)), l=nn.Linear(4, 4))
    with pytest.raises(InputError, match="cannot be counted"):
        score(net, noise(8, 4), "macs")


@pytest.mark.parametrize("proxy", ["autogas", "snip", "jacov"])
def test_inputs_of_an_inference_mode(proxy):
    net = Net(lambda s, x: s.b(s.a(x).relu()), **layers())
    with torch.inference_mode():
        x = images()
    assert score(net, x, proxy) == score(net, images(), proxy)


@pytest.mark.parametrize("fused", [True, False])
def test_synflow_of_attention_is_what_its_values_carry(fused):
    """R = S (x + p) V' O' with shares S of one: |V| and |O| carry R each, |p| its part."""

    def forward(s, x):
        x = x + s.p
        q, k, v = s.q(x), s.k(x), s.v(x)
        if fused:
            return s.o(F.scaled_dot_product_attention(q, k, v))
        return s.o((q @ k.transpose(-1, -2) / math.sqrt(4)).softmax(-1) @ v)

    torch.manual_seed(0)
    parts = {name: nn.Linear(4, 4, bias=False) for name in "qkvo"}
    net = Net(forward, p=nn.Parameter(torch.randn(1, 5, 4)), **parts)
    q, k, v, o = (parts[name].weight.detach().abs().double().T for name in "qkvo")
    p = net.p.detach().abs().double()[0]
    shares = ((1 + p) @ q @ (k.T @ (1 + p).T) / 2).softmax(-1)
    whole, of_p = (float((shares @ x @ v @ o).sum()) for x in (1 + p, p))
    assert score(net, noise(3, 5, 4), "synflow") == pytest.approx(math.log(2 * whole + of_p), rel=1e-5)


@pytest.mark.parametrize("proxy", ["snip", "grad_norm", "grasp", "hessian_trace", "plain"])
def test_a_network_made_in_an_inference_mode_has_the_same_gradients(proxy):
    with torch.inference_mode():
        made = Net(lambda s, x: s.b(s.a(x).relu()), **layers())
    usual = Net(lambda s, x: s.b(s.a(x).relu()), **layers())
    assert score(made, images(), proxy) == pytest.approx(score(usual, images(), proxy), rel=1e-6)


def test_synflow_of_a_network_that_writes_a_buffer():
    def forward(s, x):
        s.mask.fill_(0.5)
        return s.b((s.a(x) * s.mask).relu())

    net = Net(forward, **layers())
    net.register_buffer("mask", torch.zeros(8, 1, 1))
    halved = Net(lambda s, x: s.b((s.a(x) * 0.5).relu()), **layers())
    assert score(net, images(), "synflow") == pytest.approx(score(halved, images(), "synflow"))


def test_synflow_of_gates_in_a_row():
    """Products of inputs alone: R = sum (a x) (b x), then the same of it."""
    gates = nn.Sequential(*(Net(lambda s, x: s.a(x) * s.b(x), a=nn.Linear(1, 1), b=nn.Linear(1, 1)) for _ in range(2)))
    for p in gates.parameters():
        nn.init.constant_(p, 2.0)
    # R = 2 y 2 y with y = 2 x 2 x = 4: 64, by each of the first two twice 64, by each of the last two 64
    assert score(gates, torch.ones(2, 1), "synflow") == pytest.approx(math.log(6 * 64))


def test_synflow_leaves_recurrent_biases_out():
    torch.manual_seed(0)
    net = nn.LSTM(4, 4, batch_first=True)
    bare = nn.LSTM(4, 4, batch_first=True, bias=False)
    bare.load_state_dict({name: w for name, w in net.state_dict().items() if not name.startswith("bias")})
    x = noise(2, 3, 4)
    assert score(net, x, "synflow") == pytest.approx(score(bare, x, "synflow"), rel=1e-5)


def test_masked_logits_vary():
    net = Net(lambda s, x: s.l(x).relu().masked_fill(torch.arange(6) > 3, -1e9), l=nn.Linear(6, 6))
    assert score(net, noise(8, 6), "autogas") > 0


def test_a_mask_or_a_context_after_the_samples_stays_there():
    torch.manual_seed(0)
    net = Net(lambda s, x, mask: s.b((s.a(x) * mask[0, 0, 0, 0]).relu()), a=nn.Linear(6, 64), b=nn.Linear(64, 6))
    plainly = Net(lambda s, x: s.b(s.a(x).relu()), a=net.a, b=net.b)
    for proxy in ("nwot", "zico", "separation"):
        assert score(net, (noise(8, 6), torch.ones(1, 1, 6, 6)), proxy) == score(plainly, noise(8, 6), proxy)
