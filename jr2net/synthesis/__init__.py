"""Synthesis of the (image, expression) pairs on which ETNet is trained, from source images and sampled expressions.

``plan`` enumerates the pairs, ``pair_generator`` generates and scores them by ``gates``, ``maker`` assembles shards and
``dataset`` writes them. A pair is a pure function of its number, the seed, the sources and the networks, and so is a
shard: every worker writes the same bytes.
"""
