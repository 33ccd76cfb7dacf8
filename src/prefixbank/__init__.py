"""Independent prefixes of one frozen encoder, combined into a bank that embeds texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefixbank.env import let_idle_threads_sleep

if TYPE_CHECKING:
    from prefixbank.api import (
        Artifact,
        BankResult,
        ColumnNames,
        CombineConfig,
        CommandResult,
        CorpusConfig,
        DataError,
        EmbeddingsResult,
        EmbedRecipe,
        EncoderConfig,
        Event,
        LoadedBank,
        OptimConfig,
        PoolingConfig,
        PrefixbankError,
        PrefixConfig,
        PrefixRecipe,
        PrefixResult,
        ProbeConfig,
        ProbeRecipe,
        ProbeResult,
        Rows,
        RunConfig,
        SourceHead,
        SplitNames,
        Store,
        Task,
        TaskConfig,
        UsageError,
        combine,
        embed,
        load_bank,
        load_probe,
        open_store,
        probe,
        run,
        search,
        train_prefix,
    )

__version__ = "0.1.0.dev0"

# Here, since every command, worker and user imports the package first: torch must come later.
let_idle_threads_sleep()

__all__ = [
    "Artifact",
    "BankResult",
    "ColumnNames",
    "CombineConfig",
    "CommandResult",
    "CorpusConfig",
    "DataError",
    "EmbedRecipe",
    "EmbeddingsResult",
    "EncoderConfig",
    "Event",
    "LoadedBank",
    "OptimConfig",
    "PoolingConfig",
    "PrefixConfig",
    "PrefixRecipe",
    "PrefixResult",
    "PrefixbankError",
    "ProbeConfig",
    "ProbeRecipe",
    "ProbeResult",
    "Rows",
    "RunConfig",
    "SourceHead",
    "SplitNames",
    "Store",
    "Task",
    "TaskConfig",
    "UsageError",
    "__version__",
    "combine",
    "embed",
    "load_bank",
    "load_probe",
    "open_store",
    "probe",
    "run",
    "search",
    "train_prefix",
]


def __getattr__(name: str) -> object:
    """Import the API when it is first used, so that `prefixbank --help` stays quick."""
    if name in __all__:
        from prefixbank import api

        return getattr(api, name)
    raise AttributeError(f"module 'prefixbank' has no attribute '{name}'")


def __dir__() -> list[str]:
    """List the API too, for completion in a shell or notebook."""
    return sorted({*globals(), *__all__})
