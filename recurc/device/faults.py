"""What can go wrong with a device, as errors that say where it happened."""

from __future__ import annotations

from typing import Protocol

from recurc.device import frames as f
from recurc.errors import DeviceUnreachableError

# Bits of Arm's CFSR (Arm v7-M ARM, B3.2.15) and exception codes of RISC-V's mcause (privileged spec, table 3.6).
_CFSR = {
    0: "it ran instructions from memory that is closed to them", 1: "it read or wrote memory that is closed to it",
    3: "memory closed to it on return from an exception", 4: "stack overflow", 5: "memory closed to lazy FPU stacking",
    8: "no memory answers where it fetched an instruction", 9: "no memory answers at the address",
    10: "no memory answered an earlier write", 11: "no memory answers on return from an exception",
    12: "stack overflow into nothing",
    13: "no memory answers lazy FPU stacking", 16: "undefined instruction", 17: "invalid state", 18: "invalid return",
    19: "the coprocessor is off", 20: "stack overflow", 24: "unaligned access", 25: "division by zero",
}  # fmt: skip
_MCAUSE = (
    "misaligned instruction address", "no instruction can be fetched there", "undefined instruction", "breakpoint",
    "misaligned load", "no memory answers the load", "misaligned store", "no memory answers the store",
)  # fmt: skip


class Place(Protocol):
    """A place in the source (recurc.targets.sourcemap.SourcePlace); its text names it."""

    @property
    def function(self) -> str: ...
    @property
    def line(self) -> int: ...


class Places(Protocol):
    """Looks addresses up in a firmware (recurc.targets.sourcemap.SourceMap)."""

    @property
    def riscv(self) -> bool: ...

    def place(self, address: int) -> Place | None: ...

    def caller(self, return_address: int) -> Place | None: ...


def describe(fault: f.Fault, riscv: bool) -> str:
    """A fault's cause in words; "" when the registers do not tell."""
    if fault.hang:
        return f"it was not fed in time ({f.fault_cause(fault.cause)})"
    if riscv:
        words = [_MCAUSE[fault.cfsr]] if fault.cfsr < len(_MCAUSE) else []
    else:
        words = [text for bit, text in _CFSR.items() if fault.cfsr >> bit & 1]
        address = fault.mmfar if fault.cfsr & 0x80 else fault.bfar if fault.cfsr & 0x8000 else None
        words += [f"address {address:#010x}"] if address is not None else []
    return ", ".join(words)


class LineError(DeviceUnreachableError):
    """Something was lost on the way, or the device has forgotten what it was told: saying it all again helps."""


class DeviceRestartedError(LineError):
    """The firmware started anew in the middle of a session. `cause` is one of frames.RESET_CAUSES."""

    def __init__(self, cause: str, where: str) -> None:
        why = "its watchdog restarted it" if cause == "watchdog" else f"its firmware started anew (reset cause: {cause})"
        super().__init__(
            "the device restarted",
            where=where,
            why=why,
            next="Check its power supply and cable; a firmware that hangs is restarted by its watchdog",
        )
        self.cause = cause


class DeviceFaultError(DeviceUnreachableError):
    """The firmware crashed or hung and told where. `fault` holds the registers, `place` and `caller` their source lines."""

    def __init__(self, fault: f.Fault, where: str, places: Places | None = None) -> None:
        self.fault = fault
        self.place = places.place(fault.pc) if places and fault.pc else None
        self.caller = places.caller(fault.lr) if places and self.place else None
        if self.caller and self.place and (self.caller.function, self.caller.line) == (self.place.function, self.place.line):
            self.caller = None
        at = f" at {self.place}" if self.place else ""
        called = f", called from {self.caller}" if self.caller else ""
        said = describe(fault, places is not None and places.riscv) if places or fault.hang else ""
        super().__init__(
            "the firmware hangs" if fault.hang else "the firmware crashed", where=where,
            why=f"{said + ': ' if said else ''}{'watchdog' if fault.hang else 'fault'}{at}{called}; {fault}",
            next="Please report it with the command that you ran" if self.place
            else "Look the addresses up in firmware.map",
        )  # fmt: skip


class DeviceRefusedError(DeviceUnreachableError):
    """The firmware refused a request. `status` is the code of rc_status.h."""

    def __init__(self, request: str, status: int, where: str) -> None:
        super().__init__(
            f"the device refused {request}",
            where=where,
            why=f.status_text(status),
            next="Build and flash again if the firmware is not of this build",
        )
        self.status = status
