"""Files of texts in, the same files with predictions out: a module a format.

In reading order: `rows` (what every format is turned into), `source` (lines of a byte stream),
`plain`, `delimited`, `jsonl` and `parquet` (a reader and an encoder each), `formats` (which of
them a file needs) and `output` (where the bytes go, and how a killed run goes on).
"""
