import numpy as np
import pytest
import torch

from autogas.errors import InputError
from autogas.metrics import psnr, ssim


def images(seed, shape=(2, 3, 14, 12)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def ssim_by_definition(first, second):
    """Wang et al. (2004), equation 13, pixel by pixel."""
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for a, b in zip(first.flatten(0, 1).double().numpy(), second.flatten(0, 1).double().numpy(), strict=True):
        a, b = (np.pad(x, 5, mode="reflect") for x in (a, b))
        for i in range(a.shape[0] - 10):
            for j in range(a.shape[1] - 10):
                p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2
                cov = (window * p * q).sum() - mp * mq
                values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(values)


@pytest.mark.parametrize("shape", [(2, 3, 14, 12), (1, 1, 6, 6)])
def test_ssim_is_its_definition(shape):
    first = images(0, shape)
    second = (first + 0.2 * images(1, shape)).clamp(0, 1)
    assert ssim(first, second) == pytest.approx(ssim_by_definition(first, second), abs=1e-4)


def test_ssim_of_equal_images_is_one():
    assert ssim(images(0), images(0)) == pytest.approx(1)


def test_psnr_is_the_mean_over_images():
    target = torch.zeros(2, 3, 4, 4)
    output = target.clone()
    output[0] += 0.1
    output[1] += 0.01
    assert psnr(output, target) == pytest.approx((20 + 40) / 2, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("metric", [ssim, psnr])
def test_half_precision_is_only_how_images_are_kept(metric, dtype):
    output, target = (torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(i)).to(dtype) for i in range(2))
    assert metric(output, target) == metric(output.float(), target.float())
    if metric is psnr and dtype is torch.float16:
        close = torch.zeros(1, 3, 8, 8, dtype=dtype)
        assert psnr(close, close + 1e-4) == pytest.approx(80, abs=0.01)


@pytest.mark.parametrize("metric", [ssim, psnr])
@pytest.mark.parametrize("shapes", [((1, 3, 8, 8), (1, 3, 8, 9)), ((3, 8, 8), (3, 8, 8)), ((0, 3, 8, 8), (0, 3, 8, 8))])
def test_other_shapes_are_refused(metric, shapes):
    with pytest.raises(InputError, match="expected two equal"):
        metric(*(torch.zeros(shape) for shape in shapes))


def test_ssim_of_tiny_images_is_refused():
    with pytest.raises(InputError, match="6 pixels or more"):
        ssim(torch.zeros(1, 3, 5, 8), torch.zeros(1, 3, 5, 8))


@pytest.mark.parametrize("metric", [ssim, psnr])
@pytest.mark.parametrize(
    "values", [lambda x: x * 255, lambda x: -x, lambda x: x + torch.nan, lambda x: (x * 255).int(), lambda x: x.bool()]
)
def test_other_ranges_and_types_are_refused(metric, values):
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="expected"):
        metric(values(images), values(images))


def test_whole_numbers_are_levels_of_256():
    ten, twelve = (torch.full((1, 3, 8, 8), value, dtype=torch.uint8) for value in (10, 12))
    assert psnr(ten, twelve) == pytest.approx(10 * np.log10(255**2 / 4), abs=1e-4)  # 42.11 dB
    assert ssim(ten, twelve) == pytest.approx(ssim(ten / 255, twelve / 255), abs=1e-6)
    with pytest.raises(InputError, match=r"torch.uint8 against torch.float32"):
        psnr(ten, twelve / 255)


def test_an_exact_image_has_an_infinite_ratio():
    black = torch.zeros(2, 3, 8, 8)
    assert psnr(black, black) == float("inf")


@pytest.mark.parametrize("grey", [0, 1, 100, 213, 250])
def test_ssim_of_flat_images_is_its_closed_form(grey):
    """Without variance what is left is (2 a b + C1) / (a^2 + b^2 + C1), C1 = 0.01^2."""
    x = torch.full((70, 3, 32, 32), grey, dtype=torch.uint8)
    a, b = grey / 255, (grey + 1) / 255
    assert ssim(x, x) == pytest.approx(1, abs=1e-9)
    assert ssim(x, x + 1) == pytest.approx((2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4), abs=1e-6)
