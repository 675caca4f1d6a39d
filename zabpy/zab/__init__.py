"""ZAB without I/O: who leads, what the order is, when it is final.

May import: zabpy.model; of the standard library neither clock, random, socket, file, thread nor logging.
Imported by: zabpy.wire (message types), zabpy.server, zabpy.testing; by those only through the names below.
Read replica.py first, then a file a phase: election.py, discovery.py, synchronization.py, broadcast.py.
"""
