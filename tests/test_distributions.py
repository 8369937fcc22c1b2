"""The three distributions as they are published: what they hold, export and import."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

LIBS = Path(__file__).parent.parent / "libs"
PACKAGES = {
    "behest-base": "behest_base",
    "langchain-behest": "langchain_behest",
    "llamaindex-behest": "llamaindex_behest",
}
PUBLIC = {
    "behest_base": {
        "UNSET",
        "AsyncChatStream",
        "Behest",
        "BehestAuth",
        "BehestAuthError",
        "BehestBadRequestError",
        "BehestConfigError",
        "BehestConnectionError",
        "BehestContentBlockedError",
        "BehestContextOverflowError",
        "BehestError",
        "BehestNotFoundError",
        "BehestQuotaError",
        "BehestRateLimitError",
        "BehestServerError",
        "BehestSettings",
        "BehestStreamError",
        "BehestTimeoutError",
        "BehestVerifier",
        "ChatStream",
        "Clock",
        "Identity",
        "MintedToken",
        "PoolStats",
        "Scope",
        "SigningKey",
        "Thread",
        "ThreadMessage",
        "ThreadView",
        "ToolCallPieces",
        "Unset",
        "Usage",
        "close_shared",
        "load_signing_key",
        "scope",
    },
    "langchain_behest": {
        "UNSET",
        "Behest",
        "BehestAuthError",
        "BehestAuthenticationError",
        "BehestBadRequestError",
        "BehestChatHistory",
        "BehestConfigError",
        "BehestConnectionError",
        "BehestContentBlockedError",
        "BehestContextOverflowError",
        "BehestError",
        "BehestNotFoundError",
        "BehestPermissionError",
        "BehestQuotaError",
        "BehestRateLimitError",
        "BehestRefusalError",
        "BehestServerError",
        "BehestStreamError",
        "BehestTimeoutError",
        "ChatBehest",
        "Scope",
        "scope",
    },
    "llamaindex_behest": {"BehestAsyncChatStore", "BehestChatStore", "BehestLLM", "BehestMemory"},
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build all three, each wheel from its sdist, as they are published."""
    out = tmp_path_factory.mktemp("dist")
    for name in PACKAGES:
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(LIBS / name)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stdout + built.stderr
    return out


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names(package: str) -> None:
    """What a package exports is what it promises, no more and no less."""
    module = importlib.import_module(package)
    assert set(module.__all__) == PUBLIC[package]
    assert all(hasattr(module, name) for name in PUBLIC[package])


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_wheels_and_sdists(name: str, package: str, dist: Path) -> None:
    """A wheel holds the package with its type marker and licence, and nothing of the tests."""
    wheel = next(dist.glob(f"{package}-*.whl"))
    assert next(dist.glob(f"{package}-*.tar.gz"))
    held = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(LIBS / name / "src").as_posix() for path in (LIBS / name / "src").rglob("*.py")}
    assert sources <= held
    assert f"{package}/py.typed" in held
    assert any(path.endswith("licenses/LICENSE") for path in held)
    assert {path.split("/")[0] for path in held} <= {package, "llama_index", f"{package}-0.1.0.dist-info"}


@pytest.mark.parametrize("package", PUBLIC)
def test_imports_alone(package: str, dist: Path) -> None:
    """A wheel imports with its dependencies only: neither the other framework nor what an extra brings."""
    wheels = [next(dist.glob(f"{one}-*.whl")) for one in dict.fromkeys(("behest_base", package))]
    strangers = {"openai", "starlette", "uvicorn", "langgraph", "langchain"}
    strangers |= {"llama_index", "llama_index.core"} if package != "llamaindex_behest" else {"langchain_core"}
    strangers |= {"langchain_core"} if package == "behest_base" else set()
    # Without site no .pth leads to the checkout: only the wheels and what is installed are there.
    paths = [*map(str, wheels), sysconfig.get_path("purelib")]
    code = (
        f"import sys; sys.path += {paths!r}; import {package} as it; "
        f"assert it.__file__.startswith({str(dist)!r}), it.__file__; assert it.__version__ == '0.1.0'; "
        f"print(sorted({strangers!r} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr


def test_aliases_beside_other_integrations(dist: Path, tmp_path: Path) -> None:
    """The wheel's leaves of the `llama_index` namespace stand beside core's and OpenAI's, and overwrite nothing of theirs."""
    for package in ("behest_base", "llamaindex_behest"):
        with zipfile.ZipFile(next(dist.glob(f"{package}-*.whl"))) as wheel:
            wheel.extractall(tmp_path)
    ours = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    leaves = {"llama_index/llms/behest", "llama_index/storage/chat_store/behest"}
    assert {path for path in ours if path.startswith("llama_index/")} == {
        f"{leaf}/{name}" for leaf in leaves for name in ("__init__.py", "py.typed")
    }
    for other in ("llama-index-core", "llama-index-llms-openai"):
        assert not ours & {path.as_posix() for path in importlib.metadata.files(other) or ()}
    code = (
        f"import sys; sys.path += [{str(tmp_path)!r}, {sysconfig.get_path('purelib')!r}]; "
        "from llama_index.llms.behest import BehestLLM; from llama_index.llms.openai import OpenAI; "
        "from llama_index.storage.chat_store.behest import BehestAsyncChatStore, BehestChatStore; "
        "import llamaindex_behest as it; assert it.__file__.startswith(sys.path[-2]), it.__file__; "
        "print(BehestLLM is it.BehestLLM, BehestChatStore is it.BehestChatStore, OpenAI.__name__)"
    )
    ran = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "True True OpenAI"), ran.stderr
