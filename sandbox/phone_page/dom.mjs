// Building and renewing elements.
//
// Owns how a list is brought up to date without disturbing what has not changed: focus, selection
// and playing media survive a refresh. Never sets HTML, only text.

export const byId = (id) => document.getElementById(id);

// An element; a property the element has no name for (`data-…`, `aria-…`) becomes an attribute.
export const make = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
};

export const spoken = (text) => make("span", { className: "spoken" }, text);

const signs = new WeakMap();

// Makes a list's children follow `rows`: `{key, sign, draw}`. A child is drawn anew only when its
// sign has changed; `draw(before)` gets the element it replaces.
export const follow = (parent, rows) => {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const held = parent.contains(document.activeElement) ? document.activeElement : null;
  const heldKey = held?.closest("[data-key]")?.dataset.key;
  const after = rows.map(({ key, sign, draw }) => {
    const old = before.get(key);
    if (old && signs.get(old) === sign) return old;
    const fresh = draw(old);
    fresh.dataset.key = key;
    signs.set(fresh, sign);
    return fresh;
  });
  const kept = new Set(after);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  after.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
  if (held && !held.isConnected) {
    const row = after.find((child) => child.dataset.key === heldKey);
    (row?.querySelector(`[data-act="${held.dataset.act}"]`) ?? row?.querySelector("button"))?.focus();
  }
};

const TIME = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat([], { day: "numeric", month: "short", year: "numeric" });

// `ts`: Unix seconds.
export const clock = (ts) => TIME.format(ts * 1000);
export const day = (ts) => DAY.format(ts * 1000);
export const clockOrDay = (ts) => (day(ts) === day(Date.now() / 1000) ? clock(ts) : day(ts));

export const fileSize = (bytes) =>
  bytes < 1024 ? `${bytes} B` : bytes < 1024 ** 2 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1024 ** 2).toFixed(1)} MB`;
