// What the engine asks of wa-js: linking, sending, reading media, logging out.
//
// Owns the recipes, above all the one that makes a resend harmless. Every answer is plain JSON.

// ---- linking --------------------------------------------------------------------------------------

calls.refreshQr = async () => {
  if (WPP.conn.isAuthenticated()) throw new CallError('already_linked');
  // Its own promise waits for the next code without a limit; the code comes as an event.
  void WPP.conn.refreshQR().catch(() => {});
};

calls.linkCode = async ({ phone }) => {
  if (WPP.conn.isAuthenticated()) throw new CallError('already_linked');
  const code = await WPP.conn.startLinkDeviceCodeForPhoneNumber(phone);
  if (!code) throw new CallError('no_code');
  return String(code);
};

calls.logout = async () => {
  if (!WPP.conn.isAuthenticated()) return;
  await WPP.conn.logout();
};

// ---- sending --------------------------------------------------------------------------------------

const POLL_MS = 50;
const running = new Map(); // hex → promise of an attempt that still runs

const requireOnline = () => {
  const now = wa();
  if (!(now.authenticated && now.mainLoaded && now.mode === 'MAIN')) throw new CallError('not_main');
  // A message handed over now would wait inside the page and go out who knows when.
  if (now.socket !== 'CONNECTED') throw new CallError('not_connected');
};

// The chat that `to` leads to; WhatsApp may resolve a number to another wid, or to its lid.
const resolveChat = async (to) => {
  const known = attempt(() => WPP.chat.get(to));
  if (known) return known;
  let target = to;
  if (to.endsWith('@c.us')) {
    const found = await WPP.contact.queryWidExists(to);
    if (!found) throw new CallError('not_on_whatsapp');
    target = found.wid ?? to;
  }
  try {
    return await WPP.chat.find(target);
  } catch (error) {
    if (String(target) === to) throw error;
    return WPP.chat.find(to);
  }
};

const find = async (key) => {
  try {
    return await WPP.chat.getMessageById(key);
  } catch (error) {
    if (error?.code === 'msg_not_found' || error?.code === 'chat_not_found') return null;
    throw error;
  }
};

const keysOf = (chat, hex) => {
  const base = `true_${chat.id}_${hex}`;
  if (!chat.id.isGroup()) return [base];
  const mine = [
    attempt(() => idOf(WPP.conn.getMyUserLid())),
    attempt(() => idOf(WPP.conn.getMyUserWid())),
  ];
  return mine.filter(Boolean).map((participant) => `${base}_${participant}`);
};

const findAny = async (keys) => {
  for (const key of keys) {
    const msg = await find(key);
    if (msg) return msg;
  }
  return null;
};

// Resolves with the ack as soon as WhatsApp has the message; runs until `until`.
const acked = async (keys, until) => {
  while (Date.now() < until) {
    const msg = keys.map((key) => WPP.whatsapp.MsgStore.get(key)).find(Boolean);
    if (msg && msg.ack >= 1) return msg.ack;
    await sleep(POLL_MS);
  }
  return null;
};

// wa-js wants the quoted message itself; a reply to one that is gone is sent as a plain message.
const quotedIn = async (chat, hex) => {
  if (!hex) return undefined;
  const model = chat.msgs.getModelsArray().find((msg) => String(msg.id?.id) === hex);
  if (model) return model;
  return (await findAny([`false_${chat.id}_${hex}`, ...keysOf(chat, hex)])) ?? undefined;
};

const WA_MEDIA = {
  image: { type: 'image' },
  video: { type: 'video' },
  audio: { type: 'audio', waveform: false },
  voice: { type: 'audio', isPtt: true },
  document: { type: 'document' },
  sticker: { type: 'sticker' },
};

const hand = async (chat, key, request) => {
  const options = { messageId: key, waitForAck: true, markIsRead: false };
  const quoted = await quotedIn(chat, request.replyTo);
  if (quoted) options.quotedMsg = quoted;
  if (!request.media) {
    return WPP.chat.sendTextMessage(chat.id, request.text, { ...options, linkPreview: false });
  }
  const kind = WA_MEDIA[request.media.kind];
  if (!kind) throw new CallError('media_unsupported');
  const source = input.files?.[0];
  if (!source) throw new CallError('media_missing');
  // A File over the same bytes on disk: nothing is copied for the new name and type.
  const file = new File([source], request.media.filename, { type: request.media.mimetype });
  const described = { filename: request.media.filename, mimetype: request.media.mimetype };
  if (request.text) described.caption = request.text;
  return WPP.chat.sendFileMessage(chat.id, file, { ...options, ...kind, ...described });
};

// A failure of a send is its result, not an exception.
const REFUSED = new Set(['ERROR_UNKNOWN', 'ERROR_CANCELLED']);
const check = (sent) => {
  const result = sent?.sendMsgResult?.messageSendResult ?? sent?.sendMsgResult;
  if (typeof result !== 'string' || result === 'OK') return;
  throw new CallError(REFUSED.has(result) ? 'refused' : 'send_failed', result);
};

const deliver = async (chat, request, until) => {
  const keys = keysOf(chat, request.id);
  const earlier = await findAny(keys);
  if (earlier) {
    // Known on this device. Without an ack WhatsApp may still be sending it by itself: wait first.
    const ack = earlier.ack >= 1 ? earlier.ack : await acked(keys, (Date.now() + until) / 2);
    if (ack) return { chat: String(chat.id), ack, found: true };
    // Again with the SAME id, so that it stays one message. wa-js never ends a second send of a
    // file whose id is in the store, so a file is only waited for.
    if (request.media) throw new CallError('timeout', 'an earlier attempt has no ack yet');
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
  return { chat: String(chat.id), ack, found: false };
};

calls.send = async (request, limitMs) => {
  requireOnline();
  // A repeat while the first attempt still runs joins it.
  const joined = running.get(request.id);
  if (joined) return { ...(await joined), found: true };
  const until = Date.now() + limitMs - 200;
  const attemptOf = resolveChat(request.to).then((chat) => deliver(chat, request, until));
  running.set(request.id, attemptOf);
  try {
    return await attemptOf;
  } finally {
    running.delete(request.id);
  }
};

// ---- media ----------------------------------------------------------------------------------------

// Files come through a file input: the browser reads them from disk, and no byte of them passes
// through a script or the debugging pipe.
const input = document.createElement('input');
input.type = 'file';
blazz.input = input;
calls.dropFile = () => {
  input.value = '';
};

const blobs = new Map(); // handle → Blob, until it is read to its end
let lastHandle = 0;

calls.openMedia = async ({ id, chat, fromMe, participant }) => {
  const keys = [`${fromMe}_${chat}_${id}`];
  if (participant) keys.unshift(`${keys[0]}_${participant}`);
  let msg = await findAny(keys);
  if (!msg) {
    const held = attempt(() => WPP.chat.get(chat));
    msg = held?.msgs.getModelsArray().find((one) => String(one.id?.id) === id) ?? null;
  }
  if (!msg) throw new CallError('msg_not_found');
  const blob = await WPP.chat.downloadMedia(String(msg.id));
  lastHandle += 1;
  blobs.set(lastHandle, blob);
  const mimetype = String(msg.mimetype || blob.type || 'application/octet-stream');
  return { handle: lastHandle, size: blob.size, mimetype };
};

calls.readMedia = async ({ handle, offset, length }) => {
  const blob = blobs.get(handle);
  if (!blob) throw new CallError('no_such_handle');
  const reader = new FileReader();
  return new Promise((resolve, reject) => {
    reader.onload = () => resolve(String(reader.result).split(',', 2)[1] ?? '');
    reader.onerror = () => reject(new CallError('media_unreadable'));
    reader.readAsDataURL(blob.slice(offset, offset + length));
  });
};

calls.closeMedia = ({ handle }) => {
  blobs.delete(handle);
};
