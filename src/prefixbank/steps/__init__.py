"""Steps: what identifies the artifact of each, and how it is made."""
