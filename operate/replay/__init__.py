"""Replay: deliveries from an origin, those that a filter selects, to a target, at a pace of its own, resumable.

    options -> request                       what was asked for, checked; plain data that a checkpoint keeps
    context                                  what every part works with: stack, settings, clients, console
    origins  from_stream from_archive from_failures from_table from_file     deliveries in order, with a position
    filters                                  which of them, by themselves and by what the events table says
    targets  to_consumer to_stream to_http to_file dry_run                   what becomes of them
    runner, listen -> loop                   one replay; its pace, progress and checkpoint

A new origin or target is one file and one line in its package's registry. An origin is read with a cursor of its own,
so a replay never moves the live consumer.
"""
