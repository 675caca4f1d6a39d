"""A site of Django, in one file, whose settings are in the config store.

    python examples/config_django.py HOSTS [PORT [CACHE]]

Two kinds of settings: Django's own it reads at its start, here from the store (``debug``, ``secret_key``,
``allowed_hosts``); and those of the site, which follow the store: a commit changes what the next request sees.
Promised: as config_fastapi.py does. Under gunicorn with ``preload_app`` each worker is to have settings of its own that
follow: ``def post_fork(server, worker): cfg.after_fork()``.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from wsgiref.simple_server import make_server

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

import zabpy.blocking


@dataclass(frozen=True)
class Django:
    secret_key: str
    debug: bool = False
    allowed_hosts: list[str] = field(default_factory=lambda: ["127.0.0.1"])


@dataclass(frozen=True)
class Site:
    banner: str = ""
    open: bool = True


@dataclass(frozen=True)
class Settings:
    django: Django
    site: Site = Site()


servers, port, cache_file = (*sys.argv[1:], *[None] * 3)[:3]
cfg = zabpy.blocking.open_config(servers or "127.0.0.1:2181", "/config/site", model=Settings, cache=cache_file)
cfg.open()  # and closed when the program ends
of_django = cfg.current.django
settings.configure(
    SECRET_KEY=of_django.secret_key,
    DEBUG=of_django.debug,
    ALLOWED_HOSTS=of_django.allowed_hosts,
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[f"{__name__}.with_site"],
)


def with_site(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Once for each request: what it needs of the settings belongs together."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.site = cfg.current.site
        if not request.site.open and request.path != "/health":
            return HttpResponse("closed", status=503)
        return get_response(request)

    return middleware


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"welcome{request.site.banner}")


def health(request: HttpRequest) -> HttpResponse:
    error = None if cfg.last_error is None else str(cfg.last_error)
    return JsonResponse({"revision": cfg.revision, "stale": cfg.stale, "error": error})


urlpatterns = [path("", home), path("health", health)]

if __name__ == "__main__":
    with make_server("127.0.0.1", int(port or 8000), get_wsgi_application()) as server:
        print(f"running on http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
