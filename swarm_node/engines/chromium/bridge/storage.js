// The page's localStorage: read whole for a snapshot, and a few small entries of our own.
//
// Owns the reading and its bound, and what this script itself keeps there (it travels with the
// snapshot). Never writes anything of WhatsApp's: a snapshot's values are put in place before the
// page's first load, on a page without this script.

// What is not well-formed UTF-16 can't be written down as text; such an entry is left out.
calls.pageStorage = ({ charsMax }) => {
  const items = [];
  let chars = 0;
  let skipped = 0;
  for (let index = 0; index < localStorage.length; index += 1) {
    // By index: a key such as "length" is no property.
    const key = localStorage.key(index);
    const value = localStorage.getItem(key);
    if (!key.isWellFormed() || !value.isWellFormed()) {
      skipped += 1;
      continue;
    }
    chars += key.length + value.length;
    if (chars > charsMax) throw new CallError('storage_too_large');
    items.push([key, value]);
  }
  return { items, skipped };
};

// ---- our own entries ------------------------------------------------------------------------------

const OURS = 'blazz.';

const readKept = (name) => {
  try {
    return JSON.parse(localStorage.getItem(name)) || null;
  } catch {
    return null;
  }
};

const keep = (name, value) => {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // A full storage must not stop the events themselves.
  }
};

const forgetKept = () => {
  recent.forget();
  for (const name of Object.keys(localStorage)) {
    if (name.startsWith(OURS)) localStorage.removeItem(name);
  }
};
