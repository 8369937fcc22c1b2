"""The three distributions as they are published: what they hold, export and import."""

from __future__ import annotations

import email
import importlib
import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

LIBS = Path(__file__).parent.parent / "libs"
PACKAGES = {
    "behest-base": "behest_base",
    "langchain-behest": "langchain_behest",
    "llamaindex-behest": "llamaindex_behest",
}
VERSION = "0.1.0"
ADAPTERS_NEED = {
    "behest-base<0.2,>=0.1",
    'behest-base[emulator]; extra == "emulator"',
    'behest-base[openai]; extra == "openai"',
}
NEEDS = {
    "behest-base": {
        "httpx<1,>=0.27",
        "httpx-sse>=0.4.2",
        "pydantic>=2.11",
        "pydantic-settings>=2.6",
        "pyjwt[crypto]>=2.15",
        'openai<4,>=2.45; extra == "openai"',
        'starlette>=0.45; extra == "emulator"',
        'uvicorn>=0.30; extra == "emulator"',
    },
    "langchain-behest": {"langchain-core<2,>=1.6", *ADAPTERS_NEED},
    "llamaindex-behest": {"llama-index-core<0.15,>=0.14.24", *ADAPTERS_NEED},
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
def test_wheels(name: str, package: str, dist: Path) -> None:
    """A wheel holds the package with its type marker and licence, and nothing of the tests."""
    held = set(zipfile.ZipFile(_wheel(dist, package)).namelist())
    assert _sources(name) <= held
    assert f"{package}/py.typed" in held
    assert any(path.endswith("licenses/LICENSE") for path in held)
    assert {path.split("/")[0] for path in held} <= {package, "llama_index", f"{package}-{VERSION}.dist-info"}
    assert {Path(path).suffix for path in held if path.split("/")[0] in {package, "llama_index"}} == {".py", ".typed"}


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_sdists(name: str, package: str, dist: Path) -> None:
    """An sdist holds what the wheel is built from and what a person reads, and nothing else."""
    with tarfile.open(dist / f"{package}-{VERSION}.tar.gz") as sdist:
        held = {member.name.removeprefix(f"{package}-{VERSION}/") for member in sdist.getmembers() if member.isfile()}
    # hatchling adds the last two.
    read = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO", ".gitignore"}
    assert {path for path in held if not path.startswith("src/")} == read
    assert {path.removeprefix("src/") for path in held if path.endswith(".py")} == _sources(name)
    assert {Path(path).suffix for path in held if path.startswith("src/")} == {".py", ".typed"}


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_metadata(name: str, package: str, dist: Path) -> None:
    """What an index shows and an installer obeys: licence, Pythons, dependencies, the README."""
    shown = _metadata(dist, package)
    assert (shown["Name"], shown["Version"], shown["License-Expression"]) == (name, VERSION, "MIT")
    assert shown["Requires-Python"] == ">=3.11"
    assert shown["Summary"]
    assert shown["Project-URL"] == "Behest, https://behest.ai"
    assert shown["Description-Content-Type"] == "text/markdown"
    assert str(shown.get_payload()).strip() == (LIBS / name / "README.md").read_text(encoding="utf-8").strip()
    needs = {need.replace("'", '"') for need in shown.get_all("Requires-Dist") or ()}
    assert needs == NEEDS[name]
    classified = set(shown.get_all("Classifier") or ())
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} <= classified


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_versions_move_in_lock_step(name: str, package: str) -> None:
    """The three have one version, their modules say the same, and an adapter takes the same minor of behest-base."""
    project = tomllib.loads((LIBS / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["version"], importlib.import_module(package).__version__) == (VERSION, VERSION)
    major, minor, _ = (int(part) for part in VERSION.split("."))
    if name != "behest-base":
        assert f"behest-base>={major}.{minor},<{major}.{minor + 1}" in project["dependencies"]


@pytest.mark.parametrize("name", PACKAGES)
def test_changelogs(name: str) -> None:
    """The three begin alike, and with the version that is published."""
    begins = (LIBS / name / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")
    same = (LIBS / "behest-base" / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")
    assert (begins[0], begins[1].splitlines()[0]) == (same[0], VERSION)


@pytest.mark.parametrize("file", ["requirements-dev.txt", "requirements-openai3.txt"])
def test_pins(file: str) -> None:
    """Each line is a pinned version or a hash of one: no index, no address, no path of a machine."""
    lines = (LIBS.parent / file).read_text(encoding="utf-8").splitlines()
    pin = re.compile(r"[a-z0-9._-]+==[^\s/]+( ; [^/]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not pin.fullmatch(line) and not digest.fullmatch(line)] == []
    assert any(pin.fullmatch(line) for line in lines)


def _wheel(dist: Path, package: str) -> Path:
    return next(dist.glob(f"{package}-*.whl"))


def _metadata(dist: Path, package: str) -> Message:
    with zipfile.ZipFile(_wheel(dist, package)) as wheel:
        return email.message_from_string(wheel.read(f"{package}-{VERSION}.dist-info/METADATA").decode("utf-8"))


def _sources(name: str) -> set[str]:
    return {path.relative_to(LIBS / name / "src").as_posix() for path in (LIBS / name / "src").rglob("*.py")}


@pytest.mark.parametrize("package", PUBLIC)
def test_imports_alone(package: str, dist: Path) -> None:
    """A wheel imports with its dependencies only: neither the other framework nor what an extra brings."""
    wheels = [_wheel(dist, one) for one in dict.fromkeys(("behest_base", package))]
    strangers = {"openai", "starlette", "uvicorn", "langgraph", "langchain"}
    strangers |= {"llama_index", "llama_index.core"} if package != "llamaindex_behest" else {"langchain_core"}
    strangers |= {"langchain_core"} if package == "behest_base" else set()
    # Without site no .pth leads to the checkout: only the wheels and what is installed are there.
    paths = [*map(str, wheels), sysconfig.get_path("purelib")]
    code = (
        f"import sys; sys.path += {paths!r}; import {package} as it; "
        f"assert it.__file__.startswith({str(dist)!r}), it.__file__; "
        f"print(sorted({strangers!r} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr


def test_aliases_beside_other_integrations(dist: Path, tmp_path: Path) -> None:
    """The wheel's leaves of the `llama_index` namespace stand beside core's and OpenAI's, and overwrite nothing of theirs."""
    for package in ("behest_base", "llamaindex_behest"):
        with zipfile.ZipFile(_wheel(dist, package)) as wheel:
            wheel.extractall(tmp_path)  # noqa: S202 - it was built here
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
