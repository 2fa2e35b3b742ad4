"""A guest of 512 bytes: a boot sector that says it is up, idles, and obeys the power button.

It lets tests and demonstrations start guests under plain emulation: one boots in a second, takes next to no
CPU time, and `virDomainShutdown` ends it as it ends a real one. It needs a BIOS (not UEFI) and x86: machines
`pc` and `q35`. On request it also lets PCI devices go when it is asked to (`q35` only), as an operating system does.

Facts of the hardware: the serial port is an 8250 (data 0x3f8, line status 0x3fd, bit 5: may send). SeaBIOS
puts the ACPI power management block of both machines at 0x600: event status at +0, event enable at +2,
control at +4 (ACPI 6.5, 4.8.3). The timer interrupts 18 times a second, and BIOS has set up its handler.
QEMU asks for devices of a q35 machine back through ports from 0xcc0 on (its docs/specs/acpi_pci_hotplug): +16
chooses a bus, +4 has a bit for each slot that shall be empty, a bit written to +8 empties it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BANNER = "kvmdecl guest up"

_ORIGIN = 0x7C00  # where BIOS loads a boot sector
_SECTOR = 512
_IMAGE_SIZE = 1 << 20

_Program = tuple[tuple[str, str, str], ...]

# Each line is an instruction in 16-bit machine code. A label before the code names its place; a label behind
# it is a jump's target, of which the last byte is the distance; `@text` is the 16-bit address of the banner.
_PROGRAM: _Program = (
    # label, code, target                 what it does
    ("", "fa", ""),                     # cli
    ("", "31 c0", ""),                  # xor ax, ax
    ("", "8e d8", ""),                  # mov ds, ax
    ("", "8e d0", ""),                  # mov ss, ax
    ("", "bc 00 7c", ""),               # mov sp, 0x7c00
    ("", "fc", ""),                     # cld
    ("", "be", "@text"),                # mov si, text
    ("next", "ac", ""),                 # lodsb                 the next character
    ("", "84 c0", ""),                  # test al, al
    ("", "74", "button"),               # jz button             a zero ends the text
    ("", "88 c4", ""),                  # mov ah, al
    ("", "ba fd 03", ""),               # mov dx, 0x3fd
    ("busy", "ec", ""),                 # in al, dx
    ("", "a8 20", ""),                  # test al, 0x20
    ("", "74", "busy"),                 # jz busy               the port cannot take another character
    ("", "88 e0", ""),                  # mov al, ah
    ("", "ba f8 03", ""),               # mov dx, 0x3f8
    ("", "ee", ""),                     # out dx, al
    ("", "eb", "next"),                 # jmp next
    ("button", "ba 02 06", ""),         # mov dx, 0x602         PM1 enable
    ("", "b8 00 01", ""),               # mov ax, 0x100         PWRBTN_EN: record presses of the button
    ("", "ef", ""),                     # out dx, ax
    ("", "fb", ""),                     # sti
    ("idle", "f4", ""),                 # hlt                   until the next interrupt
    ("", "ba 00 06", ""),               # mov dx, 0x600         PM1 status
    ("", "ed", ""),                     # in ax, dx
    ("", "f6 c4 01", ""),               # test ah, 1            PWRBTN_STS
    ("", "74", "idle"),                 # jz idle
    ("", "ba 04 06", ""),               # mov dx, 0x604         PM1 control
    ("", "b8 00 20", ""),               # mov ax, 0x2000        SLP_EN with SLP_TYP 0: QEMU's power off
    ("", "ef", ""),                     # out dx, ax
    ("", "eb", "idle"),                 # jmp idle
)  # fmt: skip

# Between two looks at the button: empty each slot that shall be empty.
_LET_GO: _Program = (
    ("idle", "f4", ""),                 # hlt
    ("", "66 31 c9", ""),               # xor ecx, ecx
    ("", "b1 20", ""),                  # mov cl, 32            buses 31 to 0
    ("bus", "66 89 c8", ""),            # mov eax, ecx
    ("", "66 48", ""),                  # dec eax
    ("", "ba d0 0c", ""),               # mov dx, 0xcd0
    ("", "66 ef", ""),                  # out dx, eax
    ("", "ba c4 0c", ""),               # mov dx, 0xcc4
    ("", "66 ed", ""),                  # in eax, dx            the slots that shall be empty
    ("", "66 85 c0", ""),               # test eax, eax
    ("", "74", "kept"),                 # jz kept
    ("", "ba c8 0c", ""),               # mov dx, 0xcc8
    ("", "66 ef", ""),                  # out dx, eax
    ("kept", "e2", "bus"),              # loop bus
)  # fmt: skip


def boot_sector(*, unplug: bool = False) -> bytes:
    """Assemble the boot sector; `unplug` makes it let devices go."""
    idle = next(number for number, (label, _, _) in enumerate(_PROGRAM) if label == "idle")
    lines = (*_PROGRAM[:idle], *_LET_GO, *_PROGRAM[idle + 1 :]) if unplug else _PROGRAM
    sizes = [len(bytes.fromhex(code)) + _target_size(target) for _, code, target in lines]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    places = {label: end - size for (label, _, _), size, end in zip(lines, sizes, ends, strict=True) if label}
    places["@text"] = ends[-1]  # behind the last instruction
    program = b"".join(
        bytes.fromhex(code) + _encode(target, places, end)
        for (_, code, target), end in zip(lines, ends, strict=True)
    )
    text = f"{BANNER}\r\n".encode() + b"\0"
    return (program + text).ljust(_SECTOR - 2, b"\0") + b"\x55\xaa"


def tiny_image(path: Path, *, unplug: bool = False) -> Path:
    """Write a raw disk image of 1 MiB with the boot sector, and return its path; `unplug` makes it let devices go."""
    path.write_bytes(boot_sector(unplug=unplug).ljust(_IMAGE_SIZE, b"\0"))
    return path


def _target_size(target: str) -> int:
    return {"": 0, "@text": 2}.get(target, 1)


def _encode(target: str, places: dict[str, int], end: int) -> bytes:
    """The operand of an instruction that ends at `end`: a short jump's distance, or an address."""
    if target == "@text":
        return (_ORIGIN + places[target]).to_bytes(2, "little")
    return (places[target] - end).to_bytes(1, "little", signed=True) if target else b""
