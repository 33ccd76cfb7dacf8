from __future__ import annotations

from prefixbank.core.shapes import EncoderShape

GROUPED = EncoderShape(layers=6, heads=8, kv_heads=2, head_size=16, hidden_size=128)


def test_prefix_shape_counts_key_value_heads():
    assert GROUPED.prefix_shape(5) == (6, 2, 2, 5, 16)


def test_attention_bytes_counts_scores_and_weights_of_all_layers_and_heads():
    scores_of_one_head = 3 * 10 * (10 + 4)
    assert GROUPED.attention_bytes(rows=3, tokens=10, slots=4) == 2 * 6 * 8 * scores_of_one_head * 4


def test_shape_names_both_kinds_of_heads_where_they_differ():
    assert str(GROUPED) == "6 layers, 8 heads (2 key/value) of size 16"


def test_shape_names_heads_once_where_they_agree():
    assert (
        str(EncoderShape(layers=2, heads=4, kv_heads=4, head_size=8, hidden_size=32))
        == "2 layers, 4 heads of size 8"
    )
