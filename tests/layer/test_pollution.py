"""logferry's processes start and ship records in any environment that the author of a function configures.

Each case is a variable that was seen in the configuration or the image of a function, or is easily
set there. It is set in the last step before the launcher, in a root with an older glibc. All
records must arrive.
"""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from logferry.emulator.s3_server import S3Server
from support.layer_roots import (
    Entry,
    assert_complete,
    assert_records_arrive,
    built_layer,
    debian_root,
    in_roots,
    musl_root,
    run_workload,
)

pytestmark = in_roots

TRAPS = "/mnt"
"""Place of the folder with broken libraries, modules and configuration files inside the root."""

LETHAL: dict[str, dict[str, str]] = {
    "a preloaded library that aborts": {"LD_PRELOAD": f"{TRAPS}/abort.so"},
    "an audit library that aborts": {"LD_AUDIT": f"{TRAPS}/abort.so"},
    "a preloaded library of musl": {"LD_PRELOAD": f"{TRAPS}/musl.so"},
    "an OpenSSL configuration with unknown ciphers": {"OPENSSL_CONF": f"{TRAPS}/ciphers.cnf"},
}
"""Variables that end the bare interpreter. They prove that the traps are effective."""

POLLUTIONS: dict[str, dict[str, str]] = LETHAL | {
    "a preloaded library without an effect": {"LD_PRELOAD": f"{TRAPS}/harmless.so"},
    "a preloaded library that is missing": {"LD_PRELOAD": "/nonexistent/libjemalloc.so.2"},
    "a library path with broken copies of ours": {"LD_LIBRARY_PATH": f"{TRAPS}/fake"},
    "a library path with another glibc": {"LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu:/usr/lib/aarch64-linux-gnu"},
    "the library path of Lambda's runtimes": {
        "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/task/lib:/opt/lib"
    },
    "the loader asked to list libraries only": {"LD_TRACE_LOADED_OBJECTS": "1"},
    "the loader asked to log everything": {"LD_DEBUG": "all"},
    "the loader asked to bind at once": {"LD_BIND_NOW": "1", "LD_WARN": "1", "LD_SHOW_AUXV": "1"},
    "glibc's tunables": {"GLIBC_TUNABLES": "glibc.malloc.check=3:glibc.malloc.perturb=85:glibc.nonsense=x"},
    "malloc's variables": {"MALLOC_PERTURB_": "85", "MALLOC_ARENA_MAX": "1", "MALLOC_CHECK_": "3"},
    "a module path with a sitecustomize that exits": {"PYTHONPATH": f"{TRAPS}/modules"},
    "another Python's home": {"PYTHONHOME": "/var/lang"},
    "a hash seed that is none": {"PYTHONHASHSEED": "abc"},
    "an allocator that is none": {"PYTHONMALLOC": "bad"},
    "a platform folder that is none": {"PYTHONPLATLIBDIR": "nowhere"},
    "a stay-interactive flag": {"PYTHONINSPECT": "1", "PYTHONSTARTUP": f"{TRAPS}/modules/ssl.py"},
    "warnings made errors": {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"},
    "no UTF-8": {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict", "PYTHONCOERCECLOCALE": "0"},
    "a UTF-8 mode that is none": {"PYTHONUTF8": "bad"},
    "optimisation": {"PYTHONOPTIMIZE": "2", "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": "/nonexistent"},
    "tracemalloc that is none": {"PYTHONTRACEMALLOC": "abc"},
    "asyncio's debug mode": {"PYTHONASYNCIODEBUG": "1", "PYTHONPROFILEIMPORTTIME": "1", "PYTHONVERBOSE": "1"},
    "a virtual environment": {"VIRTUAL_ENV": "/var/task/.venv", "__PYVENV_LAUNCHER__": "/var/task/.venv/bin/python"},
    "an OpenSSL configuration with an unknown provider": {"OPENSSL_CONF": f"{TRAPS}/provider.cnf"},
    "an OpenSSL configuration that is garbage": {"OPENSSL_CONF": f"{TRAPS}/garbage"},
    "OpenSSL modules elsewhere": {"OPENSSL_MODULES": "/nonexistent", "OPENSSL_ENGINES": "/nonexistent"},
    "OpenSSL without the processor's help": {"OPENSSL_ia32cap": "0", "OPENSSL_armcap": "0"},
    "a CA file that is missing": {"SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": "/nonexistent"},
    "a CA file that is garbage": {"SSL_CERT_FILE": f"{TRAPS}/garbage"},
    "a TLS key log that cannot be written": {"SSLKEYLOGFILE": "/nonexistent/keys"},
    "a locale that is not there": {"LC_ALL": "de_DE.ISO-8859-1", "LANG": "zz_ZZ", "LANGUAGE": "zz"},
    "locale files that are garbage": {"LOCPATH": TRAPS, "LC_ALL": "garbage", "NLSPATH": f"{TRAPS}/garbage"},
    "converters elsewhere": {"GCONV_PATH": TRAPS},
    "a time zone that is garbage": {"TZ": f"{TRAPS}/garbage", "TZDIR": TRAPS},
    "a time zone far from UTC": {"TZ": "Pacific/Kiritimati"},
    "resolver options": {
        "RES_OPTIONS": "timeout:30 attempts:9 nonsense",
        "LOCALDOMAIN": "x.y",
        "HOSTALIASES": f"{TRAPS}/garbage",
    },
    "temporary folders that are missing": {"TMPDIR": "/nonexistent", "TEMP": "/nonexistent", "TMP": "/nonexistent"},
    "a home with broken AWS files": {"HOME": f"{TRAPS}/home"},
    "no variables that programs expect": {"PATH": "", "HOME": "", "LANG": ""},
    "Node's options": {"NODE_OPTIONS": "--require=/nonexistent", "NODE_EXTRA_CA_CERTS": "/nonexistent"},
    "Java's options": {"JAVA_TOOL_OPTIONS": "-javaagent:/nonexistent.jar", "_JAVA_OPTIONS": "-Xbad"},
    ".NET's hooks": {"DOTNET_STARTUP_HOOKS": "/nonexistent.dll", "CORECLR_PROFILER_PATH": "/nonexistent"},
    "Ruby's and Perl's options": {"RUBYOPT": "-rnonexistent", "PERL5OPT": "-Mnonexistent", "PERL5LIB": TRAPS},
    "shell start-up files": {"BASH_ENV": f"{TRAPS}/garbage", "ENV": f"{TRAPS}/garbage", "SHELLOPTS": "noexec"},
    "the libraries' own switches": {
        "AIOHTTP_NO_EXTENSIONS": "1",
        "YARL_NO_EXTENSIONS": "1",
        "MULTIDICT_NO_EXTENSIONS": "1",
    },
    "an AWS profile that is not there": {"AWS_PROFILE": "nope", "AWS_DEFAULT_PROFILE": "nope"},
    "an AWS configuration file that is garbage": {"AWS_CONFIG_FILE": f"{TRAPS}/garbage"},
    "an AWS credentials file that is garbage": {"AWS_SHARED_CREDENTIALS_FILE": f"{TRAPS}/garbage"},
    "AWS service descriptions elsewhere": {"AWS_DATA_PATH": f"{TRAPS}/modules"},
    "an AWS attempt count that is none": {"AWS_MAX_ATTEMPTS": "abc"},
    "an AWS retry mode that is none": {"AWS_RETRY_MODE": "bad"},
    "AWS defaults that are none": {"AWS_DEFAULTS_MODE": "bad"},
    "AWS checksum modes that are none": {
        "AWS_REQUEST_CHECKSUM_CALCULATION": "bad",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "bad",
    },
    "AWS endpoints of other kinds": {"AWS_ENDPOINT_URL": "garbage", "AWS_STS_REGIONAL_ENDPOINTS": "bad"},
    "AWS switches of S3": {
        "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "bad",
        "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS": "x",
    },
}

_ABORTS = "void abort_at_once(void) __attribute__((constructor)); void abort_at_once(void) { __builtin_trap(); }"
_FAKES = ("libz.so.1", "libssl.so.3", "libcrypto.so.3", "libm.so.6", "libffi.so.8", "libexpat.so.1", "libpthread.so.0")
_STRICTLY = "config_diagnostics = 1\nopenssl_conf = a\n[a]\n"
_CIPHERS = f"{_STRICTLY}ssl_conf = b\n[b]\nsystem_default = c\n[c]\nCipherString = nonsense\n"
_PROVIDER = f"{_STRICTLY}providers = b\n[b]\nnowhere = c\n[c]\nactivate = 1\nmodule = /nonexistent.so\n"
_GARBAGE = b"\0[garbage\n\xff= ]]\n"


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the broken libraries, modules and configuration files that the cases name."""
    folder = tmp_path_factory.mktemp("traps")
    _library(folder / "abort.so", _ABORTS)
    _library(folder / "harmless.so", "int nothing;")
    (folder / "fake").mkdir()
    for name in _FAKES:
        _library(folder / "fake" / name, "int nothing;")
    shutil.copy(next((musl_root() / "lib").glob("ld-musl-*")), folder / "musl.so")
    (folder / "modules").mkdir()
    for module in ("sitecustomize", "usercustomize", "ssl", "json", "asyncio", "aiohttp", "logferry"):
        (folder / "modules" / f"{module}.py").write_text("raise SystemExit(3)\n")
    (folder / "modules/s3/2006-03-01").mkdir(parents=True)
    (folder / "modules/s3/2006-03-01/service-2.json").write_bytes(_GARBAGE)
    (folder / "home/.aws").mkdir(parents=True)
    for name in ("config", "credentials"):
        (folder / "home/.aws" / name).write_bytes(_GARBAGE)
    (folder / "garbage").write_bytes(_GARBAGE)
    (folder / "ciphers.cnf").write_text(_CIPHERS)
    (folder / "provider.cnf").write_text(_PROVIDER)
    (folder / "preload").write_text(f"{TRAPS}/abort.so\n")
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    return folder


def _library(path: Path, source: str) -> None:
    cc = [sys.executable, "-m", "ziglang", "cc"] if importlib.util.find_spec("ziglang") else ["cc"]
    options = ["-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{path.name}", "-x", "c", "-", "-o", str(path)]
    subprocess.run([*cc, *options], input=source, text=True, check=True, capture_output=True)


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    """Return the /tmp of the execution environment."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("pollution", POLLUTIONS.values(), ids=POLLUTIONS)
async def test_records_arrive_despite(
    pollution: Mapping[str, str], traps: Path, s3: S3Server, bucket: str, tmp: Path
) -> None:
    """A variable of the function affects the function only."""
    entry = Entry(debian_root("bullseye"), built_layer().tree, tmp, extra={TRAPS: traps})
    await assert_records_arrive(entry, s3=s3, bucket=bucket, pollution=pollution)


async def test_records_arrive_despite_all_variables_at_once(traps: Path, s3: S3Server, bucket: str, tmp: Path) -> None:
    """The cases do no harm in combination either."""
    everything = {name: value for pollution in POLLUTIONS.values() for name, value in pollution.items()}
    entry = Entry(debian_root("bullseye"), built_layer().tree, tmp, extra={TRAPS: traps})
    assert_complete(await run_workload(entry, s3=s3, bucket=bucket, pollution=everything))


async def test_records_arrive_despite_configuration_files_of_the_image(
    traps: Path, s3: S3Server, bucket: str, tmp: Path
) -> None:
    """An image's ld.so.preload and openssl.cnf act without a variable. The first is lethal here; neither is read."""
    files = {"/etc/ld.so.preload": traps / "preload", "/usr/lib/ssl/openssl.cnf": traps / "ciphers.cnf"}
    entry = Entry(debian_root("bullseye"), built_layer().tree, tmp, extra={TRAPS: traps, **files})
    others = await asyncio.create_subprocess_exec(*entry.command("/bin/true"), stderr=subprocess.DEVNULL)
    assert await others.wait() != 0
    await assert_records_arrive(entry, s3=s3, bucket=bucket)


@pytest.mark.parametrize("pollution", LETHAL.values(), ids=LETHAL)
def test_interpreter_ends_without_the_launcher_because_of(pollution: Mapping[str, str], traps: Path, tmp: Path) -> None:
    """The traps are effective: they end the layer's interpreter if the launcher does not start it."""
    entry = Entry(debian_root("bullseye"), built_layer().tree, tmp, extra={TRAPS: traps})
    code = "import ssl; ssl.create_default_context()"
    python = f"/opt/logferry/bin/python{built_layer().python}"
    bare = entry.command(python, "-I", "-S", "-c", code, environment=pollution)
    assert subprocess.run(bare, check=False, capture_output=True, env={**os.environ}).returncode != 0
