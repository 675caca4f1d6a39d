"""Seeds of a data directory break nothing. What they are good for, the traps of test_traps.py show."""

from zabpy.testing.store_runs import run_store_seed


def test_fresh_seeds_of_a_data_directory_lose_nothing() -> None:
    for seed in range(1, 101):
        assert run_store_seed(seed) is None, f"seed {seed}"
