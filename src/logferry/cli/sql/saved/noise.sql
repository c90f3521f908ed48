-- The 20 message patterns with the most characters. Numbers and identifiers are replaced by #.
SELECT
    function,
    pattern,
    count(*) AS lines,
    sum(characters) AS characters
FROM (
    SELECT
        function,
        replace_all(beginning, '[0-9a-fA-F]{8,}[-0-9a-fA-F]*|[0-9]+', '#') AS pattern,
        characters
    FROM (SELECT function, substr(text, 1, 200) AS beginning, length(text) AS characters FROM function_lines) AS texts
) AS patterns
GROUP BY function, pattern
ORDER BY characters DESC, pattern
LIMIT 20
