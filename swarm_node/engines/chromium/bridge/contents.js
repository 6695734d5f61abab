// Handing a new message over to wa-js, one recipe a kind.
//
// Owns what each kind needs of wa-js. Never looks whether it was sent before: send.js does.

const WA_MEDIA = {
  image: { type: 'image' },
  video: { type: 'video' },
  audio: { type: 'audio', waveform: false },
  voice: { type: 'audio', isPtt: true },
  document: { type: 'document' },
  sticker: { type: 'sticker' },
};

// ---- link previews --------------------------------------------------------------------------------

const PREVIEW_WAIT_MS = 1500;
const LINK = /\bhttps?:\/\/|\bwww\.|[a-z0-9]\.[a-z]{2,}/i;

// What WhatsApp itself shows of the first link. A stranger's slow server must not hold up a send,
// and none fails for it: without an answer in time the message goes without.
const previewOf = async (text) => {
  if (!LINK.test(text)) return false;
  try {
    const asked = WPP.chat.prepareLinkPreview({ type: 'chat', body: text }, { linkPreview: true });
    const { type, body, subtype, ...preview } = await within(asked, PREVIEW_WAIT_MS);
    return subtype === 'url' ? preview : false;
  } catch {
    return false;
  }
};

// ---- the recipes ----------------------------------------------------------------------------------

const FORWARDED = { isForwarded: true };

// What makes the same message again, for those that are no media.
const COPIES = {
  chat: ({ body }) => ({ type: 'chat', body }),
  location: ({ lat, lng, loc, body }) => ({ type: 'location', lat, lng, loc, body }),
  vcard: ({ body, vcardFormattedName }) => ({ type: 'vcard', body, vcardFormattedName }),
  multi_vcard: ({ vcardList }) => ({ type: 'multi_vcard', vcardList }),
};
const COPIED_MEDIA = {
  image: {},
  video: {},
  audio: {},
  ptt: { isPtt: true },
  document: { asDocument: true },
  sticker: { asSticker: true },
};

// As wa-js's `sendFileMessage` does it, but for the mark, which that function has no option for.
const copyMedia = async (chat, msg, options) => {
  const { OpaqueData, MediaPrep } = WPP.whatsapp;
  const blob = await bytesOf(msg);
  const data = await OpaqueData.createFromData(blob, msg.mimetype || blob.type);
  const prep = MediaPrep.prepRawMedia(data, COPIED_MEDIA[msg.type]);
  const caption = textOf(msg) ?? undefined;
  const named = { filename: msg.filename, caption: caption ?? msg.filename };
  const raw = await WPP.chat.prepareRawMessage(
    chat,
    { ...FORWARDED, ...named, isCaptionByUser: caption !== undefined },
    options,
  );
  await prep.waitForPrep();
  const sending = { caption, productMsgOptions: raw, addEvenWhilePreparing: false };
  const sent =
    prep.sendToChat.length === 1
      ? prep.sendToChat({ chat, options: sending })
      : prep.sendToChat(chat, sending);
  return { ack: 0, sendMsgResult: await sent };
};

const RECIPES = {
  text: async (chat, { text, preview }, options) => {
    const linkPreview = preview ? await previewOf(text) : false;
    return WPP.chat.sendTextMessage(chat.id, text, { ...options, linkPreview });
  },
  media: async (chat, { media, text }, options) => {
    const kind = WA_MEDIA[media.kind];
    if (!kind) throw new CallError('media_unsupported');
    const source = input.files?.[0];
    if (!source) throw new CallError('media_missing');
    // A File over the same bytes on disk: nothing is copied for the new name and type.
    const file = new File([source], media.filename, { type: media.mimetype });
    const described = { filename: media.filename, mimetype: media.mimetype };
    if (text) described.caption = text;
    return WPP.chat.sendFileMessage(chat.id, file, { ...options, ...kind, ...described });
  },
  location: (chat, { latitude, longitude, name, address }, options) =>
    WPP.chat.sendLocationMessage(chat.id, {
      ...options,
      lat: latitude,
      lng: longitude,
      name: name ?? undefined,
      address: address ?? undefined,
    }),
  // What `sendVCardContactMessage` sends, with a card that can name a company.
  contact: (chat, { cards }, options) => {
    const [{ name, vcard }] = cards;
    const one = { type: 'vcard', body: vcard, vcardFormattedName: name };
    const vcardList = cards.map((card) => ({ displayName: card.name, vcard: card.vcard }));
    const raw = cards.length === 1 ? one : { type: 'multi_vcard', vcardList };
    return WPP.chat.sendRawMessage(chat.id, raw, options);
  },
  poll: (chat, { question, choices, choicesMax }, options) =>
    WPP.chat.sendCreatePollMessage(chat.id, question, choices, {
      ...options,
      selectableCount: choicesMax,
    }),
  // Not by `forwardMessages`: it makes up an id, and a repeat could not be found.
  forward: async (chat, { target }, options) => {
    const { msg } = await targetOf(target);
    const type = String(msg.type);
    if (type in COPIED_MEDIA) return copyMedia(chat, msg, options);
    if (!(type in COPIES)) throw new CallError('not_forwardable');
    return WPP.chat.sendRawMessage(chat.id, { ...COPIES[type](msg), ...FORWARDED }, options);
  },
};

const hand = async (chat, key, request) => {
  // Who is mentioned is the sender's to say: an `@all` in a text must not call everybody.
  const options = { messageId: key, waitForAck: true, markIsRead: false, detectMentioned: false };
  if (request.mentions?.length) options.mentionedList = request.mentions;
  // wa-js wants the quoted message itself; a reply to one that is gone is sent as a plain message.
  const quoted = request.replyTo && (await findIn(chat, { id: request.replyTo }));
  if (quoted && String(quoted.type) !== 'revoked') options.quotedMsg = quoted;
  return RECIPES[request.kind](chat, request, options);
};
