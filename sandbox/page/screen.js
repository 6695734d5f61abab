// The little there is to see: state, the QR's text, chats, dialogs.
//
// Owns the page's DOM. Never changes a session, except by what the user clicks.
"use strict";
standIn("SandboxScreen", (require) => {
  const session = require("SandboxSession");
  const { link } = require("SandboxLink");
  const models = require("SandboxModels");
  const { Conn, Socket, Stream } = session;
  const byId = (id) => document.getElementById(id);

  const drawState = () => {
    byId("state").textContent = `${Stream.mode ?? "LOADING"} · ${Socket.state}`;
    byId("who").textContent = models.me.wid ? String(models.me.wid) : "";
    byId("link").hidden = !Conn.ref;
    byId("qr").textContent = Conn.ref ? session.qrText() : "";
    byId("idle").hidden = Socket.state !== "UNPAIRED_IDLE";
    byId("conflict").hidden = Stream.mode !== "CONFLICT";
  };

  const drawChats = () => {
    byId("chats").replaceChildren(
      ...models.chats.toArray().map((chat) => {
        const item = document.createElement("li");
        item.textContent = `${chat.formattedTitle} (${chat.unreadCount})`;
        return item;
      }),
    );
  };

  let drawing = false;
  const draw = () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      drawState();
      drawChats();
    });
  };

  const show = () => {
    for (const model of [Conn, Socket, Stream]) model.on("change", draw);
    models.chats.on("all", draw);
    byId("idle").onclick = () => session.Cmd.refreshQR();
    byId("take-over").onclick = () => Socket.takeover();
    byId("pass-passkey").onclick = () => link.post({ t: "passkey" });
    session.notices.on("passkey", (needed) => {
      byId("passkey").hidden = !needed;
    });
    session.notices.on("notice", ({ kind, text }) => {
      byId("notice-text").textContent = text;
      byId("notice").hidden = false;
      byId("close-notice").onclick = () => {
        byId("notice").hidden = true;
        link.post({ t: "notice_ack", kind });
      };
    });
    draw();
  };

  return { show };
});
