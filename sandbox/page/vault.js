// What survives a restart of the browser.
//
// Owns IndexedDB (the device key, which cannot be exported, chats, contacts, messages, the stored
// counter) and localStorage (who is logged in). A profile needs both to log in again.
"use strict";
standIn("SandboxVault", () => {
  const STORES = ["keys", "state", "chats", "contacts", "messages"];
  const LOGIN = ["sandbox-device-id", "sandbox-me", "sandbox-lid", "sandbox-pushname"];

  const settled = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });

  let opened;
  const open = () => {
    opened ??= new Promise((resolve, reject) => {
      const request = indexedDB.open("wawc_sandbox", 1);
      request.onupgradeneeded = () => STORES.forEach((name) => request.result.createObjectStore(name));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    return opened;
  };
  const store = async (name, mode = "readonly") =>
    (await open()).transaction(name, mode).objectStore(name);

  const get = async (name, key) => settled((await store(name)).get(key));
  const all = async (name) => settled((await store(name)).getAll());
  const remove = async (name, key) => settled((await store(name, "readwrite")).delete(key));

  // Writes several records at once and waits until they are durable.
  const putAll = async (records) => {
    if (!records.length) return;
    const names = [...new Set(records.map(([name]) => name))];
    const transaction = (await open()).transaction(names, "readwrite", { durability: "strict" });
    for (const [name, key, value] of records) transaction.objectStore(name).put(value, key);
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  };
  const put = (name, key, value) => putAll([[name, key, value]]);

  // Changes a record, if it is there, in one transaction: `change` gets it and gives the new one.
  const update = async (name, key, change) => {
    const records = await store(name, "readwrite");
    const record = await settled(records.get(key));
    if (record) await settled(records.put(change(record), key));
  };

  const deviceKey = async () => {
    const kept = await get("keys", "device");
    if (kept) return kept;
    const algorithm = { name: "ECDSA", namedCurve: "P-256" };
    const pair = await crypto.subtle.generateKey(algorithm, false, ["sign", "verify"]);
    await put("keys", "device", pair);
    return pair;
  };
  const sign = async (nonce) => {
    const { privateKey } = await deviceKey();
    return crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, privateKey, nonce);
  };
  const publicKey = async () => crypto.subtle.exportKey("spki", (await deviceKey()).publicKey);

  // The login, or null when this profile is not linked: it takes the key and localStorage both.
  const login = async () => {
    const [deviceId, me, lid, pushname] = LOGIN.map((name) => localStorage.getItem(name));
    const key = await get("keys", "device");
    return deviceId && me && key ? { deviceId, me, lid, pushname } : null;
  };
  const keepLogin = async ({ deviceId, me, lid, pushname }) => {
    await put("state", "login", { deviceId, me, lid, pushname });
    [deviceId, me, lid, pushname].forEach((value, index) => {
      localStorage.setItem(LOGIN[index], value || "");
    });
  };

  const storedSeq = async () => (await get("state", "stored_seq")) || 0;

  const wipe = async () => {
    for (const name of STORES) await settled((await store(name, "readwrite")).clear());
    localStorage.clear();
  };

  return { get, all, put, putAll, update, remove, publicKey, sign, login, keepLogin, storedSeq, wipe };
});
