"""Writes the Parquet files here, as pyarrow and so the hub's datasets write them."""
import pathlib
import pyarrow as pa
import pyarrow.parquet as pq

here = pathlib.Path(__file__).parent
text = pa.table({"id": [1, 2, 3, 4], "text": ["abcdef", None, "ghij", "klmn\u00fcop"]})
pq.write_table(text, here / "text-snappy.parquet", compression="snappy")
pq.write_table(text, here / "text-gzip.parquet", compression="gzip")
chats = pa.table({"chat": [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
                           {"messages": [{"role": "user", "content": "Bye"}]}], "score": [0.5, 1.0]})
pq.write_table(chats, here / "chats-zstd.parquet", compression="zstd")
