// Wids and message keys.
//
// Owns their grammar: `<user>@<server>` and `<fromMe>_<remote>_<hex>[_<participant>]`.
"use strict";
standIn("SandboxBytes", () => {
  const hex = (length) =>
    Array.from(crypto.getRandomValues(new Uint8Array(length)), (byte) =>
      byte.toString(16).padStart(2, "0").toUpperCase(),
    ).join("");
  const toBase64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
  const fromBase64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer;
  return { hex, toBase64, fromBase64, unixTime: () => Math.floor(Date.now() / 1000) };
});

standIn("SandboxIds", (require) => {
  const { hex } = require("SandboxBytes");

  class Wid {
    constructor(text) {
      const parts = /^([^@:]*)(?::(\d+))?@(.+)$/.exec(text);
      if (!parts) throw new Error(`wid error: invalid wid ${text}`);
      this.user = parts[1];
      this.server = parts[3];
      this._serialized = text;
    }

    static isXWid() {
      return false;
    }

    static isWid(thing) {
      return thing instanceof Wid || /^[^@]+@[^@]+$/.test(String(thing));
    }

    static equals(one, other) {
      return String(one) === String(other);
    }

    static user(text) {
      return String(text).split("@")[0];
    }

    isUser() {
      return ["c.us", "lid", "bot"].includes(this.server);
    }

    isRegularUser() {
      return ["c.us", "lid"].includes(this.server);
    }

    isGroup() {
      return this.server === "g.us";
    }

    isLid() {
      return this.server === "lid";
    }

    isBot() {
      return this.server === "bot";
    }

    isNewsletter() {
      return this.server === "newsletter";
    }

    isBroadcast() {
      return this.server === "broadcast";
    }

    isStatusV3() {
      return this._serialized === "status@broadcast";
    }

    isStatus() {
      return this.isStatusV3();
    }

    isPSA() {
      return false;
    }

    isServer() {
      return false;
    }

    equals(other) {
      return Boolean(other) && String(other) === this._serialized;
    }

    toString() {
      return this._serialized;
    }

    toJSON() {
      return this._serialized;
    }

    toLogString() {
      return this._serialized;
    }
  }

  // WhatsApp has each of these as a static function of a text, too.
  for (const test of ["isUser", "isGroup", "isLid", "isBroadcast", "isStatusV3", "isStatus", "isPSA", "isServer"]) {
    Wid[test] = (thing) => createWid(thing)[test]();
  }

  const createWid = (thing) => {
    if (thing instanceof Wid) return thing;
    return new Wid(thing && thing._serialized ? thing._serialized : String(thing));
  };
  const createUserWid = (user, server = "c.us") => new Wid(`${String(user).split("@")[0]}@${server}`);

  class MsgKey {
    constructor(parts) {
      if (!parts) throw new Error("MsgKey error: obj is null/undefined");
      this.fromMe = parts.fromMe ?? parts.selfDir === "out";
      this.remote = createWid(parts.remote ?? (this.fromMe ? parts.to : parts.from));
      this.id = parts.id;
      if (parts.participant) this.participant = createWid(parts.participant);
      if (parts.selfDir) this.self = parts.selfDir;
      const words = [this.fromMe, this.remote, this.id];
      if (this.participant) words.push(this.participant);
      this._serialized = words.join("_");
    }

    static fromString(text) {
      const [fromMe, remote, id, participant] = String(text).split("_");
      if (!id) throw new Error(`MsgKey error: invalid ${text}`);
      return new MsgKey({ fromMe: fromMe === "true", remote, id, participant });
    }

    static async newId() {
      return `3EB0${hex(9)}`;
    }

    static newId_DEPRECATED() {
      return `3EB0${hex(8)}`;
    }

    equals(other) {
      return String(other) === this._serialized;
    }

    clone() {
      return new MsgKey(this);
    }

    toString() {
      return this._serialized;
    }
  }

  return { Wid, MsgKey, createWid, createUserWid };
});
