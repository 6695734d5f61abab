// Typing, recording, being there: ours as we show it, and that of the chats that were asked for.
//
// Owns which chats were asked for in this page; Python knows them for the engine's life. wa-js
// subscribes to every chat it finds, so what was not asked for is held back here.

const SHOW = {
  typing: (chat) => WPP.chat.markIsComposing(chat),
  recording: (chat) => WPP.chat.markIsRecording(chat),
  paused: (chat) => WPP.chat.markIsPaused(chat),
};

const presence = {
  subscribed: new Set(), // chat ids
  seen: new Map(), // `chat from` → the last state told

  // A new page, a new connection: ask again. Best effort; one at a time.
  async resume(chats) {
    for (const chat of chats) {
      if (this.subscribed.has(chat)) continue;
      this.subscribed.add(chat);
      await subscribe(chat).catch(() => {});
    }
  },

  changed({ id, isGroup, state, participants }) {
    const chat = idOf(id);
    if (!this.subscribed.has(chat)) return;
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
  presence.subscribed.add(id);
  return id;
};

calls.markSeen = async ({ chat }) => {
  requireOnline();
  await WPP.chat.markIsRead(idOf(knownChat(chat).id));
};
