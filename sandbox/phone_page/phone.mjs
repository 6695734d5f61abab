// The phone's page: one account at a time, over the phone's HTTP API.
//
// Owns which phone and chat are open, and the refresh. The switch holds everything else: every second
// its log and the open chat are read, the rest only when the log has grown, or once in a while.

import { call, chatPath, phonePath } from "./api.mjs";
import { compose, wireComposer } from "./composer.mjs";
import { votedFor } from "./contents.mjs";
import { byId, clockOrDay, day, follow, make, spoken } from "./dom.mjs";
import { wireLinking } from "./linking.mjs";
import { author, excerpt, messageRows } from "./messages.mjs";

const REFRESH_MS = 1000;
const WHOLE_EVERY = 5; // New phones are not in the log, nor is an edit in another chat.
const TOLD_MS = 8000;
const SHOWN_MAX = 300;

const open = { number: "", chat: "", acting: "" };
const previews = new Map(); // chat wid: its last message
let accounts = [];
let chats = [];
let logged = 0;
let newest = 0; // n of the last message drawn in the open chat

let toldTimer = 0;
const tell = (text, kind = "") => {
  byId("told").textContent = text;
  byId("told").className = kind;
  clearTimeout(toldTimer);
  if (text) toldTimer = setTimeout(() => tell(""), TOLD_MS);
};

// Makes a handler: runs the act, tells what it says or what went wrong, and draws what is new.
const guarded = (act) => async (event) => {
  event?.preventDefault?.();
  try {
    tell((await act(event)) ?? "");
  } catch (error) {
    tell(error.message, "wrong");
  }
  await refresh(true);
};

const widOf = (account) => (account.lid_only && account.lid ? `${account.lid}@lid` : `${account.number}@c.us`);

const openPhone = (number) => {
  open.number = number;
  previews.clear();
  for (const id of ["devices", "chats"]) byId(id).replaceChildren();
  delete byId("linking").dataset.linked;
  openChat("");
};

const openChat = (wid) => {
  if (open.chat !== wid) compose();
  Object.assign(open, { chat: wid, acting: "" });
  newest = 0;
  atEnd = true;
  byId("messages").replaceChildren();
  byId("phone").dataset.pane = wid ? "chat" : "list";
  history.replaceState(null, "", open.number ? `#${open.number}${wid && `/${wid}`}` : "#");
};

const goTo = async (wid) => {
  openChat(wid);
  await refresh(true);
  byId("body").focus();
};

const drawAccounts = () => {
  const options = (list, label) => list.map((one) => ({
    key: one.number, sign: label(one), draw: () => new Option(label(one), one.number),
  }));
  follow(byId("accounts"), options(accounts, (one) => `${one.name} (${one.number})`));
  byId("accounts").value = open.number;
  const mine = accounts.find((one) => one.number === open.number);
  byId("on").checked = Boolean(mine?.on);
  byId("auto-read").checked = Boolean(mine?.auto_read);
  const others = accounts.filter((one) => one !== mine);
  const contacts = mine ? [...others, mine] : others;
  follow(byId("contacts"), options(contacts, (one) => (one === mine ? "Myself" : `${one.name} (${one.number})`)));
  for (const id of ["accounts", "switches", "devices-part", "chats-part"]) byId(id).hidden = !mine;
  if (!mine) byId("new-phone").open = true;
};

const drawDevices = (devices) => {
  const linked = String(devices.length > 0);
  const linking = byId("linking");
  // Folded away or unfolded only when it changes: what the person did stays.
  if (linking.dataset.linked !== linked) {
    linking.open = linked === "false";
    linking.dataset.linked = linked;
  }
  const rows = devices.map((device) => ({
    key: device.device_id,
    sign: JSON.stringify([device.online, device.queued]),
    draw: () => {
      const waits = device.queued ? `, ${device.queued} waiting` : "";
      const unlink = guarded(async () => {
        await call("DELETE", phonePath(open.number, `/devices/${device.device_id}`));
        return "Unlinked.";
      });
      return make("li", { className: "device" },
        make("span", { className: device.online ? "dot online" : "dot", "aria-hidden": "true" }),
        make("div", {},
          make("code", { title: device.device_id }, device.device_id.slice(0, 8)),
          make("p", { className: "hint" }, `${device.online ? "online" : "away"}${waits}, since ${clockOrDay(device.linked_ts)}`)),
        make("button", { type: "button", "data-act": "unlink", "aria-label": `Unlink ${device.device_id.slice(0, 8)}`, onclick: unlink }, "Unlink"));
    },
  }));
  if (!rows.length) rows.push({ key: "none", sign: "", draw: () => make("li", { className: "hint" }, "None yet.") });
  follow(byId("devices"), rows);
};

const drawChats = () => {
  follow(byId("chats"), chats.map((chat) => {
    const last = previews.get(chat.wid);
    const who = last && (last.from_me || chat.participants) ? `${author(last)}: ` : "";
    const line = last ? who + excerpt(last) : "No message yet";
    const current = chat.wid === open.chat;
    const unread = chat.unread ?? 0;
    return {
      key: chat.wid,
      sign: JSON.stringify([chat, line, current]),
      draw: () => make("li", {}, make("button",
        { type: "button", className: "entry", "data-act": "open", "aria-current": String(current), onclick: guarded(() => goTo(chat.wid)) },
        make("b", {}, chat.name),
        make("span", { className: "when" }, chat.ts ? clockOrDay(chat.ts) : ""),
        make("span", { className: "last", dir: "auto" }, line),
        unread ? make("span", { className: "badge" }, String(unread), spoken(" unread")) : null)),
    };
  }));
  const alone = accounts.length < 2 ? " There is no other phone yet: make one with “New phone” above." : "";
  byId("no-chats").hidden = chats.length > 0;
  byId("no-chats").textContent = `No chats yet. Choose somebody below and open a chat.${alone}`;
};

// `choice`: the emoji of a reaction, the option of a vote.
const press = (act, message, choice) => guarded(async () => {
  const body = { chat: open.chat, id: message.id };
  open.acting = act === "more" && open.acting !== message.id ? message.id : "";
  if (act === "reply" || act === "edit") compose(act, message);
  if (act === "delete") await call("POST", phonePath(open.number, "/delete"), body);
  if (act !== "react" && act !== "vote") return;
  const entries = await call("GET", chatPath(open.number, open.chat));
  const now = entries.find((entry) => entry.message.id === message.id);
  if (act === "react") {
    // The same emoji again takes it back.
    const text = now?.reactions[open.number] === choice ? "" : choice;
    await call("POST", phonePath(open.number, "/react"), { ...body, text });
  } else {
    const options = votedFor(choice, now?.votes[open.number] ?? [], message.poll);
    await call("POST", phonePath(open.number, "/vote"), { ...body, options });
  }
})();

const drawChat = (entries) => {
  const chat = chats.find((one) => one.wid === open.chat);
  byId("composer").hidden = !open.chat;
  byId("read").hidden = !chat?.unread;
  const account = accounts.find((one) => widOf(one) === open.chat);
  byId("chat-title").textContent = open.chat ? chat?.name ?? account?.name ?? open.chat : "No chat open";
  const people = chat?.participants?.length;
  byId("chat-about").textContent = people ? `${people} people` : chat?.phone?.split("@")[0] ?? open.chat.split("@")[0];
  const hint = byId("chat-hint");
  hint.hidden = entries.length > 0 && entries.length <= SHOWN_MAX;
  if (!open.number) hint.textContent = "There is no phone yet. Create one with “New phone”.";
  else if (!open.chat) hint.textContent = "Open a chat to read and write as this phone.";
  else if (!entries.length) hint.textContent = "Nothing here yet. Write the first message below.";
  else hint.textContent = `${entries.length - SHOWN_MAX} older messages are not shown.`;

  const shown = entries.slice(-SHOWN_MAX);
  const names = new Map(accounts.map((one) => [one.number, one.name]));
  const context = { names, number: open.number, group: Boolean(people), acting: open.acting, press };
  follow(byId("messages"), messageRows(shown, context));
  const fresh = newest ? shown.filter(({ n, message }) => n > newest && !message.from_me) : [];
  if (fresh.length) byId("heard").textContent = fresh.map(({ message }) => `${author(message)}: ${excerpt(message)}`).join("; ");
  newest = shown.at(-1)?.n ?? -1;
};

// Who reads the last line stays there, whatever grows: a message, a picture, the composer.
let atEnd = true;
const scroll = byId("scroll");
scroll.onscroll = () => {
  atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
};
const grown = new ResizeObserver(() => {
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
});
for (const id of ["scroll", "messages"]) grown.observe(byId(id));

// The last messages of the chats that may have a new one.
const readPreviews = async (number, openEntries, thorough) => {
  const latest = Math.max(0, ...[...previews.values()].map((message) => message.ts));
  const stale = chats.filter((chat, place) =>
    chat.wid !== open.chat && chat.ts && (!previews.has(chat.wid) || chat.ts >= latest || (thorough && place < 10)));
  const read = await Promise.all(stale.map((chat) => call("GET", chatPath(number, chat.wid))));
  stale.forEach((chat, place) => previews.set(chat.wid, read[place].at(-1).message));
  if (openEntries.length) previews.set(open.chat, openEntries.at(-1).message);
};

// When something else was opened while they read, these two draw nothing: its own refresh follows.
const readAll = async (thorough) => {
  accounts = await call("GET", "/api/accounts");
  if (!accounts.some((one) => one.number === open.number)) openPhone(accounts[0]?.number ?? "");
  const { number, chat: wid } = open;
  drawAccounts();
  if (!number) return drawChat([]);
  const [devices, known, entries] = await Promise.all([
    call("GET", phonePath(number, "/devices")),
    call("GET", phonePath(number, "/chats")),
    wid ? call("GET", chatPath(number, wid)) : [],
  ]);
  chats = known;
  await readPreviews(number, entries, thorough);
  if (number !== open.number || wid !== open.chat) return undefined;
  drawDevices(devices);
  drawChats();
  return drawChat(entries);
};

const readChat = async () => {
  const { number, chat: wid } = open;
  const entries = await call("GET", chatPath(number, wid));
  if (number === open.number && wid === open.chat) drawChat(entries);
};

let chain = Promise.resolve();
let turns = 0;
let lost = false;
// One refresh after another, so that an older answer never overwrites a newer one.
const refresh = (whole) => {
  chain = chain.then(async () => {
    try {
      const entries = await call("GET", `/api/log?since=${logged}`);
      logged = entries.at(-1)?.n ?? logged;
      const thorough = turns++ % WHOLE_EVERY === 0;
      if (whole || thorough || entries.length) await readAll(thorough);
      else if (open.chat) await readChat();
      if (lost) tell("");
      lost = false;
    } catch (error) {
      if (error.code === "not_found") openChat("");
      lost = true;
      tell(error.message, "wrong");
    }
  });
  return chain;
};
const keepFresh = async () => {
  if (!document.hidden) await refresh(false);
  setTimeout(keepFresh, REFRESH_MS);
};

byId("accounts").onchange = guarded(({ target }) => openPhone(target.value));
byId("create").onsubmit = guarded(async ({ target }) => {
  const { number } = await call("POST", "/api/accounts", Object.fromEntries(new FormData(target)));
  target.reset();
  byId("new-phone").open = false;
  openPhone(number);
  return "Created.";
});
for (const [id, name] of [["on", "on"], ["auto-read", "auto_read"]]) {
  byId(id).onchange = guarded(({ target }) =>
    call("PATCH", phonePath(open.number), { [name]: target.checked }).then(() => ""));
}
byId("write-to").onsubmit = guarded(({ target }) => {
  return goTo(widOf(accounts.find((one) => one.number === target.to.value)));
});
byId("back").onclick = guarded(() => {
  const wid = open.chat;
  openChat("");
  byId("chats").querySelector(`[data-key="${CSS.escape(wid)}"] button`)?.focus();
});
byId("read").onclick = guarded(async () => {
  await call("POST", phonePath(open.number, "/read"), { chat: open.chat });
  byId("body").focus();
});
byId("messages").onkeydown = ({ key }) => {
  if (key !== "Escape" || !open.acting) return;
  open.acting = "";
  refresh(true);
};
// A file that misses its place must not replace the page.
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    if (event.dataTransfer.types.includes("Files")) event.preventDefault();
  });
}
wireLinking(guarded, open);
wireComposer(guarded, open);

const [number, wid] = decodeURIComponent(location.hash.slice(1)).split("/");
open.number = number ?? "";
if (number && wid) openChat(wid);
keepFresh();
