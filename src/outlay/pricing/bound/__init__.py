"""The bound: the most that a request can cost, made before it is sent.

`estimate` puts it together: the input (`inputs`, by `byte_bound`, with `overheads` and `media`), the cap on
the output (`caps`), and what the provider may do on its own account (`hosted`).
"""
