"""Mass production of labelled expressions: (source picture, expression) in, pair out. The paper's engine.

``plan`` says which pairs there are, ``painter`` draws them, ``gates`` judges them, ``maker`` makes a shard of them and
``dataset`` keeps the shards. A pair is a pure function of its number, the seed, the sources and the networks, and so is
a shard of them: the same bytes whoever makes it, whenever.
"""
