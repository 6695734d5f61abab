// A message of WhatsApp's, reduced to plain JSON.
//
// Owns which of its many attributes leave the page, and under what names. Never decides what they
// mean: translate.py does.

const idOf = (wid) => (wid ? String(wid._serialized ?? wid) : null);
const idsOf = (wids) => [...(wids ?? [])].map(idOf).filter(Boolean);

// Who did something; ourselves always by our number, under whichever id WhatsApp knows us.
const myself = () => attempt(() => idOf(WPP.whatsapp.UserPrefs.getMaybeMePnUser()));
const personOf = (wid) => {
  const id = idOf(wid);
  return id && id === attempt(() => idOf(WPP.whatsapp.UserPrefs.getMaybeMeLidUser())) ? myself() : id;
};

// A message key as its parts; `participant` is set in groups only.
const keyOf = (id) => ({
  id: String(id.id),
  chat: idOf(id.remote),
  fromMe: Boolean(id.fromMe),
  participant: idOf(id.participant),
});
const keyText = (key) => `${key.fromMe}_${key.chat}_${key.id}`;

const MEDIA = new Set(['image', 'video', 'gif', 'audio', 'ptt', 'document', 'sticker', 'ptv']);
const isMedia = (msg) => MEDIA.has(String(msg.type));

// What a person wrote. The body of anything but a text is none: a location's is a picture.
const textOf = (msg) => {
  if (String(msg.type) === 'chat') return msg.body ?? null;
  // wa-js puts the file's name where a caption is missing, and says so.
  return isMedia(msg) && msg.isCaptionByUser !== false ? (msg.caption ?? null) : null;
};

const mediaOf = (msg) => ({
  mimetype: String(msg.mimetype ?? ''),
  size: Number(msg.size) || null,
  filename: msg.filename ? String(msg.filename) : null,
});

// What only some types have.
const DETAILS = {
  location: (msg) => ({
    location: { latitude: Number(msg.lat), longitude: Number(msg.lng), label: msg.loc ?? null },
  }),
  vcard: (msg) => ({ vcards: [String(msg.body ?? '')] }),
  multi_vcard: (msg) => ({ vcards: (msg.vcardList ?? []).map((one) => String(one.vcard ?? '')) }),
  poll_creation: (msg) => ({
    poll: {
      question: String(msg.pollName ?? ''),
      options: (msg.pollOptions ?? []).map((option) => String(option.name)),
      choices: Number(msg.pollSelectableOptionsCount ?? 0),
    },
  }),
  // A line in a group's chat that tells of a change.
  gp2: (msg) => ({
    group: { members: idsOf(msg.recipients), value: msg.body ? String(msg.body) : null },
  }),
};

const messageOf = (msg) => ({
  key: keyOf(msg.id),
  type: String(msg.type),
  subtype: msg.subtype ? String(msg.subtype) : null,
  from: idOf(msg.author ?? msg.from),
  t: Number(msg.t) || Math.floor(Date.now() / 1000),
  ack: Number(msg.ack ?? 0),
  text: textOf(msg),
  quoted: msg.quotedStanzaID ? String(msg.quotedStanzaID) : null,
  mentions: idsOf(msg.mentionedJidList),
  forwarded: Boolean(msg.isForwarded),
  local: Boolean(msg.local),
  media: isMedia(msg) ? mediaOf(msg) : null,
  ...DETAILS[String(msg.type)]?.(msg),
});

// ---- what can change about a message --------------------------------------------------------------

const editedAt = (msg) => Number(msg.latestEditSenderTimestampMs) || 0;

// Who reacted with what. Asked of WhatsApp's store, so only where there is something to find.
// When each came goes into `times`: it tells a repeat from the same reaction made again.
const reactionsOf = async (msg, times = {}) => {
  const { reactions = [] } = (await WPP.chat.getReactions(String(msg.id))) ?? {};
  const found = {};
  for (const { senders = [] } of reactions) {
    for (const { reactionText, sender, timestamp } of senders) {
      if (!reactionText) continue;
      found[personOf(sender)] = reactionText;
      times[personOf(sender)] = Number(timestamp) || 0;
    }
  }
  return found;
};

// wa-js puts each option at its own place in an array with holes.
const chosen = (options) => [...(options ?? [])].filter(Boolean).map((one) => String(one.name));

const votesOf = async (msg, times = {}) => {
  const { votes = [] } = (await WPP.chat.getVotes(String(msg.id))) ?? {};
  for (const { sender, timestamp } of votes) times[personOf(sender)] = Number(timestamp) || 0;
  return Object.fromEntries(votes.map((vote) => [personOf(vote.sender), chosen(vote.selectedOptions)]));
};
