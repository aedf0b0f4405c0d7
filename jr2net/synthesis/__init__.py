"""Mass production of labelled expressions: (source picture, expression) in, pair out. The paper's engine.

``plan`` says which pairs there are, ``pair_generator`` generates them, ``gates`` scores them, ``maker`` makes a shard
of them and ``dataset`` writes the shards. A pair is a pure function of its number, the seed, the sources and the
networks, and so is a shard: the same bytes whichever worker makes it.
"""
