"""From strings to ids in rows: reading, packing, padding, and batches of like length."""
