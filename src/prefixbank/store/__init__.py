"""A content-addressed store: results are looked up by the hash of what determines them."""
