-- Objects of logferry as a view of DuckDB. Replace the location: a folder, or s3://bucket/prefix with the httpfs extension.
-- The columns are always named. Inferred types depend on the records that happen to be read.
CREATE OR REPLACE VIEW logs AS
SELECT *
FROM read_json(
    's3://my-log-bucket/logs/**/*.ndjson.gz',
    format = 'newline_delimited',
    hive_partitioning = true,
    hive_types_autocast = false,
    columns = {
        time: 'TIMESTAMP',
        type: 'VARCHAR',
        message: 'VARCHAR',
        record: 'VARCHAR',
        event: 'VARCHAR',
        requestId: 'VARCHAR',
        requestIdSource: 'VARCHAR',
        environment: 'VARCHAR',
        segment: 'BIGINT',
        line: 'BIGINT'
    }
);

-- TRY: DuckDB's parser rejects some JSON texts, for example half of a surrogate pair. Without TRY, one such record makes
-- the complete query fail.

-- One row for each line that a function wrote, with the level and the message of structured records.
CREATE OR REPLACE VIEW function_lines AS
SELECT
    time,
    function,
    requestId,
    coalesce(message, TRY(record ->> '$.message'), record, event) AS text,
    coalesce(TRY(record ->> '$.level'), TRY(record ->> '$.log_level')) AS level,
    environment,
    segment,
    line
FROM logs
WHERE type = 'function';

-- One row for each report of an invocation.
CREATE OR REPLACE VIEW invocations AS
SELECT
    time,
    function,
    requestId,
    TRY(record ->> '$.status') AS status,
    TRY_CAST(TRY(record ->> '$.metrics.durationMs') AS DOUBLE) AS duration_ms,
    TRY_CAST(TRY(record ->> '$.metrics.billedDurationMs') AS BIGINT) AS billed_ms,
    TRY_CAST(TRY(record ->> '$.metrics.initDurationMs') AS DOUBLE) AS init_ms,
    TRY_CAST(TRY(record ->> '$.metrics.maxMemoryUsedMB') AS BIGINT) AS used_mb,
    environment
FROM logs
WHERE type = 'platform.report';

-- One row for each invocation that timed out or ran out of memory, with the evidence.
CREATE OR REPLACE VIEW failures AS
SELECT
    time,
    function,
    requestId,
    CASE type WHEN 'logferry.timeout' THEN 'timeout' ELSE 'outOfMemory' END AS failure,
    TRY(record ->> '$.evidence') AS evidence,
    environment
FROM logs
WHERE type IN ('logferry.timeout', 'logferry.outOfMemory');

-- One row for each summary of an invocation: its calls, its events, and the resources that it used.
CREATE OR REPLACE VIEW invocation_summaries AS
SELECT
    time,
    function,
    requestId,
    TRY(record ->> '$.status') AS status,
    TRY_CAST(TRY(record ->> '$.durationMs') AS DOUBLE) AS duration_ms,
    TRY_CAST(TRY(record ->> '$.calls.count') AS BIGINT) AS calls,
    TRY_CAST(TRY(record ->> '$.calls.errors') AS BIGINT) AS call_errors,
    TRY_CAST(TRY(record ->> '$.calls.ms') AS DOUBLE) AS call_ms,
    TRY_CAST(TRY(record ->> '$.events') AS BIGINT) AS events,
    TRY_CAST(TRY(record ->> '$.usage.cpuMs') AS DOUBLE) AS cpu_ms,
    TRY_CAST(TRY(record ->> '$.usage.ownCpuMs') AS DOUBLE) AS own_cpu_ms,
    TRY_CAST(TRY(record ->> '$.usage.peakRssBytes') AS BIGINT) AS peak_rss_bytes,
    TRY_CAST(TRY(record ->> '$.usage.tmpUsedBytes') AS BIGINT) AS tmp_used_bytes,
    TRY_CAST(TRY(record ->> '$.usage.descriptors') AS BIGINT) AS descriptors,
    TRY_CAST(TRY(record ->> '$.usage.threads') AS BIGINT) AS threads,
    environment
FROM logs
WHERE type = 'logferry.invocation';
