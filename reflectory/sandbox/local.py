"""The sandbox of this machine: the strongest tier that works here, or the one that was asked for."""

from __future__ import annotations

import dataclasses

from reflectory.errors import ConfigError, SandboxMissing, did_you_mean
from reflectory.execution import Limits, SandboxReport
from reflectory.sandbox.box import LiveBox
from reflectory.sandbox.bubblewrap import Bubblewrap
from reflectory.sandbox.container import Container
from reflectory.sandbox.egress import EgressProxy
from reflectory.sandbox.gate import Decision
from reflectory.sandbox.landlock import Landlock
from reflectory.sandbox.launch import Launch, Settings, Tier
from reflectory.sandbox.network import NetworkPolicy
from reflectory.sandbox.unsafe import Unsafe

#: From strong to weak; the last is never chosen by itself.
TIERS: dict[str, Tier] = {tier.name: tier for tier in (Bubblewrap(), Landlock(), Container(), Unsafe())}
#: Tiers with a network of their own, out of which one socket can lead.
CONNECTED = frozenset({"bubblewrap", "container"})


class LocalSandbox:
    """Opens boxes on this machine.

    Args:
        tier: `auto` takes the first of bubblewrap, landlock and container that works; or one of them by name, or `none`.
        settings: What each box is to be.
        network: What a box may reach, through a proxy of its own; None, or a policy that allows nothing, means no network at all.
        allow_unsafe: Whether `auto` may fall back on `none`, and `none` may be asked for: limits, but no isolation at all.

    Raises:
        ConfigError: There is no such tier, or it cannot hold a box to a network policy.
        SandboxMissing: None works here, or the one that was asked for does not; the message says why and what to install.
    """

    def __init__(
        self, tier: str = "auto", *, settings: Settings | None = None, network: NetworkPolicy | None = None, allow_unsafe: bool = False
    ) -> None:
        self.settings = settings or Settings()
        self.network = network if network is not None and network.allow else None
        self.tier = choose(tier, allow_unsafe=allow_unsafe)
        if self.network is not None and self.tier.name not in CONNECTED:
            msg = f"the tier `{self.tier.name}` cannot let a box reach named hosts and nothing else. Install bubblewrap, or drop `network`."
            raise ConfigError(msg)

    @property
    def report(self) -> SandboxReport:
        """What it keeps in."""
        return self.tier.report()

    @property
    def limits(self) -> Limits:
        """What each of its boxes may use."""
        return self.settings.limits

    async def open(self) -> LiveBox:
        """A new box.

        Raises:
            SandboxError: It did not start.
        """
        if self.network is None:
            return await LiveBox(self.tier.launch(self.settings), self.settings.limits).start()
        proxy = await EgressProxy(self.network, user=self.settings.user).start()
        try:
            launch = self.tier.launch(dataclasses.replace(self.settings, proxy=proxy.path))
            return await ConnectedBox(launch, self.settings.limits, proxy).start()
        except BaseException:
            await proxy.close()
            raise


class ConnectedBox(LiveBox):
    """A box that reaches named hosts through a proxy of its own, which ends with it.

    Args:
        launch: How it is started.
        limits: What it may use.
        proxy: Its way out.
    """

    def __init__(self, launch: Launch, limits: Limits, proxy: EgressProxy) -> None:
        super().__init__(launch, limits)
        self._proxy = proxy

    @property
    def decisions(self) -> list[Decision]:
        """What it wanted to reach, and what came of it, for the record of a run."""
        return self._proxy.decisions

    async def close(self) -> None:
        """End everything in it, and its way out; may be called twice."""
        await super().close()
        await self._proxy.close()


def choose(name: str, *, allow_unsafe: bool = False) -> Tier:
    """The tier of a name; `auto` means the strongest that works here.

    Raises:
        ConfigError: There is no such tier.
        SandboxMissing: It does not work here, or is not allowed.
    """
    if name != "auto" and name not in TIERS:
        msg = f"there is no sandbox tier {name!r}. {did_you_mean(name, ['auto', *TIERS])}"
        raise ConfigError(msg)
    if name == "none" and not allow_unsafe:
        msg = (
            "the tier `none` isolates nothing: code would run with your rights. Say allow_unsafe=True (sandbox.allow_unsafe=true) to do so."
        )
        raise SandboxMissing(msg)
    wanted = [tier for tier in TIERS.values() if tier.name == name or (name == "auto" and tier.name != "none")]
    reports = []
    for tier in wanted:
        report = tier.report()
        if report.available:
            return tier
        reports.append(f"{tier.name}: {report.why}")
    if name == "auto" and allow_unsafe:
        return TIERS["none"]
    msg = f"no sandbox works here, so code is not run. {' '.join(reports)} Or say allow_unsafe=True: limits, but no isolation."
    raise SandboxMissing(msg)


def reports() -> list[SandboxReport]:
    """What every tier says of this machine, from strong to weak."""
    return [tier.report() for tier in TIERS.values()]
