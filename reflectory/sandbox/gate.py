"""What the connections of one egress proxy share: policy, limits, look-ups, the traffic used so far and the log of decisions."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from weakref import WeakValueDictionary

from pydantic import Field

from reflectory.records import Frozen
from reflectory.sandbox.addresses import denied
from reflectory.sandbox.network import NetworkPolicy, Resolver

#: Read at once, and buffered per direction.
PIECE = 2**16
#: Look-ups that run at once: for all hosts, and for those of one `NetworkPolicy.group`. One name server that hangs stops only its own.
LOOKUPS = 64
LOOKUPS_PER_GROUP = 4


class EgressLimits(Frozen):
    """What one proxy lets through.

    Attributes:
        connections: Open at the same time; one more is answered with 503.
        head_kb: Request line and headers together; also those of each answer, interim (1xx) ones included.
        traffic_mb: Both directions of all connections together, for as long as the proxy lives.
        idle_seconds: A connection without a byte for so long ends; the head of a request must be there by then.
        connect_seconds: Look-up and connection to the server.
        decisions: Entries of the log; later ones are only counted.
    """

    connections: int = Field(default=64, ge=1)
    head_kb: int = Field(default=32, ge=1)
    traffic_mb: float = Field(default=256, gt=0)
    idle_seconds: float = Field(default=60.0, gt=0)
    connect_seconds: float = Field(default=10.0, gt=0)
    decisions: int = Field(default=1000, ge=1)


@dataclass
class Decision:
    """What came of one request; its counts grow while the connection lives.

    Attributes:
        method: As asked for; "" where nothing readable came.
        host: As asked for (untrusted), or as the policy reads it; "" where nothing readable came.
        port: 0 where none was given.
        allowed: Whether the policy let it through.
        reason: Why not, or how it failed; "" for neither.
        sent: Bytes to the server.
        received: Bytes from it, as they came: heads and framing included.
    """

    method: str = ""
    host: str = ""
    port: int = 0
    allowed: bool = False
    reason: str = ""
    sent: int = 0
    received: int = 0


class Gate:
    """Decides, looks up and connects for all connections of a proxy.

    Args:
        policy: Who may be reached.
        limits: How much.
        resolver: Looks names up; None asks the system.

    Attributes:
        decisions: The log, in the order the requests came.
        dropped: Decisions that did not fit into it.
        traffic: Bytes so far, both directions.
    """

    def __init__(self, policy: NetworkPolicy, limits: EgressLimits, resolver: Resolver | None) -> None:
        self.policy, self.limits = policy, limits
        self.decisions: list[Decision] = []
        self.dropped = self.traffic = 0
        self._resolver = resolver
        # Threads of its own: look-ups that hang must not stop the rest of this process.
        self._threads = ThreadPoolExecutor(LOOKUPS, "egress-lookup")
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._running: set[asyncio.Future[tuple[str, ...]]] = set()

    def log(self, decision: Decision) -> None:
        """Keep a decision."""
        if len(self.decisions) < self.limits.decisions:
            self.decisions.append(decision)
        else:
            self.dropped += 1

    def spend(self, count: int) -> None:
        """Count traffic.

        Raises:
            NetworkDenied: There is none left.
        """
        self.traffic += count
        if self.traffic > self.limits.traffic_mb * 2**20:
            raise denied("traffic", f"the {self.limits.traffic_mb:g} MiB that may go through are used up")

    async def connect(self, host: str, port: int) -> tuple[StreamReader, StreamWriter]:
        """Look up, check, and connect to the checked address.

        Raises:
            NetworkDenied: The policy does not allow it.
            OSError: It does not resolve or does not answer; TimeoutError among them.
        """
        self.spend(0)
        async with asyncio.timeout(self.limits.connect_seconds):
            return await _first(await self._look_up(host, port), port)

    async def _look_up(self, host: str, port: int) -> tuple[str, ...]:
        turn = self._turns.setdefault(self.policy.group(host), asyncio.Semaphore(LOOKUPS_PER_GROUP))
        await turn.acquire()

        def over(running: asyncio.Future[tuple[str, ...]]) -> None:
            self._running.discard(running)
            turn.release()

        running = asyncio.get_running_loop().run_in_executor(self._threads, self.policy.resolve, host, port, self._resolver)
        self._running.add(running)
        running.add_done_callback(over)
        # Who asked may leave; the thread cannot, so the turn is over when the thread is done.
        return await asyncio.shield(running)

    def close(self) -> None:
        """Let the threads go; a look-up that hangs is left behind."""
        for running in tuple(self._running):
            running.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _first(addresses: tuple[str, ...], port: int) -> tuple[StreamReader, StreamWriter]:
    """Connect to the first address that answers.

    Raises:
        OSError: None does; what the last one said.
    """
    failed = OSError("there is no address")
    for address in addresses:
        try:
            return await asyncio.open_connection(address, port, limit=PIECE)
        except OSError as error:
            failed = error
    raise failed
