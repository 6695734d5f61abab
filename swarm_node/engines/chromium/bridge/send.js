// Sending: looked up, handed over at most once, waited for.
//
// Owns the recipe that makes a resend harmless. What is sent, and how, is contents.js's and
// changes.js's. Every answer is {chat, ack, found}.

const POLL_MS = 50;
const running = new Map(); // hex → promise of an attempt that still runs

// wa-js never ends a second send of a file whose id is in the store, and a poll would get a second
// secret: these are only waited for.
const NEVER_AGAIN = new Set(['media', 'poll', 'forward']);

// Resolves with the ack as soon as WhatsApp has the message; runs until `until`.
const acked = async (keys, until) => {
  while (Date.now() < until) {
    const msg = keys.map((key) => WPP.whatsapp.MsgStore.get(key)).find(Boolean);
    if (msg && msg.ack >= 1) return msg.ack;
    await sleep(POLL_MS);
  }
  return null;
};

// A failure of a send is its result, not an exception. Answers whether WhatsApp said OK.
const REFUSED = new Set(['ERROR_UNKNOWN', 'ERROR_CANCELLED']);
const check = (sent) => {
  const result = sent?.sendMsgResult?.messageSendResult ?? sent?.sendMsgResult;
  if (typeof result !== 'string' || result === 'OK') return result === 'OK';
  throw new CallError(REFUSED.has(result) ? 'refused' : 'send_failed', result);
};

const deliver = async (chat, request, until) => {
  const keys = keysOf(chat, request.id);
  const earlier = await findAny(keys);
  if (earlier) {
    // Known on this device. Without an ack WhatsApp may still be sending it by itself: wait first.
    const ack = earlier.ack >= 1 ? earlier.ack : await acked(keys, (Date.now() + until) / 2);
    if (ack) return { chat: idOf(chat.id), ack, found: true };
    // Again with the SAME id, so that it stays one message.
    if (NEVER_AGAIN.has(request.kind)) {
      throw new CallError('timeout', 'an earlier attempt has no ack yet');
    }
  }
  const attempted = hand(chat, keys[0], request).then((sent) => {
    check(sent);
    return sent.ack;
  });
  attempted.catch(() => {}); // the race below may be over before it fails
  const ack = await Promise.race([
    attempted.then((level) => (level >= 1 ? level : acked(keys, until))),
    acked(keys, until),
  ]);
  if (!ack) throw new CallError('timeout');
  return { chat: idOf(chat.id), ack, found: false };
};

const sendNow = async (request, until) => {
  if (request.kind in CHANGES) return change(request, until);
  return deliver(await resolveChat(request.to), request, until);
};

calls.send = async (request, limitMs) => {
  requireOnline();
  // A repeat while the first attempt still runs joins it.
  const joined = running.get(request.id);
  if (joined) return { ...(await joined), found: true };
  const attemptOf = sendNow(request, Date.now() + limitMs - 200);
  running.set(request.id, attemptOf);
  try {
    return await attemptOf;
  } finally {
    running.delete(request.id);
  }
};
