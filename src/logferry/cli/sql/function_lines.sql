-- One row for each line that a function wrote. The text of a function that logs JSON is its field `message`.
SELECT
    time,
    function,
    requestId,
    coalesce(message, json_text(record, '$.message'), record, event) AS text,
    level,
    environment,
    segment,
    line,
    dt,
    hour
FROM logs
WHERE type = 'function'
