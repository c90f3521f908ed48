-- The lines of one request.
SELECT
    from_iso8601_timestamp("time") AS at,
    coalesce(message, json_extract_scalar(record, '$.message'), record, event) AS text
FROM logs
WHERE "function" = 'orders-api' AND dt = '2026-11-21' AND requestid = '459921b5-681c-4a96-beb0-81e0aa586026'
ORDER BY environment, segment, line;

-- The 99th percentile of the duration by hour.
SELECT dt, hour, approx_percentile(CAST(json_extract_scalar(record, '$.metrics.durationMs') AS double), 0.99) AS p99_ms
FROM logs
WHERE "function" = 'orders-api' AND dt >= '2026-11-01' AND "type" = 'platform.report'
GROUP BY dt, hour
ORDER BY dt, hour;

-- Timeouts and exhausted memory by day.
SELECT dt, "type", count(*) AS invocations
FROM logs
WHERE "function" = 'orders-api' AND dt >= '2026-11-01' AND "type" IN ('logferry.timeout', 'logferry.outOfMemory')
GROUP BY dt, "type"
ORDER BY dt, "type";

-- CPU time and HTTP calls of invocations by hour, for functions with LOGFERRY_USAGE or LOGFERRY_CALLS.
SELECT
    dt,
    hour,
    avg(CAST(json_extract_scalar(record, '$.usage.cpuMs') AS double)) AS cpu_ms,
    max(CAST(json_extract_scalar(record, '$.usage.peakRssBytes') AS bigint)) AS peak_rss_bytes,
    sum(CAST(json_extract_scalar(record, '$.calls.count') AS bigint)) AS calls,
    sum(CAST(json_extract_scalar(record, '$.calls.errors') AS bigint)) AS call_errors
FROM logs
WHERE "function" = 'orders-api' AND dt >= '2026-11-01' AND "type" = 'logferry.invocation'
GROUP BY dt, hour
ORDER BY dt, hour;
