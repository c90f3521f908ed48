"""logferry, an AWS Lambda extension that ships log records to S3. An import here would delay every cold start."""
