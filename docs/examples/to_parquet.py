"""Puts JSON lines into one Parquet file: python to_parquet.py OUTPUT.parquet INPUT.jsonl ..."""

import sys

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

tables = [pa.json.read_json(name) for name in sys.argv[2:]]
rows = pa.concat_tables(tables, promote_options="permissive")
pa.parquet.write_table(rows, sys.argv[1])
sys.stdout.write(f"{rows.num_rows} rows: {', '.join(rows.column_names)}\n")
