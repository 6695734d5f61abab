// Finding chats, people and messages.
//
// Owns the way from an id of ours to WhatsApp's own object, and the asking of WhatsApp where the
// page does not know. Never changes anything but that a chat may be opened.

const requireOnline = () => {
  const now = wa();
  if (!(now.authenticated && now.mainLoaded && now.mode === 'MAIN')) throw new CallError('not_main');
  // A message handed over now would wait inside the page and go out who knows when.
  if (now.socket !== 'CONNECTED') throw new CallError('not_connected');
};

const widOf = (id) => WPP.whatsapp.WidFactory.createWid(id);

// The number behind a lid, or the lid behind a number, as far as this page knows.
const otherWid = (wid) =>
  attempt(() => {
    const { lidPnCache } = WPP.whatsapp;
    return wid.isLid() ? lidPnCache.getPhoneNumber(wid) : lidPnCache.getCurrentLid(wid);
  });

const phoneOf = (wid) => {
  const number = wid.isLid() ? otherWid(wid) : wid;
  return number?.server === 'c.us' ? String(number.user) : null;
};

// WhatsApp's own answer, or null for no account. wa-js's `queryWidExists` answers from its memory,
// and takes any trouble for "no such account": that would end a message for good.
const askAccount = async (wid) => {
  try {
    return (await WPP.whatsapp.functions.queryWidExists(wid)) ?? null;
  } catch (error) {
    throw new CallError('query_failed', error?.message);
  }
};

// The chat that `to` leads to; WhatsApp may resolve a number to another wid, or to its lid.
const resolveChat = async (to) => {
  const known = attempt(() => WPP.chat.get(to));
  if (known) return known;
  let target = to;
  if (to.endsWith('@c.us')) {
    const found = await askAccount(widOf(to));
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

// A chat that is there already.
const knownChat = (id) => {
  const other = otherWid(widOf(id));
  const chat =
    attempt(() => WPP.chat.get(id)) ?? (other && attempt(() => WPP.chat.get(String(other))));
  if (!chat) throw new CallError('chat_not_found');
  return chat;
};

const find = async (key) => {
  try {
    return await WPP.chat.getMessageById(key);
  } catch (error) {
    if (error?.code === 'msg_not_found' || error?.code === 'chat_not_found') return null;
    throw error;
  }
};

// The keys a message of ours can have: in a group they name us, by lid or by number.
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

// A message of a chat by its bare id: what is loaded first, then what WhatsApp keeps.
const findIn = async (chat, { id, fromMe, author }) => {
  const loaded = chat.msgs.getModelsArray().find((msg) => String(msg.id?.id) === id);
  if (loaded) return loaded;
  const theirs = `false_${chat.id}_${id}`;
  const keys = fromMe ? [] : author ? [`${theirs}_${author}`, theirs] : [theirs];
  return findAny(fromMe === false ? keys : [...keys, ...keysOf(chat, id)]);
};

// The message that an edit, a reaction or the like is about.
const targetOf = async (ref) => {
  const chat = await resolveChat(ref.chat);
  const msg = await findIn(chat, ref);
  if (!msg) throw new CallError('target_not_found');
  return { chat, msg };
};
