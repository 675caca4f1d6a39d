"""Apache ZooKeeper and we, asked the same: what comes back is compared frame by frame.

Read pair.py first (two servers, one script), then jute.py (requests in bytes, right and wrong), generate.py (scripts
from a seed), compare.py (what must be equal), known.py (where we differ on purpose, and why).
"""
