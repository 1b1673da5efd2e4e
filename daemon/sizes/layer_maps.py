"""Which linear maps a layer has, by its widths, and which of them an adapter changes. Pure."""

from dataclasses import dataclass

from learner.settings import ADAPTER_PARTS, RecipeSettings


@dataclass(frozen=True, slots=True)
class Maps:
    """Linear maps of a part of a layer: their inputs and outputs together, their outputs, their weights."""

    sides: int
    outputs: int
    weights: int


def adapted_maps(hidden: int, inner: int, recipe: RecipeSettings) -> list[Maps]:
    """What an adapter changes in each layer; names of modules are counted as all of both parts."""
    named = any(word not in ADAPTER_PARTS for word in recipe.adapter_modules)
    maps = maps_of_layer(hidden, inner)
    return [maps[part] for part in (ADAPTER_PARTS if named else set(recipe.adapter_modules))]


def maps_of_layer(hidden: int, inner: int) -> dict[str, Maps]:
    """Of a layer's parts."""
    return {
        "mlp": Maps(3 * (hidden + inner), 2 * inner + hidden, 3 * hidden * inner),
        "attention": Maps(8 * hidden, 4 * hidden, 4 * hidden**2),
    }
