# A function's layer, bucket and rights for logferry.
#
#   logferry layer build --output build --arch x86_64
#   terraform -chdir=config/terraform apply -var role_name=my-function-role
#
# Then, in the function itself:
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
  description = "What `logferry layer build` has left."
  type        = string
  default     = "../../build/logferry-layer-x86_64.zip"
}

variable "architecture" {
  description = "The architecture that the layer was built for."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "Lambda has x86_64 and arm64."
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
  description = "Objects are deleted after so many days."
  type        = number
  default     = 90
}

variable "keep_cloudwatch" {
  description = "Whether Lambda writes the same lines to CloudWatch Logs as well (see config/README.md)."
  type        = bool
  default     = true
}

locals {
  destination = "s3://${aws_s3_bucket.logs.id}/${var.prefix}"
}

resource "aws_lambda_layer_version" "logferry" {
  layer_name               = "logferry"
  description              = "Ships every log record to S3, beside any runtime."
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
    sid       = "NobodyWithoutTls"
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

data "aws_iam_policy_document" "ship_logs" {
  statement {
    sid       = "ShipLogs"
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

resource "aws_iam_role_policy" "ship_logs" {
  name   = "ship-logs"
  role   = var.role_name
  policy = data.aws_iam_policy_document.ship_logs.json
}

output "layer_arn" {
  description = "For `layers` of any function of this region and architecture."
  value       = aws_lambda_layer_version.logferry.arn
}

output "destination" {
  description = "The value of LOGFERRY_DESTINATION."
  value       = local.destination
}
