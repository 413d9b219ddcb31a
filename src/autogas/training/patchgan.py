"""PatchGAN discriminators: one logit for each patch of an image (Isola et al., CVPR 2017), at one or more scales."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from autogas.spaces.layers import Conv2d
from autogas.spaces.spectral import SpectralConv2d

KERNEL = 4
NEGATIVE_SLOPE = 0.2
LARGEST_MULTIPLE = 8


class PatchGAN(nn.Module):
    """Convolutions 4x4: ``strided`` ones of stride 2, then two of stride 1, the last to one logit.

    Widths double from layer to layer up to eight times the first; all but the first and the last are followed by
    instance normalisation without parameters, all but the last by LeakyReLU 0.2. pix2pix calls three strided layers
    "3 layers", GauGAN "4 layers". Weights are without values.

    Args:
        channels: of the image, and of what is judged with it.
        width: channels of the first layer.
        strided: layers of stride 2.
        padding: of all layers (pix2pix: 1, GauGAN: 2).
        spectral: normalise the layers in the middle spectrally; they have no bias then, as in GauGAN.
    """

    def __init__(
        self, channels: int, *, width: int = 64, strided: int = 3, padding: int = 1, spectral: bool = False
    ) -> None:
        super().__init__()
        middle = SpectralConv2d if spectral else Conv2d
        widths = [width * min(2**i, LARGEST_MULTIPLE) for i in range(strided + 1)]
        strides = [2] * (strided - 1) + [1]
        self.layers = nn.ModuleList(
            [nn.Sequential(Conv2d(channels, width, KERNEL, 2, padding), nn.LeakyReLU(NEGATIVE_SLOPE))]
        )
        for c_in, c_out, stride in zip(widths, widths[1:], strides, strict=False):
            self.layers.append(
                nn.Sequential(
                    middle(c_in, c_out, KERNEL, stride, padding, bias=not spectral),
                    nn.InstanceNorm2d(c_out),
                    nn.LeakyReLU(NEGATIVE_SLOPE),
                )
            )
        self.layers.append(Conv2d(widths[-1], 1, KERNEL, 1, padding))

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[N, channels, H, W]`` to the output of every layer; the last are the logits ``[N, 1, H', W']``."""
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return outputs


class MultiScalePatchGAN(nn.Module):
    """A ``PatchGAN`` at full resolution, another at half, … (pix2pixHD, Wang et al., CVPR 2018).

    Args:
        channels: see ``PatchGAN``.
        scales: how many.
        width: see ``PatchGAN``.
        strided: see ``PatchGAN``.
        padding: see ``PatchGAN``.
        spectral: see ``PatchGAN``.
    """

    def __init__(
        self,
        channels: int,
        *,
        scales: int = 1,
        width: int = 64,
        strided: int = 3,
        padding: int = 1,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            PatchGAN(channels, width=width, strided=strided, padding=padding, spectral=spectral) for _ in range(scales)
        )

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """``[N, channels, H, W]`` to what each scale gives, full resolution first."""
        outputs = []
        for i, scale in enumerate(self.scales):
            if i:
                x = F.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False)
            outputs.append(scale(x))
        return outputs
