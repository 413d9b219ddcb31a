"""The language of proxies: expressions, their grammars, and the parts of a network that they choose."""
