"""One file for each step: what determines its artifact and how it is made."""
