// The stand-ins for WhatsApp Web's modules: names and shapes that wa-js looks for.
//
// Owns the table only; what the exports do is in the Sandbox… modules.
"use strict";
(() => {
  const from = (id, ...names) => (require) => {
    const all = require(id);
    return Object.fromEntries(names.map((name) => [name, all[name]]));
  };
  const asDefault = (id, name) => (require) => ({ default: require(id)[name] });
  const states = (names) => Object.fromEntries(names.map((name) => [name, name]));
  const emptyCollection = (name) => (require) => ({
    [name]: new (require("SandboxBase").BaseCollection)(),
  });

  // ---- identity, time, constants ----
  standIn("WAWebWid", asDefault("SandboxIds", "Wid"));
  standIn("WAWebMsgKey", asDefault("SandboxIds", "MsgKey"));
  standIn("WAWebWidFactory", (require) => {
    const { Wid, createWid, createUserWid } = require("SandboxIds");
    return {
      createWid,
      createUserWid,
      createUserWidOrThrow: createUserWid,
      isWidlike: (thing) => thing instanceof Wid,
      createWidFromWidLike: createWid,
      toUserWid: createWid,
    };
  });
  standIn("WAWebUserPrefsMeUser", (require) => {
    const { me } = require("SandboxModels");
    return {
      getMaybeMePnUser: () => me.wid,
      getMaybeMeLidUser: () => me.lid,
      getMe: () => me.wid,
      getMeLidUserOrThrow() {
        // An account without a lid goes by its number everywhere.
        if (!me.lid && !me.wid) throw new Error("not logged in");
        return me.lid ?? me.wid;
      },
    };
  });
  standIn("WAWebBuildConstants", () => ({
    SANITIZED_VERSION_STR: sandboxConfig.version,
    VERSION_BASE: sandboxConfig.version,
  }));
  standIn("WATimeUtils", (require) => ({
    unixTime: require("SandboxBytes").unixTime,
    unixTimeMs: () => Date.now(),
  }));
  standIn("WAWebAck", () => ({
    ACK: { FAILED: -1, CLOCK: 0, SENT: 1, RECEIVED: 2, READ: 3, PLAYED: 4, PEER: 5 },
    ACK_STRING: {},
    EDIT_ATTR: {},
  }));
  standIn("WAWebMsgType", () => ({
    MSG_TYPE: {
      CHAT: "chat", IMAGE: "image", VIDEO: "video", AUDIO: "audio", PTT: "ptt",
      DOCUMENT: "document", STICKER: "sticker", PROTOCOL: "protocol", REVOKED: "revoked",
      CIPHERTEXT: "ciphertext", ALBUM: "album", LOCATION: "location", VCARD: "vcard",
      MULTI_VCARD: "multi_vcard", POLL_CREATION: "poll_creation", GP2: "gp2", CALL_LOG: "call_log",
    },
    SYSTEM_MESSAGE_TYPES: [],
  }));
  standIn("WAWebSendMsgResult", () => ({
    SendMsgResult: states(["OK", "ERROR_NETWORK", "ERROR_UNKNOWN"]),
  }));
  standIn("WAWebSocketConstants", () => ({
    SOCKET_STATE: states([
      "OPENING", "PAIRING", "UNPAIRED", "UNPAIRED_IDLE", "CONNECTED", "TIMEOUT", "CONFLICT",
      "UNLAUNCHED", "PROXYBLOCK", "TOS_BLOCK", "SMB_TOS_BLOCK", "DEPRECATED_VERSION",
    ]),
    SOCKET_STREAM: {},
    WATCHED_SOCKET_STATE: {},
  }));

  // ---- login ----
  standIn("WAWebConnModel", from("SandboxSession", "Conn", "ConnImpl"));
  standIn("WAWebSocketModel", from("SandboxSession", "Socket"));
  standIn("WAWebStreamModel", from("SandboxSession", "Stream"));
  standIn("WAWebCmd", from("SandboxSession", "Cmd", "CmdImpl"));
  standIn("WAWebNetworkStatus", asDefault("SandboxSession", "Network"));
  standIn("WAWebBackendEventBus", (require) => ({
    BackendEventBus: new (require("SandboxBase").Emitter)(),
    BackendEvent: {},
  }));
  standIn("WAWebLinkDeviceEvents", (require) => ({
    WAWebLinkDeviceEvents: require("SandboxSession").LinkDeviceEvents,
  }));
  standIn("WAWebAuthStatus", (require) => ({
    isLoggedIn: () => Boolean(require("SandboxModels").me.wid),
  }));
  standIn("WAWebUserPrefsRegistration", (require) => ({
    isRegistered: () => Boolean(require("SandboxModels").me.wid),
  }));
  standIn("WAWebNoiseInfo", (require) => ({
    waNoiseInfo: {
      get: async () => ({ staticKeyPair: { pubKey: require("SandboxSession").secrets.noise } }),
    },
  }));
  standIn("WAWebSignalStore", (require) => ({
    waSignalStore: {
      getRegistrationInfo: async () => ({
        registrationId: 1,
        identityKeyPair: { pubKey: require("SandboxSession").secrets.identity },
      }),
    },
  }));
  standIn("WAWebAdvApi", (require) => ({
    getADVSecretKey: () => require("SandboxSession").secrets.adv,
    setADVSignedIdentity() {},
  }));
  standIn("WABase64", (require) => {
    const { toBase64, fromBase64 } = require("SandboxBytes");
    return { encodeB64: toBase64, decodeB64: fromBase64 };
  });
  standIn("WAWebLogoutReasonUtils", () => ({
    getErrorCodeFromLogoutReason: (reason) => reason,
    setPrevLogoutReasonCode() {},
    getPrevLogoutReasonCode() {},
    setPrevCustomLogoutMessage() {},
    getPrevCustomLogoutMessage() {},
  }));
  standIn("WAWebAltDeviceLinkingApi", (require) => ({
    initializeAltDeviceLinking: async () => {},
    genLinkDeviceCodeForPhoneNumber: require("SandboxSession").pairingCode,
  }));

  // ---- models and collections ----
  standIn("WAWebBaseModel", (require) => ({
    BaseModel: require("SandboxBase").BaseModel,
    defineModel() {},
  }));
  standIn("WAWebMsgModel", from("SandboxModels", "Msg"));
  standIn("WAWebChatModel", from("SandboxModels", "Chat"));
  standIn("WAWebContactModel", asDefault("SandboxModels", "Contact"));
  standIn("WAWebMsgCollection", (require) => {
    const { messages, MsgCollectionImpl } = require("SandboxModels");
    return { MsgCollection: messages, MsgCollectionImpl };
  });
  standIn("WAWebChatCollection", (require) => {
    const { chats, ChatCollectionImpl } = require("SandboxModels");
    return { ChatCollection: chats, ChatCollectionImpl };
  });
  standIn("WAWebContactCollection", (require) => {
    const { contacts, ContactCollectionImpl } = require("SandboxModels");
    return { ContactCollection: contacts, ContactCollectionImpl };
  });
  standIn("WAWebGroupMetadataCollection", (require) => {
    const { groups, GroupMetadataCollectionImpl } = require("SandboxModels");
    return { default: groups, GroupMetadataCollectionImpl };
  });
  standIn("WAWebNewsletterCollection", (require) => ({
    default: new (require("SandboxModels").ChatCollectionImpl)(),
  }));
  standIn("WAWebBlocklistCollection", emptyCollection("BlocklistCollection"));
  standIn("WAWebStatusCollection", emptyCollection("StatusCollection"));
  standIn("WAWebChatLoadMessages", from("SandboxModels", "ChatMsgsCollection"));

  // ---- sending ----
  standIn("WAWebFindChatAction", from("SandboxOutbound", "findOrCreateLatestChat"));
  standIn("WAWebSendMsgChatAction", from("SandboxOutbound", "addAndSendMsgToChat"));
  standIn("WAWebSendMessageEditAction", from("SandboxOutbound", "addAndSendMessageEdit"));
  standIn("WAWebSendReactionMsgAction", from("SandboxOutbound", "sendReactionToMsg"));
  standIn("WAWebGetEphemeralFieldsMsgActionsUtils", () => ({ getEphemeralFields: () => ({}) }));
  standIn("WAWebUpdateUnreadChatAction", (require) => ({
    markUnread: async () => {},
    sendSeen: require("SandboxOutbound").sendSeen,
  }));
  const EDITABLE_S = 15 * 60;
  const isEditable = ({ id, ack, type, t }) =>
    id.fromMe && ack >= 1 && type !== "revoked" && Date.now() / 1000 - t < EDITABLE_S;
  standIn("WAWebMsgActionCapability", () => ({
    canReplyMsg: (message) => message.type !== "revoked",
    canEditText: (message) => isEditable(message) && message.type === "chat",
    canEditCaption: (message) => isEditable(message) && message.isMedia,
  }));
  standIn("WAWebQuotedMsgModelUtils", (require) => ({
    getQuotedMsgObj: require("SandboxModels").quotedOf,
  }));
  standIn("WAWebQueryExistsJob", (require) => ({
    queryPhoneExists: async () => null,
    queryWidExists: require("SandboxOutbound").queryWidExists,
  }));
  const lidLookups = (require) => {
    const { lids, numbers } = require("SandboxModels");
    const { createWid } = require("SandboxIds");
    const lookUp = (map) => (wid) => (map.has(String(wid)) ? createWid(map.get(String(wid))) : null);
    return { getCurrentLid: lookUp(lids), getPhoneNumber: lookUp(numbers) };
  };
  standIn("WAWebApiContact", lidLookups);
  standIn("WAWebLidPnCache", (require) => ({ lidPnCache: lidLookups(require) }));
  standIn("WAWebDBMessageFindLocal", (require) => {
    const find = async (query) => ({ messages: require("SandboxModels").messagesBeside(query) });
    return {
      msgFindByDirection: find,
      msgFindBefore: (query) => find({ ...query, direction: "before" }),
      msgFindAfter: (query) => find({ ...query, direction: "after" }),
    };
  });
  standIn("WAWebChatMessageSearch", (require) => ({
    getSearchContext() {
      const collection = new (require("SandboxModels").MsgCollectionImpl)();
      collection.loadAroundPromise = Promise.resolve();
      return { collection };
    },
  }));

  // ---- receiving: wa-js wraps these ----
  standIn("WAWebHandleDirectChatReceipt", () => ({ handleChatSimpleReceipt: async () => {} }));
  standIn("WAWebHandleGroupChatReceipt", () => ({ handleGroupSimpleReceipt: async () => {} }));
  standIn("WAWebHandleStatusReceipt", () => ({ handleStatusSimpleReceipt: async () => {} }));

  // ---- media ----
  standIn("WAWebMediaOpaqueData", asDefault("SandboxMedia", "OpaqueData"));
  standIn("WAWebMediaGatingUtils", () => ({ getUploadLimit: () => 64 * 1024 * 1024 }));
  standIn("WAWebPrepRawMedia", (require) => {
    const { MediaPrep } = require("SandboxOutbound");
    return {
      MediaPrep,
      uploadProductImage() {},
      prepRawMedia: (data, options) => new MediaPrep(data, options),
    };
  });
})();
