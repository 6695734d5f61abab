// What the user does: send, edit, react, delete, read.
//
// Owns a message's way out: kept in IndexedDB first, sent until the switch answers, with the same
// id over every reconnect and restart. Never reads what comes in.
"use strict";
standIn("SandboxOutbound", (require) => {
  const vault = require("SandboxVault");
  const media = require("SandboxMedia");
  const { link, LineLost } = require("SandboxLink");
  const { createWid } = require("SandboxIds");
  const { unixTime } = require("SandboxBytes");
  const session = require("SandboxSession");
  const models = require("SandboxModels");
  const contents = require("SandboxContents");
  const reactions = require("SandboxReactions");
  const inbound = require("SandboxInbound");

  // Asks the switch until it answers, over any number of lost lines.
  const ask = async (frame) => {
    for (;;) {
      await session.whenActive();
      try {
        return await link.request(frame);
      } catch (error) {
        if (!(error instanceof LineLost)) throw error;
        // The line may be lost without having been noticed yet: let its end be handled first.
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  };

  const recordOf = (message) => ({
    id: message.id.id,
    chat: String(message.id.remote),
    sender: String(models.me.wid),
    from_me: true,
    type: message.type,
    ts: message.t ?? unixTime(),
    body: (message.isMedia ? message.caption : message.body) ?? "",
    media: message.sandboxMedia ?? null,
    quoted_id: message.quotedStanzaID ?? "",
    quoted_sender: message.quotedParticipant ? String(message.quotedParticipant) : "",
    mentions: (message.mentionedJidList ?? []).map(String),
    ack: message.ack ?? 0,
    ...contents.recordOf(message),
  });

  const deliver = async (message) => {
    const record = recordOf(message);
    const { id, chat, type, body, media: ref, quoted_id, mentions } = record;
    const { location, contacts, poll, preview, forwarded } = record;
    const answer = await ask({
      t: "send", id, chat, type, body, media: ref, quoted_id, mentions, client_ts: record.ts,
      location, contacts, poll, preview, forwarded,
    });
    const ack = answer.t === "sent" ? 1 : -1;
    // At once: the recipients' acks come right behind this answer.
    message.updateAck(ack);
    await vault.update("messages", inbound.recordKey(record), (kept) => ({
      ...kept, ack: ack === -1 ? -1 : Math.max(kept.ack, ack),
    }));
    if (ack === 1) return { messageSendResult: "OK", t: answer.ts, count: null };
    return { messageSendResult: "ERROR_UNKNOWN", t: unixTime(), count: null };
  };

  const keepAndDeliver = async (chat, message) => {
    const record = recordOf(message);
    await vault.putAll([inbound.saveMessage(record), inbound.saveChat(chat)]);
    return deliver(message);
  };

  const addAndSendMsgToChat = (chat, attributes) => {
    const message = models.addMessage(chat, attributes);
    return [Promise.resolve(message), keepAndDeliver(chat, message)];
  };

  const mediaType = (data, options) => {
    if (options.asDocument) return "document";
    if (options.asSticker) return "sticker";
    if (options.isPtt) return "ptt";
    const family = (data.mimetype || "").split("/")[0];
    return ["image", "video", "audio"].includes(family) ? family : "document";
  };

  class MediaPrep {
    constructor(data, options) {
      this.data = data;
      this.options = options;
      this._mediaData = { type: mediaType(data, options), mimetype: data.mimetype, size: data.size };
    }

    async waitForPrep() {}

    async sendToChat({ chat, options }) {
      // wa-js starts listening for the message right after this call.
      await null;
      const { data } = this;
      const mediaData = { ...this._mediaData, mediaBlob: data, mediaStage: "UPLOADING" };
      const caption = options.caption ?? "";
      const message = models.addMessage(chat, {
        ...options.productMsgOptions,
        caption,
        body: "",
        type: mediaData.type,
        mimetype: data.mimetype,
        size: data.size,
        mediaData,
        isNewMsg: true,
      });
      message.sandboxMedia = await uploaded(data, message.filename ?? "");
      mediaData.filehash = message.sandboxMedia.media_id;
      mediaData.mediaStage = "RESOLVED";
      return keepAndDeliver(chat, message);
    }
  }

  const uploaded = async (data, filename) => {
    for (;;) {
      await session.whenActive();
      try {
        return await media.upload(data, filename);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
  };

  // What was still unsent when the browser ended.
  const resume = (records) => {
    for (const record of records) {
      if (!record.from_me || record.ack !== 0) continue;
      const message = models.messages.get(models.keyFor(record.chat, record.id, true));
      message.sandboxMedia = record.media ?? undefined;
      deliver(message).catch((error) => console.error("sandbox: resume", error));
    }
  };

  const change = async (frame) => {
    const answer = await ask(frame);
    if (!answer.ok) throw new Error(`refused: ${answer.reason}`);
  };

  const target = (message) => ({ chat: String(message.id.remote), id: message.id.id });

  const addAndSendMessageEdit = async (message, edit) => {
    await change({ t: "edit", ...target(message), body: edit.body, own_id: edit.id.id });
    if (message.isMedia) message.caption = edit.body;
    else message.body = edit.body;
    message.latestEditSenderTimestampMs = Date.now();
    message.latestEditMsgKey = edit.id;
    await vault.update("messages", inbound.recordKey(recordOf(message)), (kept) => ({
      ...kept, body: edit.body, edited: true, edited_ms: message.latestEditSenderTimestampMs,
    }));
  };

  const sendReactionToMsg = async (message, emoji) => {
    await change({ t: "react", ...target(message), emoji });
    const reaction = await reactions.react(message.id, String(models.me.wid), emoji, unixTime());
    callStandIn("WAWebReactionsModelCollection", "addOrUpdateReactionsModelCollection", reaction, true);
    return "OK";
  };

  const sendRevokeMsgs = async (chat, { list }) => {
    for (const message of list) {
      await change({ t: "delete", ...target(message) });
      const key = inbound.recordKey(recordOf(message));
      message.set({ type: "revoked", body: "", caption: "" });
      await vault.update("messages", key, (kept) => ({
        ...kept, body: "", media: null, deleted: true,
      }));
    }
  };

  const sendDeleteMsgs = async (chat, { list }) => {
    for (const message of list) {
      chat.msgs.remove(message);
      models.messages.remove(message);
      const { chat: wid, id } = target(message);
      await vault.remove("messages", `${wid}/${id}`);
    }
  };

  const sendSeen = async ({ chat }) => {
    await change({ t: "receipt", chat: String(chat.id), ack: 3 });
    chat.unreadCount = 0;
    await vault.putAll([inbound.saveChat(chat)]);
  };

  const findOrCreateLatestChat = async (wid) => {
    const known = models.chats.get(wid);
    if (known) return { chat: { id: known.id }, created: false };
    const lid = models.lids.get(String(wid));
    if (lid && models.chats.get(lid)) return { chat: { id: createWid(lid) }, created: false };
    const { chat: info } = await ask({ t: "query_chat", wid: String(wid) });
    const chat = models.ensureChat(info ?? { wid: String(wid) });
    await vault.putAll([inbound.saveChat(chat)]);
    return { chat: { id: chat.id }, created: true };
  };

  const queryWidExists = async (wid) => {
    const answer = await ask({ t: "query_exists", wid: String(wid) });
    if (!answer.wid) return null;
    if (answer.lid) {
      models.lids.set(answer.wid, answer.lid);
      models.numbers.set(answer.lid, answer.wid);
    }
    return { wid: createWid(answer.wid), biz: Boolean(answer.business) };
  };

  Object.assign(session.Cmd, { sendRevokeMsgs, sendDeleteMsgs });

  return {
    MediaPrep, addAndSendMsgToChat, addAndSendMessageEdit, sendReactionToMsg, sendSeen, resume,
    findOrCreateLatestChat, queryWidExists, change,
  };
});
