"""Networks that compute the same are scored the same, however they are written."""

import copy
import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autogas import InputError, explain, score, score_many


def images(count=8, channels=3, size=16):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Layers of random weights, used as a function says."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.called = forward
        torch.manual_seed(0)
        for name, make in layers.items():
            made = make()
            setattr(self, name, nn.Parameter(made) if isinstance(made, torch.Tensor) else made)

    def forward(self, *inputs):
        return self.called(self, *inputs)


def convolution(channels=3, out=8, size=3):
    return lambda: nn.Conv2d(channels, out, size, padding=size // 2)


def test_macs_of_products_with_one_of_several_matrices():
    offsets = torch.tensor([4, 8], dtype=torch.int32)
    net = Net(lambda s, x: F.grouped_mm(x, s.w, offs=offsets), w=lambda: torch.randn(2, 16, 16))
    assert score(net, torch.randn(8, 16), "macs") == 16 * 16


def test_macs_of_distances():
    net = Net(lambda s, x: torch.cdist(x, s.w[None].expand(len(x), -1, -1)), w=lambda: torch.randn(40, 4))
    assert score(net, torch.randn(8, 30, 4), "macs") == 30 * 40 * 4


def test_macs_of_what_is_needed_once_in_a_network_that_needs_two_samples():
    def forward(s, x):
        return s.last(F.relu(s.norm(F.linear(x, s.hyper(s.code).view(10, 6)))))

    layers = {"code": lambda: torch.randn(1, 4), "hyper": lambda: nn.Linear(4, 60), "norm": lambda: nn.BatchNorm1d(10)}
    net = Net(forward, **layers, last=lambda: nn.Linear(10, 6))
    by_hand = 4 * 60 + 6 * 10 + 10 * 6
    assert score(net.train(), torch.randn(8, 6), "macs") == by_hand == score(net.eval(), torch.randn(8, 6), "macs")


@pytest.mark.parametrize("kind", [nn.SiLU, nn.ReLU6, nn.Hardswish, nn.Mish, nn.ELU, nn.LeakyReLU])
def test_an_exported_network_that_works_in_place(kind):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), kind(inplace=True), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 1))
    graph = torch.export.export(net, (images(),)).module()
    for proxy in ("num_activations", "nwot", "autogas"):
        assert score(graph, images(), proxy) == pytest.approx(score(net, images(), proxy), rel=1e-6)


RECTIFIERS = {
    "clamp": lambda h: h.clamp(min=0),
    "clamp by place": lambda h: torch.clamp(h, 0.0),
    "clamp_min_": lambda h: (h + 0).clamp_min_(0),
    "threshold": lambda h: F.threshold(h, 0, 0),
    "operator": torch.ops.aten.relu,
    "in C": lambda h: torch._C._nn.leaky_relu(h, 0.0),
}


def with_rectifier(rectify):
    def forward(s, x):
        return s.c(rectify(s.b(F.relu(s.a(x)))))

    return Net(forward, a=convolution(), b=convolution(8), c=convolution(8, 3, 1))


@pytest.mark.parametrize("name", RECTIFIERS)
def test_a_rectifier_however_it_is_written(name):
    net, plain = with_rectifier(RECTIFIERS[name]), with_rectifier(F.relu)
    for proxy in ("nwot", "autogas", "num_activations"):
        assert score(net, images(), proxy) == pytest.approx(score(plain, images(), proxy), rel=1e-6)


@pytest.mark.parametrize("end", [lambda h: h.clamp(0, 1), lambda h: h.clamp(min=1e-6), lambda h: h.clamp(max=0)])
def test_a_clamp_that_is_no_rectifier(end):
    plain = with_rectifier(lambda h: h)
    assert score(with_rectifier(end), images(), "num_activations") == score(plain, images(), "num_activations")


@pytest.mark.parametrize("tokens", [7, 8, 16])
@pytest.mark.parametrize("proxy", ["gram > eigenvalue_std", "nwot", "autogas"])
def test_tokens_folded_into_the_batch(tokens, proxy):
    """Also where there are as many tokens as samples."""

    def forward(s, x):
        rows = x.flatten(0, 1) if s.fold else x
        return s.b(F.relu(s.a(rows))).reshape(x.shape)

    x = torch.randn(8, 5, tokens, 6, generator=torch.Generator().manual_seed(1))
    scores = []
    for fold in (False, True):
        net = Net(forward, a=lambda: nn.Linear(6, 10), b=lambda: nn.Linear(10, 6))
        net.fold = fold
        scores.append(score(net, x, proxy))
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


@pytest.mark.parametrize("length", [7, 8, 16])
def test_a_sequence_with_its_samples_second(length):
    def forward(s, x):
        h = x.transpose(0, 1) if s.turn else x
        h = s.b(F.relu(s.a(h)))
        return h.transpose(0, 1) if s.turn else h

    x = torch.randn(8, length, 6, generator=torch.Generator().manual_seed(1))
    scores = []
    for turn in (False, True):
        net = Net(forward, a=lambda: nn.Linear(6, 10), b=lambda: nn.Linear(10, 6))
        net.turn = turn
        scores.append(score(net, x, "nwot"))
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


def test_channels_of_a_map_that_all_samples_share_are_no_samples():
    """Although there are twice as many as samples."""

    def forward(s, x, context):
        return s.b(F.relu(s.a(x)) + F.relu(s.k(context)))

    net = Net(forward, a=convolution(3, 16), k=convolution(3, 16), b=convolution(16))
    table = explain(net, (images(), torch.randn(1, 3, 16, 16)), "gram > slogdet").frame()
    assert table["left out"].eq("").sum() == 3  # ReLU and two convolutions of the samples
    alone = Net(lambda s, x: s.b(F.relu(s.a(x))), a=convolution(3, 16), b=convolution(16))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert score(net, (images(), torch.randn(1, 3, 16, 16)), "gram > slogdet") == pytest.approx(
            score(alone, images(), "gram > slogdet")
        )


QUERIES = {
    "cat": lambda q: torch.cat([q[:4], q[4:]]),
    "stack": lambda q: torch.stack(list(q)),
    "embedding": lambda q: F.embedding(torch.arange(8), q),
    "index": lambda q: q[torch.arange(8)],
    "einsum": lambda q: torch.einsum("ij,jk->ik", q, torch.eye(6)),
    "sine": lambda q: q + torch.arange(8.0)[:, None].sin(),
}


@pytest.mark.parametrize("name", QUERIES)
def test_what_is_made_of_weights_alone_has_no_samples(name):
    """Although it has as many rows."""

    def forward(s, x):
        shared = F.relu(s.k(QUERIES[name](s.q))).mean(0)[None, :, None, None]
        return s.b(F.relu(s.a(x)) * shared)

    net = Net(forward, a=convolution(3, 12), q=lambda: torch.randn(8, 6), k=lambda: nn.Linear(6, 12), b=convolution(12))
    table = explain(net, images(), "gram > slogdet").frame()
    assert table["left out"].eq("is made of weights alone").sum() == 2


def test_random_numbers_are_not_made_of_weights():
    """A row of noise for each sample says what the layer makes of it."""

    def forward(s, x):
        return s.b(F.relu(s.a(x)) + s.k(torch.randn(len(x), 6))[:, :, None, None])

    net = Net(forward, a=convolution(), k=lambda: nn.Linear(6, 8), b=convolution(8))
    assert explain(net, images(), "gram > slogdet").frame()["left out"].eq("").all()


def test_flow_of_a_network_with_numbers_of_its_own_in_float32():
    def forward(s, x):
        h = F.gelu(s.a(x))
        return s.c(F.gelu(s.b(h.float() if s.cast else h)))

    scores = []
    for cast in (False, True):
        net = Net(forward, a=convolution(), b=convolution(8), c=convolution(8, 3, 1))
        net.cast = cast
        scores.append(score(net, images(), "synflow"))
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


def test_flow_past_a_bias_of_another_name():
    def forward(s, x):
        h = F.relu(s.a(x)).mean((2, 3))
        return F.linear(h, s.w, s.shift) if s.inside else F.linear(h, s.w) + s.shift

    scores = []
    for inside in (False, True):
        net = Net(forward, a=convolution(), w=lambda: torch.randn(3, 8), shift=lambda: torch.randn(3))
        net.inside = inside
        scores.append(score(net, images(), "synflow"))
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


@pytest.mark.parametrize("proxy", ["snip", "grad_norm", "fisher", "grasp", "zico"])
def test_a_loss_that_draws_random_numbers(proxy):
    def loss(output, inputs):
        inputs[0].zero_()
        return (output - torch.randn_like(output)).square().mean()

    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    x, scores = images(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        scores.append(score_many(net, x, ["zico", proxy] if seed == 1 else [proxy], loss=loss)[proxy])
        assert torch.equal(torch.get_rng_state(), before)
    assert scores[0] == scores[1]
    assert torch.equal(x, images())


def test_a_batch_norm_that_is_called_twice_has_one_scale():
    def net(forward):
        made = Net(forward, a=convolution(), norm=lambda: nn.BatchNorm2d(8), b=convolution(8)).eval()
        made.norm.running_var.fill_(9)
        return made

    whole = net(lambda s, x: s.b(s.norm(s.a(x))))
    parts = net(lambda s, x: s.b(torch.cat([s.norm(part) for part in s.a(x).chunk(4)])))
    assert score(parts, images(), "zen") == pytest.approx(score(whole, images(), "zen"), rel=1e-6)


@pytest.mark.parametrize("normalise", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_lengths_of_normalised_weights_are_no_weights(normalise):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 1))
    normalised = copy.deepcopy(plain)
    normalise(normalised[0])
    assert score(normalised, images(), "l2_norm") == pytest.approx(score(plain, images(), "l2_norm"), rel=1e-6)


def test_a_network_that_asks_for_gradients_of_its_input():
    def forward(s, x):
        h = x[:, :]
        h.requires_grad = True
        return s.b(F.relu(s.a(h)))

    net, failures = Net(forward, a=convolution(), b=convolution(8)), {}
    plain = Net(lambda s, x: s.b(F.relu(s.a(x))), a=convolution(), b=convolution(8))
    names = ["separation", "snip", "grasp", "fisher", "zico", "nwot"]
    assert score_many(net, images(), [*names, "jacov"], failures=failures) == pytest.approx(
        score_many(plain, images(), names), rel=1e-6
    )
    assert list(failures) == ["jacov"]


def test_fisher_of_half_precision_is_that_of_its_features():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Conv2d(32, 3, 1)).half()
    whole = copy.deepcopy(net).float()
    x = images(size=32).half()
    assert score(net, x, "fisher") == pytest.approx(score(whole, x.float(), "fisher"), rel=0.05)


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (([*images(6)],), {}, "a list of 6 images: expected one tensor of images of one shape, as of torch.stack"),
        (None, {}, "a nested tensor among the inputs: expected dense"),
        (torch.eye(4).to_sparse(), {}, "a sparse_coo tensor among the inputs: expected dense ones"),
        (images(), {"loss": "mse"}, "loss 'mse': expected a function of the network's output and its inputs"),
        (images(), {"loss": nn.MSELoss()}, "the loss fails: .*; it gets the output of the network and what that was"),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_what_cannot_be_scored_is_one_line(inputs, options, said):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 1))
    inputs = torch.nested.nested_tensor([torch.zeros(3, 4)] * 3) if inputs is None else inputs
    with pytest.raises(InputError, match=f"^{said}"):
        score(net, inputs, "snip", **options)


def test_a_network_that_fails_for_one_scorer_keeps_the_scores_of_others():
    def forward(s, x):
        if torch.is_grad_enabled():
            raise KeyError("no graph")
        return s.b(F.relu(s.a(x)))

    failures = {}
    found = score_many(
        Net(forward, a=convolution(), b=convolution(8)), images(), ["separation", "snip"], failures=failures
    )
    assert list(found) == ["separation"]
    assert re.fullmatch(r"KeyError at test_written_otherwise.py:\d+: 'no graph'", failures.pop("snip"))
    assert not failures


@pytest.mark.parametrize("mean", [0, 10, 100, 1000])
def test_a_covariance_does_not_see_what_all_entries_have(mean):
    """Also where it is a thousand times what is left, as of images from 0 to 255."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 1))
    expected = score(copy.deepcopy(net).double(), images().double(), FLOOR)
    net[4].bias.data += mean
    assert score(net, images(), FLOOR) == pytest.approx(expected, abs=2e-4)


FLOOR = "convolutions > covariance > eigenvalue_floor > log > last"


@pytest.mark.parametrize("mask", [torch.ones(5, 5), torch.zeros(5, 5).long(), torch.ones(5, 5).tril()])
@pytest.mark.parametrize("proxy", ["nwot", "separation", "snip"])
def test_a_mask_before_the_output(mask, proxy):
    plain = Net(lambda s, x: s.b(F.relu(s.a(x))), a=convolution(), b=convolution(8))
    masked = Net(lambda s, x: (mask, s.b(F.relu(s.a(x)))), a=convolution(), b=convolution(8))
    assert score(masked, images(), proxy) == pytest.approx(score(plain, images(), proxy), rel=1e-6)


PRODUCTS = {
    "matmul": lambda x, w: x @ w,
    "of another name": lambda x, w: torch.matmul(input=x, other=w),
    "transposed": lambda x, w: x @ w.t().contiguous().t(),
    "einsum": lambda x, w: torch.einsum("nc,cd->nd", x, w),
    "einsum of a list": lambda x, w: torch.einsum("nc,cd->nd", [x, w]),
    "tensordot": lambda x, w: torch.tensordot(x, w, dims=([1], [0])),
    "operator": torch.ops.aten.mm.default,
    "a part of a larger matrix": lambda x, w: x @ torch.cat([w, -w], 1)[:, : w.shape[1]],
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_with_a_matrix_of_weights_is_a_linear_layer(name):
    layers = {"first": lambda: torch.randn(6, 20), "last": lambda: torch.randn(20, 6)}
    modules = Net(lambda s, x: F.linear(F.relu(F.linear(x, s.first.t())), s.last.t()), **layers)
    product = PRODUCTS[name]
    written = Net(lambda s, x: product(F.relu(product(x, s.first)), s.last), **layers)
    x = torch.randn(8, 6)
    for proxy in ("convolutions > gram > trace", "separation", "fisher"):
        assert score(written, x, proxy) == pytest.approx(score(modules, x, proxy), rel=1e-5)
    assert [layer.kind for layer in explain(written, x).layers] == ["convolutions", "activations", "convolutions"]


def test_a_product_of_two_features_is_no_linear_layer():
    net = Net(
        lambda s, x: (s.q(x)[:, None] @ s.k(x)[..., None])[..., 0], q=lambda: nn.Linear(6, 6), k=lambda: nn.Linear(6, 6)
    )
    assert [layer.call for layer in explain(net, torch.randn(8, 6)).layers] == ["linear", "linear"]


class Energy(nn.Module):
    """The derivative of a network's output by its input, as models of energies and of scores give."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(6, 20), nn.Linear(20, 1)

    def forward(self, x):
        x = x if x.requires_grad else x.requires_grad_()
        return torch.autograd.grad(self.last(F.silu(self.first(x))).sum(), x, create_graph=True)[0]


class SwitchesGradientsOn(Energy):
    def forward(self, x):
        with torch.enable_grad():
            return super().forward(x)


@pytest.mark.parametrize("proxy", ["separation", "autogas", "nwot", "zen", "snip", "macs"])
def test_a_network_that_differentiates_in_its_forward_pass(proxy):
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    assert score(Energy(), x, proxy) == score(SwitchesGradientsOn(), x, proxy)
    assert torch.is_grad_enabled()
    assert not x.requires_grad


def test_layers_of_a_network_that_differentiates_in_its_forward_pass():
    seen = explain(Energy(), torch.randn(8, 6))
    assert [layer.call for layer in seen.layers] == ["linear", "silu", "linear"]
    assert seen.layers[-1].left_out == "is one number a sample"


def test_zen_reads_a_product_with_a_matrix_of_weights():
    last = {"last": lambda: torch.randn(20, 6)}
    ends = (lambda s, x: F.relu(s.first(x)) @ s.last, lambda s, x: F.linear(F.relu(s.first(x)), s.last.t()))
    product, layer = (Net(end, first=lambda: nn.Linear(6, 20), **last) for end in ends)
    x = torch.randn(8, 6)
    assert score(product, x, "zen") == pytest.approx(score(layer, x, "zen"), abs=1e-5)


@pytest.mark.parametrize("product", [torch.inner, lambda x, w: torch.linalg.matmul(x, w.T), lambda x, w: x @ w.T])
@pytest.mark.parametrize("held", ["parameter", "buffer", "tensor"])
def test_products_with_what_is_held_by_any_name_are_layers(product, held):
    torch.manual_seed(1)
    weight, x = torch.randn(12, 16) / 4, torch.randn(8, 5, 16)

    def net(multiply):
        layers = {"first": lambda: nn.Linear(16, 16), "last": lambda: nn.Linear(12, 16)}
        made = Net(lambda s, x: s.last(F.relu(multiply(F.relu(s.first(x)), s.w))), **layers)
        if held == "buffer":
            made.register_buffer("w", weight)
        else:
            made.w = nn.Parameter(weight) if held == "parameter" else weight
        return made

    layers = explain(net(product), x).layers
    assert [layer.left_out for layer in layers] == [""] * 5
    assert score(net(product), x) == pytest.approx(score(net(F.linear), x), rel=1e-5)


def test_a_weight_that_is_normalised_by_its_spectrum_is_one_in_either_mode():
    net = Net(lambda s, x: s.last(F.relu(x @ s.w)), w=lambda: torch.randn(16, 16), last=lambda: nn.Linear(16, 16))
    net = nn.utils.parametrizations.spectral_norm(net, "w")
    x = torch.randn(8, 5, 16)
    assert [len(explain(net.train(mode), x).layers) for mode in (True, False)] == [3, 3]


def test_rows_that_are_chosen_by_numbers_are_of_samples():
    def net(look):
        def forward(s, z, y):
            return s.last(F.relu(s.first(look(s.table, y)))) + F.relu(s.second(z))

        layers = {"first": lambda: nn.Linear(16, 32), "second": lambda: nn.Linear(16, 16)}
        return Net(forward, table=lambda: torch.randn(10, 16), last=lambda: nn.Linear(32, 16), **layers)

    inputs = (torch.randn(8, 16), torch.arange(8))
    by_numbers = net(lambda table, y: torch.stack([table[i] for i in y.tolist()]))
    by_tensor = net(lambda table, y: table[y])
    for proxy in ("autogas", "nwot", "num_activations"):
        assert score(by_numbers, inputs, proxy) == score(by_tensor, inputs, proxy)


@pytest.mark.parametrize("write", [lambda h: h.detach().numpy().fill(0), lambda h: h.data.zero_()])
@pytest.mark.parametrize("proxy", ["swap", "variance", "nwot", "autogas"])
def test_features_are_those_before_they_are_written_unseen(write, proxy):
    def net(writes):
        def forward(s, x):
            h = s.first(x)
            after = F.relu(h)
            if writes:
                write(h)
            return s.last(after)

        return Net(forward, first=convolution(), last=convolution(8, 3))

    assert score(net(True), images(), proxy) == score(net(False), images(), proxy)


class Pointwise(nn.Module):
    """Convolutions of one pixel, or the same products of maps, tokens, rows or a sequence."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 32, 1), nn.Conv2d(32, 3, 1)
        self.how = how
        self.first, self.second, self.last = layers if how == "convolutions" else map(self._linear, layers)

    @staticmethod
    def _linear(layer):
        made = nn.Linear(layer.in_channels, layer.out_channels)
        made.load_state_dict({"weight": layer.weight.detach().flatten(1), "bias": layer.bias.detach()})
        return made

    def forward(self, x):
        n, c, h, w = x.shape
        x = {
            "convolutions": lambda x: x,
            "maps": lambda x: x.permute(0, 2, 3, 1),
            "tokens": lambda x: x.flatten(2).transpose(1, 2),
            "rows": lambda x: x.permute(0, 2, 3, 1).reshape(-1, c),
            "sequence": lambda x: x.flatten(2).permute(2, 0, 1),
        }[self.how](x)
        x = self.last(F.relu(self.second(F.gelu(self.first(x)))))
        if self.how == "convolutions":
            return x
        if self.how == "sequence":
            return x.permute(1, 2, 0).view(n, 3, h, w)
        return x.reshape(n, h, w, 3).permute(0, 3, 1, 2)


@pytest.mark.parametrize("how", ["maps", "tokens", "rows", "sequence"])
def test_channels_are_channels_wherever_they_are(how):
    x = images(size=9)
    plain, other = Pointwise("convolutions"), Pointwise(how)
    torch.testing.assert_close(plain(x), other(x))
    names = [
        "concord",
        "separation",
        "common",
        "autogas",
        "fisher",
        "variance",
        "nwot",
        "entropy",
        "meco",
        "snip",
        "zen",
    ]
    for name in names:
        assert score(other, x, name) == pytest.approx(score(plain, x, name), rel=1e-4), name
    assert score(other, x, "num_activations") == score(plain, x, "num_activations")
