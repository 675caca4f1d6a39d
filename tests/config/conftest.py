from tests.recipes.conftest import hosts as hosts, on_both as on_both, one_server as one_server

from .tool import committed as committed, config as config
