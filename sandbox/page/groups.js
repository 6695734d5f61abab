// Groups: who is in them, and what changes about them.
//
// Owns the group's metadata, asked of the switch once a page, and the lines that a change writes
// into the group's chat. Never changes a group.
"use strict";
standIn("SandboxGroups", (require) => {
  const { modelClass, collectionClass } = require("SandboxBase");
  const { createWid } = require("SandboxIds");
  const { hex } = require("SandboxBytes");
  const { link } = require("SandboxLink");
  const models = require("SandboxModels");

  // The switch's word → WhatsApp's action on members, and the subtype of its line in the chat.
  const ACTIONS = {
    added: { action: "add" },
    joined: { action: "add", reason: "invite" },
    removed: { action: "remove" },
    left: { action: "remove" },
    promoted: { action: "promote" },
    demoted: { action: "demote" },
  };
  const LINES = {
    created: "create", added: "add", joined: "invite", removed: "remove", left: "leave",
    promoted: "promote", demoted: "demote", name: "subject", description: "description",
    picture: "picture", announce_only: "announce",
  };

  const isMe = (id) => [models.me.wid, models.me.lid].some((own) => own && own.equals(id));
  const ParticipantCollection = collectionClass(modelClass("participant"));
  Object.assign(ParticipantCollection.prototype, {
    iAmMember() {
      return this.some(({ id }) => isMe(id));
    },
    iAmAdmin() {
      return this.some(({ id, isAdmin }) => isAdmin && isMe(id));
    },
  });

  const fill = (metadata, people) => {
    metadata.participants.reset();
    for (const { wid, admin = false, phone = "" } of people) {
      models.learnLid(phone, phone && wid);
      metadata.participants.add({ id: createWid(wid), isAdmin: admin, isSuperAdmin: false });
    }
  };

  // The metadata of a ChatInfo, made when it is new.
  const ensure = ({ wid, name, participants = [] }) => {
    const known = models.groups.get(wid);
    const metadata =
      known ??
      models.groups.add({
        id: createWid(wid), subject: name, participants: new ParticipantCollection(), stale: true,
      })[0];
    if (name) metadata.subject = name;
    if (participants.length) fill(metadata, participants.map((one) => ({ wid: one })));
    return metadata;
  };

  // WhatsApp asks its server for what is stale.
  models.GroupMetadataCollectionImpl.prototype.find = async function find(wid) {
    const metadata = this.get(wid);
    if (!metadata?.stale) return metadata;
    const { group } = await link.request({ t: "query_group", wid: String(wid) }).catch(() => ({}));
    if (!group) return metadata;
    fill(metadata, group.participants);
    return metadata.set({
      subject: group.name,
      desc: group.description,
      owner: createWid(group.owner),
      creation: group.created_ts,
      announce: Boolean(group.announce_only),
      stale: false,
    });
  };

  // A change that the switch tells. Gives the record of its line in the chat.
  const changed = (frame) => {
    const { chat, change, by, ts, info, members = [], value = "" } = frame;
    models.ensureChat(info).groupMetadata.stale = true;
    const action = ACTIONS[change];
    if (action) {
      callStandIn("WAWebUpdateDbForGroupAction", "updateDBForGroupAction",
        { author: createWid(by), chatId: createWid(chat), ts },
        { ...action, actionType: action.action, participants: members.map((id) => createWid(id)) });
    }
    return {
      id: `3A${hex(9)}`, chat, sender: by, from_me: isMe(createWid(by)), type: "gp2", subtype: LINES[change],
      body: value, recipients: members, ts,
    };
  };

  return { ensure, changed };
});
