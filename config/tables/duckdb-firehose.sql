-- Lines that a Firehose stream has delivered, as the view logs_raw of DuckDB 1.5. Replace the address of the objects.
-- Use this statement instead of the first one of duckdb.sql. Its other views and the proof then read the stream.
-- A line can be there more than once, because Firehose delivers at least once. Its place identifies it. If a last line
-- is there as logferry.segment and as logferry.final, the final one counts.
-- The closing line of each segment names the function. The folders of Firehose are the hours of the delivery.
CREATE OR REPLACE VIEW logs_raw AS
SELECT
    time,
    type,
    message,
    record,
    event,
    requestId,
    requestIdSource,
    environment,
    segment,
    line,
    max(CASE WHEN type IN ('logferry.segment', 'logferry.final') THEN TRY(json_extract_string(record, '$.function')) END)
        OVER (PARTITION BY environment) AS function,
    strftime(time, '%Y-%m-%d') AS dt,
    strftime(time, '%H') AS hour
FROM (
    SELECT *, row_number() OVER (PARTITION BY environment, segment, line ORDER BY type) AS copy
    FROM read_json(
        's3://my-log-bucket/my-stream/**/*',
        format = 'newline_delimited',
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
    )
)
WHERE copy = 1;
