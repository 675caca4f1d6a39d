"""Plays of recipes that say who is there: while things fail, members come and go; in the end all see all."""

from collections import Counter

import trio

from zabpy.recipes.client import Client
from zabpy.recipes.discovery import ServiceView
from zabpy.recipes.instance import ServiceInstance
from zabpy.recipes.membership import GroupWatch
from zabpy.recipes.registration import Upkeep

from .story import TROUBLES, Play, Story


class PresencePlay(Play):
    """Each task is there for a while; once all is healed, until the end."""

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.here: dict[str, Upkeep] = {}

    def registration(self, zk: Client, who: str) -> Upkeep:
        return zk.registered(f"{self.path}/{who}", who.encode(), take_over="same_data")

    async def work(self, zk: Client, who: str) -> None:
        async with self.registration(zk, who) as here:
            self.here[who] = here
            try:
                await trio.sleep(self.rng.random() * self.rng.choice([3, 20]))
                while self.story.healed and not self.story.over:  # noqa: ASYNC110
                    await trio.sleep(0.1)
            finally:
                del self.here[who]

    def settled(self, before: Counter[str]) -> bool:
        return all(who in self.here and self.here[who].present for who in self.story.everybody)


class RegistrationPlay(PresencePlay):
    pass


class MembershipPlay(PresencePlay):
    """And each client watches the group."""

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.watches: dict[str, GroupWatch] = {}

    def registration(self, zk: Client, who: str) -> Upkeep:
        return zk.member(self.path, who)

    async def serve(self, zk: Client, name: str) -> None:
        while not self.story.over:
            try:
                with self.story.until_over():
                    async with zk.group(self.path).watch() as group:
                        self.watches[name] = group
                        async for _ in group:
                            pass
            except TROUBLES:
                await trio.sleep(0.1)
            finally:
                self.watches.pop(name, None)

    def settled(self, before: Counter[str]) -> bool:
        if not super().settled(before) or len(self.watches) < self.clients:
            return False
        return all(
            sorted(member.name for member in group.members) == self.story.everybody and not group.stale
            for group in self.watches.values()
        )


class DiscoveryPlay(PresencePlay):
    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.views: dict[str, ServiceView] = {}

    def registration(self, zk: Client, who: str) -> Upkeep:
        return zk.registered_service(self.path, ServiceInstance("api", who, "10.0.0.1", 80), take_over="same_data")

    async def serve(self, zk: Client, name: str) -> None:
        while not self.story.over:
            try:
                with self.story.until_over():
                    async with zk.service(self.path, "api") as view:
                        self.views[name] = view
                        async for _ in view:
                            pass
            except TROUBLES:
                await trio.sleep(0.1)
            finally:
                self.views.pop(name, None)

    def settled(self, before: Counter[str]) -> bool:
        if not super().settled(before) or len(self.views) < self.clients:
            return False
        return all([each.id for each in view.instances] == self.story.everybody for view in self.views.values())

    async def keeps(self, look: Client) -> set[str]:
        return {self.path, f"{self.path}/api"}
