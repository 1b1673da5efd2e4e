"""Who may connect, for how long, and who gives way to whom: before a request is anybody's request.

The same door stands before serving and before the admin surface. It is uvicorn with h11, which both had already, and a
guard around it: hypercorn and granian know no limit for one client's connections and let nobody idle give way to who
comes, so that either would have needed the same guard, and another way of running the event loop besides.
"""
