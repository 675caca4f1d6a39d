from tests.recipes.conftest import hosts as hosts, on_both as on_both, one_server as one_server
