// What a profile holds, counted on a blank page: databases, records, keys, localStorage.
//
// Owns the counting and the trying of keys. Knows no database by name, changes nothing, and gives
// numbers back, never content. One expression: a function of the records to read of each store.
async (recordsMax) => {
  const found = {
    databases: 0, stores: 0, records: 0, keys: 0, keysUsable: 0, keysExtractable: 0,
    storageItems: localStorage.length, problems: [],
  };
  const DEPTH_MAX = 4;
  const OPEN_MS = 10000;

  const settled = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });

  // A version that had to be upgraded would be a database that was not there.
  const open = (name) =>
    new Promise((resolve, reject) => {
      const request = indexedDB.open(name);
      request.onupgradeneeded = () => request.transaction.abort();
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
      setTimeout(() => reject(new DOMException('', 'TimeoutError')), OPEN_MS);
    });

  const keysIn = (value, depth = 0) => {
    if (value instanceof CryptoKey) return [value];
    if (depth >= DEPTH_MAX || typeof value !== 'object' || value === null) return [];
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof Blob) {
      return [];
    }
    const collection = value instanceof Map || value instanceof Set;
    const inside = collection ? [...value.values()] : Object.values(value);
    return inside.flatMap((one) => keysIn(one, depth + 1));
  };

  const DATA = new Uint8Array(32);
  const IVS = {
    'AES-CTR': { counter: new Uint8Array(16), length: 64 },
    'AES-CBC': { iv: new Uint8Array(16) },
    'AES-GCM': { iv: new Uint8Array(12) },
  };
  const parameters = ({ name, hash }) => ({
    name,
    hash: hash ?? 'SHA-256',
    salt: DATA,
    info: DATA,
    iterations: 1,
    saltLength: 32,
    ...IVS[name],
  });
  const AES = { name: 'AES-GCM', length: 256 };

  // One use that needs the secret itself. A public key counts when it can be exported.
  const use = async (key) => {
    const how = parameters(key.algorithm);
    const can = (usage) => key.usages.includes(usage);
    if (key.type === 'public') return crypto.subtle.exportKey('spki', key);
    if (can('sign')) return crypto.subtle.sign(how, key, DATA);
    if (can('encrypt')) return crypto.subtle.encrypt(how, key, DATA);
    if (can('wrapKey')) {
      const other = await crypto.subtle.generateKey(AES, true, ['encrypt']);
      return crypto.subtle.wrapKey('raw', other, key, how);
    }
    if (can('deriveBits') || can('deriveKey')) return derive(key, how, can('deriveBits'));
    // What can only decrypt can't be tried without what was encrypted.
    return undefined;
  };
  const derive = async (key, how, bits) => {
    const { name, namedCurve } = key.algorithm;
    let full = how;
    if (name === 'ECDH' || name === 'X25519') {
      const pair = await crypto.subtle.generateKey({ name, namedCurve }, true, ['deriveBits']);
      full = { name, public: pair.publicKey };
    }
    if (bits) return crypto.subtle.deriveBits(full, key, 256);
    return crypto.subtle.deriveKey(full, key, AES, false, ['encrypt']);
  };

  const tryKey = async (key) => {
    found.keys += 1;
    if (key.type !== 'public' && key.extractable) found.keysExtractable += 1;
    try {
      await use(key);
      found.keysUsable += 1;
    } catch (error) {
      found.problems.push(`a ${key.algorithm.name} key is of no use: ${error.name}`);
    }
  };

  const lookAt = async (db, name) => {
    const store = db.transaction(name).objectStore(name);
    const [count, values] = await Promise.all([
      settled(store.count()),
      settled(store.getAll(null, recordsMax)),
    ]);
    found.stores += 1;
    found.records += count;
    for (const key of values.flatMap((value) => keysIn(value))) await tryKey(key);
  };

  for (const { name } of await indexedDB.databases()) {
    found.databases += 1;
    try {
      const db = await open(name);
      for (const store of db.objectStoreNames) await lookAt(db, store);
      db.close();
    } catch (error) {
      found.problems.push(`a database can't be read: ${error.name}`);
    }
  }
  return found;
}
