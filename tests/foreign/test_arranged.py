"""Arguments, weights and holders in unusual places, each against the same arithmetic written plainly."""

import argparse
import functools
import queue
import threading
import weakref
from collections import ChainMap

import pytest
import torch
from tests.foreign.test_strange import Net, images, layers, noise
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from autogas import InputError, explain, score, score_many

SEVERAL = ["macs", "snip", "zico", "synflow", "zen", "fisher", "autogas", "nwot"]


def plain(s, x):
    return s.b(s.a(x).relu())


def scored(net, inputs, names=SEVERAL, **options):
    return score_many(net, inputs, names, **options)


@pytest.mark.parametrize("arrange", [lambda h: [h], lambda h: {"deep": (0.5, h)}], ids=["list", "mapping"])
def test_tensors_inside_an_argument_are_samples_as_others(arrange):
    h = noise(8, 8, 16, 16, seed=1)
    inside = {"list": lambda e: e[0], "mapping": lambda e: e["deep"][1]}["list" if arrange(h) == [h] else "mapping"]
    nested = Net(lambda s, x, e: s.b((s.a(x) + inside(e)).relu()), **layers())
    apart = Net(lambda s, x, h: s.b((s.a(x) + h).relu()), **layers())
    assert scored(nested, (images(), arrange(h))) == scored(apart, (images(), h))
    alone = Net(lambda s, d: s.b(s.a(d["image"]).relu()), **layers())
    assert scored(alone, ({"image": images()},)) == scored(Net(plain, **layers()), images())


def test_images_are_told_from_tokens_and_labels_in_any_order():
    embedding, tokens = nn.Embedding(10, 8), torch.arange(40).view(8, 5) % 10
    one_hot = F.one_hot(torch.arange(8) % 8, 8).float()
    makes = lambda s, x, k: s.b((s.a(x) + s.e(k)[..., None, None]).relu())  # noqa: E731
    for other, part in ((tokens, lambda k: embedding(k).mean(1)), (one_hot, nn.Linear(8, 8))):
        parts = layers() | {"e": part}
        first = scored(Net(lambda s, k, x: makes(s, x, k), **parts), (other, images()), [*SEVERAL, "jacov"])
        assert first == scored(Net(makes, **parts), (images(), other), [*SEVERAL, "jacov"])


def test_a_loss_gets_the_arguments_as_they_were_given():
    parts = layers() | {"e": nn.Embedding(10, 8)}
    makes = lambda s, y, im: s.b((s.a(im) + s.e(y)[..., None, None]).relu())  # noqa: E731
    y, x = torch.arange(8), images()
    expected = score(Net(lambda s, im, y: makes(s, y, im), **parts), (x, y), "snip")
    assert score(Net(makes, **parts), (y, x), "snip", loss=lambda o, i: F.l1_loss(o, i[1])) == expected
    named = type("Named", (Net,), {"forward": lambda s, y, im: makes(s, y, im)})(None, **parts)
    assert score(named, {"y": y, "im": x}, "snip", loss=lambda o, i: F.l1_loss(o, i["im"])) == expected


def test_a_mask_that_the_network_keeps_changes_nothing():
    def masked(s, x):
        if s.mask is None:
            s.mask = torch.ones_like(x[:, :1])
        return s.b((s.a(x) * s.mask).relu())

    net = Net(masked, mask=None, **layers())
    names = ["macs", "synflow", "num_transposed"]
    before = scored(net, images(), names)
    net(images())
    assert scored(net, images(), names) == pytest.approx(before)


@pytest.mark.parametrize("normalised", [nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_what_is_computed_of_a_weight_alone_is_no_cost_of_a_sample(normalised):
    net = normalised(nn.Linear(16, 32))
    assert [score(net.train(mode), noise(8, 16), "macs") for mode in (True, False)] == [512, 512]


class Marked(nn.Parameter):
    def doubled(self):
        return 2 * self


@pytest.mark.parametrize(
    "use",
    [
        lambda g: g * 2 if isinstance(g, nn.Parameter) else g * 0,
        lambda g: g * g.factor,
        lambda g: g.doubled(),
    ],
    ids=["isinstance", "attribute", "class"],
)
def test_weights_are_parameters_to_code_that_asks(use):
    gain = Marked(torch.linspace(0.5, 3, 8))
    gain.factor = 2
    net = Net(lambda s, x: s.b((s.a(x) * use(s.g)[:, None, None]).relu()), g=gain, **layers())
    same = Net(lambda s, x: s.b((s.a(x) * (2 * s.g)[:, None, None]).relu()), g=gain, **layers())
    assert scored(net, images()) == scored(same, images())


def test_a_frozen_counter_may_be_written():
    def counting(s, x):
        s.n += 1
        return plain(s, x)

    net = Net(counting, n=nn.Parameter(torch.zeros(1), requires_grad=False), **layers())
    assert scored(net, images()) == scored(Net(plain, **layers()), images())
    assert net.n.item() == 0


def test_buffers_that_share_memory_go_on_to_do_so():
    def halving(s, x):
        s.base.mul_(0.5)
        return s.b((s.a(x) * s.view[:, None, None]).relu())

    net = Net(halving, **layers())
    net.register_buffer("base", torch.linspace(0.5, 3, 12))
    net.view = net.base[:8]
    half = torch.linspace(0.5, 3, 12)[:8, None, None] / 2
    same = Net(lambda s, x: s.b((s.a(x) * half).relu()), **layers())
    names = ["snip", "fisher", "variance", "autogas"]
    assert scored(net, images(), names) == scored(same, images(), names)
    assert torch.equal(net.view, torch.linspace(0.5, 3, 12)[:8])


def test_flat_weights_have_no_score_by_gradients():
    torch.manual_seed(0)
    flat = nn.Parameter(torch.randn(432) * 0.1)
    halves = (lambda w: w[:216].view(8, 3, 3, 3)), (lambda w: w[216:].view(3, 8, 3, 3))
    net = Net(lambda s, x: F.conv2d(F.conv2d(x, halves[0](s.w), padding=1).relu(), halves[1](s.w), padding=1), w=flat)
    for name in ("snip", "grad_norm", "zico", "plain", "grasp", "l2_norm", "hessian_trace"):
        with pytest.raises(InputError, match="no weights of two or more dimensions"):
            score(net, images(), name)


def test_scales_of_any_shape_are_no_weights():
    net = nn.Sequential(layers()["a"], nn.LayerNorm([8, 16, 16]), nn.ReLU(), layers()["b"])
    without = nn.Sequential(
        layers()["a"], nn.LayerNorm([8, 16, 16], elementwise_affine=False), nn.ReLU(), layers()["b"]
    )
    names = ["l2_norm", "snip", "zico", "zen", "grasp"]
    assert scored(net, images(), names) == pytest.approx(scored(without, images(), names))


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_zen_has_no_recurrent_biases(kind):
    def net(*, bias):
        torch.manual_seed(0)
        return Net(lambda s, x: s.o(s.g(x)[0]), g=kind(16, 8, batch_first=True, bias=bias), o=nn.Linear(8, 4))

    assert score(net(bias=True), noise(8, 5, 16), "zen") == score(net(bias=False), noise(8, 5, 16), "zen")


def test_zen_has_no_complex_weights():
    complex_layer = nn.Conv2d(3, 8, 3, padding=1, dtype=torch.cfloat)
    net = Net(lambda s, x: s.b(s.c(x.to(torch.cfloat)).abs()), c=complex_layer, b=layers()["b"])
    with pytest.raises(InputError, match="complex weights"):
        score(net, images(), "zen")


@pytest.mark.parametrize("name", ["zen", "synflow"])
def test_numbers_that_are_no_samples_stay_as_they_are(name):
    net = Net(lambda s, x, k: s.b((s.a(x) * k).relu()), **layers())
    assert score(net, (images(), torch.tensor(2.0)), name) == score(net, (images(), 2.0), name)


@pytest.mark.parametrize("name", ["snip", "plain", "zico", "synflow", "grad_norm"])
def test_sparse_gradients_are_gradients(name):
    def net(*, sparse):
        torch.manual_seed(0)
        return nn.Sequential(nn.Embedding(10, 16, sparse=sparse), nn.Linear(16, 8), nn.ReLU())

    words = torch.arange(40).view(8, 5) % 10
    assert score(net(sparse=True), words, name) == pytest.approx(score(net(sparse=False), words, name))


@pytest.mark.parametrize("name", ["nwot", "swap", "num_activations", "variance", "meco"])
def test_features_may_be_read_as_arrays(name):
    def shifted(s, x):
        h = s.a(x)
        return s.b((h * float(h.numpy().std() > 0)).relu())

    assert score(Net(shifted, **layers()), images(), name) == score(Net(plain, **layers()), images(), name)


HOLDERS = {
    "namespace": argparse.Namespace,
    "chain": lambda **given: ChainMap(given),
    "local": lambda **given: _filled(threading.local(), given),
    "queue": lambda **given: _filled(queue.Queue(), given),
}


def _filled(holder, given):
    vars(holder).update(given)
    return holder


@pytest.mark.parametrize("kind", HOLDERS)
def test_what_libraries_hold_is_put_back(kind):
    holder = HOLDERS[kind](m=torch.zeros(()))
    of = (lambda: holder["m"]) if kind == "chain" else (lambda: holder.m)
    net = Net(lambda s, x: s.b((s.a(x) * of().add_(1)).relu()), o=holder, **layers())
    assert scored(net, images(), ["autogas", "snip"]) == scored(net, images(), ["autogas", "snip"])
    assert of() == 0


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_buffers_are_put_back(layout):
    net = Net(lambda s, x: s.b((s.a(x) * s.A.mul_(0.9).to_dense().sum()).relu()), **layers())
    net.register_buffer("A", torch.eye(4).to_sparse(layout=layout))
    assert score(net, images(), "autogas") == score(net, images(), "autogas")
    assert net.A.to_dense().sum() == 4


def test_expanded_and_dead_attributes():
    def halving(s, x):
        s.base.mul_(0.5)
        return s.b((s.a(x) * s.view.mean()).relu())

    net = Net(halving, **layers())
    net.register_buffer("base", torch.ones(1))
    net.view = net.base.expand(8)
    vars(net)["gone"] = weakref.proxy(nn.ReLU())
    assert score(net, images(), "autogas") == score(net, images(), "autogas")
    assert net.base == 1


def cached():
    """A network with a method that remembers what it made of a weight, and its class."""

    class Cached(Net):
        @functools.lru_cache  # noqa: B019 - what people write
        def position(self, count):
            return self.w * torch.linspace(0, 1, count)

    net = Cached(
        lambda s, x: s.b((s.a(x) + s.position(16)[:, None, :]).relu()), w=nn.Parameter(noise(8, 16)), **layers()
    )
    return net, Cached


def test_caches_of_methods_and_parametrisations_hold_no_other_weights():
    net, _ = cached()
    before = net(images())
    assert scored(net, images(), ["zen", "snip", "zico"]) == scored(net, images(), ["zen", "snip", "zico"])
    assert torch.equal(net(images()), before)
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3)))
    before, apart = normed(images()), scored(normed, images(), ["zen", "snip"])
    with parametrize.cached():
        assert scored(normed, images(), ["zen", "snip"]) == apart
        assert torch.equal(normed(images()), before)


def test_a_cache_of_a_method_is_left_as_it_was():
    net, Cached = cached()  # noqa: N806 - a class
    net(images())
    before = Cached.position.cache_info()
    scored(net, images(), ["zen", "snip", "autogas"])
    assert Cached.position.cache_info() == before


def test_parametrisations_are_cached_elsewhere_as_ever():
    ready, inside, done = (threading.Event() for _ in range(3))

    def first(s, x):
        if not inside.is_set():
            ready.set()
            inside.wait(10)
        return plain(s, x)

    def other():
        ready.wait(10)
        with parametrize.cached():
            inside.set()
            done.wait(20)

    thread = threading.Thread(target=other)
    thread.start()
    score(Net(first, **layers()), images(), "autogas")
    done.set()
    thread.join()
    assert parametrize._cache_enabled == 0
    assert not parametrize._cache


def test_masks_and_orders_among_parameters_stay_under_zen():
    mask = torch.ones(5, 5).triu(1).bool()
    attended = lambda s, x, mask: s.q((s.q(x) @ s.q(x).mT).masked_fill(mask, -1e9).softmax(-1) @ s.q(x))  # noqa: E731
    torch.manual_seed(0)
    q = nn.Linear(8, 8)
    held = Net(lambda s, x: attended(s, x, s.m), q=q, m=nn.Parameter(mask, requires_grad=False))
    closed = Net(lambda s, x: attended(s, x, mask), q=q)
    assert score(held, noise(4, 5, 8), "zen") == score(closed, noise(4, 5, 8), "zen")


def test_an_output_without_samples_has_the_flow_of_one_sample():
    def net():
        torch.manual_seed(0)
        return Net(lambda s, x: s.l(x).relu().mean(0), l=nn.Linear(8, 4))

    assert score(net(), torch.ones(4, 8), "synflow") == score(net(), torch.ones(3, 8), "synflow")


def test_a_network_may_be_a_call_alone():
    called = type("Called", (Net,), {"__call__": lambda s, x: plain(s, x), "forward": nn.Module.forward})
    assert score(called(None, **layers()), images(), "autogas") == score(Net(plain, **layers()), images(), "autogas")


def test_what_other_threads_parametrise_is_counted_by_nobody():
    layer, stop = nn.utils.parametrizations.orthogonal(nn.Linear(32, 32)), threading.Event()

    def use():
        while not stop.is_set():
            _ = layer.weight

    thread = threading.Thread(target=use)
    thread.start()
    try:
        counts = {score(Net(plain, **layers()), images(), "macs") for _ in range(20)}
    finally:
        stop.set()
        thread.join()
    assert counts == {110_592}


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated")
def test_scripted_functions_are_told_of():
    traced = torch.jit.trace(torch.relu, torch.randn(8, 8, 16, 16))
    kept = Net(lambda s, x: s.b(s.act(s.a(x))), act=traced, **layers())
    closed = type("Closed", (Net,), {"forward": lambda s, x: s.b(traced(s.a(x)))})(None, **layers())
    for net in (kept, closed):
        with pytest.warns(UserWarning, match="1 scripted modules or functions"):
            score(net, images(), "autogas")


def test_networks_without_a_forward_pass_or_values():
    with pytest.raises(InputError, match="a ModuleList in place of a network: it has no forward pass"):
        score(nn.ModuleList([nn.ReLU()]), images())
    with torch.device("meta"):
        assert score(Net(plain, **layers()), images(), "macs") == 110_592
    for name in ("autogas", "nwot", "snip", "zen", "l2_norm", "synflow"):
        with pytest.raises(InputError, match="meta device, which has no values"):
            score(Net(plain, **layers()).to("meta"), images().to("meta"), name)


def test_a_default_device_elsewhere_is_not_used():
    net, x = Net(plain, **layers()), images()
    names = ["autogas", "separation", "common", "zen", "hessian_trace"]
    expected = scored(net, x, names)
    with torch.device("meta"):
        assert scored(net, x, names) == expected


def test_packed_sequences_are_asked_for_as_padded():
    packed = nn.utils.rnn.pack_padded_sequence(noise(3, 5, 16), torch.tensor([5, 4, 2]), batch_first=True)
    with pytest.raises(InputError, match="a PackedSequence in place of inputs: expected a padded tensor"):
        score(nn.LSTM(16, 8, batch_first=True), packed, "macs")


def test_masks_of_true_and_false_are_inputs():
    x = images() > 0
    net = Net(lambda s, x: s.b(s.a(x.float()).relu()), **layers())
    assert score(net, x, "snip") == score(Net(plain, **layers()), x.float(), "snip")


@pytest.mark.parametrize("kind", ["slots", "set", "itself"])
def test_outputs_in_unusual_holders(kind):
    class Slots:
        __slots__ = ("out",)

    class Itself:
        pass

    def held(s, x):
        out = plain(s, x)
        if kind == "set":
            return {out}
        holder = Slots() if kind == "slots" else Itself()
        holder.out = out
        if kind == "itself":
            holder.me = holder
        return holder

    names = ["autogas", "snip", "synflow"]
    assert scored(Net(held, **layers()), images(), names) == scored(Net(plain, **layers()), images(), names)


def test_an_output_for_each_sample_is_one_of_all():
    apart = Net(lambda s, x: list(plain(s, x)), **layers())
    names = ["snip", "jacov", "fisher", "zico", "synflow"]
    assert scored(apart, images(), names) == pytest.approx(scored(Net(plain, **layers()), images(), names), rel=1e-5)


def test_layers_that_nobody_sees_are_no_zero():
    net = Net(lambda s, x: torch.vmap(lambda i: plain(s, i[None])[0])(x), **layers())
    for name in ("swap", "meco", "nwot", "zen"):
        with pytest.raises(InputError):
            score(net, images(), name)


def test_sharded_weights_are_refused():
    class DTensor(nn.Parameter):
        pass

    parts = layers()
    parts["a"].weight = DTensor(parts["a"].weight.detach())
    with pytest.raises(InputError, match=r"sharded \(DTensor\)"):
        score(Net(plain, **parts), images())


class Products(nn.Module):
    """Self-attention of matrices, with those of ``nn.MultiheadAttention``."""

    def __init__(self, like):
        super().__init__()
        self.inside, self.out = nn.Linear(16, 48), like.out_proj
        self.inside.weight, self.inside.bias = like.in_proj_weight, like.in_proj_bias

    def forward(self, w):
        b, t, c = w.shape
        q, k, v = self.inside(w).view(b, t, 3, 2, 8).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c))


class Windows(nn.Module):
    """Attention inside the windows of an image."""

    def __init__(self, attention, first, last):
        super().__init__()
        self.attention, self.first, self.last = attention, first, last

    def forward(self, x):
        w = self.first(x).view(-1, 16, 2, 4, 2, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, 16)
        if isinstance(self.attention, Products):
            w = self.attention(w)
        else:
            w = self.attention(w, w, w, need_weights=False)[0]
        return self.last(F.relu(w).view(-1, 2, 2, 4, 4, 16).permute(0, 5, 1, 3, 2, 4).reshape(-1, 16, 8, 8))


def test_windows_of_a_sequence_that_stands_first_are_seen():
    torch.manual_seed(0)
    attention, first, last = nn.MultiheadAttention(16, 2, batch_first=True), nn.Conv2d(3, 16, 1), nn.Conv2d(16, 3, 1)
    one, other = (Windows(each, first, last) for each in (attention, Products(attention)))
    x = torch.randn(8, 3, 8, 8)
    torch.testing.assert_close(one(x), other(x))
    assert [layer.left_out for layer in explain(one, x).layers] == [""] * 5
    for proxy in ("concord", "separation", "autogas", "variance", "convolutions > gram > slogdet"):
        assert score(one, x, proxy) == pytest.approx(score(other, x, proxy), rel=1e-4)
    assert score(one, x, "fisher") == pytest.approx(score(other, x, "fisher"), rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_a_little_dropout_does_not_hide_whose_rows_normalised_ones_are(seed):
    class Normed(nn.Module):
        def __init__(self, p):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.dropout, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Dropout(p), nn.Conv2d(16, 3, 1)
            self.norm, self.linear, self.other = nn.LayerNorm(16), nn.Linear(16, 16), nn.LayerNorm(16)

        def forward(self, x):
            h = self.dropout(self.first(x).relu())
            w = h.view(-1, 16, 2, 4, 2, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, 16)
            w = self.other(w + F.gelu(self.linear(self.norm(w))))
            return self.last(w.view(-1, 2, 2, 4, 4, 16).permute(0, 5, 1, 3, 2, 4).reshape(-1, 16, 8, 8))

    x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    for p in (0.01, 0.05):
        assert not any(layer.left_out for layer in explain(Normed(p), x).layers)
        assert score(Normed(p), x) == pytest.approx(score(Normed(0.0), x), rel=0.01)
