"""TransNAS-Bench-101's macro and micro autoencoder spaces."""

from autogas.spaces.transnas.genotype import TransNASArch
from autogas.spaces.transnas.space import MINI_SETTINGS, TransNAS, TransNASMacro, TransNASMicro, TransNASSpace

__all__ = ["MINI_SETTINGS", "TransNAS", "TransNASArch", "TransNASMacro", "TransNASMicro", "TransNASSpace"]
