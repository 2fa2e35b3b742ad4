"""What a guest shows: its graphical consoles, and the card that draws."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from kvmdecl.manifest.base import Section, wrong
from kvmdecl.names import MIB, Bool, Form, HostPath, Name, Positive, Size, parse_integer, parse_ip


def _place(value: Any) -> str:  # noqa: ANN401 - whatever the document holds
    if isinstance(value, (list, tuple)):
        hint = "write one address: `listen: 127.0.0.1`"
        raise wrong("graphics", "a graphical console listens on one address", hint)
    return value if value in ("socket", "none") else parse_ip(value)


Protection = Literal["always", "never"]
SpiceChannel = Literal["main", "display", "inputs", "cursor", "playback", "record", "smartcard", "usbredir"]


def _websocket(value: Any) -> int | str:  # noqa: ANN401 - whatever the document holds
    return "auto" if value == "auto" else parse_integer(value)


class Screen(Section):
    """A graphical console."""

    shorthand = "type"

    type: Literal["none", "vnc", "spice"] = "none"
    """Protocol; `none` leaves the serial console."""
    listen: Annotated[str, BeforeValidator(_place)] = "127.0.0.1"
    """Address of the host that it listens on; `socket` for a Unix socket that libvirt names, `none` for clients that
    libvirt hands a connection. It asks for no password: whoever reaches it has the console."""
    network: Name | None = None
    """Network of this manifest that it listens on instead: at the host's own address there when the guest starts."""
    expose: Bool = False
    """Say that others shall reach it: needed to listen on every address, and silences the warning about others."""
    port: Annotated[Positive, Field(ge=5900, le=65535)] | None = None
    """TCP port; a free one, chosen at every start, if not given."""
    websocket: (
        Annotated[
            Literal["auto"] | Annotated[int, Field(ge=5700, le=65535)],
            BeforeValidator(_websocket),
            PlainSerializer(str, when_used="json"),
            WithJsonSchema({"type": "string", "pattern": "^(auto|[1-9][0-9]{3,4})$"}),
        ]
        | None
    ) = None
    """Port at which browsers reach a VNC console (noVNC): `auto` for a free one; with a `port`, a number."""
    tls_port: Annotated[Positive, Field(ge=5900, le=65535)] | None = None
    """TCP port of SPICE by TLS, which the host's qemu.conf has to allow (`spice_tls`); where only this is given, there
    is no other."""
    tls: Protection | None = None
    """Whether SPICE's channels are reached by TLS `always` or `never`; the client chooses if not given."""
    channels: dict[SpiceChannel, Protection] = Field(default_factory=dict)
    """The same for some of them: `{inputs: always}`."""
    keymap: Annotated[str, Form("[a-z]{2}(-[a-z]{2})?", "is no keymap", "en-us")] | None = None
    """Keyboard of the console, such as `de`, for clients that send characters and not keys."""
    share: Literal["allow-exclusive", "force-shared", "ignore"] | None = None
    """Whether a VNC client may shut others out."""
    power_control: Bool | None = None
    """Whether a VNC client may power the guest off and reset it."""
    image_compression: Literal["auto_glz", "auto_lz", "quic", "glz", "lz", "off"] | None = None
    """How SPICE compresses images."""
    jpeg_compression: Literal["auto", "never", "always"] | None = None
    """Whether SPICE compresses images with loss, for slow networks."""
    zlib_compression: Literal["auto", "never", "always"] | None = None
    """Whether SPICE compresses them once more, for slow networks."""
    playback_compression: Bool | None = None
    """Whether SPICE compresses sound."""
    streaming: Literal["filter", "all", "off"] | None = None
    """What SPICE treats as a video."""
    mouse: Literal["client", "server"] | None = None
    """Whose pointer SPICE shows."""
    clipboard: Bool | None = None
    """Whether SPICE passes the clipboard between guest and client."""
    file_transfer: Bool | None = None
    """Whether SPICE lets clients drop files into the guest."""

    @property
    def address(self) -> str | None:
        """The address that it listens on, None if on none that is known."""
        is_elsewhere = self.network is not None or self.listen in {"socket", "none"}
        return None if self.type == "none" or is_elsewhere else self.listen

    @property
    def has_ports(self) -> bool:
        """Whether clients reach it by the network."""
        return self.address is not None or self.network is not None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        open_to_all = self.address is not None and ipaddress.ip_address(self.address).is_unspecified
        if open_to_all and not self.expose:
            hint = "listen on `127.0.0.1` and use a tunnel, or write `expose: true` if everybody may connect"
            raise wrong("graphics", f"{self.listen} offers the console to every network", hint, "listen")
        for key in sorted(self.said & _OF_PROTOCOLS.keys()):
            if self.type not in _OF_PROTOCOLS[key]:
                protocols = " or ".join(_OF_PROTOCOLS[key])
                summary = f"without a console there is no {key}" if self.type == "none" else None
                hint = f"add `type: {_OF_PROTOCOLS[key][0]}`, or leave it out"
                raise wrong("graphics", summary or f"{key} is for {protocols.upper()}", hint, key)
        if self.network is not None and "listen" in self.said:
            raise wrong("graphics", "it listens in one place", "keep `listen` or `network`", "network")
        self._check_ports()
        return self

    def _check_ports(self) -> None:
        for key in ("port", "tls_port", "websocket"):
            if getattr(self, key) is not None and not self.has_ports:
                raise wrong("graphics", "a port belongs to an address", f"leave `{key}` out", key)
        if self.tls_port is not None and self.tls_port == self.port:
            raise wrong("graphics", "two ports have one number", "choose another one", "tls_port")
        if self.tls == "never" and self.tls_port is not None:
            raise wrong("graphics", "nothing is reached by TLS", "leave `tls_port` out", "tls_port")
        if self.websocket is not None and (self.websocket == "auto") != (self.port is None):
            hint = "write `websocket: auto`, or both `port` and `websocket` as numbers"
            raise wrong("graphics", "either both ports are chosen at the start or none", hint, "websocket")


_OF_PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("port", "keymap", "network"), ("vnc", "spice")),
    **dict.fromkeys(("share", "websocket", "power_control"), ("vnc",)),
    **dict.fromkeys(("tls_port", "tls", "channels", "jpeg_compression", "zlib_compression"), ("spice",)),
    **dict.fromkeys(("image_compression", "playback_compression", "streaming", "mouse"), ("spice",)),
    **dict.fromkeys(("clipboard", "file_transfer"), ("spice",)),
}
"""The protocols that have a key."""


class Graphics(Screen):
    """The graphical consoles of a guest: one, or one by each protocol."""

    also: Screen | None = None
    """The same screen by the other protocol, beside it (`{type: vnc, also: spice}`)."""
    gl: Bool = False
    """Draw with the host's graphics card. A SPICE console alone that listens on no address shows it as it is; any other
    gets a copy of what was drawn."""
    render_node: HostPath | None = None
    """The card, such as `/dev/dri/renderD128`; the first if not given."""

    @property
    def screens(self) -> tuple[Screen, ...]:
        """All of them."""
        return tuple(screen for screen in (self, self.also) if screen is not None and screen.type != "none")

    @property
    def has_spice(self) -> bool:
        """Whether SPICE clients can look at the guest."""
        return any(screen.type == "spice" for screen in self.screens)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that they listen on."""
        return tuple(screen.network for screen in self.screens if screen.network is not None)

    @property
    def shares_the_card(self) -> bool:
        """Whether clients on the host see what its card drew where it is."""
        return self.gl and self.type == "spice" and self.also is None and not self.has_ports

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.also is not None and self.also.type == "none":
            raise wrong(
                "graphics", "the other console is none", "write `also: spice`, or leave it out", "also"
            )
        if self.also is not None and self.type == "none":
            raise wrong(
                "graphics", "there is no console beside it", "leave `also` out, say its `type`", "also"
            )
        if self.also is not None and self.also.type == self.type:
            hint = "a guest has one console by each protocol"
            raise wrong("graphics", f"both consoles are {self.type.upper()}", hint, "also")
        if self.gl and self.type == "none":
            raise wrong("graphics", "without a console there is no gl", "add `type: vnc`", "gl")
        if self.render_node is not None and not self.gl:
            raise wrong("graphics", "a card to draw with is for gl", "add `gl: true`", "render_node")
        return self


class Video(Section):
    """A graphics card."""

    shorthand = "model"

    model: Literal["virtio", "vga", "qxl", "bochs", "cirrus", "none"] = "vga"
    """Device model; `none` for a graphical console without a card (the guest may have one by other means)."""
    heads: Annotated[Positive, Field(le=16)] | None = None
    """Screens (`virtio` and `qxl`)."""
    resolution: (
        Annotated[str, Form("[1-9][0-9]{2,4}x[1-9][0-9]{2,4}", "is no resolution", "1920x1080")] | None
    ) = None
    """Size that the guest is told to begin with, such as `1920x1080` (not `cirrus`)."""
    vram: Size | None = None
    """Its memory (`vga`, `qxl`, `bochs`, `cirrus`): a power of two, from 1MiB."""
    ram: Size | None = None
    """Memory of its commands (`qxl`)."""
    vgamem: Size | None = None
    """Memory of its frame buffer (`qxl`)."""
    accel3d: Bool | None = None
    """Let the guest draw with the host's card (`virtio`, with a graphical console with `gl`)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key, models in _MODELS_OF_KEYS.items():
            if getattr(self, key) is not None and self.model not in models:
                hint = "use `model: virtio`" if "virtio" in models else f"it is for {', '.join(models)}"
                summary = _TOLD.get(key, "a {model} card has no {key}").format(model=self.model, key=key)
                raise wrong("video", summary, hint, key)
        for key in ("vram", "ram", "vgamem"):
            size = getattr(self, key)
            if size is not None and (size < MIB or size & (size - 1)):
                raise wrong("video", f"{key} is no power of two from 1MiB", "write for example `64MiB`", key)
        return self


_MODELS_OF_KEYS: Mapping[str, tuple[str, ...]] = {
    "heads": ("virtio", "qxl"),
    "resolution": ("virtio", "vga", "qxl", "bochs"),
    "vram": ("vga", "qxl", "bochs", "cirrus"),
    "ram": ("qxl",),
    "vgamem": ("qxl",),
    "accel3d": ("virtio",),
}
_TOLD = {
    "heads": "a {model} card has no heads to count",
    "resolution": "a {model} card is told no resolution",
}
