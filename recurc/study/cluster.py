"""Units of work on an existing Dask cluster. Workers need recurc of the same code; the checkpoint is sent to them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from recurc.arguments import argument
from recurc.errors import ToolchainError, UsageError
from recurc.evaluate.measured import Part
from recurc.study.store import code_version
from recurc.study.units import Chunk, Subject, run_part

MAX_TABLE_BYTES = 256 << 20


def _check_address(address: str) -> None:
    """That it is an address with a port. Raises UsageError."""
    if not re.fullmatch(r"(?:\w+://)?(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}", address):
        raise UsageError(
            f"{address!r} is no address of a Dask scheduler",
            where=argument("address", option="scheduler"),
            why="it has no port" if ":" not in address.partition("://")[2] else "it is not HOST:PORT",
            next="Give it as tcp://HOST:PORT, as `dask scheduler` prints it",
        )


async def _greet(address: str, timeout: float) -> None:
    """Ask who is there: a client waits for ever for the answer of something that is no scheduler.

    Raises:
        OSError, asyncio.TimeoutError: nobody, or something else.
    """
    from distributed.comm import connect

    async def ask() -> None:
        comm = await connect(address, timeout=timeout)
        try:
            await comm.write({"op": "identity", "reply": True})
            told = await comm.read()
        finally:
            comm.abort()
        if not isinstance(told, dict) or told.get("type") != "Scheduler":
            raise OSError("something else answers there")

    await asyncio.wait_for(ask(), timeout)


class Cluster:
    """Sends units of work to the workers of a Dask scheduler.

    Args:
        address: of the scheduler, as tcp://HOST:PORT.

    Raises:
        ToolchainError: dask.distributed is missing, or nothing answers; UsageError: workers with other code.
    """

    def __init__(self, address: str, timeout: float = 10) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise ToolchainError(
                "dask.distributed is not installed",
                where=argument("address", option="scheduler"),
                why="it is an extra",
                next="pip install distributed",
            ) from None
        _check_address(address)
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it logs is told in our words
        try:
            asyncio.run(_greet(address, timeout))
            self._client = Client(address, timeout=timeout, set_as_default=False)
        except (TimeoutError, OSError, ValueError, TypeError) as error:
            why = str(error).splitlines()[0] if str(error) else f"none within {timeout:g} s"
            raise ToolchainError(
                "no Dask scheduler answers",
                where=address,
                why=why,
                next="Start one with `dask scheduler` and workers with `dask worker ADDRESS`",
            ) from None
        try:
            self._check(address)
        except BaseException:
            self._client.close()
            raise
        self._pool = self._client.get_executor(pure=False)
        self._sent: dict[str, Any] = {}

    def _check(self, address: str) -> None:
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise ToolchainError(
                "the Dask scheduler has no workers",
                where=address,
                why="none has registered",
                next="Start some with `dask worker ADDRESS`",
            )
        self.workers = sum(w["nthreads"] for w in workers.values())
        try:
            versions = self._client.run(code_version)
        except Exception as error:  # whatever a worker raises, mostly ModuleNotFoundError
            raise ToolchainError(
                "the Dask workers cannot run recurc",
                where=address,
                why=f"{type(error).__name__}: {error}",
                next="Install this version of recurc where they run",
            ) from None
        other = [name for name, version in versions.items() if version != code_version()]
        if other:
            raise UsageError(
                f"{len(other)} of {len(versions)} Dask workers have other code",
                where=other[0],
                why="results would differ",
                next="Install this version of recurc where they run",
            )

    def submit(self, subject: Callable[[], Subject], chunk: Chunk, progress: object = None) -> Future[Part]:
        """A future of `run_part`. What the variant needs is made here, and sent once; what happens there is not heard here."""
        made = subject()
        if made.key not in self._sent:
            table = made.reasoner.tensors.get("puzzle_emb.weights")
            if table is not None and table.nbytes > MAX_TABLE_BYTES:
                raise UsageError(
                    f"the puzzle embeddings are {table.nbytes:,} bytes",
                    where=argument("address", option="scheduler"),
                    why="they would be sent to every worker",
                    next=f"Run without {argument('address', option='scheduler')}",
                )
            self._sent[made.key] = self._client.scatter(made)
        future: Future[Part] = self._pool.submit(run_part, self._sent[made.key], chunk)
        return future

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False)
        self._client.close()
