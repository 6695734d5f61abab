// Keeps the link page true: draws the views the server pushes and counts codes down.
// It holds no words: all of them come from the server.
const root = document.getElementById("link");
const at = (id) => document.getElementById(id);
const { base, phoneExpired } = root.dataset;
const local = JSON.parse(root.dataset.local);
const RETRY_MS = 3000;
const BLUR_S = 1; // a phone that scans in the last second hangs: the code is dead when it arrives

let view = null;
let deadline = 0;
let roundsLeft = Number(root.dataset.rounds);
let source = null;
let pairingDeadline = 0;

function draw(next) {
  view = next;
  root.dataset.state = next.name;
  setText("headline", next.headline);
  setText("hint", next.hint ?? "");
  at("action").hidden = !next.action;
  setText("action", next.action ?? "");
  at("action").disabled = false;
  at("back").hidden = next.name !== "ready" || !at("back").getAttribute("href");
  drawCode(next.svg);
  deadline = performance.now() + (next.expires_in_s ?? 0) * 1000;
  if (next.name === "ready" || next.name === "gone") source?.close();
  if (next.name === "expired" && roundsLeft > 0 && document.visibilityState === "visible") {
    roundsLeft -= 1;
    start(false);
  }
  tick();
}

// role=status announces every write, so only changes are written.
function setText(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text;
}

function drawCode(svg) {
  const box = at("code");
  box.classList.remove("ending");
  box.replaceChildren();
  if (!svg) return;
  const drawing = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  box.append(document.importNode(drawing, true));
}

function tick() {
  const now = performance.now();
  if (pairingDeadline && now >= pairingDeadline) {
    pairingDeadline = 0;
    at("pairing").hidden = true;
    at("pairing-code").textContent = "";
    setText("phone-error", phoneExpired);
  }
  if (!view?.svg) return setText("meta", "");
  const left = (deadline - now) / 1000;
  at("code").classList.toggle("ending", left <= BLUR_S);
  if (left > 0) return setText("meta", view.meta.replace("{seconds}", String(Math.ceil(left))));
  // Never leave a dead code on show: it goes even if the next one does not come.
  at("code").replaceChildren();
  setText("meta", view.next_hint);
}

function connect() {
  source = new EventSource(`${base}/events`);
  source.addEventListener("view", (event) => draw(JSON.parse(event.data)));
  source.addEventListener("error", lost);
}

async function lost() {
  if (view?.name === "ready") return;
  if (source.readyState !== EventSource.CLOSED) return draw(local.offline);
  // The server refused: for good, or only for now?
  const answer = await fetch(location.pathname).catch(() => null);
  if (answer?.status === 404) return draw(local.gone);
  if (answer?.status === 403) return location.reload(); // another browser has it: the page says so
  draw(local.offline);
  setTimeout(connect, RETRY_MS);
}

async function send(path, body) {
  return fetch(`${base}/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function start(pressed) {
  at("action").disabled = true;
  const answer = await send("start", { pressed }).catch(() => null);
  at("action").disabled = false;
  return answer?.ok ?? false;
}

at("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  roundsLeft = Number(root.dataset.rounds);
  await start(true);
});

at("phone-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = at("phone-form").querySelector("button");
  button.disabled = true;
  setText("phone-error", "");
  const answer = await send("pairing-code", { phone: at("phone").value }).catch(() => null);
  const result = (await answer?.json().catch(() => null)) ?? { message: local.offline.headline };
  button.disabled = false;
  at("pairing").hidden = !answer?.ok;
  setText("phone-error", answer?.ok ? "" : result.message);
  if (!answer?.ok) return;
  setText("pairing-code", result.code);
  pairingDeadline = performance.now() + result.expires_in_s * 1000;
});

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && view?.name === "expired") draw(view);
});

if (root.dataset.state !== "gone" && root.dataset.state !== "taken") {
  // On a phone there is no second screen to scan from.
  if (matchMedia("(max-width: 40rem)").matches) at("by-phone").open = true;
  setInterval(tick, 250);
  // Opening the page starts the session: by this POST, which no chat preview sends. It also makes
  // the page this browser's own, so everything else comes after it.
  start(false).then(connect);
}
