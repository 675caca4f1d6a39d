"""The profiles, as ``zabsh --list-profiles`` and the command ``profiles`` show them."""

from .output import Output
from .profiles import File, Profile


async def profiles_of(file: File, current: str, out: Output) -> None:
    """Those of the file; ``current`` gets a star."""
    async with out.rows("current", "name", "servers", "login", "guards") as rows:
        for name, profile in sorted(file.profiles.items()):
            await rows.add(
                current="*" if name == current else "",
                name=name,
                servers=profile.servers,
                login=[each.name for each in (*profile.auth, *([profile.sasl] if profile.sasl else []))],
                tls=profile.tls is not None,
                guards=_guards(profile),
                default=name == file.default,
            )


def _guards(profile: Profile) -> list[str]:
    flags = {"read_only": profile.read_only, "confirm_name": profile.confirm_name}
    return [name for name, is_set in flags.items() if is_set] + [f"no {name}" for name in sorted(profile.forbid)]
