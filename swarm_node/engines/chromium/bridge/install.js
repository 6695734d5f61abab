// Puts `blazz` on the page once wa-js is there.
Object.defineProperty(window, '__blazz', { value: Object.freeze(blazz) });
WPP.loader.onInjected(onInjected);
WPP.loader.onFullReady(onFullReady);
// So that nobody waits for the next look at the page.
WPP.loader.onFullReady(() => emit('full_ready'));
listen();
