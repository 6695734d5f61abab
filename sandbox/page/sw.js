// The page's service worker: it stands between the page and the network, as WhatsApp Web's does.
//
// Owns navigations: they go through it, to the switch. Caches nothing.
"use strict";
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (event.request.mode === "navigate") event.respondWith(fetch(event.request));
});
