// wa-js events, reduced to plain JSON under names of our own.
//
// Owns the reduction, and the memory of which messages have left the page: after a restart,
// messages that arrived before wa-js listened are found by that memory (`catchUp`) and told late
// rather than never. Never decides what an event means: translate.py does.

const idOf = (wid) => (wid ? String(wid._serialized ?? wid) : null);

// A message key as its parts; `participant` is set in groups only.
const keyOf = (id) => ({
  id: String(id.id),
  chat: idOf(id.remote),
  fromMe: Boolean(id.fromMe),
  participant: idOf(id.participant),
});

const MEDIA = new Set(['image', 'video', 'gif', 'audio', 'ptt', 'document', 'sticker', 'ptv']);

const messageOf = (msg) => {
  const media = MEDIA.has(msg.type);
  // wa-js puts the file's name where a caption is missing, and says so.
  const caption = msg.isCaptionByUser === false ? null : msg.caption;
  return {
    key: keyOf(msg.id),
    type: String(msg.type),
    subtype: msg.subtype ? String(msg.subtype) : null,
    from: idOf(msg.author ?? msg.from),
    t: Number(msg.t) || Math.floor(Date.now() / 1000),
    ack: Number(msg.ack ?? 0),
    // The body of anything else is no text: a location's is a picture.
    text: media ? (caption ?? null) : msg.type === 'chat' ? (msg.body ?? null) : null,
    quoted: msg.quotedStanzaID ? String(msg.quotedStanzaID) : null,
    local: Boolean(msg.local),
    media: media
      ? {
          mimetype: String(msg.mimetype ?? ''),
          size: Number(msg.size) || null,
          filename: msg.filename ? String(msg.filename) : null,
        }
      : null,
  };
};

// ---- which messages have left the page ----------------------------------------------------------

const MARK = 'blazz.mark';
const MARK_IDS_MAX = 500;
const MARK_SLACK_S = 120; // clocks and late deliveries: look back so far behind the newest

const told = new Map(); // key → t, everything handed to the queue since this page loaded
const TOLD_MAX = 5000;

const keyText = (key) => `${key.fromMe}_${key.chat}_${key.id}`;

const remember = (key, t) => {
  told.set(key, t);
  if (told.size > TOLD_MAX) told.delete(told.keys().next().value);
};

const readMark = () => {
  try {
    return JSON.parse(localStorage.getItem(MARK)) || null;
  } catch {
    return null;
  }
};

const writeMark = (mark) => {
  try {
    localStorage.setItem(MARK, JSON.stringify(mark));
  } catch {
    // A full storage must not stop the events themselves.
  }
};

settled = (event) => {
  if (event.kind !== 'message') return;
  const mark = readMark();
  if (!mark) return;
  const t = Math.max(mark.t, event.data.t);
  const ids = [...mark.ids, [keyText(event.data.key), event.data.t]]
    .filter(([, at]) => at >= t - MARK_SLACK_S)
    .slice(-MARK_IDS_MAX);
  writeMark({ floor: mark.floor, t, ids });
};

const tell = (msg, late) => {
  const data = messageOf(msg);
  const key = keyText(data.key);
  // Text that could not be read yet is announced again when it can.
  if (data.type === 'ciphertext' || told.has(key)) return false;
  remember(key, data.t);
  emit('message', { ...data, late });
  return true;
};

// Messages newer than the mark that no event told of. The first call on a new link only sets the
// mark, with a floor that is never looked below: history is not news. Returns how many were told.
const CATCH_UP_MAX = 500;
const catchUp = () => {
  const mark = readMark();
  if (!mark) {
    const now = Math.floor(Date.now() / 1000);
    writeMark({ floor: now, t: now, ids: [] });
    return 0;
  }
  const out = new Set(mark.ids.map(([key]) => key));
  const since = Math.max(mark.floor, mark.t - MARK_SLACK_S);
  const missed = [];
  for (const msg of WPP.whatsapp.MsgStore.getModelsArray()) {
    if (!msg?.id || msg.id.fromMe || !(msg.t >= since) || String(msg.type) === 'protocol') continue;
    const key = keyText(keyOf(msg.id));
    if (!told.has(key) && !out.has(key)) missed.push(msg);
  }
  missed.sort((one, other) => one.t - other.t);
  return missed.slice(0, CATCH_UP_MAX).filter((msg) => tell(msg, true)).length;
};

// ---- the events -----------------------------------------------------------------------------------

const listen = () => {
  WPP.on('conn.auth_code_change', (code) => {
    // Not linked: what the mark was for is over, and the next link brings a history of its own.
    if (code) localStorage.removeItem(MARK);
    emit('qr', { value: code?.fullCode ?? null });
  });
  WPP.on('conn.qrcode_idle', () => emit('qr_idle'));
  WPP.on('conn.link_code_change', (code) => emit('link_code', { code: String(code) }));
  WPP.on('conn.link_code_expired', () => emit('link_code_expired'));
  WPP.on('conn.authenticated', () => emit('authenticated'));
  WPP.on('conn.main_loaded', () => emit('main_loaded'));
  WPP.on('conn.logout', () => emit('logout'));
  WPP.on('conn.logout_reason', (reason) => emit('logout_reason', { reason: scrub(reason) }));
  WPP.on('conn.stream_mode_changed', (mode) => emit('stream', { mode: String(mode) }));
  WPP.on('conn.online', (online) => emit('network', { online: Boolean(online) }));
  WPP.on('conn.needs_update', () => emit('needs_update'));
  WPP.on('chat.new_message', (msg) => {
    witness.told(msg);
    // Our own sends come back here too; those of this device are known already.
    if (msg.id.fromMe && msg.local) return;
    tell(msg, false);
  });
  WPP.on('chat.msg_ack_change', ({ ack, ids }) => {
    emit('ack', { ack: Number(ack), keys: ids.map(keyOf) });
  });
  WPP.on('chat.new_reaction', (reaction) => {
    emit('reaction', {
      key: keyOf(reaction.msgId),
      from: idOf(reaction.sender),
      emoji: reaction.reactionText ?? '',
    });
  });
  WPP.on('chat.msg_edited', ({ msg }) => {
    emit('edit', { key: keyOf(msg.id), text: msg.body ?? msg.caption ?? '' });
  });
  WPP.on('chat.msg_revoke', ({ refId }) => emit('revoke', { key: keyOf(refId) }));
};
