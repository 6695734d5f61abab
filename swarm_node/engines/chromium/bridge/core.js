// The page side's foundation: `blazz`, its call gate and its event queue.
//
// Owns how calls end (always with {ok} or {code, message}, always within a limit) and how events
// leave the page: numbered, in order, kept until Python has acknowledged them.
// Never names anything of wa-js: the files after this one do.
const blazz = {};
const calls = Object.create(null);

// ---- calls ------------------------------------------------------------------------------------

class CallError extends Error {
  constructor(code, message = '') {
    super(message);
    this.code = code;
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A number long enough to be a phone's never leaves the page inside an error's text.
const scrub = (text) => String(text ?? '').replace(/\d{5,}/g, '#').slice(0, 200);

const within = (promise, ms, code = 'timeout') => {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new CallError(code)), ms);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
};

// Errors lose their code on the way through the browser, so none is ever thrown out of here.
blazz.call = async (name, argument, limitMs) => {
  try {
    const work = calls[name];
    if (!work) throw new CallError('no_such_call', name);
    const ok = await within(Promise.resolve().then(() => work(argument, limitMs)), limitMs);
    return { ok: ok === undefined ? null : ok };
  } catch (error) {
    const code = typeof error?.code === 'string' ? error.code : 'page_exception';
    return { code, message: scrub(error?.message ?? error) };
  }
};

// ---- events -----------------------------------------------------------------------------------

const QUEUE_MAX = 20000;
const BATCH_MAX = 100;
const RETRY_MS = 1000;

const queue = [];
let lastSeq = 0;
let dropped = 0;
let sending = false;

const emit = (kind, data = {}) => {
  lastSeq += 1;
  queue.push({ seq: lastSeq, kind, data, t: Date.now() });
  if (queue.length > QUEUE_MAX) {
    queue.shift();
    dropped += 1;
  }
  void flush();
};

const acknowledge = (seq) => {
  while (queue.length > 0 && queue[0].seq <= seq) settled(queue.shift());
};

// The binding's answer comes when Python has taken the batch over: until then it stays here.
const flush = async () => {
  if (sending) return;
  sending = true;
  try {
    while (queue.length > 0) {
      const batch = queue.slice(0, BATCH_MAX);
      try {
        const seq = await window.__blazzPush(batch);
        if (seq === null || seq === undefined) return; // Python is ending; `take` may come
        acknowledge(seq);
      } catch {
        await sleep(RETRY_MS);
      }
    }
  } finally {
    sending = false;
  }
};

// For the last look before a page ends: what the binding hasn't delivered yet.
calls.take = () => {
  ending();
  return queue.slice();
};

// What to do when an event is safely out of the page; `events.js` remembers messages by it.
let settled = () => {};
// What to do before the page ends; `recent.js` writes down what it knows.
let ending = () => {};
