// Presence and calls: what others do at this moment.
//
// Owns the presence models, the call models, and what goes out about our own presence. Keeps
// nothing: all of it is over with the page.
"use strict";
standIn("SandboxPeople", (require) => {
  const { BaseCollection, BaseModel, modelClass, collectionClass } = require("SandboxBase");
  const { createWid } = require("SandboxIds");

  // ---- presence ----

  const TYPES = { typing: "composing", recording: "recording_audio" };

  const ChatstateCollection = collectionClass(modelClass("chatstate"));
  const Presence = modelClass("presence");
  const PresenceCollectionImpl = collectionClass(Presence);
  PresenceCollectionImpl.prototype.find = async function find(wid) {
    return ensure(wid);
  };
  const presences = new PresenceCollectionImpl();

  const ensure = (wid) => {
    const id = createWid(wid);
    return (
      presences.get(id) ??
      presences.add({
        id,
        isUser: id.isUser(),
        isGroup: id.isGroup(),
        isOnline: false,
        hasData: false,
        isSubscribed: false,
        chatstate: new BaseModel({ id, type: undefined }),
        chatstates: new ChatstateCollection(),
        // WhatsApp asks its server here; this page asks when a subscription is wanted.
        async subscribe() {},
      })[0]
    );
  };

  const seen = ({ chat, sender, state }) => {
    const presence = ensure(chat);
    const type = TYPES[state] ?? state;
    if (presence.isGroup) {
      const known = presence.chatstates.get(sender);
      if (known) known.type = type;
      else presence.chatstates.add({ id: createWid(sender), type });
    }
    presence.hasData = true;
    presence.isOnline = state !== "unavailable";
    presence.chatstate.type = type;
    // WhatsApp's collection hears of changes inside its models' parts.
    presences.trigger("change:chatstate.type", presence.chatstate);
  };

  const ask = (frame) => require("SandboxOutbound").change(frame);
  const subscribe = async (wid) => {
    await ask({ t: "subscribe_presence", chat: String(wid) });
    ensure(wid).isSubscribed = true;
  };
  const show = (state) => (chat) => ask({ t: "show_presence", chat: String(chat.id), state });

  // ---- calls ----

  const CallState = { None: 0, ReceivedCall: 3, CallActive: 6, CallStateEnding: 13 };
  class CallCollectionImpl extends BaseCollection {
    processIncomingCall(call) {
      this.activeCall = this.add(call)[0];
      return this.activeCall;
    }
  }
  CallCollectionImpl.model = modelClass("call", {
    getState() {
      return this.state;
    },
  });
  const calls = new CallCollectionImpl();
  calls.activeCall = null;

  const rings = ({ id, sender, video, group, ts }) =>
    calls.processIncomingCall({
      id,
      peerJid: createWid(sender),
      groupJid: group ? createWid(group) : undefined,
      isGroup: Boolean(group),
      isVideo: Boolean(video),
      offerTime: ts,
      outgoing: false,
      state: CallState.ReceivedCall,
    });
  const ended = ({ id }) => {
    const call = calls.get(id);
    if (call) call.state = CallState.CallStateEnding;
    if (calls.activeCall === call) calls.activeCall = null;
  };

  const clear = () => {
    presences.reset();
    calls.reset();
  };

  return {
    Presence, PresenceCollectionImpl, presences, ensure, seen, subscribe, clear,
    CallState, CallCollectionImpl, calls, rings, ended,
    chatPresence: {
      markComposing: show("typing"), markRecording: show("recording"), markPaused: show("paused"),
      sendPresenceAvailable() {}, sendPresenceUnavailable() {},
    },
  };
});
