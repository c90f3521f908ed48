-- Objects of logferry as views of DuckDB 1.5: a folder, or s3://bucket/prefix with the httpfs extension and a secret.
-- The columns are always named. Inferred types depend on the records that happen to be read.
CREATE OR REPLACE VIEW logs_raw AS
SELECT *
FROM read_json(
    '{location}/**/*.ndjson.gz',
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
