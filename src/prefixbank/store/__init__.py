"""A content-addressed store.

Results are found by the hash of what determines them, and never change.
"""

from prefixbank.store.artifact import Entry, FileRecord, read_entry
from prefixbank.store.gc import GcItem
from prefixbank.store.key import JSON, SCHEMA, canonical_json, diff_documents, document, key_of
from prefixbank.store.refs import Ref
from prefixbank.store.store import Store
from prefixbank.store.verify import Verdict

__all__ = [
    "JSON",
    "SCHEMA",
    "Entry",
    "FileRecord",
    "GcItem",
    "Ref",
    "Store",
    "Verdict",
    "canonical_json",
    "diff_documents",
    "document",
    "key_of",
    "read_entry",
]
