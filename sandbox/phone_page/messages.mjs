// How a chat's messages look.
//
// Owns the bubbles. What a press does is the caller's: it gets `(act, message, emoji)`.

import { mediaPath } from "./api.mjs";
import { contentParts, contentText } from "./contents.mjs";
import { clock, day, fileSize, make, spoken } from "./dom.mjs";

const EMOJIS = { "👍": "thumbs up", "❤️": "heart", "😂": "laughing", "😮": "surprised", "😢": "sad", "🙏": "thanks" };
const TICKS = {
  "-1": ["✗", "failed"],
  0: ["…", "waiting"],
  1: ["✓", "sent"],
  2: ["✓✓", "delivered"],
  3: ["✓✓", "read"],
  4: ["✓✓", "played"],
};
const KINDS = { image: "Picture", video: "Video", audio: "Audio", ptt: "Voice message", document: "File", sticker: "Sticker", location: "Place", vcard: "Contact", poll_creation: "Poll" };

// One line that stands for a message: in the list of chats, in a quote.
export const excerpt = (message) => {
  if (message.deleted) return "Deleted message";
  const kind = KINDS[message.type];
  return [kind, message.body || message.media?.filename || contentText(message)].filter(Boolean).join(": ");
};

export const author = (message) => (message.from_me ? "You" : message.sender_name || message.sender.split("@")[0]);

const mediaElement = ({ type, media, body }) => {
  const href = mediaPath(media.media_id);
  const name = media.filename || KINDS[type];
  if (type === "image" || type === "sticker") {
    const picture = make("img", { src: href, alt: body || name, className: type });
    return make("a", { href, target: "_blank", rel: "noopener" }, picture);
  }
  if (type === "video") return make("video", { src: href, controls: true, preload: "metadata", "aria-label": name });
  if (type === "audio" || type === "ptt") {
    return make("audio", { src: href, controls: true, preload: "metadata", "aria-label": name });
  }
  const about = make("span", { className: "hint" }, fileSize(media.size));
  return make("a", { href, download: name, className: "file" }, name, about);
};

// The same media keeps its element, so a tick does not load the picture anew.
const mediaOf = (message, before) => {
  if (!message.media) return null;
  const old = before?.querySelector(".media");
  if (old?.dataset.media === message.media.media_id) return old;
  return make("div", { className: "media", "data-media": message.media.media_id }, mediaElement(message));
};

const quoteOf = (message, known) => {
  if (!message.quoted_id) return null;
  const quoted = known.get(message.quoted_id);
  const who = make("b", {}, quoted ? author(quoted) : message.quoted_sender.split("@")[0]);
  return make("blockquote", { dir: "auto" }, who, quoted ? excerpt(quoted) : "Message");
};

const forwardedOf = (message) =>
  (message.forwarded && !message.deleted ? make("p", { className: "hint" }, "Forwarded") : null);

const footOf = (message) => {
  const foot = make("footer", {}, message.edited && !message.deleted ? "edited " : "");
  foot.append(make("time", { dateTime: new Date(message.ts * 1000).toISOString() }, clock(message.ts)));
  if (message.from_me && !message.deleted) {
    const ack = message.ack ?? 1;
    const [sign, word] = TICKS[ack];
    foot.append(make("span", { className: ack >= 3 ? "ticks read" : "ticks", "aria-hidden": "true", title: word }, sign), spoken(word));
  }
  return foot;
};

const reactionsOf = (reactions, names) => {
  const all = Object.entries(reactions);
  if (!all.length) return null;
  const who = all.map(([number, emoji]) => `${names.get(number) ?? number} ${emoji}`).join(", ");
  const counts = new Map();
  for (const [, emoji] of all) counts.set(emoji, (counts.get(emoji) ?? 0) + 1);
  const chips = [...counts].map(([emoji, count]) => (count > 1 ? `${emoji} ${count}` : emoji)).join(" ");
  return make("p", { className: "reactions", title: who }, make("span", { "aria-hidden": "true" }, chips), spoken(`Reactions: ${who}`));
};

const actsOf = (message, mine, press) => {
  const button = (act, text, more = {}, emoji = "") =>
    make("button", { type: "button", className: "plain", "data-act": act + emoji, onclick: () => press(act, message, emoji), ...more }, text);
  return make(
    "div",
    { className: "acts", role: "group", "aria-label": "What to do with this message" },
    button("reply", "Reply"),
    message.from_me && message.type === "chat" ? button("edit", "Edit") : null,
    message.from_me ? button("delete", "Delete") : null,
    ...Object.entries(EMOJIS).map(([emoji, word]) =>
      button("react", emoji, { "aria-label": `React: ${word}`, "aria-pressed": String(emoji === mine) }, emoji)),
  );
};

const bubble = ({ message, reactions, votes }, { names, known, group, number, acting, press }, before) => {
  const text = message.deleted
    ? make("p", { className: "gone" }, message.from_me ? "You deleted this message" : "This message was deleted")
    : message.body ? make("p", { className: "text", dir: "auto" }, message.body) : null;
  const name = make("p", { className: message.from_me || !group ? "name spoken" : "name" }, author(message));
  const isOpen = acting === message.id;
  const more = make("button", {
    type: "button",
    className: "plain more",
    "data-act": "more",
    "aria-label": `Actions for: ${excerpt(message).slice(0, 60)}`,
    "aria-expanded": String(isOpen),
    onclick: () => press("more", message),
  }, "⋯");
  return make(
    "li",
    { className: `message ${message.from_me ? "out" : "in"}` },
    make(
      "div",
      { className: "row" },
      make("article", { className: "bubble" }, name, forwardedOf(message), quoteOf(message, known),
        mediaOf(message, before), ...contentParts(message, votes, { names, number, press }), text, footOf(message)),
      message.deleted ? null : more,
    ),
    reactionsOf(message.deleted ? {} : reactions, names),
    isOpen && !message.deleted ? actsOf(message, reactions[number] ?? "", press) : null,
  );
};

// The rows of a chat for `follow`, a line between the days included.
//
// `context`: `names` of accounts by number; `number`, the phone's own; `group`, whether to name the
// senders; `acting`, the id of the message whose actions are open; `press`.
export const messageRows = (entries, context) => {
  const known = new Map(entries.map(({ message }) => [message.id, message]));
  const rows = [];
  let today = "";
  for (const entry of entries) {
    const { message } = entry;
    if (day(message.ts) !== today) {
      today = day(message.ts);
      const text = today;
      rows.push({ key: `day ${text}`, sign: text, draw: () => make("li", { className: "day" }, text) });
    }
    const quoted = known.get(message.quoted_id);
    const open = context.acting === message.id;
    const sign = JSON.stringify([entry, open, quoted && excerpt(quoted)]);
    rows.push({ key: `${entry.n}`, sign, draw: (before) => bubble(entry, { ...context, known }, before) });
  }
  return rows;
};
