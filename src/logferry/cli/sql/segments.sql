-- Statement 1 of the proof: one row for each segment, and one more for each loss that it reports.
-- It reads every line once. Store the rows: statement 2 (faults.sql) reads only them.
-- Each hour can be read by itself, and its rows are then added to those of the other hours.
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
