"""How well proxies rank trained architectures: correlations, fitness of one benchmark and of several."""
