// Names, abouts and pictures: ours and others'.
//
// Owns what wa-js asks about them, each time anew of the switch, and what changes our own.
"use strict";
standIn("SandboxProfiles", (require) => {
  const { BaseCollection } = require("SandboxBase");
  const { link } = require("SandboxLink");
  const media = require("SandboxMedia");
  const { Conn } = require("SandboxSession");
  const { change } = require("SandboxOutbound");

  const ask = async (wid) => (await link.request({ t: "query_profile", wid: String(wid) })).profile;

  class ProfilePicThumbCollectionImpl extends BaseCollection {
    async find(wid) {
      const profile = await ask(wid);
      if (!profile?.picture) return undefined;
      const url = `${location.origin}${sandboxConfig.mediaPath}/${profile.picture}`;
      return { id: wid, eurl: url, img: url, imgFull: url };
    }
  }
  class TextStatusCollectionImpl extends BaseCollection {
    async find(wid) {
      return { id: wid, status: (await ask(wid))?.about };
    }
  }

  const sendSetPicture = async (_wid, _preview, picture) => {
    const blob = await (await fetch(picture)).blob();
    const stored = await media.upload({ blob, mimetype: blob.type }, "");
    await change({ t: "set_profile", picture: stored });
    return { status: 200 };
  };
  const requestDeletePicture = async () => {
    await change({ t: "set_profile", remove_picture: true });
    return { status: 200 };
  };
  const setMyStatus = async (about) => {
    await change({ t: "set_profile", about });
    return { status: 200 };
  };
  const setPushname = async (name) => {
    await change({ t: "set_profile", name });
    Conn.pushname = name;
  };

  return {
    ProfilePicThumbCollectionImpl, TextStatusCollectionImpl,
    sendSetPicture, requestDeletePicture, setMyStatus, setPushname,
    getStatus: ask, queryStatusAll() {}, getPushname: () => Conn.pushname,
    setBrowserId() {}, getUserPrivacySettings: () => ({}),
  };
});
