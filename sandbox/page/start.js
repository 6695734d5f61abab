// Starts the page: kept messages first, then the login, then what was still unsent.
"use strict";
(async () => {
  const outbound = require("SandboxOutbound");
  const { loadKept } = require("SandboxInbound");
  require("SandboxScreen").show();
  const records = (await require("SandboxVault").login()) ? await loadKept() : [];
  await require("SandboxSession").start();
  outbound.resume(records);
  // The session works without it; a page that is on its way out can't have one.
  await navigator.serviceWorker.register("/sw.js").catch(() => {});
})();
