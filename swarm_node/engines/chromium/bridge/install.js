// Puts `blazz` on the page once wa-js is there.
Object.defineProperty(window, '__blazz', { value: Object.freeze(blazz) });
WPP.loader.onInjected(onInjected);
WPP.loader.onFullReady(onFullReady);
listen();
