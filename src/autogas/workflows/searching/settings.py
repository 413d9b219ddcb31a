"""What determines a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from autogas.evolution import known_strategy
from autogas.proxies.named import DEFAULT_PROXY
from autogas.settings import (
    MOST,
    Device,
    SamplingRatio,
    ScoredBatch,
    Settings,
    SpaceSettings,
    must_be_usual,
    on_command_line,
    split_at_commas,
)
from autogas.spaces import Space, get_space

Objective: TypeAlias = Literal["score", "params", "macs"]
Limit: TypeAlias = Annotated[float | None, Field(gt=0, allow_inf_nan=False)]


def score_alone() -> list[Objective]:
    """The objective of the paper."""
    return ["score"]


def of_the_space(fact: str, otherwise: object = None) -> Callable[[dict[str, Any]], Any]:
    """A default that the space that is searched knows: an attribute of it, or something else where that is None."""

    def default(given: dict[str, Any]) -> Any:
        if "space" not in given:
            return None
        known = getattr(get_space(given["space"], **given["space_settings"]), fact)
        return otherwise if known is None else known

    return default


class SearchSettings(Settings):
    """What determines a search; but for the proxy the defaults are the paper's."""

    space: str = Field(description="search space", json_schema_extra=on_command_line(argument=True))
    space_settings: SpaceSettings = Field(default_factory=dict)
    proxy: str = Field(
        default_factory=of_the_space("search_proxy", DEFAULT_PROXY),
        description=f"what is maximised: a name or an expression; None: {DEFAULT_PROXY}, of eagan-generator "
        "separation, of diffusion-unet common",
    )
    scored_at: dict[str, Any] | None = Field(
        None, description="settings of the space at which candidates are scored; None: the space's usual small size"
    )
    strategy: Annotated[str, AfterValidator(known_strategy)] = Field(
        "evolution", description="how candidates are found: evolution, random, or a plug-in's"
    )
    objectives: Annotated[list[Objective], BeforeValidator(split_at_commas)] = Field(
        default_factory=score_alone, description="score alone, or score against costs: a Pareto front by NSGA-II"
    )
    population: int = Field(
        default_factory=of_the_space("search_population"),
        ge=1,
        le=MOST,
        description="candidates an iteration; None: 32, translators 10",
    )
    iterations: int = Field(
        default_factory=of_the_space("search_iterations"),
        ge=1,
        le=MOST,
        description="rounds of ask and tell; None: 150, translators 500",
    )
    sampling_ratio: SamplingRatio = 0.9
    top_k: int = Field(5, ge=1, description="parents an iteration")
    max_params: Limit = Field(None, description="most parameters")
    max_macs: Limit = Field(None, description="most multiply-accumulate operations for one sample")
    max_latency: Limit = Field(None, description="most milliseconds for one sample on this device, on one thread")
    sample: int = Field(
        100, ge=0, le=MOST, description="random architectures to compare with, and to see what size explains"
    )
    agreement: int = Field(20, ge=0, le=MOST, description="of them, scored at full size too")
    batch_size: ScoredBatch = Field(
        default_factory=of_the_space("scored_samples"),
        description="samples that networks are scored on; None: 16, spade-translation 4",
    )
    images: str | None = Field(
        default_factory=of_the_space("scored_images"),
        description="score on images of this source; None: on noise, discriminators on their data set",
    )
    seed: int = Field(0, ge=0, description="of weights, noise and search")
    device: Device = "cpu"

    @model_validator(mode="before")
    @classmethod
    def _left_open(cls, given: Any) -> Any:
        return (
            {name: value for name, value in given.items() if value is not None} if isinstance(given, Mapping) else given
        )

    @field_validator("objectives")
    @classmethod
    def _score_first(cls, value: list[Objective]) -> list[Objective]:
        if value[:1] != ["score"] or len(set(value)) != len(value):
            raise ValueError("expected score, score,macs, score,params and score,macs,params")
        return value

    @model_validator(mode="after")
    def _used(self) -> SearchSettings:
        if self.strategy == "random" or (self.strategy == "evolution" and len(self.objectives) > 1):
            how = "strategy random" if self.strategy == "random" else "several objectives"
            must_be_usual(self, ("sampling_ratio", "top_k"), f"with {how}")
        return self

    @property
    def budget(self) -> str:
        """The limits in words; empty without any."""
        limits = {"parameters": self.max_params, "MACs": self.max_macs, "ms": self.max_latency}
        return ", ".join(f"at most {value:g} {name}" for name, value in limits.items() if value is not None)


def spaces_of(s: SearchSettings) -> tuple[Space[Any], Space[Any]]:
    """The space that is searched, and the one in which candidates are scored: smaller where nothing is said."""
    space = get_space(s.space, **s.space_settings)
    usual = {name: value for name, value in space.smaller.items() if value < space.settings[name]}
    return space, get_space(s.space, **{**s.space_settings, **(usual if s.scored_at is None else s.scored_at)})
