"""Several groups of rows in one pass, each as it would be alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prefixbank.core.alone import EachAlone, each_alone
from prefixbank.core.packed import pack_linear_layers, packable


class Layer(nn.Module):
    """A feed-forward layer as encoders have it."""

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        self.norm, self.up = nn.LayerNorm(features), nn.Linear(features, 4 * features)
        self.act, self.down = nn.GELU(), nn.Linear(4 * features, features)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states + self.down(self.act(self.up(self.norm(states))))


def model_of(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(layers or (Layer(), Layer()))).eval().requires_grad_(False)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 13])
def test_each_group_gets_what_it_gets_alone_to_the_last_bit(rows: int, packed: bool):
    model = model_of()
    if packed:
        if not packable(model, torch.float32):
            pytest.skip("linear layers are not packed here")
        model = pack_linear_layers(model, torch.float32)
    groups = torch.randn(5, rows, 2, 64)

    together = each_alone(model, 5)

    assert together is not None
    assert torch.equal(
        together(groups.flatten(0, 1)), torch.cat([model(group) for group in groups])
    )


def test_weights_are_those_of_the_model_and_the_model_stays_as_it_is():
    model = model_of()
    split = each_alone(model, 2)
    assert split is not None
    assert {id(one) for one in split.parameters()} == {id(one) for one in model.parameters()}
    assert not any(isinstance(module, EachAlone) for module in model.modules())


def test_a_layer_that_is_used_twice_is_used_twice_in_the_copy():
    layer = Layer()
    split = each_alone(model_of(layer, layer), 2)
    assert isinstance(split, nn.Sequential)
    assert split[0] is split[1]


class Scaled(Layer):
    """A layer with a weight beside those of the modules within it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(64))


@pytest.mark.parametrize("layer", [nn.RNN(64, 64), Layer(features=24), Scaled()])
def test_a_model_with_layers_that_may_mix_rows_is_refused(layer: nn.Module):
    assert each_alone(model_of(layer), 2) is None
