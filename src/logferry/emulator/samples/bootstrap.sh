#!/usr/bin/env bash
# A custom runtime in bash, with curl for the Runtime API. It prints the event's "marker" and returns the event.
set -euo pipefail

api="http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation"
headers="$(mktemp)"
trap 'rm -f "$headers"' EXIT

while true; do
  event="$(curl --silent --show-error --noproxy '*' --dump-header "$headers" "$api/next")"
  request_id="$(sed --quiet --regexp-extended 's/^lambda-runtime-aws-request-id: *([^[:space:]]+).*/\1/Ip' "$headers")"
  marker="$(sed --quiet --regexp-extended 's/.*"marker": *"([^"]*)".*/\1/p' <<<"$event")"
  echo "${marker:-line}-0"
  curl --silent --show-error --noproxy '*' --output /dev/null --data-binary "$event" "$api/$request_id/response"
done
