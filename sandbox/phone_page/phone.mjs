// The phone's page: one account at a time, over the phone's HTTP API.
//
// Owns this page's DOM. The switch holds everything else, so it is asked again every second.

const REFRESH_MS = 1000;
const byId = (id) => document.getElementById(id);
const open = { number: "", chat: "" };

const TEXTS = {
  expired: "That code has expired. Take the one the page shows now.",
  wrong_code: "No page waits for that pairing code on this number.",
  nothing_waits: "Nothing waits for a passkey.",
  no_qr_found: "There is no QR in that picture.",
  no_qr_reader: "No QR reader here: paste the QR's text.",
  unknown_chat: "There is no such account.",
};

const tell = (text) => {
  byId("told").textContent = text;
};

const call = async (method, path, body, headers = {}) => {
  const raw = body instanceof Blob;
  const response = await fetch(path, {
    method,
    headers,
    body: body === undefined || raw ? body : JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(TEXTS[answer.error] ?? `${answer.error} ${answer.detail ?? ""}`);
  return answer;
};
const onPhone = (path) => `/api/accounts/${open.number}${path}`;

const item = (text, ...children) => {
  const element = document.createElement("li");
  element.append(text, ...children);
  return element;
};
const button = (text, act) => {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.onclick = guarded(act);
  return element;
};

// Runs an act, tells what went wrong, and draws what is new.
function guarded(act) {
  return async (event) => {
    event?.preventDefault?.();
    try {
      tell((await act(event)) ?? "");
      await draw();
    } catch (error) {
      tell(error.message);
    }
  };
}

const qrFromPicture = async (picture) => {
  if ("BarcodeDetector" in window) {
    const detector = new BarcodeDetector({ formats: ["qr_code"] });
    const found = await detector.detect(await createImageBitmap(picture)).catch(() => []);
    if (found.length) return found[0].rawValue;
  }
  return (await call("POST", "/api/qr", picture)).text;
};

const link = async (text) => {
  const { state } = await call("POST", onPhone("/scan"), { text });
  return state === "passkey" ? "The page asks for a passkey." : "Linked.";
};

const drawAccounts = async () => {
  const accounts = await call("GET", "/api/accounts");
  const select = byId("accounts");
  if (select.options.length !== accounts.length) {
    select.replaceChildren(...accounts.map((one) => new Option(`${one.name} (${one.number})`, one.number)));
  }
  open.number ||= accounts[0]?.number ?? "";
  select.value = open.number;
  const account = accounts.find((one) => one.number === open.number);
  byId("on").checked = Boolean(account?.on);
  byId("auto-read").checked = Boolean(account?.auto_read);
};

const drawDevices = async () => {
  const devices = await call("GET", onPhone("/devices"));
  byId("devices").replaceChildren(
    ...devices.map((device) =>
      item(
        `${device.device_id}: ${device.online ? "online" : "away"}, ${device.queued} waiting `,
        button("Unlink", () => call("DELETE", onPhone(`/devices/${device.device_id}`)).then(() => "Unlinked.")),
      ),
    ),
  );
  if (!devices.length) byId("devices").append(item("No linked device."));
};

const drawChats = async () => {
  const chats = await call("GET", onPhone("/chats"));
  byId("chats").replaceChildren(
    ...chats.map((chat) =>
      item(button(`${chat.name}${chat.unread ? ` (${chat.unread})` : ""}`, () => {
        open.chat = chat.wid;
      })),
    ),
  );
};

const TICKS = { 0: "…", 1: "✓", 2: "✓✓", 3: "read", 4: "played" };

const messageItem = ({ message, reactions }) => {
  const who = message.from_me ? "" : `${message.sender_name}: `;
  const text = message.deleted ? "(deleted)" : message.body ?? "";
  const marks = [message.edited ? "edited" : "", ...Object.values(reactions)].filter(Boolean).join(" ");
  const element = item(`${who}${text} ${marks} ${message.from_me ? TICKS[message.ack ?? 1] : ""} `);
  element.className = message.from_me ? "mine" : "";
  if (message.media) {
    const anchor = document.createElement("a");
    anchor.href = `/api/media/${message.media.media_id}`;
    anchor.download = message.media.filename || message.type;
    anchor.textContent = `[${message.type} ${anchor.download}]`;
    element.append(anchor, " ");
  }
  element.append(
    button("👍", () => call("POST", onPhone("/react"), { chat: open.chat, id: message.id, text: "👍" }).then(() => "")),
  );
  return element;
};

let drawn = "";
const drawMessages = async () => {
  byId("send").hidden = !open.chat;
  if (!open.chat) return;
  byId("chat-title").textContent = open.chat;
  const messages = await call("GET", onPhone(`/chats/${open.chat}/messages`));
  const now = open.number + open.chat + JSON.stringify(messages);
  if (now === drawn) return;
  drawn = now;
  byId("messages").replaceChildren(...messages.map(messageItem));
};

const draw = async () => {
  await drawAccounts();
  if (!open.number) return;
  await drawDevices();
  await drawChats();
  await drawMessages();
};

byId("accounts").onchange = guarded(() => {
  open.number = byId("accounts").value;
  open.chat = "";
  byId("messages").replaceChildren();
});
byId("create").onsubmit = guarded(async ({ target }) => {
  const created = await call("POST", "/api/accounts", Object.fromEntries(new FormData(target)));
  open.number = created.number;
  target.reset();
  return "Created.";
});
byId("scan").onsubmit = guarded(async ({ target }) => {
  const picture = target.picture.files[0];
  const told = await link(picture ? await qrFromPicture(picture) : target.text.value);
  target.reset();
  return told;
});
byId("code").onsubmit = guarded(async ({ target }) => {
  const { state } = await call("POST", onPhone("/pairing-code"), { code: target.code.value });
  target.reset();
  return state === "passkey" ? "The page asks for a passkey." : "Linked.";
});
byId("passkey").onclick = guarded(() => call("POST", onPhone("/passkey"), {}).then(() => "Linked."));
for (const [id, name] of [["on", "on"], ["auto-read", "auto_read"]]) {
  byId(id).onchange = guarded(({ target }) =>
    call("PATCH", `/api/accounts/${open.number}`, { [name]: target.checked }).then(() => ""));
}
byId("open").onsubmit = guarded(({ target }) => {
  const to = target.to.value.trim();
  open.chat = to.includes("@") ? to : `${to}@c.us`;
});
byId("send").onsubmit = guarded(async ({ target }) => {
  const file = target.file.files[0];
  const message = { to: open.chat, body: target.body.value };
  if (file) {
    const mimetype = file.type || "application/octet-stream";
    const stored = await call("PUT", "/api/media", file, { "Content-Type": mimetype });
    const family = mimetype.split("/")[0];
    message.type = ["image", "video", "audio"].includes(family) ? family : "document";
    message.media = { media_id: stored.media_id, size: stored.size, mimetype, filename: file.name };
  }
  await call("POST", onPhone("/messages"), message);
  target.reset();
  return "";
});
byId("read").onclick = guarded(() => call("POST", onPhone("/read"), { chat: open.chat }).then(() => "Read."));
document.addEventListener("paste", (event) => {
  const picture = [...event.clipboardData.files].find((file) => file.type.startsWith("image/"));
  if (picture) guarded(async () => link(await qrFromPicture(picture)))(event);
});

const refresh = async () => {
  await draw().catch((error) => tell(error.message));
  setTimeout(refresh, REFRESH_MS);
};
refresh();
