"""`antiphon keys`: makes, lists and revokes API keys. Works on the store itself, whether a server runs on it or not.

antiphon keys create kitchen --name "the oven" --requests-per-minute 60
antiphon keys list [PROJECT]
antiphon keys revoke ID
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from antiphon import app, wire
from antiphon.audit import Audit, Line
from antiphon.faults import explain
from antiphon.keyring import Key, Keyring, Limits
from antiphon.ports import Store
from antiphon.settings import SettingsError, data_directory

_WITHIN = 2  # seconds: what a server has read of a key, it believes for a while (`keyring.FRESH_SECONDS`)


def run(arguments: argparse.Namespace) -> int:
    """Carry out one command; 1 where it could not be, with the reason on standard error."""
    try:
        return asyncio.run(_run(arguments))
    except wire.ApiError as error:
        print(f"antiphon: {error.message}", file=sys.stderr)
    except msgspec.ValidationError as error:
        print(f"antiphon: {explain(str(error))}", file=sys.stderr)
    except (ImportError, OSError, ValueError, SettingsError) as error:
        print(f"antiphon: {error}", file=sys.stderr)
    return 1


async def _run(arguments: argparse.Namespace) -> int:
    command = {"create": _create, "list": _list, "revoke": _revoke}[arguments.action]
    path = arguments.audit or os.environ.get("ANTIPHON_AUDIT")
    # With `-` it goes where it does not stand beside a new key: whatever is printed is the key, and nothing else.
    audit = Audit(path, standard=sys.stderr) if path else None
    store = _store(arguments)
    try:
        line = Line(action=f"keys {arguments.action}", key=f"uid:{os.getuid()}", outcome=200, address="command line")
        try:
            await command(Keyring(store.ledger), arguments, line)
        except wire.ApiError as error:
            line.outcome = error.status
            raise
        except (msgspec.ValidationError, SettingsError):
            line.outcome = wire.InvalidRequest.status
            raise
        except (OSError, ValueError, ImportError):
            line.outcome = wire.Internal.status
            raise
        finally:
            if audit is not None:
                audit.note(line)
    finally:
        await store.aclose()
        if audit is not None:
            audit.close()
    return 0


def _store(arguments: argparse.Namespace) -> Store:
    """The same that a server with these options has; that one may be running."""
    store: Store
    url = arguments.database or os.environ.get("ANTIPHON_DATABASE")
    if url:
        store = app.load(app.STORES, "stores", "postgres")(url)
        return store
    folder: Path = arguments.data or data_directory()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = app.load(app.STORES, "stores", "sqlite")(folder / "antiphon.db")
    return store


async def _create(keyring: Keyring, arguments: argparse.Namespace, line: Line) -> None:
    if not arguments.name_or_id:
        raise SettingsError("For which project? antiphon keys create PROJECT")
    given = {name: getattr(arguments, name) for name in Limits.__struct_fields__}
    limits = msgspec.convert({name: value for name, value in given.items() if value is not None}, Limits)
    line.project = arguments.name_or_id
    key, text = await keyring.create(arguments.name_or_id, arguments.name, limits)
    line.resource = key.id
    print(text)
    print(f"{key.id} opens the project {key.project}. This is shown once: only its digest is kept.", file=sys.stderr)


async def _list(keyring: Keyring, arguments: argparse.Namespace, line: Line) -> None:
    line.project = arguments.name_or_id or ""
    for key in await keyring.all():
        if arguments.name_or_id in (None, key.project):
            state = f"revoked {_day(key.revoked)}" if key.revoked is not None else f"since {_day(key.created)}"
            print("  ".join(filter(None, [key.id, key.project, state, _limits(key), key.name])))


async def _revoke(keyring: Keyring, arguments: argparse.Namespace, line: Line) -> None:
    if not arguments.name_or_id:
        raise SettingsError("Which key? antiphon keys revoke ID")
    line.resource = arguments.name_or_id[:200]
    key = await keyring.revoke(arguments.name_or_id)
    line.project = key.project
    print(f"{key.id} opens nothing any more; running servers know within {_WITHIN} seconds", file=sys.stderr)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _limits(key: Key) -> str:
    given = msgspec.structs.asdict(key.limits).items()
    return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in given if value is not None)
