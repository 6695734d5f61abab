// Reading the account: chats, contacts, groups, numbers, profile; and changing its profile.
//
// Owns which of their attributes leave the page; the rows bear the names of schemas/chats.py. Never
// opens a chat.

const nameOf = (text) => (text ? String(text) : null);

// ---- chats ----------------------------------------------------------------------------------------

const isMuted = ({ mute, muteExpiration }) => {
  const until = Number(mute?.expiration ?? muteExpiration ?? 0);
  return mute?.isMuted ?? (until === -1 || until > Date.now() / 1000);
};

const chatRow = (chat) => ({
  chat_id: idOf(chat.id),
  name: nameOf(chat.formattedTitle ?? chat.name),
  is_group: chat.id.isGroup(),
  unread: Math.max(0, Number(chat.unreadCount) || 0),
  last_message_at: Number(chat.t) || null,
  phone: chat.id.isGroup() ? null : phoneOf(chat.id),
  archived: Boolean(chat.archive),
  pinned: Boolean(chat.pin),
  muted: Boolean(isMuted(chat)),
});

calls.chats = async () => {
  const found = await WPP.chat.list({ ignoreGroupMetadata: true });
  return found.filter(({ id }) => id.isGroup() || ['c.us', 'lid'].includes(id.server)).map(chatRow);
};

// ---- contacts -------------------------------------------------------------------------------------

const isBlocked = (contact) =>
  Boolean(contact.isContactBlocked ?? attempt(() => WPP.whatsapp.BlocklistStore.get(contact.id)));

const contactRow = (contact) => ({
  contact_id: idOf(contact.id),
  name: nameOf(contact.name),
  push_name: nameOf(contact.pushname),
  phone: phoneOf(contact.id),
  lid: contact.id.isLid() ? idOf(contact.id) : idOf(otherWid(contact.id)),
  saved: Boolean(contact.isAddressBookContact ?? contact.isMyContact),
  business: Boolean(contact.isBusiness),
  blocked: isBlocked(contact),
});

calls.contacts = async () => {
  const found = (await WPP.contact.list()).filter(({ id }) => ['c.us', 'lid'].includes(id.server));
  const ids = new Set(found.map(({ id }) => idOf(id)));
  // WhatsApp may keep one person twice, by number and by lid.
  return found.filter(({ id }) => !(id.isLid() && ids.has(idOf(otherWid(id))))).map(contactRow);
};

calls.checkNumber = async ({ phone }) => {
  requireOnline();
  const asked = widOf(`${phone}@c.us`);
  const found = await askAccount(asked);
  if (!found) return { phone, exists: false };
  const wid = found.wid ?? asked;
  const lid = found.lid ?? (wid.isLid() ? wid : otherWid(wid));
  const business = Boolean(found.biz);
  return { phone, exists: true, chat_id: idOf(wid), lid: idOf(lid), business };
};

// ---- groups ---------------------------------------------------------------------------------------

const memberRow = ({ id, isAdmin, isSuperAdmin }) => ({
  member_id: idOf(id),
  admin: Boolean(isAdmin || isSuperAdmin),
  phone: phoneOf(id),
});

calls.group = async ({ chat }) => {
  const known = knownChat(chat);
  if (!known.id.isGroup()) throw new CallError('chat_not_found');
  const members = await WPP.group.getParticipants(idOf(known.id));
  const about = known.groupMetadata;
  return {
    chat_id: idOf(known.id),
    name: String(about.subject ?? known.formattedTitle ?? known.name ?? ''),
    members: members.map(memberRow),
    description: nameOf(about.desc),
    owner_id: idOf(about.owner),
    created_at: Number(about.creation) || null,
    announce_only: Boolean(about.announce),
  };
};

// ---- the profile ----------------------------------------------------------------------------------

// Where a picture can be had; null when there is none, or it is hidden.
const pictureOf = async (id) => {
  const found = await WPP.whatsapp.ProfilePicThumbStore.find(widOf(id));
  return nameOf(found?.eurl ?? found?.imgFull);
};

calls.picture = async ({ chat }) => pictureOf(idOf(knownChat(chat).id));

calls.profile = async () => {
  const me = identity();
  if (!me) throw new CallError('not_main');
  return {
    phone: me.phone,
    lid: me.lid,
    name: nameOf(WPP.profile.getMyProfileName()) ?? me.name,
    about: await orNothing(async () => nameOf(await WPP.profile.getMyStatus()), null),
    picture_url: await orNothing(() => pictureOf(`${me.phone}@c.us`), null),
  };
};

const dataUrlOf = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new CallError('media_unreadable'));
    reader.readAsDataURL(blob);
  });

// The node's files have no ending, so the browser gives them no type; wa-js takes nothing without.
const PNG_BEGINS = 0x89;
const typed = async (source) => {
  const [first] = new Uint8Array(await source.slice(0, 1).arrayBuffer());
  return new Blob([source], { type: first === PNG_BEGINS ? 'image/png' : 'image/jpeg' });
};

const setPicture = async () => {
  const source = input.files?.[0];
  if (!source) throw new CallError('media_missing');
  try {
    (await createImageBitmap(source)).close();
  } catch {
    throw new CallError('not_a_picture');
  }
  const { status } = await WPP.profile.setMyProfilePicture(
    await dataUrlOf(await typed(source)),
  );
  if (status !== 200) throw new CallError('refused', `status ${status}`);
};

// One after the other; what was set before a failure stays, and setting it again changes nothing.
calls.setProfile = async ({ name, about, picture, removePicture }) => {
  requireOnline();
  if (picture) await setPicture();
  if (removePicture && !(await WPP.profile.removeMyProfilePicture())) throw new CallError('refused');
  if (about !== null) await WPP.profile.setMyStatus(about);
  if (name !== null) await WPP.profile.setMyProfileName(name);
};
