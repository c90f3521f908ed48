"""The configuration file: its values as settings, precedence of variables, and mistakes with file and key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import logferry
from logferry import config_file, toml_settings
from logferry.destination import REMEDY
from logferry.errors import SettingsError
from logferry.options import MODULE_OF
from logferry.options.s3 import ACLS
from logferry.settings import Settings
from logferry.settings_table import SETTINGS
from support.settings_tables import ALL_SETTINGS

SOURCE = Path(logferry.__file__).parents[1]


class File:
    """A configuration file, and the settings of an environment with it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def settings(self, content: str | bytes, **variables: str) -> Settings:
        """Write the file and read the settings."""
        self.path.write_bytes(content if isinstance(content, bytes) else content.encode())
        given = {f"LOGFERRY_{name}": text for name, text in variables.items()}
        return Settings.from_environ({"LOGFERRY_CONFIG": str(self.path), **given})

    def mistakes(self, content: str | bytes, **variables: str) -> list[str]:
        """Return the mistakes of such an environment, without the path of the file."""
        with pytest.raises(SettingsError) as caught:
            self.settings(content, **variables)
        return [mistake.replace(str(self.path), "FILE") for mistake in caught.value.mistakes]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """Return a configuration file that is not written yet."""
    return File(tmp_path / "logferry.toml")


WITH_VARIABLES = {
    "DESTINATION": "s3://my-log-bucket/logs",
    "FLUSH": "time",
    "FLUSH_SECONDS": "30.5",
    "FLUSH_BYTES": "65536",
    "TYPES": "platform,function,extension",
    "MASK": r"email,ipv4,/a{1,3}b/,$.user.password",
    "FIELDS": "team=payments,stage=2,canary=true",
    "LINE_FIELDS": "fields,level",
    "EVENTS": "true",
    "S3_STORAGE_CLASS": "STANDARD_IA",
    "S3_TAGS": "team=payments,cost=12",
    "S3_BUCKET_KEY": "true",
    "S3_ENCRYPTION": "aws:kms",
}
THE_SAME_AS_FILE = r"""
destination = "s3://my-log-bucket/logs"
flush = "time"
flush_seconds = 30.5
flush_bytes = 65536
types = ["platform", "function", "extension"]
mask = ["email", "ipv4", '/a{1,3}b/', "$.user.password"]
line_fields = ["fields", "level"]
events = true

[fields]
team = "payments"
stage = 2
canary = true

[s3]
storage_class = "STANDARD_IA"
bucket_key = true
encryption = "aws:kms"
tags = { team = "payments", cost = 12 }
"""


def _comparable(settings: Settings) -> object:
    """Return settings with the rules of masking as text, because compiled expressions are never equal."""
    assert settings.records
    return settings._replace(records=None), settings.records.object_bytes


def test_a_file_gives_the_same_settings_as_variables(file: File) -> None:
    """Each type of TOML becomes the text of the variable."""
    expected = Settings.from_environ({f"LOGFERRY_{name}": text for name, text in WITH_VARIABLES.items()})
    found = file.settings(THE_SAME_AS_FILE)
    assert _comparable(found) == _comparable(expected)
    texts = config_file.ConfigFile(str(file.path)).texts
    assert texts == WITH_VARIABLES


@pytest.mark.parametrize(
    "content",
    [
        's3_storage_class = "GLACIER_IR"',
        's3.storage_class = "GLACIER_IR"',
        's3 = { storage_class = "GLACIER_IR" }',
        '\ufeff[s3]\r\n"storage_class" = "GLACIER_IR"\r\n',
    ],
    ids=["name", "dotted-key", "inline-table", "byte-order-mark-and-crlf"],
)
def test_each_notation_of_a_group_is_the_same_setting(file: File, content: str) -> None:
    """A table only shortens the keys."""
    settings = file.settings(content, DESTINATION="s3://my-log-bucket")
    assert settings.s3
    assert settings.s3.headers == {"x-amz-storage-class": "GLACIER_IR"}


def test_a_table_of_headers_has_the_values_as_they_are_sent(file: File) -> None:
    """In a variable, a comma and a percent sign are escaped. A table does not need this."""
    content = 'destination = "https://example.com/logs"\n[https.headers]\nX-Team = "a,b"\nX-Share = "100%2C"\n'
    settings = file.settings(content)
    assert settings.https
    assert settings.https.headers == {"x-team": "a,b", "x-share": "100%2C"}


def test_a_mistake_in_a_secret_setting_does_not_show_its_value(file: File) -> None:
    """The message is in the log of the function."""
    found = file.mistakes('[https]\ntoken = "hidden value"\n', DESTINATION="https://example.com/logs")
    assert len(found) == 1
    assert found[0].startswith("FILE: https.token is '…': a token has no spaces")


def test_a_variable_takes_precedence_and_an_empty_one_does_not(file: File) -> None:
    """One deployment can differ from the file that several functions share."""
    settings = file.settings(
        'destination = "s3://of-the-file"\ncompression = "none"\nflush = "wrong"\nkey = "{environment}-{segment}"',
        DESTINATION="s3://of-the-variable",
        FLUSH="size",
        COMPRESSION=" ",
    )
    assert settings.destination.bucket == "of-the-variable"
    assert settings.policy.flush.value == "size"
    assert settings.compression == "none"


def test_all_mistakes_of_file_and_variables_are_reported_at_once(file: File) -> None:
    """A mistake in a value of the file names the file and the key, and one in a variable names the variable."""
    content = """
destination = "bucket"
flush_secs = 5
flush_seconds = "soon"
spool_bytes = 1979-05-27
S3_tags = "a=b"
key = ["{environment}", "{segment}"]
[s3]
storage_clas = "STANDARD"
acl = "everybody"
kms_key = "alias/logs"
[fields]
"a,b" = 1
"""
    assert sorted(file.mistakes(content, FLUSH="often", PORTS="1")) == sorted(
        [
            f"FILE: destination is 'bucket': {REMEDY}",
            "FILE: 'flush_secs' is not a setting: use flush_seconds",
            "FILE: flush_seconds is 'soon': use seconds from 0.1 to 86400",
            "FILE: spool_bytes is a date: use a string, a number, true or false",
            "FILE: 'S3_tags' is not a setting: use s3_tags",
            "FILE: key is an array: use a string, a number, true or false",
            "FILE: 's3.storage_clas' is not a setting: use s3.storage_class",
            f"FILE: s3.acl is 'everybody': choose one of {', '.join(ACLS)}",
            "FILE: s3.kms_key has no effect without KMS: set LOGFERRY_S3_ENCRYPTION=aws:kms",
            "FILE: fields has 'a,b', but a name cannot contain ',' or '=', and a value cannot contain ','",
            "LOGFERRY_FLUSH is 'often': choose one of invocation, time, size, adaptive",
            "LOGFERRY_PORTS is not a setting: use LOGFERRY_PORT",
        ]
    )


def test_a_mistake_of_a_variable_names_the_key_of_another_setting(file: File) -> None:
    """The user finds both values."""
    (mistake,) = file.mistakes("spool_bytes = 1048576", DESTINATION="s3://bucket", FLUSH_BYTES="2MiB")
    assert mistake == (
        "LOGFERRY_FLUSH_BYTES must be smaller than spool_bytes in FILE, because pending records are in the spool"
    )


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        ('destination = "s3://bucket"\nflush = time', "is not valid TOML: Invalid value (at line 2, column 9)"),
        ("flush = 'time'\nflush = 'size'", "is not valid TOML: Cannot overwrite a value (at "),
        (b"flush = '\xff'", "is not UTF-8 at byte 9: save it in this encoding"),
        (b"x = " + b"[" * 5000, "its arrays or tables are nested too deeply"),
        (b"x = " + b"9" * 5000, "is not valid TOML: Exceeds the limit"),
        (b"#" * 65_537, "is larger than 65536 bytes: remove what is not a setting"),
    ],
    ids=["syntax", "duplicate", "encoding", "nesting", "digits", "size"],
)
def test_a_damaged_file_is_one_mistake_besides_those_of_the_variables(
    file: File, content: str | bytes, mistake: str
) -> None:
    """The content is not quoted, because it may contain a secret."""
    found = file.mistakes(content, DESTINATION="bucket")
    assert len(found) == 2
    assert found[0].startswith("the configuration file FILE ")
    assert mistake in found[0]
    assert found[1].startswith("LOGFERRY_DESTINATION is 'bucket'")
    assert len(file.mistakes(content)) == 1


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (
            's3_acl = "private"\n[s3]\nacl = "private"',
            "FILE: s3.acl and s3_acl are the same setting: remove one of them",
        ),
        ("[flush]\nseconds = 5", "FILE: 'flush' is a table, but the tables are [fields], [firehose], [https] and [s3]"),
        ("[logferry]\nflush = 'time'", "FILE: 'logferry' is a table, but the tables are [fields]"),
        ("flush = ['time']", "FILE: flush is an array: use a string, a number, true or false"),
        ("flush_secnds = 1979-05-27", "FILE: 'flush_secnds' is not a setting: use flush_seconds"),
        ("[s3]\nstorage_clas = ['STANDARD']", "FILE: 's3.storage_clas' is not a setting: use s3.storage_class"),
        ("[s3]\nstorage_class = ['a']\n[fields]\na='b'", "FILE: s3.storage_class is an array"),
        ("[[fields]]\na = 1", "FILE: fields is an array: use a string, a number, true or false"),
        ("mask = [['email']]", "FILE: mask contains an array: use strings, numbers, true or false"),
        ("fields = { a = { b = 1 } }", "FILE: fields contains a table: use strings, numbers, true or false"),
        ("fields = { a = 'x,b=y' }", "FILE: fields has 'a', but a name cannot contain ',' or '=', and a value cannot"),
        ("flush_seconds = 0x" + "f" * 20, "FILE: flush_seconds is a number that is too large"),
        ("flush_seconds = nan", "FILE: flush_seconds is 'nan': use seconds from 0.1 to 86400"),
        ("flush_invocations = 2.0", "FILE: flush_invocations is '2.0': use a whole number from 1 to 100000"),
        ("flush = true", "FILE: flush is 'true': choose one of invocation, time, size, adaptive"),
        ('config = "/other.toml"', "FILE: config cannot be in the file: remove it"),
        ('calls = "each"', "set the environment variable LOGFERRY_CALLS instead"),
        ('next_wrapper = "/opt/x"', "set the environment variable LOGFERRY_NEXT_WRAPPER instead"),
        ("events = true\nport = 9600", "FILE: port is needed in the processes of the function"),
        ("logferry_flush = 'time'", "FILE: 'logferry_flush' is not a setting: use flush"),
        ("LOGFERRY_FLUSH = 'time'", "FILE: 'LOGFERRY_FLUSH' is not a setting: use flush"),
        ("flush-seconds = 5", "FILE: 'flush-seconds' is not a setting: use flush_seconds"),
        ('"\\n\\u001b" = 5', r"FILE: '\n\x1b' is not a setting: remove it"),
    ],
)
def test_a_value_that_is_no_setting_is_a_mistake_with_its_remedy(file: File, content: str, mistake: str) -> None:
    """The rest of the file is valid."""
    (found,) = file.mistakes(content, DESTINATION="s3://bucket")
    assert mistake in found


def test_a_path_without_a_readable_file_is_a_mistake(tmp_path: Path) -> None:
    """A pipe, a directory and a relative path are mistakes too, and reading them does not block."""
    os.mkfifo(tmp_path / "pipe")
    cases = {
        str(tmp_path / "missing.toml"): "cannot be read (No such file or directory): correct LOGFERRY_CONFIG",
        str(tmp_path): "is not a regular file: correct LOGFERRY_CONFIG",
        str(tmp_path / "pipe"): "is not a regular file: correct LOGFERRY_CONFIG",
        "logferry.toml": "has no absolute path: use a path such as /var/task/logferry.toml",
    }
    for path, reason in cases.items():
        with pytest.raises(SettingsError) as caught:
            Settings.from_environ({"LOGFERRY_CONFIG": path, "LOGFERRY_DESTINATION": "s3://bucket"})
        assert any(f"the configuration file {path} {reason}" in mistake for mistake in caught.value.mistakes), path


@pytest.mark.parametrize("name", config_file.SUPERVISOR)
@pytest.mark.parametrize("spelling", ['{} = "{}"', '  "{}" = "{}"', "'{}'='{}'", "# a comment\r\n\t{}='{}'"])
def test_the_supervisor_reads_each_notation_of_its_settings(file: File, name: str, spelling: str) -> None:
    """The supervisor looks at the beginning of lines before it parses the file."""
    file.path.write_text(spelling.format(name.lower(), "value"), newline="")
    environ = {b"LOGFERRY_CONFIG": str(file.path).encode()}
    assert config_file.supervisor_values(environ) == {f"LOGFERRY_{name}".encode(): b"value"}
    assert config_file.supervisor_values(environ | {f"LOGFERRY_{name}".encode(): b"x"}) == {}
    assert config_file.supervisor_values(environ | {f"LOGFERRY_{name}".encode(): b" "}) != {}


@pytest.mark.parametrize("key", [r'"\u0070ort"', r'"por\u0074"'])
def test_the_supervisor_reads_a_key_with_an_escape(file: File, key: str) -> None:
    """A quoted key can have any character as an escape."""
    file.path.write_text(f'{key} = 9600\nflush = "time"\n')
    assert config_file.supervisor_values({b"LOGFERRY_CONFIG": str(file.path).encode()}) == {b"LOGFERRY_PORT": b"9600"}


def test_the_supervisor_parses_no_file_without_one_of_its_settings(file: File) -> None:
    """`tomllib` would add 15 ms to the serial part of the cold start."""
    file.path.write_text('destination = "s3://bucket/port"\nexclude_types = ["platform.start"]\n')
    look = (
        f"import sys; sys.path.append({str(SOURCE)!r})\n"
        "from logferry import config_file\n"
        f"found = config_file.supervisor_values({{b'LOGFERRY_CONFIG': {str(file.path).encode()!r}}})\n"
        "print(found, 'tomllib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", look], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.split() == ["{}", "False"]


@pytest.mark.parametrize("content", [b"\xff", b"port = ", b"port = {", b"port = 1979-05-27", b"port = " + b"[" * 5000])
def test_a_damaged_file_changes_nothing_for_the_supervisor(file: File, content: bytes) -> None:
    """The shipper reports the mistake, and the supervisor must not end."""
    file.path.write_bytes(content)
    assert config_file.supervisor_values({b"LOGFERRY_CONFIG": str(file.path).encode()}) == {}


def test_a_start_without_a_file_and_without_references_imports_nothing_for_them() -> None:
    """A feature that is off costs a start nothing."""
    look = (
        f"import sys; sys.path.append({str(SOURCE)!r})\n"
        "from logferry.settings import Settings\n"
        "Settings.from_environ({'LOGFERRY_DESTINATION': 's3://bucket/prefix', 'LOGFERRY_CONFIG': ''})\n"
        "print(*(name for name in sys.modules if name in ('tomllib', 'logferry.config_file', 'logferry.references')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", look], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.strip() == ""


def test_the_lists_of_names_agree_with_the_tables() -> None:
    """A setting with a list or with pairs can be an array or a table in the file."""
    names = {setting.name for setting in SETTINGS} | MODULE_OF.keys()
    special = {*toml_settings.LISTS, *toml_settings.PAIRS, *config_file.ONLY_VARIABLES}
    assert {*special, *config_file.SUPERVISOR, *config_file.SHARED_WITH_EVENTS} <= names
    for setting in ALL_SETTINGS:
        if "name=value" in setting.range:
            assert setting.name in toml_settings.PAIRS
        elif "separated by commas" in setting.range + setting.meaning:
            assert setting.name in special
    for group in toml_settings.GROUPS:
        assert group.upper() not in names
        assert any(name.startswith(f"{group.upper()}_") for name in names)
