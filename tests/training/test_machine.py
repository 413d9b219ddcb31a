import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.multiprocessing.spawn import ProcessRaisedException

from autogas.errors import InputError
from autogas.training.machine import launch, set_learning_rate


def test_a_batch_of_one_process_is_all_of_it():
    assert launch(lambda machine: machine.share(torch.arange(5)).tolist()) == [0, 1, 2, 3, 4]
    assert launch(lambda machine: machine.main)


def product(machine):
    with machine.autocast():
        return torch.ones(2, 2) @ torch.ones(2, 2)


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_precision_is_that_of_forward_passes(precision, dtype):
    assert launch(product, precision=precision).dtype == dtype


def test_only_the_weights_of_the_optimiser_get_gradients_and_change():
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    before = first.weight.detach().clone(), second.weight.detach().clone()
    optimizer = torch.optim.SGD(second.parameters(), lr=1.0)
    x = torch.randn(3, 2)
    hidden = first(x).detach()
    launch(lambda machine: machine.minimise(second(first(x)).mean(), optimizer))
    assert torch.equal(first.weight, before[0])
    assert first.weight.grad is None
    torch.testing.assert_close(second.weight.detach(), before[1] - hidden.mean(0, keepdim=True))


@pytest.mark.parametrize(("clip", "norm"), [(1.0, 1.0), (100.0, 5.0), (None, 5.0)])
def test_gradients_are_clipped_together(clip, norm):
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD(weights, lr=1.0)
    launch(lambda machine: machine.minimise((3 * weights[0] + 4 * weights[1]).sum(), optimizer, clip=clip))
    assert torch.cat(list(weights)).norm().item() == pytest.approx(norm, rel=1e-5)


def two_steps(machine, batch):
    """Least squares on this process' share."""
    torch.manual_seed(0)
    net = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        loss = net(machine.share(batch)).square().mean()
        machine.minimise(loss, optimizer)
    machine.wait()
    return [*net.weight[0].tolist(), machine.mean(loss.detach()).item()]


def test_two_processes_take_the_steps_of_one():
    batch = torch.arange(1.0, 13).view(4, 3)
    assert launch(two_steps, batch, devices=2) == pytest.approx(launch(two_steps, batch), rel=1e-5)


def test_bad_input_in_a_process_is_one_line(monkeypatch):
    """Another process reports an error as the text of its traceback."""

    def report(reason):
        def fail(*_):
            text = (
                f"\n\n-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n{reason}\n"
            )
            raise ProcessRaisedException(text, 1, 2)

        monkeypatch.setattr(Fabric, "launch", fail)
        launch(product, devices=2)

    with pytest.raises(InputError, match=r"^training diverged: loss$"):
        report("autogas.training.loop.DivergenceError: training diverged: loss")
    with pytest.raises(ProcessRaisedException, match="ZeroDivisionError"):
        report("ZeroDivisionError: division by zero")


def test_a_named_device_is_one():
    with pytest.raises(InputError, match="--devices 2 of 'cuda:1': accepted for 'cuda'"):
        launch(product, device="cuda:1", devices=2)


def test_no_more_devices_than_there_are():
    with pytest.raises(InputError, match="--devices 99: expected up to"):
        launch(product, device="cuda", devices=99)


@pytest.mark.parametrize("devices", [1, 2])
def test_graphs_without_one_gpu_are_refused(devices):
    with pytest.raises(InputError, match=f"--graphs on with {devices} of 'cpu': expected one CUDA device"):
        launch(product, devices=devices, graphs="on")


def test_a_learning_rate_is_set_where_a_graph_reads_it():
    weight = nn.Parameter(torch.ones(1))
    number, tensor = torch.optim.Adam([weight], lr=1.0), torch.optim.Adam([weight], lr=torch.tensor(1.0))
    kept = tensor.param_groups[0]["lr"]
    for optimizer in (number, tensor):
        set_learning_rate(optimizer, 0.25)
    assert number.param_groups[0]["lr"] == 0.25
    assert tensor.param_groups[0]["lr"] is kept
    assert kept.item() == 0.25
