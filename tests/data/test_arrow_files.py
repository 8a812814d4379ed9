"""Arrow files by record batch."""

from __future__ import annotations

import pyarrow as pa

from realuid.data.arrow_files import ArrowFiles


def test_columns_in_memory_are_those_of_the_files_in_every_batch(tmp_path) -> None:
    """Text and numbers, missing ones, empty batches, and kinds that are made of several arrays, against pyarrow."""
    columns = {
        "text": pa.array(["a", None, "", "zwölf Äpfel", "b", "c", None]),
        "large": pa.array(["x" * 100, "", None, "y", "z", "u", "v"], pa.large_string()),
        "number": pa.array([1, None, 3, -4, 5, 6, 7], pa.int32()),
        "flag": pa.array([True, None, False, True, True, False, True]),
        "words": pa.array(["p", "q", "p", None, "q", "p", "p"]).dictionary_encode(),
        "list": pa.array([[1], [], None, [2, 3], [4], [5], [6, 7]]),
    }
    table = pa.table(columns)
    files = [tmp_path / "one.arrow", tmp_path / "two.arrow"]
    for file, part in zip(files, (table.slice(0, 4), table.slice(4)), strict=True):
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(part.slice(0, 3), max_chunksize=2)
            writer.write_table(part.slice(0, 0))
            writer.write_table(part.slice(3), max_chunksize=1)
    read = ArrowFiles(files)
    read.release()
    for name in columns:
        assert read.column(name).to_pylist() == table.column(name).to_pylist(), name
