"""Synthesis of the (image, expression) pairs on which ETNet is trained, from source images and sampled expressions.

``plan`` enumerates the pairs, ``pair_generator`` generates and scores them by ``gates``, ``maker`` assembles shards,
``shards`` commits them and ``dataset`` describes them all. A pair is a pure function of its number, the seed, the
sources and the networks, and so is a shard: on one kind of machine every worker writes the same bytes.
"""
