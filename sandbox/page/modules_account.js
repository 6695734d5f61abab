// The stand-ins for WhatsApp Web's modules about people and groups: names and shapes.
//
// Owns the table only; what the exports do is in the Sandbox… modules.
"use strict";
(() => {
  const from = (id, ...names) => (require) => {
    const all = require(id);
    return Object.fromEntries(names.map((name) => [name, all[name]]));
  };

  // ---- presence and calls ----
  standIn("WAWebPresenceCollection", (require) => ({
    PresenceCollection: require("SandboxPeople").presences,
  }));
  standIn("WAWebContactPresenceBridge", (require) => {
    const { subscribe } = require("SandboxPeople");
    return { subscribeUserPresence: subscribe, subscribeGroupPresence: subscribe };
  });
  standIn("WAWebChatStateBridge", (require) => require("SandboxPeople").chatPresence);
  standIn("WAWebCallCollection", (require) => {
    const { calls, CallCollectionImpl } = require("SandboxPeople");
    return { default: calls, CallCollectionImpl };
  });
  standIn("WAWebVoipCallState", from("SandboxPeople", "CallState"));

  // ---- groups ----
  standIn("WAWebUpdateDbForGroupAction", () => ({ updateDBForGroupAction: async () => {} }));

  // ---- reactions and votes ----
  standIn("WAWebReactionsModelCollection", () => ({
    addOrUpdateReactionsModelCollection: async () => {},
  }));
  standIn("WAWebGetReactions", from("SandboxReactions", "getReactions"));
  standIn("WAWebPollsGetVotes", (require) => ({
    getVotes: require("SandboxReactions").getVotes,
    getVote: async (key) => (await require("SandboxReactions").getVotes([key]))[0],
  }));
  standIn("WAWebPollsUpsertVotes", () => ({ upsertVotesDb: async () => {} }));

  // ---- profiles ----
  standIn("WAWebProfilePicThumbCollection", (require) => {
    const { ProfilePicThumbCollectionImpl } = require("SandboxProfiles");
    return {
      ProfilePicThumbCollection: new ProfilePicThumbCollectionImpl(),
      ProfilePicThumbCollectionImpl,
    };
  });
  standIn("WAWebTextStatusCollection", (require) => {
    const { TextStatusCollectionImpl } = require("SandboxProfiles");
    return { TextStatusCollection: new TextStatusCollectionImpl(), TextStatusCollectionImpl };
  });
  standIn("WAWebContactStatusBridge", from("SandboxProfiles", "getStatus", "setMyStatus", "queryStatusAll"));
  standIn("WAWebContactProfilePicThumbBridge", from("SandboxProfiles", "sendSetPicture", "requestDeletePicture"));
  standIn("WAWebSetPushnameConnAction", from("SandboxProfiles", "setPushname"));
  standIn("WAWebUserPrefsGeneral", from("SandboxProfiles", "getPushname", "setBrowserId", "getUserPrivacySettings"));

  // ---- link previews ----
  standIn("WALinkify", from("SandboxContents", "findFirstWebLink"));
  standIn("WAWebGenMinimalLinkPreviewChatAction", from("SandboxContents", "genMinimalLinkPreview"));
  standIn("WAWebLinkPreviewChatAction", () => ({
    getLinkPreview: (link) => callStandIn("WAWebGenMinimalLinkPreviewChatAction", "genMinimalLinkPreview", link),
  }));
})();
