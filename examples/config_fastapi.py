"""A service of FastAPI whose settings follow the config store: a commit changes what it does, without a restart.

    python examples/config_fastapi.py HOSTS [PORT [CACHE]]

Promised: each request is answered by settings of one revision, that fit the model. A commit that does not fit changes
nothing but what ``/health`` says. Without the servers the service goes on with what it has; with a CACHE file it also
starts without them.
Not promised: that several of these services change in the same moment.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

from zabpy.config import Config


class Settings(BaseModel, frozen=True):
    greeting: str = "hello"
    name_chars_max: Annotated[int, Field(ge=1)] = 20


def current(request: Request) -> Settings:
    """Once for each request: what it needs of the settings belongs together."""
    cfg: Config[Settings] = request.app.state.cfg
    return cfg.current


def application(hosts: str, cache: str | None = None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Config.open(hosts, "/config/greeter", model=Settings, cache=cache) as app.state.cfg:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/greet/{name}")
    async def greet(name: str, settings: Annotated[Settings, Depends(current)]) -> str:
        if len(name) > settings.name_chars_max:
            raise HTTPException(422, f"more than {settings.name_chars_max} characters")
        return f"{settings.greeting}, {name}"

    @app.get("/health")
    async def health(request: Request) -> dict[str, object]:
        cfg: Config[Settings] = request.app.state.cfg
        error = None if cfg.last_error is None else str(cfg.last_error)
        return {"revision": cfg.revision, "stale": cfg.stale, "error": error}

    return app


if __name__ == "__main__":
    servers, port, cache_file = (*sys.argv[1:], *[None] * 3)[:3]
    uvicorn.run(application(servers or "127.0.0.1:2181", cache_file), port=int(port or 8000))
