# Layer, bucket and permissions of logferry for an existing function.
#
#   logferry layer build --output build --arch x86_64
#   terraform -chdir=config/terraform apply -var role_name=my-function-role
#
# Then add these arguments to the function:
#
#   layers      = [aws_lambda_layer_version.logferry.arn]
#   environment { variables = { LOGFERRY_DESTINATION = local.destination } }

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "layer_zip" {
  description = "Path of the zip file that `logferry layer build` creates."
  type        = string
  default     = "../../build/logferry-layer-x86_64.zip"
}

variable "architecture" {
  description = "Architecture of the layer."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture must be x86_64 or arm64."
  }
}

variable "role_name" {
  description = "Name of the function's execution role."
  type        = string
}

variable "prefix" {
  description = "Prefix of the objects in the bucket."
  type        = string
  default     = "logs"
}

variable "retention_days" {
  description = "Number of days after which objects are deleted."
  type        = number
  default     = 90
}

variable "keep_cloudwatch" {
  description = "Set to false to stop the logs in CloudWatch Logs (see config/README.md)."
  type        = bool
  default     = true
}

locals {
  destination = "s3://${aws_s3_bucket.logs.id}/${var.prefix}"
}

resource "aws_lambda_layer_version" "logferry" {
  layer_name               = "logferry"
  description              = "Stores every log record in S3, for any runtime."
  filename                 = var.layer_zip
  source_code_hash         = filebase64sha256(var.layer_zip)
  compatible_architectures = [var.architecture]
  license_info             = "Apache-2.0"
}

resource "aws_s3_bucket" "logs" {
  bucket_prefix = "logferry-"
}

resource "aws_s3_bucket_public_access_block" "logs" {
  bucket                  = aws_s3_bucket.logs.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id

  rule {
    id     = "expire"
    status = "Enabled"
    filter {}

    expiration {
      days = var.retention_days
    }
  }
}

data "aws_iam_policy_document" "tls_only" {
  statement {
    sid       = "DenyWithoutTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.logs.arn, "${aws_s3_bucket.logs.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = data.aws_iam_policy_document.tls_only.json
}

data "aws_iam_policy_document" "store_logs" {
  statement {
    sid       = "StoreLogs"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.logs.arn}/${var.prefix}/*"]
  }

  dynamic "statement" {
    for_each = var.keep_cloudwatch ? [] : [1]

    content {
      sid       = "NoCloudWatchLogs"
      effect    = "Deny"
      actions   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
      resources = ["*"]
    }
  }
}

resource "aws_iam_role_policy" "store_logs" {
  name   = "store-logs"
  role   = var.role_name
  policy = data.aws_iam_policy_document.store_logs.json
}

output "layer_arn" {
  description = "Layer ARN for functions of this region and architecture."
  value       = aws_lambda_layer_version.logferry.arn
}

output "destination" {
  description = "Value of LOGFERRY_DESTINATION."
  value       = local.destination
}
