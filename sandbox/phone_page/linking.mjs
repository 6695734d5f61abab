// Linking a device: the QR as text or as a picture, a pairing code, a passkey.
//
// Owns the folded part of the page that does it. What is linked is shown by phone.mjs.

import { call, phonePath, qrFromPicture } from "./api.mjs";
import { byId } from "./dom.mjs";

const NEEDS_PASSKEY = "The page asks for a passkey: confirm it here.";

export const pictureOf = (transfer) => [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));

// `guarded(act)` makes a handler of an act; `open` knows the phone.
export const wireLinking = (guarded, open) => {
  const told = ({ state }) => {
    if (state !== "passkey") return "Linked.";
    byId("linking").open = true;
    byId("passkey").focus();
    return NEEDS_PASSKEY;
  };
  const scan = async (text) => told(await call("POST", phonePath(open.number, "/scan"), { text }));
  const scanPicture = async (picture) => scan(await qrFromPicture(picture));

  byId("qr-picture").onchange = guarded(async ({ target }) => {
    const picture = target.files[0];
    // Emptied first: choosing the same file again must count as a change.
    const text = picture && (await qrFromPicture(picture).finally(() => { target.value = ""; }));
    return text ? scan(text) : "";
  });
  byId("scan").onsubmit = guarded(async ({ target }) => {
    const said = await scan(target.text.value);
    target.reset();
    return said;
  });
  byId("code").onsubmit = guarded(async ({ target }) => {
    const answer = await call("POST", phonePath(open.number, "/pairing-code"), { code: target.code.value });
    target.reset();
    return told(answer);
  });
  byId("passkey").onclick = guarded(async () => {
    await call("POST", phonePath(open.number, "/passkey"), {});
    return "Linked.";
  });

  const zone = byId("qr-drop");
  zone.ondragover = (event) => {
    event.preventDefault();
    zone.classList.add("over");
  };
  zone.ondragleave = () => zone.classList.remove("over");
  zone.ondrop = guarded(async (event) => {
    zone.classList.remove("over");
    const picture = pictureOf(event.dataTransfer);
    return picture ? scanPicture(picture) : "That is no picture.";
  });
  document.addEventListener("paste", (event) => {
    const picture = pictureOf(event.clipboardData);
    if (!picture || byId("composer").contains(event.target)) return;
    guarded(() => scanPicture(picture))(event);
  });
};
