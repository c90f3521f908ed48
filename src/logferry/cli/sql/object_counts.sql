-- One row for each object: the numbers of its records, and of those that the settings have filtered or masked, and
-- whether it was stored in the fallback destination.
SELECT
    time,
    function,
    environment,
    segment,
    CAST(json_text(record, '$.records') AS BIGINT) AS records,
    coalesce(CAST(json_text(record, '$.filtered') AS BIGINT), 0) AS filtered,
    coalesce(CAST(json_text(record, '$.masked') AS BIGINT), 0) AS masked,
    coalesce(CAST(json_text(record, '$.failed') AS BIGINT), 0) AS failed,
    coalesce(json_text(record, '$.fallback'), 'false') = 'true' AS fallback,
    dt,
    hour
FROM logs
WHERE type IN ('logferry.segment', 'logferry.final')
