// What became of recent messages while no event could tell: the page was loading, or gone.
//
// Owns the memory of the changes that have left the page (acks, edits, deletes, reactions, votes)
// and the comparison with WhatsApp's own store, once a page. Whatever is in doubt is told again:
// who reads the events knows a repeat. Never looks at more than the newest messages.

const RECENT = 'blazz.recent';
const RECENT_MAX = 200;
const KNOWN_MAX = 300;
const KEEP_AFTER_MS = 1000;

const recent = {
  known: new Map(), // key → {ack, editedAt, deleted, reactions, votes}, what has been told
  loaded: false,
  timer: null,
  compared: false,

  load() {
    if (this.loaded) return;
    this.loaded = true;
    for (const [key, state] of readKept(RECENT) ?? []) this.known.set(key, state);
  },

  of(key) {
    this.load();
    const state = this.known.get(key) ?? {};
    // Set anew, so that the oldest change is the first to be forgotten.
    this.known.delete(key);
    this.known.set(key, state);
    if (this.known.size > KNOWN_MAX) this.known.delete(this.known.keys().next().value);
    this.timer ??= setTimeout(() => this.write(), KEEP_AFTER_MS);
    return state;
  },

  write() {
    this.load();
    clearTimeout(this.timer);
    this.timer = null;
    keep(RECENT, [...this.known]);
  },

  forget() {
    clearTimeout(this.timer);
    this.timer = null;
    this.known.clear();
  },

  // An event is safely out of the page.
  note({ kind, data }) {
    const change = CHANGED[kind];
    if (!change) return;
    for (const key of data.keys ?? [data.key]) change(this.of(keyText(key)), data);
  },
};

ending = () => recent.write();

const CHANGED = {
  ack: (state, { ack }) => {
    state.ack = Math.max(state.ack ?? 0, ack);
  },
  edit: (state, { at }) => {
    state.editedAt = at;
  },
  revoke: (state) => {
    state.deleted = true;
  },
  reaction: (state, { from, emoji }) => {
    state.reactions = { ...state.reactions, [from]: emoji };
  },
  vote: (state, { from, options }) => {
    state.votes = { ...state.votes, [from]: options };
  },
};

const newest = (limit, since) =>
  WPP.whatsapp.MsgStore.getModelsArray()
    .filter((msg) => msg?.id && msg.t >= since && !['protocol', 'gp2'].includes(String(msg.type)))
    .sort((one, other) => other.t - one.t)
    .slice(0, limit)
    .reverse();

// A store that can't be read tells nothing, rather than that nobody reacted.
const orNothing = async (read, otherwise) => {
  try {
    return await read();
  } catch {
    return otherwise;
  }
};

const stateOf = async (msg, before, times = { reactions: {}, votes: {} }) => ({
  key: keyOf(msg.id),
  ack: Number(msg.ack ?? 0),
  editedAt: editedAt(msg),
  text: textOf(msg) ?? '',
  deleted: String(msg.type) === 'revoked',
  reactions:
    msg.hasReaction || before.reactions
      ? await orNothing(() => reactionsOf(msg, times.reactions), before.reactions ?? {})
      : {},
  votes:
    String(msg.type) === 'poll_creation'
      ? await orNothing(() => votesOf(msg, times.votes), before.votes ?? {})
      : {},
});

const differences = (before = {}, after, none) =>
  [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((from) => String(before[from] ?? none) !== String(after[from] ?? none))
    .map((from) => [from, after[from] ?? none]);

// Tells what differs from what was told; returns how much.
const tellChanges = (before, now, times) => {
  const { key } = now;
  const first = lastSeq;
  if (now.deleted) {
    if (!before.deleted) emit('revoke', { key });
    return lastSeq - first;
  }
  // That it was sent is the answer to the send itself.
  if (key.fromMe && now.ack > Math.max(before.ack ?? 0, 1)) emit('ack', { ack: now.ack, keys: [key] });
  if (now.editedAt && now.editedAt !== before.editedAt) {
    emit('edit', { key, text: now.text, at: now.editedAt });
  }
  for (const [from, emoji] of differences(before.reactions, now.reactions, '')) {
    emit('reaction', { key, from, emoji, at: times.reactions[from] });
  }
  for (const [from, options] of differences(before.votes, now.votes, [])) {
    emit('vote', { key, from, options, at: times.votes[from] });
  }
  return lastSeq - first;
};

// Once a page, as soon as events come by themselves. Without a mark the link is new: no news yet.
const tellMissedChanges = async () => {
  const mark = readMark();
  if (recent.compared || !mark) return 0;
  recent.compared = true;
  recent.load();
  let count = 0;
  for (const msg of newest(RECENT_MAX, mark.floor)) {
    const before = recent.known.get(keyText(keyOf(msg.id))) ?? {};
    const times = { reactions: {}, votes: {} };
    count += tellChanges(before, await stateOf(msg, before, times), times);
  }
  return count;
};

calls.recentState = async ({ limit }) => {
  const states = [];
  for (const msg of newest(limit, 0)) states.push(await stateOf(msg, {}));
  return states;
};
