// Media on its way into the page and out of it.
//
// Owns the file input and the open blobs. Never keeps a copy of the bytes.

// Files come through a file input: the browser reads them from disk, and no byte of them passes
// through a script or the debugging pipe.
const input = document.createElement('input');
input.type = 'file';
blazz.input = input;
calls.dropFile = () => {
  input.value = '';
};

const isReadable = async (blob) => {
  try {
    await blob.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
};

// A message's bytes. Of one that was sent from here WhatsApp still holds the file itself, which the
// node has removed since: then it fetches them, as for any other.
const bytesOf = async (msg) => {
  const id = String(msg.id);
  const held = await WPP.chat.downloadMedia(id);
  if (await isReadable(held)) return held;
  const { mediaData } = msg;
  attempt(() => WPP.whatsapp.MediaBlobCache.delete?.(mediaData.filehash));
  mediaData.mediaBlob = null;
  mediaData.mediaStage = 'INIT';
  const fetched = await WPP.chat.downloadMedia(id);
  if (!(await isReadable(fetched))) throw new CallError('media_unreadable');
  return fetched;
};

const blobs = new Map(); // handle → Blob, until it is read to its end
let lastHandle = 0;

calls.openMedia = async ({ id, chat, fromMe, participant }) => {
  const keys = [`${fromMe}_${chat}_${id}`];
  if (participant) keys.unshift(`${keys[0]}_${participant}`);
  let msg = await findAny(keys);
  if (!msg) {
    const held = attempt(() => WPP.chat.get(chat));
    msg = held?.msgs.getModelsArray().find((one) => String(one.id?.id) === id) ?? null;
  }
  if (!msg) throw new CallError('msg_not_found');
  const blob = await bytesOf(msg);
  lastHandle += 1;
  blobs.set(lastHandle, blob);
  const mimetype = String(msg.mimetype || blob.type || 'application/octet-stream');
  return { handle: lastHandle, size: blob.size, mimetype };
};

calls.readMedia = async ({ handle, offset, length }) => {
  const blob = blobs.get(handle);
  if (!blob) throw new CallError('no_such_handle');
  const reader = new FileReader();
  return new Promise((resolve, reject) => {
    reader.onload = () => resolve(String(reader.result).split(',', 2)[1] ?? '');
    reader.onerror = () => reject(new CallError('media_unreadable'));
    reader.readAsDataURL(blob.slice(offset, offset + length));
  });
};

calls.closeMedia = ({ handle }) => {
  blobs.delete(handle);
};
