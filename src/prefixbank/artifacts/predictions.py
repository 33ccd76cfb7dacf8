"""Predictions artifacts: what heads say of the texts of a corpus, and facts about them."""

FACTS = "predictions.json"
