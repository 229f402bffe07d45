"""The measuring instrument: a schedule, a client that stamps arrivals, workers, records.

The client has its own transport because no HTTP library can give the three clocks:
intended (the schedule said so), sent (right before the bytes go to the kernel) and
arrival (when the bytes reached this host). Everything that is not between two reads,
such as parsing events, happens after a request has ended.
"""
