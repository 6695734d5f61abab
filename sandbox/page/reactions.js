// Reactions and votes, by message and person.
//
// Owns them in memory, and their place in the kept records; wa-js's getters read them here. Never
// talks to the switch.
"use strict";
standIn("SandboxReactions", (require) => {
  const vault = require("SandboxVault");
  const models = require("SandboxModels");
  const { MsgKey, createWid } = require("SandboxIds");
  const { hex } = require("SandboxBytes");

  const reactions = new Map(); // key of the message → Map of sender → {emoji, ts, msgKey}
  const votes = new Map(); // key of the poll → Map of sender → {options, ts}

  const of = (all, key) => {
    const name = String(key);
    if (!all.has(name)) all.set(name, new Map());
    return all.get(name);
  };

  const senderKey = (parent, sender) => {
    const own = sender === String(models.me.wid);
    const participant = parent.remote.isGroup() ? sender : undefined;
    return new MsgKey({ fromMe: own, remote: parent.remote, id: `3A${hex(9)}`, participant });
  };

  // An empty emoji takes the reaction back. Gives what WhatsApp's own code passes on.
  const react = async (parent, sender, emoji, ts) => {
    const msgKey = senderKey(parent, sender);
    const people = of(reactions, parent);
    if (emoji) people.set(sender, { emoji, ts, msgKey });
    else people.delete(sender);
    const message = models.messages.get(parent);
    if (message) message.hasReaction = people.size > 0;
    await vault.update("messages", `${parent.remote}/${parent.id}`, (kept) => ({
      ...kept,
      reactions: { ...kept.reactions, [sender]: { emoji, ts } },
    }));
    return {
      msgKey: String(msgKey), parentMsgKey: String(parent), orphan: 0, reactionText: emoji,
      read: false, senderUserJid: sender, t: ts,
    };
  };

  const optionIds = (message, options) =>
    (message?.pollOptions ?? []).filter(({ name }) => options.includes(name)).map(({ localId }) => localId);

  const voteData = (parent, sender, { options, ts }) => ({
    ack: 1,
    msgKey: senderKey(parent, sender),
    parentMsgKey: parent,
    sender: createWid(sender),
    senderTimestampMs: ts * 1000,
    selectedOptionLocalIds: optionIds(models.messages.get(parent), options),
  });

  const vote = async (parent, sender, options, ts) => {
    of(votes, parent).set(sender, { options, ts });
    await vault.update("messages", `${parent.remote}/${parent.id}`, (kept) => ({
      ...kept,
      votes: { ...kept.votes, [sender]: { options, ts } },
    }));
    return voteData(parent, sender, { options, ts });
  };

  // Those of a kept record, after its message was made.
  const load = (record, message) => {
    for (const [sender, { emoji, ts }] of Object.entries(record.reactions ?? {})) {
      if (emoji) of(reactions, message.id).set(sender, { emoji, ts, msgKey: senderKey(message.id, sender) });
    }
    message.hasReaction = of(reactions, message.id).size > 0;
    for (const [sender, one] of Object.entries(record.votes ?? {})) of(votes, message.id).set(sender, one);
  };

  const getReactions = async (id) => {
    const senders = [...of(reactions, id)].map(([sender, { emoji, ts, msgKey }]) => ({
      msgKey, parentMsgKey: MsgKey.fromString(String(id)), orphan: 0, reactionText: emoji, read: true,
      senderUserJid: sender, timestamp: ts, ack: 1,
    }));
    const own = String(models.me.wid);
    const emojis = [...new Set(senders.map(({ reactionText }) => reactionText))];
    return {
      reactionByMe: senders.find(({ senderUserJid }) => senderUserJid === own),
      reactions: emojis.map((aggregateEmoji) => ({
        aggregateEmoji,
        senders: senders.filter(({ reactionText }) => reactionText === aggregateEmoji),
      })),
    };
  };

  const getVotes = async (keys) =>
    keys.flatMap((key) => [...of(votes, key)].map(([sender, one]) => voteData(key, sender, one)));

  const clear = () => {
    reactions.clear();
    votes.clear();
  };

  return { react, vote, load, getReactions, getVotes, clear };
});
