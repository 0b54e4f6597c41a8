"""Pictures of every view for the docs, of made-up sessions: light, dark, and on a phone.

python -m tests.web.screenshots [docs/dashboard]
"""

import json
import sys
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import trio

from tests.driving import Tab, driving
from tests.running import free_port

SPEED, PLAYED = 8, 45.0  # how fast the sessions are played, and for how many seconds before the pictures
SIZES = {"light": (1200, 760), "dark": (1200, 760), "phone": (390, 760)}
SETTLED = 2.5  # seconds until a view has drawn itself
QUALITY = 82


async def picture(tab: Tab, url: str, look: str, path: Path) -> None:
    """One view, one look."""
    width, height = SIZES[look]
    scale, mobile = (1, False) if look != "phone" else (2, True)
    size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile}
    await tab.do("Emulation.setDeviceMetricsOverride", **size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if look == "dark" else "light"}
    await tab.do("Emulation.setEmulatedMedia", features=[scheme])
    await tab.open(url)
    await trio.sleep(SETTLED)
    if "/c/" in url:
        await tab.value("[...document.querySelectorAll('.tool summary')].at(-2)?.click()")
        await trio.sleep(0.5)
    shot = await tab.do("Page.captureScreenshot", format="webp", quality=QUALITY)
    await trio.Path(path).write_bytes(b64decode(shot["data"]))
    print(path)


def asked(url: str) -> Any:
    """What the API tells."""
    with urlopen(url) as answer:
        return json.load(answer)


async def main(folder: Path) -> None:
    """All of them."""
    await trio.Path(folder).mkdir(parents=True, exist_ok=True)
    port = free_port()
    web = f"http://127.0.0.1:{port}"
    program = "from observatory.cli.main import main; main()"
    demo = [sys.executable, "-c", program, "demo", "--quiet", f"--port={port}", f"--speed={SPEED}", "--seed=4"]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(demo)
        try:
            await trio.sleep(PLAYED)
            rows = asked(f"{web}/api/v1/conversations?sort=tokens&limit=1")["conversations"]
            views = {"live": "/", "conversation": f"/c/{rows[0]['id']}", "search": "/search?q=test"}
            views |= {"stats": "/stats?by=model", "system": "/system"}
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
                async with driving(Path(profile), "--hide-scrollbars") as tab:
                    for name, path in views.items():
                        for look in SIZES:
                            await picture(tab, web + path, look, folder / f"{name}-{look}.webp")
        finally:
            process.terminate()
            await process.wait()
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1] if len(sys.argv) > 1 else "docs/dashboard"))
