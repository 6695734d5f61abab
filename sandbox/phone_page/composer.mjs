// The composer: a new message, an answer to one, or a change of an own one.
//
// Owns what is being written and attached. Never draws the chat.

import { call, phonePath, upload } from "./api.mjs";
import { byId } from "./dom.mjs";
import { author, excerpt } from "./messages.mjs";

let about = null; // {act: "reply" | "edit", message}
let file = null;

const show = () => {
  byId("about").hidden = !about;
  if (about) {
    const text = excerpt(about.message);
    byId("about-text").textContent = about.act === "edit" ? `Editing: ${text}` : `Reply to ${author(about.message)}: ${text}`;
  }
  byId("attached").hidden = !file;
  byId("attached-name").textContent = file ? `Attached: ${file.name}` : "";
  const editing = about?.act === "edit";
  byId("file").disabled = editing;
  byId("send").textContent = editing ? "Save" : "Send";
};

const attach = (chosen) => {
  file = chosen ?? null;
  byId("file").value = "";
  show();
};

// Starts an answer or a change; without a message, empties everything.
export const compose = (act, message) => {
  const wasEdit = about?.act === "edit";
  about = message ? { act, message } : null;
  if (act === "edit") byId("body").value = message.body;
  if (!message || (wasEdit && act !== "edit")) byId("body").value = "";
  if (!message || act === "edit") file = null;
  show();
  if (message) byId("body").focus();
};

const send = async (open) => {
  const body = byId("body").value.trim();
  if (about?.act === "edit") {
    if (!body) return "";
    await call("POST", phonePath(open.number, "/edit"), { chat: open.chat, id: about.message.id, text: body });
  } else {
    if (!body && !file) return "";
    const attached = file ? await upload(file) : {};
    const quoted_id = about?.message.id ?? "";
    await call("POST", phonePath(open.number, "/messages"), { to: open.chat, body, quoted_id, ...attached });
  }
  compose();
  return "";
};

// `guarded(act)` makes a handler of an act; `open` knows the phone and the chat.
export const wireComposer = (guarded, open) => {
  const form = byId("composer");
  const body = byId("body");
  let sending = false;
  form.onsubmit = guarded(async () => {
    if (sending) return "";
    sending = true;
    return send(open).finally(() => { sending = false; });
  });
  body.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
    if (event.key === "Escape" && about) compose();
  };
  byId("file").onchange = ({ target }) => attach(target.files[0]);
  byId("attached-off").onclick = () => { attach(); body.focus(); };
  byId("about-off").onclick = () => { compose(); body.focus(); };
  form.onpaste = (event) => {
    if (!event.clipboardData.files.length || about?.act === "edit") return;
    event.preventDefault();
    attach(event.clipboardData.files[0]);
  };
  const chat = byId("chat");
  chat.ondrop = (event) => {
    if (open.chat && about?.act !== "edit" && event.dataTransfer.files.length) attach(event.dataTransfer.files[0]);
  };
};
