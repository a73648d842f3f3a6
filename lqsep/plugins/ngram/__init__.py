"""N-gram prior: a Markov model counted from codes, smoothed by interpolation with lower orders.

Reading order: ``counts`` (sparse tables of counts), ``prior`` (their smoothed probabilities as a
`lqsep.core.interfaces.prior.Prior`), ``train`` (counting a data set).

Reference: MacKay and Peto 1995, "A hierarchical Dirichlet language model", Natural Language
Engineering 1(3) (the smoothing).
"""
