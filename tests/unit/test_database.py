"""A file of the index or of the library that several servers, or several parts of one, open."""

import asyncio
from pathlib import Path

from antiphon.index.database import Database


def test_whoever_opens_a_new_file_in_the_same_moment_gets_it(tmp_path: Path) -> None:
    async def together(path: Path) -> list[tuple[int]]:
        databases = [Database(path, "CREATE TABLE marks (mark);") for _ in range(8)]
        try:
            await asyncio.gather(
                *(database.write(lambda c: c.execute("INSERT INTO marks VALUES (1)")) for database in databases),
                *(database.read(lambda c: c.execute("SELECT * FROM marks").fetchall()) for database in databases),
            )
            return await databases[0].read(lambda c: c.execute("SELECT count(*) FROM marks").fetchall())
        finally:
            for database in databases:
                await database.aclose()

    for n in range(12):
        assert asyncio.run(together(tmp_path / str(n) / "new.db")) == [(8,)]
