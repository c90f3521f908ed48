"""The files in config/ pass the tools of their field and agree with the settings."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logferry.references.services import SERVICES
from logferry.settings import PREFIX, Settings
from support.settings_tables import ALL_SETTINGS

CONFIG = Path(__file__).parents[2] / "config"
PUT_OBJECT = {"s3:PutObject"}
LOGS = {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}


def _cfn_lint(template: Path, *options: str) -> None:
    if importlib.util.find_spec("cfnlint") is None:
        pytest.skip("no cfn-lint (pip install cfn-lint)")
    start = [sys.executable, "-c", "from cfnlint.runner import main; main()", "--regions", "eu-central-1"]
    command = [*start, *options, "--", str(template)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _words(value: Any) -> set[str]:
    return {value} if isinstance(value, str) else set(value)


def _statements(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the statements of every role's and policy's identity policies."""
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::IAM::Role":
            for policy in properties.get("Policies", []):
                yield from policy["PolicyDocument"]["Statement"]
        if resource["Type"] == "AWS::IAM::Policy":
            yield from properties["PolicyDocument"]["Statement"]


# --- example.env


def _example() -> dict[str, tuple[str, bool]]:
    """Return the variables of the example: name to value and whether it is active."""
    found = re.findall(r"^(#?)(LOGFERRY_\w+)=(.*)$", (CONFIG / "example.env").read_text(), re.MULTILINE)
    return {name: (value, not commented) for commented, name, value in found}


def test_the_example_has_every_setting_with_its_default() -> None:
    """The example has the settings of the table, and only the destination is active."""
    example = _example()
    assert set(example) == {PREFIX + setting.name for setting in ALL_SETTINGS}
    for setting in ALL_SETTINGS:
        value, active = example[PREFIX + setting.name]
        assert active == (setting.name == "DESTINATION"), setting.name
        assert active or value == setting.default, setting.name


def test_the_example_has_the_meaning_and_the_values_of_each_setting() -> None:
    """The comment above each line has the text of the table."""
    text = re.sub(r"\n# ", " ", (CONFIG / "example.env").read_text())
    for setting in ALL_SETTINGS:
        paragraph = next(p for p in text.split("\n\n") if re.search(rf"^#?{PREFIX}{setting.name}=", p, re.MULTILINE))
        for text_of_table in (setting.meaning, setting.range):
            expected = text_of_table.replace("`", "")
            assert expected.lower() in paragraph.lower(), setting.name
            # A value is quoted exactly as the user writes it, also at the beginning of a sentence.
            assert not text_of_table.startswith("`") or expected in paragraph, setting.name


def test_the_example_is_valid_with_and_without_the_commented_lines() -> None:
    """A user can activate any line."""
    example = _example()
    Settings.from_environ({name: value for name, (value, active) in example.items() if active})
    Settings.from_environ({name: value for name, (value, _) in example.items()})


# --- logferry.toml


def test_the_example_of_a_configuration_file_is_valid_with_and_without_the_commented_lines(tmp_path: Path) -> None:
    """A user can activate any line. The file has a value of each TOML type."""
    text = (CONFIG / "logferry.toml").read_text()
    activated = tmp_path / "logferry.toml"
    activated.write_text(
        re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE).replace("[s3]", '[s3]\nencryption="aws:kms"')
    )
    for path in (CONFIG / "logferry.toml", activated):
        settings = Settings.from_environ({"LOGFERRY_CONFIG": str(path)})
        assert settings.destination.bucket == "my-log-bucket"
        assert (settings.references is None) == (path != activated)


# --- SAM


def test_the_sam_template_passes_cfn_lint() -> None:
    """The transformed template agrees with the schemas of CloudFormation."""
    _cfn_lint(CONFIG / "sam/template.yaml")


def test_the_sam_template_grants_only_put_object() -> None:
    """The role has the least privilege: s3:PutObject under the prefix."""
    statements = list(_statements(_cloudformation(CONFIG / "sam/template.yaml")))
    assert [_words(statement["Action"]) for statement in statements] == [PUT_OBJECT]
    assert str(statements[0]["Resource"]).endswith("${Bucket}/${Prefix}/*'}")


def test_the_sam_template_sets_settings_that_exist() -> None:
    """A misspelt variable would be found at the first cold start."""
    variables = _cloudformation(CONFIG / "sam/template.yaml")["Resources"]["Function"]["Properties"]["Environment"][
        "Variables"
    ]
    assert {name for name in variables if name.startswith(PREFIX)} <= {
        PREFIX + setting.name for setting in ALL_SETTINGS
    }
    assert PREFIX + "DESTINATION" in variables


def _cloudformation(path: Path) -> dict[str, Any]:
    """Return a template with CloudFormation's short tags, parsed by cfn-lint."""
    decode = pytest.importorskip("cfnlint.decode", reason="no cfn-lint (pip install cfn-lint)")
    template, problems = decode.decode(str(path))
    assert not problems
    return dict(template)


# --- IAM


def _policy(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((CONFIG / "iam" / name).read_text())
    return document


BUCKET_POLICY, TRUST_POLICY = "bucket-policy-cross-account.json", "cross-account-role-trust.json"


def test_the_policies_pass_cfn_lint(tmp_path: Path) -> None:
    """cfn-lint checks the grammar of each kind of policy, and the names of its actions. A start of it takes seconds."""
    identity = sorted({path.name for path in (CONFIG / "iam").glob("*.json")} - {BUCKET_POLICY, TRUST_POLICY})
    assert "execution-role-policy.json" in identity
    named = [{"PolicyName": name.partition(".")[0], "PolicyDocument": _policy(name)} for name in identity]
    resources = {
        "Role": ("AWS::IAM::Role", {"AssumeRolePolicyDocument": _policy(TRUST_POLICY), "Policies": named}),
        "Bucket": ("AWS::S3::BucketPolicy", {"Bucket": "my-log-bucket", "PolicyDocument": _policy(BUCKET_POLICY)}),
    }
    template = {name: {"Type": kind, "Properties": properties} for name, (kind, properties) in resources.items()}
    (tmp_path / "template.json").write_text(json.dumps({"Resources": template}))
    _cfn_lint(tmp_path / "template.json")


def test_an_invalid_policy_does_not_pass_cfn_lint(tmp_path: Path) -> None:
    """The check has an effect in each of several policies, and in the trust policy."""
    policy = _policy("execution-role-policy.json")
    policy["Statement"][0]["Effect"] = "Permit"
    trust = _policy(TRUST_POLICY)
    trust["Statement"][0]["Effect"] = "Trust"
    valid = {"PolicyName": "valid", "PolicyDocument": _policy("execution-role-policy.json")}
    policies = [valid, {"PolicyName": "invalid", "PolicyDocument": policy}]
    properties = {"AssumeRolePolicyDocument": trust, "Policies": policies}
    template = {"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": properties}}}
    (tmp_path / "template.json").write_text(json.dumps(template))
    with pytest.raises(AssertionError, match="Permit") as caught:
        _cfn_lint(tmp_path / "template.json")
    assert "'Trust'" in str(caught.value)


def test_the_policies_grant_only_the_required_actions() -> None:
    """The actions are s3:PutObject on the prefix, kms:GenerateDataKey through S3, and sts:AssumeRole on one role."""
    (store,) = _policy("execution-role-policy.json")["Statement"]
    assert (_words(store["Action"]), store["Resource"]) == (PUT_OBJECT, "arn:aws:s3:::my-log-bucket/logs/*")
    (fallback,) = _policy("execution-role-policy-fallback.json")["Statement"]
    assert fallback == store | {"Sid": fallback["Sid"], "Resource": "arn:aws:s3:::my-fallback-bucket/logs/*"}
    (send,) = _policy("execution-role-policy-firehose.json")["Statement"]
    assert _words(send["Action"]) == {"firehose:PutRecordBatch"}
    assert send["Resource"].endswith(":deliverystream/my-stream")
    (encrypt,) = _policy("execution-role-policy-kms.json")["Statement"]
    assert _words(encrypt["Action"]) == {"kms:GenerateDataKey"}
    assert encrypt["Condition"]["StringEquals"]["kms:ViaService"].startswith("s3.")
    reading = _policy("execution-role-policy-references.json")["Statement"]
    actions = [_words(statement["Action"]) for statement in reading]
    assert actions == [*({service.permission} for service in SERVICES.values()), {"kms:Decrypt"}]
    (assume,) = _policy("execution-role-policy-assume.json")["Statement"]
    (trust,) = _policy("cross-account-role-trust.json")["Statement"]
    assert _words(assume["Action"]) == _words(trust["Action"]) == {"sts:AssumeRole"}
    assert re.fullmatch(r"arn:aws:iam::\d{12}:role/[a-z-]+", assume["Resource"])
    assert trust["Condition"]["StringEquals"]["sts:ExternalId"]
    assert trust["Principal"]["AWS"].endswith(":role/my-function-role")
    allowed = [s for s in _policy("bucket-policy-cross-account.json")["Statement"] if s["Effect"] == "Allow"]
    assert [_words(statement["Action"]) for statement in allowed] == [PUT_OBJECT]


def test_stop_cloudwatch_denies_exactly_the_three_write_actions() -> None:
    """Lambda needs these three actions to write logs."""
    (statement,) = _policy("stop-cloudwatch.json")["Statement"]
    assert (statement["Effect"], _words(statement["Action"])) == ("Deny", LOGS)


# --- Terraform


def test_the_terraform_file_parses_and_names_only_what_it_declares() -> None:
    """The check covers the grammar and the references, without the schema of the provider."""
    hcl2 = pytest.importorskip("hcl2", reason="no python-hcl2 (pip install python-hcl2)")
    text = (CONFIG / "terraform/main.tf").read_text()
    parsed = hcl2.loads(text)
    declared = {"local.destination"} | {f"var.{name}" for block in parsed["variable"] for name in _named(block)}
    for kind, prefix in (("resource", ""), ("data", "data.")):
        for block in parsed[kind]:
            declared |= {f"{prefix}{sort}.{name}" for sort, named in _named(block).items() for name in _named(named)}
    code = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    used = {
        match[0] for match in re.finditer(r"\b(var\.\w+|local\.\w+|data\.\w+\.\w+|(?<!data\.)\baws_\w+\.\w+)", code)
    }
    assert used
    assert used <= declared


def _named(block: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a block by its labels, without the notes of the parser."""
    return {name.strip('"'): value for name, value in block.items() if not name.startswith("__")}


def test_the_terraform_file_grants_only_put_object() -> None:
    """The role has the same least privilege as in the other files."""
    text = (CONFIG / "terraform/main.tf").read_text()
    granted = re.findall(r"actions\s*=\s*\[([^]]*)\]", text)
    assert [set(re.findall(r'"([^"]+)"', actions)) for actions in granted] == [{"s3:*"}, PUT_OBJECT, LOGS]


def test_the_terraform_file_is_formatted() -> None:
    """`terraform fmt` makes no change."""
    terraform = shutil.which("terraform") or shutil.which("tofu")
    if terraform is None:
        pytest.skip("no terraform")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    command = [terraform, "fmt", "-check", "-diff", str(CONFIG / "terraform")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


# --- CDK


@pytest.mark.slow
@pytest.mark.parametrize("keep_cloudwatch", ["true", "false"])
def test_the_cdk_app_synthesises_a_template_that_passes_cfn_lint(keep_cloudwatch: str, tmp_path: Path) -> None:
    """The template grants s3:PutObject, and CloudWatch only if the context requests it."""
    if importlib.util.find_spec("aws_cdk") is None or shutil.which("node") is None:
        pytest.skip("no CDK (pip install aws-cdk-lib, and Node.js)")
    layer = tmp_path / "layer.zip"
    layer.write_bytes(b"PK\x05\x06" + bytes(18))
    context = json.dumps({"layer": str(layer), "keep_cloudwatch": keep_cloudwatch})
    environment = {**os.environ, "CDK_OUTDIR": str(tmp_path / "out"), "CDK_CONTEXT_JSON": context}
    app = [sys.executable, str(CONFIG / "cdk/app.py")]
    subprocess.run(app, check=True, capture_output=True, env=environment, cwd=tmp_path)
    path = tmp_path / "out/LoggedFunction.template.json"
    _cfn_lint(path, "--ignore-checks", "W3005")  # a redundant DependsOn, which the CDK writes
    template = json.loads(path.read_text())
    assert [_words(statement["Action"]) for statement in _statements(template)] == [PUT_OBJECT]
    assert ("AWSLambdaBasicExecutionRole" in path.read_text()) == (keep_cloudwatch == "true")
