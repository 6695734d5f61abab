// wa-js events under names of our own.
//
// Owns the listeners, and the memory of which messages have left the page: after a restart,
// messages that arrived before wa-js listened are found by that memory (`catchUp`) and told late
// rather than never. Never decides what an event means: translate.py does.

// ---- which messages have left the page ----------------------------------------------------------

const MARK = 'blazz.mark';
const MARK_IDS_MAX = 500;
const MARK_SLACK_S = 120; // clocks and late deliveries: look back so far behind the newest

const told = new Map(); // key → t, everything handed to the queue since this page loaded
const TOLD_MAX = 5000;

const remember = (key, t) => {
  told.set(key, t);
  if (told.size > TOLD_MAX) told.delete(told.keys().next().value);
};

const readMark = () => readKept(MARK);
const writeMark = (mark) => keep(MARK, mark);

settled = (event) => {
  recent.note(event);
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
const WEB_IDS = '3EB0'; // how ids of WhatsApp Web begin, and so ours; a phone's do not
// What this page sent is no news, and after a restart nothing else tells it from another Web's.
const mayBeOurs = ({ id }) => id.fromMe && String(id.id).startsWith(WEB_IDS);
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
    if (!msg?.id || mayBeOurs(msg) || !(msg.t >= since) || String(msg.type) === 'protocol') continue;
    const key = keyText(keyOf(msg.id));
    if (!told.has(key) && !out.has(key)) missed.push(msg);
  }
  missed.sort((one, other) => one.t - other.t);
  return missed.slice(0, CATCH_UP_MAX).filter((msg) => tell(msg, true)).length;
};

// ---- calls ----------------------------------------------------------------------------------------

const CALL_LOOK_MS = 1000;
const CALL_LOOKS_MAX = 120;
const RINGING = new Set(['INCOMING_RING', 'ReceivedCall', 'ReceivedCallWithoutOffer', '3', '8']);

// wa-js keeps its own look-up to itself; the active call is not always in the collection.
const callOf = (id) => {
  const { CallStore: store } = WPP.whatsapp;
  return store.activeCall?.id === id ? store.activeCall : store.get(id);
};

// wa-js tells only that it rings. It rings no more once the call has gone or is in another state.
const rings = (id) => {
  const call = attempt(() => callOf(id));
  if (!call) return false;
  const state = attempt(() => call.getState?.());
  return state === null || RINGING.has(String(state));
};

const followCall = async (data) => {
  emit('call', { ...data, state: 'ringing' });
  for (let looks = 0; looks < CALL_LOOKS_MAX && rings(data.id); looks += 1) await sleep(CALL_LOOK_MS);
  emit('call', { ...data, state: 'missed' });
};

// ---- the events -----------------------------------------------------------------------------------

const listen = () => {
  WPP.on('conn.auth_code_change', (code) => {
    // Not linked: what was kept for the last account is over, and the next link brings a history
    // of its own.
    if (code) forgetKept();
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
  WPP.on('chat.new_reaction', ({ msgId, sender, reactionText, timestamp }) => {
    const [key, from] = [keyOf(msgId), personOf(sender)];
    if (from === myself() && isOurs('reaction', key, reactionText ?? '')) return;
    emit('reaction', { key, from, emoji: reactionText ?? '', at: Number(timestamp) || 0 });
  });
  WPP.on('chat.msg_edited', ({ msg }) => {
    const [key, text] = [keyOf(msg.id), textOf(msg) ?? ''];
    if (!isOurs('edit', key, text)) emit('edit', { key, text, at: editedAt(msg) });
  });
  WPP.on('chat.msg_revoke', ({ refId }) => {
    const key = keyOf(refId);
    if (!isOurs('revoke', key)) emit('revoke', { key });
  });
  WPP.on('chat.poll_response', ({ msgId, sender, selectedOptions, timestamp }) => {
    const [options, at] = [chosen(selectedOptions), Number(timestamp) || 0];
    emit('vote', { key: keyOf(msgId), from: personOf(sender), options, at });
  });
  WPP.on('chat.presence_change', (seen) => presence.changed(seen));
  WPP.on('group.participant_changed', ({ groupId, action, author, participants }) => {
    const members = idsOf(participants);
    emit('members', { chat: idOf(groupId), action, by: idOf(author), members });
  });
  WPP.on('call.incoming_call', (call) => {
    const group = attempt(() => idOf(callOf(call.id).groupJid));
    const [id, video] = [String(call.id), Boolean(call.isVideo)];
    void followCall({ id, from: idOf(call.sender), video, group });
  });
};
