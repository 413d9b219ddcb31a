"""Training-free proxies: the language, the engine, the feature bank, the named scorers."""
