"""Denoising U-Nets of diffusion models."""

from autogas.spaces.diffusion.space import DiffusionUNet

__all__ = ["DiffusionUNet"]
