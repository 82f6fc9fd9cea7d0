"""From raw text to batches for pretraining: documents, rows, records, and their reader.

`prepare.py` tells the story: documents are spread over shards, each shard's documents become rows
by one of the published algorithms, rows become TFRecords, and a manifest says what is there.
"""
