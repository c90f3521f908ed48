-- One row for each invocation that timed out or ran out of memory, with the evidence.
SELECT
    time,
    function,
    requestId,
    CASE WHEN type = 'logferry.timeout' THEN 'timeout' ELSE 'outOfMemory' END AS failure,
    json_text(record, '$.evidence') AS evidence,
    environment,
    dt,
    hour
FROM logs
WHERE type IN ('logferry.timeout', 'logferry.outOfMemory')
