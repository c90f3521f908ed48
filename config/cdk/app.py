"""A function with logferry in the CDK for Python: layer, bucket, and a role with one permission.

    logferry layer build --output build --arch x86_64
    pip install aws-cdk-lib
    cdk deploy --app "python config/cdk/app.py"

`--context layer=PATH` names another zip file. `--context keep_cloudwatch=false` stops the logs in
CloudWatch Logs (see config/README.md).
"""  # noqa: INP001 - a script to copy, no package

from aws_cdk import App, Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from constructs import Construct

PREFIX = "logs"
RETENTION = Duration.days(90)
HANDLER = """
exports.handler = async (event) => {
  console.log("hello", JSON.stringify(event));
  return "ok";
};
"""


class LoggedFunction(Stack):
    """A function with a bucket for its log records."""

    def __init__(self, scope: Construct, name: str, *, layer_zip: str, keep_cloudwatch: bool) -> None:
        super().__init__(scope, name)
        layer = lambda_.LayerVersion(
            self,
            "Logferry",
            code=lambda_.Code.from_asset(layer_zip),
            compatible_architectures=[lambda_.Architecture.X86_64],
            description="Stores every log record in S3, for any runtime.",
            license="Apache-2.0",
        )
        bucket = s3.Bucket(
            self,
            "Logs",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            lifecycle_rules=[s3.LifecycleRule(expiration=RETENTION)],
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.RETAIN,
        )
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        # bucket.grant_put() would also grant tagging, retention and aborting uploads.
        role.add_to_policy(
            iam.PolicyStatement(
                sid="StoreLogs", actions=["s3:PutObject"], resources=[bucket.arn_for_objects(f"{PREFIX}/*")]
            )
        )
        if keep_cloudwatch:
            basic = iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AWSLambdaBasicExecutionRole")
            role.add_managed_policy(basic)
        lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime.NODEJS_22_X,
            architecture=lambda_.Architecture.X86_64,
            handler="index.handler",
            code=lambda_.Code.from_inline(HANDLER),
            memory_size=256,
            timeout=Duration.seconds(10),
            role=role,
            layers=[layer],
            environment={"LOGFERRY_DESTINATION": f"s3://{bucket.bucket_name}/{PREFIX}"},
        )


app = App()
LoggedFunction(
    app,
    "LoggedFunction",
    layer_zip=app.node.try_get_context("layer") or "build/logferry-layer-x86_64.zip",
    keep_cloudwatch=str(app.node.try_get_context("keep_cloudwatch")).lower() != "false",
)
app.synth()
