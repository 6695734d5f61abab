// The phone's HTTP API, as the page uses it.
//
// Owns the requests and the words for what went wrong. Never touches the document.

const TEXTS = {
  expired: "That code has expired. Take the one the page shows now.",
  wrong_code: "No page waits for that pairing code on this number.",
  nothing_waits: "Nothing waits for a passkey.",
  no_qr_found: "There is no QR in that picture.",
  no_qr_reader: "There is no QR reader here: paste the QR's text instead.",
  unknown_chat: "There is no such account or message.",
  not_a_member: "This phone is not in that group.",
  not_found: "That is gone.",
  too_large: "That file is too large: 64 MB is the most.",
};

export class ApiError extends Error {
  constructor(code, detail) {
    super(TEXTS[code] ?? [code, detail].filter(Boolean).join(": "));
    this.code = code;
  }
}

// The answer's JSON. `body`: a Blob goes as it is, everything else as JSON.
export const call = async (method, path, body, headers = {}) => {
  const whole = body === undefined || body instanceof Blob;
  const request = { method, headers, body: whole ? body : JSON.stringify(body) };
  const response = await fetch(path, request).catch(() => {
    throw new ApiError("The sandbox does not answer. Is it still running?");
  });
  // What is too large is refused before the API sees it, without JSON.
  const answer = await response.json().catch(() => ({ error: response.status === 413 ? "too_large" : `HTTP ${response.status}` }));
  if (!response.ok) throw new ApiError(answer.error, answer.detail);
  return answer;
};

export const phonePath = (number, rest = "") => `/api/accounts/${encodeURIComponent(number)}${rest}`;
export const chatPath = (number, wid) => phonePath(number, `/chats/${encodeURIComponent(wid)}/messages`);
export const mediaPath = (mediaId) => `/api/media/${encodeURIComponent(mediaId)}`;

// The text of the QR in a picture: by the browser where it can, else by the sandbox.
export const qrFromPicture = async (picture) => {
  if ("BarcodeDetector" in window) {
    const found = await createImageBitmap(picture)
      .then((bitmap) => new BarcodeDetector({ formats: ["qr_code"] }).detect(bitmap))
      .catch(() => []);
    if (found.length) return found[0].rawValue;
  }
  return (await call("POST", "/api/qr", picture)).text;
};

const FAMILIES = ["image", "video", "audio"];

// Puts a file on the switch; what a message has to say about it.
export const upload = async (file) => {
  const mimetype = file.type || "application/octet-stream";
  const stored = await call("PUT", "/api/media", file, { "Content-Type": mimetype });
  const family = mimetype.split("/")[0];
  return {
    type: FAMILIES.includes(family) ? family : "document",
    media: { media_id: stored.media_id, size: stored.size, mimetype, filename: file.name },
  };
};
