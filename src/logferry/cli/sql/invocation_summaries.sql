-- One row for each summary of an invocation: its HTTP calls, its events, and the resources that it used.
-- A field of a feature that is off is NULL. So are memory, /tmp, descriptors and threads of an invocation that ended
-- within a second of another one, unless it failed.
SELECT
    time,
    function,
    requestId,
    json_text(record, '$.status') AS status,
    TRY_CAST(json_text(record, '$.durationMs') AS DOUBLE) AS duration_ms,
    TRY_CAST(json_text(record, '$.calls.count') AS BIGINT) AS calls,
    TRY_CAST(json_text(record, '$.calls.errors') AS BIGINT) AS call_errors,
    TRY_CAST(json_text(record, '$.calls.ms') AS DOUBLE) AS call_ms,
    TRY_CAST(json_text(record, '$.events') AS BIGINT) AS events,
    TRY_CAST(json_text(record, '$.usage.cpuMs') AS DOUBLE) AS cpu_ms,
    TRY_CAST(json_text(record, '$.usage.ownCpuMs') AS DOUBLE) AS own_cpu_ms,
    TRY_CAST(json_text(record, '$.usage.peakRssBytes') AS BIGINT) AS peak_rss_bytes,
    TRY_CAST(json_text(record, '$.usage.tmpUsedBytes') AS BIGINT) AS tmp_used_bytes,
    TRY_CAST(json_text(record, '$.usage.descriptors') AS BIGINT) AS descriptors,
    TRY_CAST(json_text(record, '$.usage.threads') AS BIGINT) AS threads,
    environment,
    dt,
    hour
FROM logs
WHERE type = 'logferry.invocation'
