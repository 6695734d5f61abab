// What the page is at this moment, and whether wa-js is wired to it.
//
// Owns the snapshot that Python polls, the self-test and the dialogs. Never changes the account.

// ---- the self-test --------------------------------------------------------------------------------

// wa-js hangs its listeners on these once, when it is injected: one that comes later is found by
// calls, but its events never come. So what counts is what was there at that very moment.
const REGISTRARS = {
  MsgStore: () => WPP.whatsapp.MsgStore,
  ChatStore: () => WPP.whatsapp.ChatStore,
  Conn: () => WPP.whatsapp.Conn,
  Socket: () => WPP.whatsapp.Socket,
  Stream: () => WPP.whatsapp.Stream,
  Cmd: () => WPP.whatsapp.Cmd,
};
// Looked up by each call, so these only need to be there in the end.
const NEEDED = {
  MsgKey: () => WPP.whatsapp.MsgKey,
  MsgModel: () => WPP.whatsapp.MsgModel,
  UserPrefs: () => WPP.whatsapp.UserPrefs,
};

const absent = (table) =>
  Object.keys(table).filter((name) => {
    try {
      return !table[name]();
    } catch {
      return true;
    }
  });

let missingAtInjection = null;

// A second listener of our own on the store: when it hears of a new message and wa-js tells of
// none, the page looks alive and is deaf.
const WITNESS_MS = 5000;
const witness = {
  deaf: 0,
  heard: 0,
  waiting: new Map(),
  saw(msg) {
    if (!msg?.isNewMsg || !msg.id) return;
    const key = String(msg.id);
    if (this.waiting.has(key) || this.waiting.size > 1000) return;
    this.waiting.set(
      key,
      setTimeout(() => {
        this.waiting.delete(key);
        this.deaf += 1;
      }, WITNESS_MS),
    );
  },
  told(msg) {
    this.heard += 1;
    const key = String(msg.id);
    clearTimeout(this.waiting.get(key));
    this.waiting.delete(key);
  },
};

const onInjected = () => {
  missingAtInjection = absent(REGISTRARS);
};

const onFullReady = () => {
  try {
    WPP.whatsapp.MsgStore.on('add', (msg) => witness.saw(msg));
  } catch {
    // Without the store the self-test fails anyway.
  }
};

const selfTest = () => ({
  unwired: missingAtInjection ?? [],
  missing: WPP.isFullReady ? absent({ ...REGISTRARS, ...NEEDED }) : [],
  deaf: witness.deaf,
});

// ---- dialogs --------------------------------------------------------------------------------------

const DIALOG = '[role="dialog"], [data-animate-modal-popup="true"]';
const visible = (selector, text) =>
  [...document.querySelectorAll(selector)].filter(
    (one) => one.checkVisibility() && text.test(one.textContent ?? ''),
  );
const CLOSERS = /^(ok|okay|continue|got it|close|done|not now)$/i;
const NEWS = /what[’'`]?s new|new on whatsapp|welcome to whatsapp/i;
const PASSKEY = /passkey/i;

// "What's new", left unanswered, has been reported to unlink a fresh device: it is closed as a
// person would. Any other dialog is left alone and only named.
const closeNews = () => {
  let closed = 0;
  for (const dialog of visible(DIALOG, NEWS)) {
    const buttons = [...dialog.querySelectorAll('button, [role="button"]')];
    const button =
      buttons.find((one) => CLOSERS.test((one.textContent || one.ariaLabel || '').trim())) ??
      (buttons.length === 1 ? buttons[0] : null);
    if (button) {
      button.click();
      closed += 1;
    }
  }
  return closed;
};

// Asked while linking, in a dialog or on the page itself.
const asksPasskey = () => visible(`${DIALOG}, section, main`, PASSKEY).length > 0;

// ---- the snapshot ---------------------------------------------------------------------------------

const attempt = (read, otherwise = null) => {
  try {
    return read() ?? otherwise;
  } catch {
    return otherwise;
  }
};

const identity = () => {
  const me = attempt(() => WPP.whatsapp.UserPrefs.getMaybeMePnUser());
  if (!me) return null;
  return {
    phone: String(me.user),
    lid: attempt(() => idOf(WPP.whatsapp.UserPrefs.getMaybeMeLidUser())),
    name: attempt(() => WPP.whatsapp.Conn.pushname || null),
  };
};

const wa = () => {
  const injected = Boolean(window.WPP?.isInjected);
  const ready = Boolean(window.WPP?.isReady);
  return {
    injected,
    ready,
    fullReady: Boolean(window.WPP?.isFullReady),
    authenticated: ready && attempt(() => WPP.conn.isAuthenticated(), false) === true,
    mainLoaded: ready && attempt(() => WPP.conn.isMainLoaded(), false) === true,
    mode: injected ? attempt(() => WPP.conn.getStreamData().mode) : null,
    socket: injected ? attempt(() => WPP.whatsapp.Socket.state) : null,
  };
};

calls.state = () => {
  const now = wa();
  const main = now.authenticated && now.mainLoaded && now.mode === 'MAIN';
  return {
    ...now,
    main,
    identity: now.authenticated ? identity() : null,
    sync: now.mode === 'SYNCING' ? attempt(() => WPP.conn.getHistorySyncProgress().progress) : null,
    version: attempt(() => window.Debug?.VERSION),
    passkey: !now.authenticated && asksPasskey(),
    newsClosed: closeNews(),
    selfTest: selfTest(),
    heap: attempt(() => performance.memory.usedJSHeapSize, 0),
    dropped,
  };
};

calls.catchUp = async ({ subscribed }) => {
  const now = wa();
  if (now.mode !== 'MAIN' || !now.fullReady) return 0;
  void presence.resume(subscribed);
  const messages = catchUp();
  return messages + (await tellMissedChanges());
};

// ---- the probe ------------------------------------------------------------------------------------

let serverAnsweredAt = 0;

// A socket can say CONNECTED long after the other side has gone: asked for our own number past
// wa-js's cache, WhatsApp itself must answer.
const askServer = async (limitMs) => {
  const me = WPP.whatsapp.UserPrefs.getMaybeMePnUser();
  await within(Promise.resolve(WPP.whatsapp.functions.queryWidExists(me)), limitMs, 'no_answer');
  serverAnsweredAt = Date.now();
};

calls.probe = async ({ askAfterMs, askLimitMs }) => {
  const now = wa();
  let answered = true;
  if (now.authenticated && now.mainLoaded && now.mode === 'MAIN' && now.socket === 'CONNECTED') {
    if (Date.now() - serverAnsweredAt > askAfterMs) {
      try {
        await askServer(askLimitMs);
      } catch {
        answered = false;
      }
    }
  }
  return { ...now, answered };
};
