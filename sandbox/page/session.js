// The login: from an empty profile or a kept one to a session in use.
//
// Owns Conn, Socket, Stream and Cmd, the objects wa-js reads the state from, and every change of
// them. Never touches messages.
"use strict";
standIn("SandboxSession", (require) => {
  const { Emitter, BaseModel } = require("SandboxBase");
  const { createWid } = require("SandboxIds");
  const { hex, toBase64, fromBase64 } = require("SandboxBytes");
  const { link, LineLost } = require("SandboxLink");
  const vault = require("SandboxVault");
  const { me } = require("SandboxModels");

  class ConnImpl extends BaseModel {}
  class SocketImpl extends BaseModel {}
  class StreamImpl extends BaseModel {}
  class CmdImpl extends Emitter {}
  class NetworkImpl extends BaseModel {}

  const Conn = new ConnImpl({
    id: "conn", ref: undefined, refTTL: 20, connected: false, pushname: "", platform: "android", wid: undefined,
  });
  const Socket = new SocketImpl({ state: "OPENING", stream: "DISCONNECTED" });
  const Stream = new StreamImpl({
    mode: undefined, info: undefined, needsUpdate: undefined, available: true,
  });
  const Cmd = new CmdImpl();
  Cmd.isMainLoaded = false;
  const Network = new NetworkImpl({ online: true, checkOnline() {} });
  const LinkDeviceEvents = new Emitter();
  LinkDeviceEvents.triggerRefreshAltLinkingCode = () =>
    LinkDeviceEvents.trigger("link_device_events:refresh_alt_linking_code");

  // What the QR carries besides the ref; a phone of the sandbox only takes the ref.
  const secrets = {
    noise: crypto.getRandomValues(new Uint8Array(32)).buffer,
    identity: crypto.getRandomValues(new Uint8Array(32)).buffer,
    adv: toBase64(crypto.getRandomValues(new Uint8Array(32))),
  };
  const instance = hex(8);
  const notices = new Emitter();
  const state = { login: null, active: false, wasMain: false };

  let becameActive = [];
  const whenActive = () =>
    state.active ? Promise.resolve() : new Promise((resolve) => becameActive.push(resolve));
  const setActive = (active) => {
    state.active = active;
    if (!active) return;
    const waiting = becameActive;
    becameActive = [];
    for (const resolve of waiting) resolve();
  };

  const qrText = () =>
    [Conn.ref, toBase64(secrets.noise), toBase64(secrets.identity), secrets.adv].join(",");

  const showLogin = () => {
    me.wid = createWid(state.login.me);
    me.lid = state.login.lid ? createWid(state.login.lid) : null;
    Conn.set({ ref: undefined, connected: true, wid: me.wid, pushname: state.login.pushname });
  };

  const hello = async () => {
    link.post({
      t: "hello",
      instance,
      app_version: sandboxConfig.version,
      device_id: state.login?.deviceId ?? "",
      public_key: state.login ? "" : toBase64(await vault.publicKey()),
      freshness: await vault.storedSeq(),
    });
  };

  const start = async () => {
    state.login = await vault.login();
    if (state.login) {
      showLogin();
      Stream.set({ mode: "SYNCING", info: "OPENING" });
    } else if (await vault.get("state", "login")) {
      // Half a profile: WhatsApp Web starts over, too.
      await vault.wipe();
    }
    link.connect();
  };

  const enterMain = () => {
    Socket.state = "CONNECTED";
    if (!Cmd.isMainLoaded) {
      Cmd.isMainLoaded = true;
      Cmd.trigger("main_loaded");
    }
    Stream.set({ mode: "MAIN", info: "NORMAL" });
    link.settled();
    setActive(true);
  };

  // The link is gone: nothing of it may stay in the profile.
  const forget = async (reason) => {
    setActive(false);
    link.drop();
    state.login = null;
    await vault.wipe();
    Cmd.isMainLoaded = false;
    require("SandboxModels").clear();
    Conn.set({ connected: false, wid: undefined });
    Socket.state = "UNPAIRED";
    callStandIn("WAWebLogoutReasonUtils", "getErrorCodeFromLogoutReason", reason);
    Cmd.trigger("logout");
    Stream.set({ mode: "QR", info: "NORMAL" });
    link.connect();
  };

  const REASONS = { user: "user_initiated", phone: "device_removed", unlinked: "device_removed" };

  const handlers = {
    async challenge({ nonce }) {
      link.post({ t: "proof", signature: toBase64(await vault.sign(fromBase64(nonce))) });
    },
    qr({ ref, ttl_ms: ttlMs }) {
      Conn.set({ ref, refTTL: ttlMs / 1000 });
      Socket.state = "UNPAIRED";
      Stream.set({ mode: "QR", info: "NORMAL" });
      link.settled();
    },
    qr_idle() {
      Conn.ref = undefined;
      Socket.state = "UNPAIRED_IDLE";
    },
    passkey_required() {
      Conn.ref = undefined;
      notices.trigger("passkey", true);
    },
    async paired({ device_id: deviceId, me: wid, lid, pushname, platform }) {
      Socket.state = "PAIRING";
      notices.trigger("passkey", false);
      state.login = { deviceId, me: wid, lid, pushname };
      await vault.keepLogin(state.login);
      Conn.platform = platform;
      showLogin();
    },
    async welcome({ first }) {
      Socket.state = "CONNECTED";
      if (first || Stream.mode !== "MAIN") Stream.set({ mode: "SYNCING", info: "SYNCING" });
    },
    sync_done: enterMain,
    async refused({ reason }) {
      if (reason !== "bad_proof") await forget(REASONS[reason] ?? reason);
    },
    async unlinked({ reason }) {
      await forget(REASONS[reason] ?? reason);
    },
    conflict() {
      setActive(false);
      Socket.state = "CONFLICT";
      Stream.mode = "CONFLICT";
    },
    notice(frame) {
      if (frame.kind === "version") Stream.needsUpdate = true;
      else notices.trigger("notice", frame);
    },
  };

  link.on("open", () => hello());
  link.on("lost", () => {
    setActive(false);
    if (Socket.state !== "CONFLICT") Socket.state = "OPENING";
    if (Stream.mode === "MAIN") Stream.info = "OFFLINE";
  });

  Socket.logout = () => {
    if (state.login) link.post({ t: "logout" });
  };
  Socket.takeover = () => link.post({ t: "takeover" });
  Cmd.refreshQR = () => link.post({ t: "refresh_qr" });

  const pairingCode = async (phone) => {
    const answer = await link.request({ t: "request_pairing_code", phone });
    if (!answer.code) throw new Error("no such phone");
    return answer.code;
  };

  return {
    Conn, ConnImpl, Socket, Stream, Cmd, CmdImpl, Network, LinkDeviceEvents, LineLost, secrets,
    notices, state, whenActive, qrText, start, pairingCode, handlers,
  };
});
