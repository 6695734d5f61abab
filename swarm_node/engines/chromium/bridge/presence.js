// Typing, recording, being there: ours as we show it, and that of the chats that were asked for.
//
// Owns the list of chats asked for; it is kept, because WhatsApp forgets it with every connection.
// wa-js subscribes to every chat it knows, so what was not asked for is held back here.

const PRESENCE = 'blazz.presence';
const SUBSCRIBED_MAX = 500;
const SHOW = {
  typing: (chat) => WPP.chat.markIsComposing(chat),
  recording: (chat) => WPP.chat.markIsRecording(chat),
  paused: (chat) => WPP.chat.markIsPaused(chat),
};

const presence = {
  subscribed: null, // chat ids, oldest first
  seen: new Map(), // `chat from` → the last state told

  resumed: false,

  list() {
    this.subscribed ??= new Set(readKept(PRESENCE) ?? []);
    return this.subscribed;
  },

  add(chat) {
    const list = this.list();
    list.delete(chat);
    list.add(chat);
    if (list.size > SUBSCRIBED_MAX) list.delete(list.values().next().value);
    keep(PRESENCE, [...list]);
  },

  forget() {
    this.subscribed = new Set();
    this.seen.clear();
  },

  // A new page, a new connection: ask again. Best effort; one at a time.
  resume() {
    if (this.resumed) return;
    this.resumed = true;
    void (async () => {
      for (const chat of this.list()) await subscribe(chat).catch(() => {});
    })();
  },

  changed({ id, isGroup, state, participants }) {
    const chat = idOf(id);
    if (!this.list().has(chat)) return;
    const people = isGroup ? (participants ?? []) : [{ id: chat, state }];
    for (const one of people) {
      const from = idOf(one.id);
      const name = `${chat} ${from}`;
      if (this.seen.get(name) === one.state) continue;
      this.seen.set(name, one.state);
      emit('presence', { chat, from, state: String(one.state) });
    }
  },
};

const subscribe = async (chat) => {
  // wa-js swallows what goes wrong, and gives back who was subscribed to.
  const done = await WPP.contact.subscribePresence([chat]);
  if (!done.length) throw new CallError('not_subscribed');
};

calls.setPresence = async ({ chat, presence: shown }) => {
  requireOnline();
  await SHOW[shown](idOf((await resolveChat(chat)).id));
};

calls.subscribePresence = async ({ chat }) => {
  requireOnline();
  const id = idOf((await resolveChat(chat)).id);
  await subscribe(id);
  presence.add(id);
};

calls.markSeen = async ({ chat }) => {
  requireOnline();
  await WPP.chat.markIsRead(idOf(knownChat(chat).id));
};
