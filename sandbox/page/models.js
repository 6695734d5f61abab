// Messages, chats, contacts and groups in memory.
//
// Owns the collections wa-js reads, and the translation between the switch's message records and
// WhatsApp's message attributes. Never talks to the switch.
"use strict";
standIn("SandboxModels", (require) => {
  const { BaseCollection, modelClass, collectionClass } = require("SandboxBase");
  const { MsgKey, createWid } = require("SandboxIds");
  const contents = require("SandboxContents");
  const me = { wid: null, lid: null };

  const MEDIA_TYPES = ["image", "video", "audio", "ptt", "document", "sticker"];

  const Msg = modelClass("msg", {
    get isMe() {
      return this.id.fromMe;
    },
    get senderObj() {
      return { isMe: this.id.fromMe, id: this.author ?? this.from };
    },
    get isMedia() {
      return MEDIA_TYPES.includes(this.type);
    },
    // Acks only rise; -1 is failure.
    updateAck(ack) {
      if (ack === -1 || ack > (this.ack ?? -1)) this.ack = ack;
    },
    msgContextInfo() {
      return {
        quotedMsg: { type: this.type, body: this.body, caption: this.caption },
        quotedStanzaID: this.id.id,
        quotedParticipant: this.author ?? this.from,
      };
    },
    async downloadMedia() {
      return require("SandboxMedia").download(this);
    },
  });
  // wa-js looks at these on the prototype, too, where there is no id.
  const Chat = modelClass("chat", {
    get isGroup() {
      return this.id?.isGroup();
    },
    get isUser() {
      return this.id?.isUser();
    },
    get hasUnread() {
      return this.unreadCount > 0;
    },
  });
  const Contact = modelClass("contact", {
    get isMyContact() {
      return Boolean(this.name);
    },
    get formattedShortName() {
      // Never undefined, not even on the prototype: wa-js would put its own in place.
      return this.name ?? this.pushname ?? "";
    },
  });
  const GroupMetadata = modelClass("group-metadata");

  const MsgCollectionImpl = collectionClass(Msg);
  // Everything that comes in passes here; wa-js listens to it for revokes.
  MsgCollectionImpl.prototype.processMultipleMessages = async function process(chatId, messages) {
    for (const message of messages) {
      if (message.type !== "protocol") addMessage(ensureChat({ wid: String(chatId) }), message);
    }
  };
  class ChatMsgsCollection extends MsgCollectionImpl {}
  ChatMsgsCollection.model = Msg;
  const ChatCollectionImpl = collectionClass(Chat);
  const ContactCollectionImpl = collectionClass(Contact);
  const GroupMetadataCollectionImpl = collectionClass(GroupMetadata);
  // wa-js knows the collection by this method.
  GroupMetadataCollectionImpl.prototype._handleParentGroupChange = () => {};

  const messages = new MsgCollectionImpl();
  const chats = new ChatCollectionImpl();
  const contacts = new ContactCollectionImpl();
  const groups = new GroupMetadataCollectionImpl();

  // The number behind a lid, and the reverse, as far as the switch told.
  const lids = new Map();
  const numbers = new Map();
  const learnLid = (number, lid) => {
    if (!number || !lid) return;
    lids.set(number, lid);
    numbers.set(lid, number);
  };

  // The chat of a ChatInfo, made when it is new.
  const ensureGroup = (info) => require("SandboxGroups").ensure(info);
  const ensureChat = (info) => {
    const known = chats.get(info.wid);
    const id = createWid(info.wid);
    if (known) {
      if (info.name) known.name = known.formattedTitle = info.name;
      if (id.isGroup()) ensureGroup(info);
      return known;
    }
    learnLid(info.phone, info.phone && info.wid);
    return chats.add({
      id,
      t: info.ts ?? 0,
      unreadCount: info.unread ?? 0,
      archive: false,
      name: info.name,
      formattedTitle: info.name || id.user,
      msgs: new ChatMsgsCollection(),
      groupMetadata: id.isGroup() ? ensureGroup(info) : undefined,
      presence: require("SandboxPeople").ensure(id),
    })[0];
  };

  const ensureContact = (info) => {
    learnLid(info.wid.endsWith("@c.us") ? info.wid : info.phone, info.lid || (info.phone && info.wid));
    if (contacts.get(info.wid)) return;
    contacts.add({
      id: createWid(info.wid),
      name: info.name || undefined,
      pushname: info.pushname || info.name,
      isBusiness: Boolean(info.business),
      isContactBlocked: false,
    });
  };

  function addMessage(chat, attributes) {
    const message = messages.get(attributes.id) || messages.add(attributes)[0];
    chat.msgs.add(message);
    if ((message.t ?? 0) >= (chat.t ?? 0)) {
      chat.t = message.t;
      chat.lastReceivedKey = message.id;
    }
    return message;
  }

  // Up to `count` messages of the anchor's chat, on one side of it, oldest first.
  const messagesBeside = ({ anchor, count, direction }) => {
    const all = chats.get(anchor.remote)?.msgs.toArray() ?? [];
    const place = all.findIndex((message) => anchor.equals(message.id));
    if (place < 0 || count <= 0) return [];
    if (direction === "after") return all.slice(place + 1, place + 1 + count);
    return all.slice(Math.max(place - count, 0), place);
  };

  // The key of message `id` in a chat; a group's key names its author.
  const keyFor = (chat, id, fromMe, sender) => {
    const isGroup = createWid(chat).isGroup();
    const participant = isGroup ? (fromMe ? me.lid || me.wid : sender) : undefined;
    return new MsgKey({ fromMe, remote: chat, id, participant });
  };

  // A switch message record as WhatsApp's attributes.
  const attributesOf = (record, isNew) => {
    const chat = createWid(record.chat);
    const own = chat.isLid() || chat.isGroup() ? me.lid || me.wid : me.wid;
    const attributes = {
      id: keyFor(record.chat, record.id, record.from_me, record.sender),
      from: record.from_me ? own : chat,
      to: record.from_me ? chat : own,
      author: chat.isGroup() ? createWid(record.sender) : undefined,
      type: record.deleted ? "revoked" : record.type,
      t: record.ts,
      ack: record.ack ?? 1,
      self: record.from_me ? "out" : "in",
      isNewMsg: isNew,
      notifyName: record.sender_name,
    };
    if (record.media) {
      Object.assign(attributes, {
        body: "",
        caption: record.body ?? "",
        mimetype: record.media.mimetype,
        size: record.media.size,
        filename: record.media.filename,
        mediaData: {
          type: record.type,
          filehash: record.media.media_id,
          mimetype: record.media.mimetype,
          size: record.media.size,
          mediaStage: "RESOLVED",
        },
      });
    } else {
      attributes.body = record.body ?? "";
    }
    if (!record.deleted) Object.assign(attributes, contents.attributesOf(record));
    if (record.subtype) attributes.subtype = record.subtype;
    if (record.recipients) attributes.recipients = record.recipients.map(createWid);
    if (record.edited_ms) attributes.latestEditSenderTimestampMs = record.edited_ms;
    if (record.quoted_id) {
      attributes.quotedStanzaID = record.quoted_id;
      attributes.quotedParticipant = createWid(record.quoted_sender || record.sender);
    }
    if (record.mentions?.length) attributes.mentionedJidList = record.mentions.map(createWid);
    return attributes;
  };

  const quotedOf = (message) => {
    if (!message.quotedStanzaID) return undefined;
    const chat = chats.get(message.id.remote);
    return chat?.msgs.findFirst((other) => other.id.id === message.quotedStanzaID);
  };

  const clear = () => {
    for (const collection of [messages, chats, contacts, groups]) collection.reset();
    require("SandboxReactions").clear();
    require("SandboxPeople").clear();
    lids.clear();
    numbers.clear();
    me.wid = me.lid = null;
  };

  return {
    me, Msg, Chat, Contact, MsgCollectionImpl, ChatMsgsCollection, ChatCollectionImpl,
    ContactCollectionImpl, GroupMetadataCollectionImpl, BaseCollection, messages, chats, contacts,
    groups, lids, numbers, learnLid, ensureChat, ensureContact, addMessage, keyFor, attributesOf, quotedOf,
    messagesBeside, clear, MEDIA_TYPES,
  };
});
