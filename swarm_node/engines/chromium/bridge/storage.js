// The page's localStorage, read whole for a snapshot.
//
// Owns the reading and its bound. Never writes: a snapshot's values are put in place before the
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
