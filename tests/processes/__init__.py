"""Real processes under faults: `zabpy serve` several times, between them links that can be cut, and clients that write
down what they see. Read ensemble.py first (the processes), then links.py (what is between them), faults.py (what is
done to them), client.py and workload.py (who watches), linearize.py (the runs, `make linearize`). For hours: load.py
(more who watch), gauges.py (what the servers hold), soak.py (the run, `make soak`)."""
