-- Copy of segments.sql of the package logferry.cli.sql, for Spark. A test compares them.
SELECT
    environment,
    segment,
    CASE WHEN type = 'logferry.dropped' THEN record END AS loss,
    count(*) AS lines,
    count(DISTINCT line) AS distinct_lines,
    max(line) AS highest_line,
    max(CASE WHEN type IN ('logferry.segment', 'logferry.final') THEN line ELSE 0 END) AS closing_line,
    max(CASE WHEN type = 'logferry.final' THEN 1 ELSE 0 END) AS final,
    min(time) AS first_time,
    max(time) AS last_time
FROM logs
GROUP BY environment, segment, CASE WHEN type = 'logferry.dropped' THEN record END
