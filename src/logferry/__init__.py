"""logferry: an AWS Lambda extension that ferries log records to S3. Kept empty: every import here is cold start."""
