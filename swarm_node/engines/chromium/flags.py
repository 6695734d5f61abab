"""Chromium's command line: ONE table, a reason for every flag.

Owns which flags are used and how the operator's own arguments are merged in. Playwright's default
arguments are not used at all: every argument of a browser comes from here. Pure: reads nothing.

Left out on purpose, each measured or reported harmful (docs/engines.md has the figures):
`--single-process` (crashes at the second context), `--in-process-gpu`, `--process-per-site`,
`--renderer-process-limit`, `--disable-site-isolation-trials` and cache sizes (save nothing),
`--js-flags=--max-old-space-size` (kills a syncing page), `--disable-dev-shm-usage` (slower; the
distribution's launcher adds it where /dev/shm is small), `--headless` (its user agent says
HeadlessChrome and it refuses several profiles in one browser), `--disable-web-security` and a
changed user agent (Blazz hides nothing), `--enable-automation` (only adds a banner).
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from swarm_node.engines.chromium.settings import ChromiumSettings


class Flag(NamedTuple):
    """One argument and why it is there."""

    text: str
    why: str


FLAGS: Final = (
    Flag("--remote-debugging-pipe", "Playwright's line; no open port, and Chromium ends with it"),
    Flag("--ozone-platform=headless", "no display needed, and the user agent stays Chrome's own"),
    Flag("--no-first-run", "no welcome page"),
    Flag("--no-default-browser-check", "no prompt"),
    Flag("--no-service-autorun", "no background service of the browser's own"),
    Flag("--password-store=basic", "no keyring: a profile must open on another machine too"),
    Flag("--use-mock-keychain", "the same on macOS"),
    Flag("--disable-background-networking", "no calls to anybody but WhatsApp"),
    Flag("--disable-component-update", "the same; and the binary stays the pinned one"),
    Flag("--disable-sync", "no account of the browser's own"),
    Flag("--disable-default-apps", "nothing installed into a profile"),
    Flag("--disable-extensions", "an extension sees every message"),
    Flag("--disable-breakpad", "a crash dump holds messages"),
    Flag("--disable-domain-reliability", "no reports to anybody"),
    Flag("--metrics-recording-only", "metrics stay on the disk"),
    Flag("--disable-client-side-phishing-detection", "a model in memory that nobody reads"),
    Flag("--disable-search-engine-choice-screen", "no prompt"),
    Flag("--disable-background-timer-throttling", "the page is never in front, and must not sleep"),
    Flag("--disable-backgrounding-occluded-windows", "the same"),
    Flag("--disable-renderer-backgrounding", "the same"),
    Flag("--disable-hang-monitor", "a long sync is no hang; the watchdog decides that"),
    Flag("--disable-prompt-on-repost", "a reload must not ask"),
    Flag("--disable-popup-blocking", "no prompt"),
    Flag("--disable-notifications", "a notification holds a message's text"),
    Flag("--mute-audio", "nobody listens"),
    Flag("--disable-gpu", "servers have none; its process stays small"),
    Flag("--force-color-profile=srgb", "pictures are scaled alike on every machine"),
    Flag("--hide-scrollbars", "nothing to draw"),
)  # fmt: skip

DISABLED_FEATURES: Final = (
    Flag("WebUIOmniboxPopup", "a hidden page of the browser's own: memory"),
    Flag("WebUIOmniboxAimPopup", "the same"),
    Flag("SpareRendererForSitePerProcess", "an idle renderer a browser: 12 MB"),
    Flag("Translate", "a model in memory, and calls home"),
    Flag("OptimizationHints", "calls home"),
    Flag("MediaRouter", "looks for devices on the network"),
    Flag("DialMediaRouteProvider", "the same"),
    Flag("InterestFeedContentSuggestions", "calls home"),
    Flag("AutofillServerCommunication", "calls home"),
    Flag("CertificateTransparencyComponentUpdater", "calls home"),
    Flag("GlobalMediaControls", "nobody looks"),
    Flag("AcceptCHFrame", "a second connection before the first page"),
    Flag("DestroyProfileOnBrowserClose", "a profile must be flushed, not dropped, at the end"),
)

HOST_RULES: Final = (
    Flag("MAP accounts.google.com ~NOTFOUND", "contacted in spite of background networking off"),
    Flag("MAP clients2.google.com ~NOTFOUND", "the same"),
    Flag("MAP update.googleapis.com ~NOTFOUND", "the same"),
    Flag("MAP optimizationguide-pa.googleapis.com ~NOTFOUND", "the same"),
)

NO_SANDBOX: Final = "--no-sandbox"
_MERGED: Final = ("--host-resolver-rules=", "--disable-features=")


def browser_args(settings: ChromiumSettings, *, sandboxed: bool) -> list[str]:
    """All arguments of a browser but its profile's: ours, then the operator's.

    Rules and features that both name are joined in one argument each, because Chromium reads only
    the last of several.
    """
    rules = [flag.text for flag in HOST_RULES]
    features = [flag.text for flag in DISABLED_FEATURES]
    rules += _values("--host-resolver-rules=", settings.extra_args)
    features += _values("--disable-features=", settings.extra_args)
    args = [flag.text for flag in FLAGS]
    args.append(f"--lang={settings.locale}")
    args.append(f"--window-size={settings.viewport_width},{settings.viewport_height}")
    if settings.v8_flags:
        # One generation for young objects kept small, code for size: 40 % less for each page.
        args.append(f"--js-flags={','.join(settings.v8_flags)}")
    args.append(f"--disable-features={','.join(dict.fromkeys(features))}")
    args.append(f"--host-resolver-rules={','.join(dict.fromkeys(rules))}")
    if not sandboxed:
        args.append(NO_SANDBOX)
    args += [arg for arg in settings.extra_args if not arg.startswith(_MERGED)]
    return args


def _values(prefix: str, args: Iterable[str]) -> list[str]:
    return [
        value.strip()
        for arg in args
        if arg.startswith(prefix)
        for value in arg.removeprefix(prefix).split(",")
        if value.strip()
    ]
