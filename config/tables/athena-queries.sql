-- The lines of one request.
SELECT
    time,
    coalesce(message, json_extract_scalar(record, '$.message'), record, event) AS text
FROM logs
WHERE "function" = 'orders-api' AND dt = '2026-11-21' AND requestid = '459921b5-681c-4a96-beb0-81e0aa586026'
ORDER BY environment, segment, line;

-- The 99th percentile of the duration by hour.
SELECT dt, hour, approx_percentile(duration_ms, 0.99) AS p99_ms
FROM logs
WHERE "function" = 'orders-api' AND dt >= '2026-11-01' AND "type" = 'platform.report'
GROUP BY dt, hour
ORDER BY dt, hour;

-- Timeouts and exhausted memory by day.
SELECT dt, failure, count(*) AS invocations
FROM failures
WHERE "function" = 'orders-api' AND dt >= '2026-11-01'
GROUP BY dt, failure
ORDER BY dt, failure;

-- CPU time and HTTP calls of invocations by hour, for functions with LOGFERRY_USAGE or LOGFERRY_CALLS.
SELECT
    dt,
    hour,
    avg(cpu_ms) AS mean_cpu_ms,
    max(peak_rss_bytes) AS peak_bytes,
    sum(calls) AS total_calls,
    sum(call_errors) AS failed_calls
FROM invocation_summaries
WHERE "function" = 'orders-api' AND dt >= '2026-11-01'
GROUP BY dt, hour
ORDER BY dt, hour;
