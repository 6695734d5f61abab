// What the switch tells: sync, messages, acks, reactions, edits, deletes.
//
// Owns their way into the collections and into IndexedDB, one after the other; a queued frame is
// confirmed only once it is durable. Never sends anything of the user's.
"use strict";
standIn("SandboxInbound", (require) => {
  const vault = require("SandboxVault");
  const { link } = require("SandboxLink");
  const { createWid, MsgKey } = require("SandboxIds");
  const { hex } = require("SandboxBytes");
  const session = require("SandboxSession");
  const models = require("SandboxModels");
  const reactions = require("SandboxReactions");
  const groups = require("SandboxGroups");
  const people = require("SandboxPeople");

  const recordKey = (record) => `${record.chat}/${record.id}`;
  // A message to keep: messages of one second stay in the order they came.
  let lastOrder = 0;
  const saveMessage = (record) => {
    lastOrder = Math.max(lastOrder + 1, Date.now());
    return ["messages", recordKey(record), { ...record, order: lastOrder }];
  };
  const chatRecord = (chat) => ({
    wid: String(chat.id),
    name: chat.name,
    unread: chat.unreadCount,
    ts: chat.t,
    participants: chat.groupMetadata?.participants.map((one) => String(one.id)) ?? [],
    phone: models.numbers.get(String(chat.id)) ?? "",
  });
  const saveChat = (chat) => ["chats", String(chat.id), chatRecord(chat)];

  const chatOf = async (wid) => {
    const known = models.chats.get(wid);
    if (known) return known;
    const found = await link.request({ t: "query_chat", wid });
    // What is unread is counted here, message by message.
    return models.ensureChat({ wid, ...found.chat, unread: 0 });
  };

  const changeRecord = (chat, id, change) =>
    vault.update("messages", `${chat}/${id}`, (kept) => ({ ...kept, ...change(kept) }));

  const find = (chat, id, fromMe, sender) =>
    models.messages.get(models.keyFor(chat, id, fromMe, sender));

  // Every handler of a queued frame returns the records still to be kept.
  const queued = {
    async message({ message }) {
      const chat = await chatOf(message.chat);
      const attributes = models.attributesOf(message, true);
      if (!models.messages.get(attributes.id)) {
        await models.messages.processMultipleMessages(chat.id, [attributes]);
        if (!message.from_me) chat.unreadCount += 1;
      }
      return [saveMessage(message), saveChat(chat)];
    },
    async ack({ chat, ids, ack, by, ts }) {
      const isGroup = createWid(chat).isGroup();
      for (const id of ids) {
        find(chat, id, true)?.updateAck(ack);
        await changeRecord(chat, id, (kept) => ({ ack: Math.max(kept.ack ?? 0, ack) }));
      }
      const receipt = {
        ack,
        ackString: ack === 3 ? "read" : "",
        from: createWid(chat),
        externalIds: ids,
        participant: isGroup ? createWid(by) : undefined,
        ts,
      };
      if (isGroup) callStandIn("WAWebHandleGroupChatReceipt", "handleGroupSimpleReceipt", receipt);
      else callStandIn("WAWebHandleDirectChatReceipt", "handleChatSimpleReceipt", receipt);
      return [];
    },
    async read_elsewhere({ chat: wid }) {
      const chat = models.chats.get(wid);
      if (!chat) return [];
      chat.unreadCount = 0;
      return [saveChat(chat)];
    },
    async reaction(frame) {
      const parent = models.keyFor(frame.chat, frame.id, frame.author_is_me, frame.author);
      const reaction = await reactions.react(parent, frame.sender, frame.emoji, frame.ts);
      callStandIn("WAWebReactionsModelCollection", "addOrUpdateReactionsModelCollection", reaction, true);
      return [];
    },
    async poll_voted(frame) {
      const parent = models.keyFor(frame.chat, frame.id, frame.author_is_me, frame.author);
      const vote = await reactions.vote(parent, frame.sender, frame.options, frame.ts);
      callStandIn("WAWebPollsUpsertVotes", "upsertVotesDb", [vote]);
      return [];
    },
    async edited(frame) {
      const message = find(frame.chat, frame.id, frame.from_me, frame.sender);
      if (message) {
        if (message.isMedia) message.caption = frame.body;
        else message.body = frame.body;
        message.latestEditSenderTimestampMs = frame.ts * 1000;
        message.latestEditMsgKey = models.keyFor(frame.chat, `3A${hex(9)}`, frame.from_me, frame.sender);
      }
      await changeRecord(frame.chat, frame.id, () => ({
        body: frame.body, edited: true, edited_ms: frame.ts * 1000,
      }));
      return [];
    },
    async deleted(frame) {
      const target = models.keyFor(frame.chat, frame.id, frame.from_me, frame.sender);
      const message = models.messages.get(target);
      await models.messages.processMultipleMessages(createWid(frame.chat), [
        {
          type: "protocol",
          subtype: "sender_revoke",
          isNewMsg: true,
          id: models.keyFor(frame.chat, `3A${hex(9)}`, frame.from_me, frame.sender),
          protocolMessageKey: target,
          author: createWid(frame.sender),
          from: message?.from ?? createWid(frame.chat),
          to: message?.to ?? models.me.wid,
          t: frame.ts,
        },
      ]);
      if (message) message.set({ type: "revoked", body: "", caption: "" });
      await changeRecord(frame.chat, frame.id, () => ({ deleted: true, body: "", media: null }));
      return [];
    },
    async chat_added({ chat: info }) {
      return [saveChat(models.ensureChat(info))];
    },
    async group_changed(frame) {
      const line = groups.changed(frame);
      const chat = models.chats.get(frame.chat);
      await models.messages.processMultipleMessages(chat.id, [models.attributesOf(line, true)]);
      return [saveMessage(line), saveChat(chat)];
    },
    async call(frame) {
      if (frame.state === "ringing") {
        people.rings(frame);
        return [];
      }
      people.ended(frame);
      const chat = await chatOf(frame.group || frame.sender);
      // WhatsApp writes a line about it into the chat.
      const line = {
        id: frame.id, chat: String(chat.id), sender: frame.sender, from_me: false, type: "call_log",
        subtype: frame.video ? "miss_video" : "miss", ts: frame.ts,
      };
      await models.messages.processMultipleMessages(chat.id, [models.attributesOf(line, true)]);
      return [saveMessage(line), saveChat(chat)];
    },
  };

  const sync = async ({ chats = [], contacts = [], messages = [] }) => {
    const records = [];
    for (const contact of contacts) {
      models.ensureContact(contact);
      records.push(["contacts", contact.wid, contact]);
    }
    for (const info of chats) records.push(saveChat(models.ensureChat(info)));
    for (const message of messages) {
      const chat = models.ensureChat({ wid: message.chat });
      models.addMessage(chat, models.attributesOf(message, false));
      records.push(saveMessage(message));
    }
    await vault.putAll(records);
  };

  let storedSeq = 0;
  const keepQueued = async (frame) => {
    if (frame.seq > storedSeq) {
      const records = await queued[frame.t](frame);
      await vault.putAll([...records, ["state", "stored_seq", frame.seq]]);
      storedSeq = frame.seq;
      localStorage.setItem("sandbox-freshness", String(frame.seq));
    }
    link.post({ t: "stored", seq: frame.seq });
  };

  const handle = async (frame) => {
    if (frame.t in queued) await keepQueued(frame);
    else if (frame.t === "sync") await sync(frame);
    else if (frame.t === "presence") people.seen(frame);
    else await session.handlers[frame.t]?.(frame);
    if (frame.t === "unlinked" || frame.t === "refused") storedSeq = 0;
  };

  // Frames are worked off strictly one after the other. One that fails was not stored: the line
  // starts over, so that no later frame confirms it.
  let last = Promise.resolve();
  link.on("frame", (frame) => {
    const { socket } = link;
    last = last
      .then(() => socket === link.socket && handle(frame))
      .catch((error) => {
        console.error("sandbox:", frame.t, error);
        socket?.close();
      });
  });

  const loadKept = async () => {
    storedSeq = await vault.storedSeq();
    for (const contact of await vault.all("contacts")) models.ensureContact(contact);
    for (const chat of await vault.all("chats")) models.ensureChat(chat);
    const records = await vault.all("messages");
    records.sort((one, other) => one.ts - other.ts || one.order - other.order);
    for (const record of records) {
      const chat = models.ensureChat({ wid: record.chat });
      reactions.load(record, models.addMessage(chat, models.attributesOf(record, false)));
    }
    return records;
  };

  return { loadKept, saveChat, saveMessage, recordKey };
});
