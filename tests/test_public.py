import importlib
import inspect
import re
import subprocess
import sys

import pytest
import torch

import autogas


def fresh(code):
    """Run code in another process; returns what it printed."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_public_name_exists():
    assert not [name for name in autogas.__all__ if getattr(autogas, name) is None]


def test_public_names_are_sorted_and_shown():
    assert sorted(autogas.__all__) == dir(autogas)
    assert len(set(autogas.__all__)) == len(autogas.__all__)


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("InputError", "autogas.errors"),
        ("get_space", "autogas.spaces"),
        ("score", "autogas.proxies.score"),
        ("correlate", "autogas.benchmarks.correlation"),
        ("discover", "autogas.workflows.discover"),
        ("Run", "autogas.runs.folder"),
    ],
)
def test_a_public_name_is_that_of_its_home(name, home):
    assert getattr(autogas, name) is getattr(importlib.import_module(home), name)


WITHOUT_ONE_TYPE = {"get_space": {"return"}, "Run.results": {"return"}, "Run.costs": {"return"}}
"""What a name or a file decides: the architectures of a space, and the values of JSON."""


def public_functions():
    for name in autogas.__all__:
        thing = getattr(autogas, name)
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.isclass(thing):
            members = {key: inspect.unwrap(getattr(value, "fget", value)) for key, value in vars(thing).items()}
            members = {key: getattr(value, "__func__", value) for key, value in members.items() if key[0] != "_"}
            yield from ((f"{name}.{key}", value) for key, value in members.items() if inspect.isfunction(value))


def test_public_signatures_say_types():
    found = dict(public_functions())
    assert {"search", "score_architecture", "latency", "Run.open", "Benchmark.subset", "Space.parse"} <= set(found)
    vague = {
        name: {key for key, kind in function.__annotations__.items() if re.search(r"\bAny\b", str(kind))}
        for name, function in found.items()
    }
    assert {name: keys for name, keys in vague.items() if keys} == WITHOUT_ONE_TYPE
    for name, function in found.items():
        parameters = set(inspect.signature(function, follow_wrapped=False).parameters) - {"self", "cls"}
        if not hasattr(function, "declares"):
            assert parameters <= set(function.__annotations__), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'autogas' has no attribute 'scroe'"):
        autogas.scroe  # noqa: B018
    with pytest.raises(ImportError, match="scroe"):
        from autogas import scroe  # noqa: F401


def test_importing_does_not_wait_for_torch():
    heavy = ("torch", "numpy", "scipy", "pandas", "matplotlib")
    code = f"import sys, autogas, autogas.cli.main; print([m for m in {heavy} if m in sys.modules])"
    assert fresh(code) == "[]"


def test_a_run_is_opened_without_torch():
    assert fresh("import sys, autogas; autogas.Run; print('torch' in sys.modules)") == "False"


def test_a_name_stays_a_function_when_its_module_is_imported():
    code = "import autogas.workflows.rank, autogas.workflows.discover, autogas.proxies.score, autogas\n"
    code += "print(*(type(getattr(autogas, name)).__name__ for name in ('rank', 'discover', 'score', 'correlate')))"
    assert fresh(code) == "function function function function"


def test_star_import_gives_the_public_names():
    namespace = {}
    exec("from autogas import *", namespace)
    assert set(autogas.__all__) <= namespace.keys()


def test_version_is_that_of_the_package():
    from importlib.metadata import version

    assert autogas.__version__ == version("autogas")


def test_score_an_architecture():
    space = autogas.get_space("transnas-macro", base_width=8, decoder_divisor=64, stem_stride=1, image_size=16)
    model = space.build(space.parse("64-1342-basic"))
    inputs = space.inputs(batch_size=8)
    by_name = autogas.score(model, inputs, "autogas")
    by_text = autogas.score(model, inputs, "swish > above_mean > gram > slogdet > pow2")
    assert by_name == by_text
    by_default = autogas.score(model, inputs)
    assert by_default == autogas.score(model, inputs, autogas.get_proxy(autogas.DEFAULT_PROXY)) != by_name
    assert autogas.score(model, inputs, "params") == sum(p.numel() for p in model.parameters())
    other = space.build(space.parse("64-1324-basic"))
    assert autogas.score(other, inputs) != by_default


def test_score_any_module():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3), torch.nn.ReLU())
    noise = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    kernels = []
    net[1].register_forward_hook(lambda _, inputs, __: kernels.append(inputs[0]))
    net[3].register_forward_hook(lambda _, inputs, __: kernels.append(inputs[0]))
    scores = autogas.score_many(net, noise, ["gram > trace", "params"])
    traces = [float((x.detach() ** 2).sum()) for x in kernels[:2]]  # of the Gram matrix of what each ReLU takes
    assert scores == {"gram > trace": pytest.approx(sum(traces) / 2, rel=1e-5), "params": 6 * 12 + 12 + 12 * 3 + 3}


def test_bad_input_is_a_value_error():
    with pytest.raises(ValueError, match="did you mean 'transnas-macro'"):
        autogas.get_space("transnas-makro")
    assert issubclass(autogas.InputError, ValueError)
