"""Replay: deliveries from an origin, those that a filter wants, to a target, at a pace of its own, resumable.

    from_stream  from_archive  from_failures  from_table  from_file      origins: deliveries in order, with a position
    filters  looks  marks                                                which of them, and what the table says of them
    to_consumer  to_stream  to_http  to_file  dry_run                    targets: what becomes of them
    run  checkpoint  pace  report                                        the loop, its file, its speed, its figures

An origin is read with a cursor of its own, so a replay never moves the live consumer. Clients are made by the caller.
"""
