// Changing a message that is there: reacting, editing, deleting for everyone.
//
// Owns the comparison with what WhatsApp keeps, before and after: what is already as asked is left
// alone. A repeat can't be told by an id here, so it is told by the outcome.

const textFor = (text) => text.trim(); // as wa-js sends an edit

// `isDone` answers null where the page can't tell; then the answer to the act itself must do.
// `make` answers true when WhatsApp itself has confirmed the act.
const CHANGES = {
  reaction: {
    isDone: async (msg, { emoji }) => {
      const known = await orNothing(
        () => WPP.whatsapp.functions.getReactions(String(msg.id)),
        undefined,
      );
      if (known === undefined) return null;
      const mine = known?.reactionByMe;
      // Shown before WhatsApp has it: then it is sent again, which changes nothing.
      if (mine?.isSendFailure || mine?.ack === 0) return false;
      return (mine?.reactionText ?? '') === emoji;
    },
    make: async (_chat, msg, { emoji }) => {
      const sent = await WPP.chat.sendReactionToMessage(String(msg.id), emoji || false);
      return check(sent);
    },
  },
  edit: {
    isDone: async (msg, { text }) =>
      (isMedia(msg) ? msg.caption : msg.body) === textFor(text),
    make: async (_chat, msg, { text, mentions }) => {
      if (!msg.id.fromMe) throw new CallError('not_ours');
      const options = { linkPreview: false, detectMentioned: false, markIsRead: false };
      if (mentions.length) options.mentionedList = mentions;
      await WPP.chat.editMessage(String(msg.id), text, options);
      return false;
    },
  },
  delete: {
    isDone: async (msg) => String(msg.type) === 'revoked',
    make: async (chat, msg) => {
      // wa-js deletes another's message for us alone, and calls that done.
      if (!msg.id.fromMe) throw new CallError('not_ours');
      const done = await WPP.chat.deleteMessage(chat.id, String(msg.id), true, true);
      if (!done.isRevoked) throw new CallError('refused');
      return false;
    },
  },
};

// What `send` does is not reported as news; WhatsApp's events come while it is being done, or soon
// after.
const OWN_EVENT_MS = 3000;
const ours = new Map(); // `kind key` of a change that we make ourselves → its emoji, or its text
const isOurs = (kind, key, value = '') => ours.get(`${kind} ${keyText(key)}`) === value;
const EVENT = { reaction: 'reaction', edit: 'edit', delete: 'revoke' };
const VALUE = {
  reaction: ({ emoji }) => emoji,
  edit: ({ text }) => textFor(text),
  delete: () => '',
};

const madeByUs = async (request, msg, work) => {
  const name = `${EVENT[request.kind]} ${keyText(keyOf(msg.id))}`;
  ours.set(name, VALUE[request.kind](request));
  try {
    return await work();
  } finally {
    setTimeout(() => ours.delete(name), OWN_EVENT_MS);
    const state = recent.of(keyText(keyOf(msg.id)));
    if (request.kind === 'delete') state.deleted = true;
    if (request.kind === 'edit') state.editedAt = editedAt(msg);
    if (request.kind === 'reaction') state.reactions = { ...state.reactions, [myself()]: request.emoji };
    recent.write();
  }
};

const isDoneBy = async (until, isDone) => {
  while (Date.now() < until) {
    if ((await isDone()) !== false) return true;
    await sleep(POLL_MS);
  }
  return false;
};

// The same answer as a message's: it is with WhatsApp.
const change = async (request, until) => {
  const { isDone, make } = CHANGES[request.kind];
  const { chat, msg } = await targetOf(request.target);
  const answer = { chat: idOf(chat.id), ack: 1, found: false };
  if ((await isDone(msg, request)) === true) return { ...answer, found: true };
  return madeByUs(request, msg, async () => {
    const confirmed = await make(chat, msg, request);
    if (confirmed || (await isDoneBy(until, () => isDone(msg, request)))) return answer;
    throw new CallError('timeout');
  });
};
