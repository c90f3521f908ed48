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

-- One row for each object: its number of records, and how many the settings have filtered or masked.
CREATE OR REPLACE VIEW objects AS
SELECT
    time,
    function,
    environment,
    segment,
    type = 'logferry.final' AS final,
    TRY_CAST(record ->> '$.records' AS BIGINT) AS records,
    coalesce(TRY_CAST(record ->> '$.filtered' AS BIGINT), 0) AS filtered,
    coalesce(TRY_CAST(record ->> '$.masked' AS BIGINT), 0) AS masked,
    coalesce(TRY_CAST(record ->> '$.failed' AS BIGINT), 0) AS failed
FROM logs
WHERE type IN ('logferry.segment', 'logferry.final');
