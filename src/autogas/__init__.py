"""autogas: find good image generators without training them.

Discover training-free proxies on benchmarks of trained generators, rank proxies against ground truth, score any network.
"""

from autogas.errors import InputError
from autogas.proxies.expression import Proxy, parse_proxy
from autogas.proxies.named import DEFAULT_PROXY, get_proxy, list_proxies
from autogas.proxies.score import score, score_many
from autogas.spaces import Cost, Space, get_space, list_spaces

__version__ = "0.1.0"
__all__ = [
    "DEFAULT_PROXY",
    "Cost",
    "InputError",
    "Proxy",
    "Space",
    "get_proxy",
    "get_space",
    "list_proxies",
    "list_spaces",
    "parse_proxy",
    "score",
    "score_many",
]
