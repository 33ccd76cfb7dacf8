"""Settings without an effect beside the others."""

from __future__ import annotations

import pytest

from prefixbank.config.commands import EmbedConfig, ProbeCommandConfig, TrainPrefixConfig
from prefixbank.config.compose import compose
from prefixbank.config.unused import without_effect


@pytest.mark.parametrize(
    ("config", "settings", "found"),
    [
        (EmbedConfig, ["window_overlap=0.5"], [("window_overlap", "long=windows")]),
        (EmbedConfig, ["window_overlap=0.5", "long=windows"], []),
        (
            ProbeCommandConfig,
            ["task=polarity", "probe.precision=0.9"],
            [("probe.precision", "probe.threshold=precision")],
        ),
        (
            TrainPrefixConfig,
            ["task=polarity", "prefix.init_scale=0.1", "prefix.init=texts"],
            [
                (
                    "prefix.init_scale",
                    "prefix.init=random or prefix.init=vocabulary or prefix.init=labels",
                )
            ],
        ),
        (TrainPrefixConfig, ["task=polarity", "pooling=mean", "optim.lr=0.1"], []),
        (TrainPrefixConfig, ["task=polarity", "prefix.init=mnli", "prefix.init_fit=tile"], []),
        (
            TrainPrefixConfig,
            ["task=polarity", "prefix.init_fit=tile"],
            [("prefix.init_fit", "prefix.init=prefix")],
        ),
    ],
)
def test_settings_are_named_with_what_would_give_them_an_effect(config, settings, found):
    given = [setting.partition("=")[0] for setting in settings]
    assert list(without_effect(compose(config, settings), given)) == found
