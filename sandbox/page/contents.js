// What a message is besides its text: a place, cards, a poll, a preview, the mark of a forward.
//
// Owns the translation between the switch's records and WhatsApp's message attributes, both ways.
// Never touches media or keys.
"use strict";
standIn("SandboxContents", () => {
  const label = ({ name, address }) => [name, address].filter(Boolean).join("\n");
  const cards = (list) =>
    list.length === 1
      ? { type: "vcard", body: list[0].vcard, vcardFormattedName: list[0].name }
      : {
          type: "multi_vcard",
          vcardList: list.map(({ name, vcard }) => ({ displayName: name, vcard })),
        };

  // Attributes of a record, apart from those that every message has.
  const attributesOf = ({ location, contacts, poll, preview, forwarded }) => ({
    ...(location && { lat: location.latitude, lng: location.longitude, loc: label(location) }),
    ...(contacts?.length && cards(contacts)),
    ...(poll && {
      pollName: poll.question,
      pollOptions: poll.options.map((name, localId) => ({ name, localId })),
      pollSelectableOptionsCount: poll.choices_max ?? 0,
    }),
    ...(preview && {
      subtype: "url",
      matchedText: preview.url,
      canonicalUrl: preview.url,
      title: preview.title,
      description: preview.description,
    }),
    ...(forwarded && { isForwarded: true }),
  });

  const locationOf = ({ lat, lng, loc }) => {
    const [name = "", ...rest] = String(loc ?? "").split("\n");
    return { latitude: lat, longitude: lng, name, address: rest.join("\n") };
  };

  const READERS = {
    location: (message) => ({ location: locationOf(message), body: "" }),
    vcard: ({ vcardFormattedName, body }) => ({
      contacts: [{ name: vcardFormattedName, vcard: body }],
      body: "",
    }),
    multi_vcard: ({ vcardList }) => ({
      type: "vcard",
      contacts: vcardList.map(({ displayName, vcard }) => ({ name: displayName, vcard })),
      body: "",
    }),
    poll_creation: ({ pollName, pollOptions, pollSelectableOptionsCount }) => ({
      poll: {
        question: pollName,
        options: pollOptions.map(({ name }) => name),
        choices_max: pollSelectableOptionsCount ?? 0,
      },
    }),
  };

  // The same of a message that is to be sent, as the switch's record has it.
  const recordOf = (message) => ({
    ...READERS[message.type]?.(message),
    ...(message.subtype === "url" && {
      preview: {
        url: message.matchedText,
        title: message.title ?? "",
        description: message.description ?? "",
      },
    }),
    ...(message.isForwarded && { forwarded: true }),
  });

  // ---- link previews ----

  // The first link of a text, and what is behind it: a page of the sandbox's own invention. One
  // whose path is /slow never answers.
  const findFirstWebLink = (text) => {
    const [url] = /https?:\/\/\S+/.exec(text) ?? [];
    return url && { url, href: url, input: text, isHttp: true };
  };
  const genMinimalLinkPreview = async ({ url }) => {
    const { hostname, pathname } = new URL(url);
    if (pathname === "/slow") await new Promise(() => {});
    const data = { title: `Page of ${hostname}`, description: pathname };
    return { url, data: { ...data, canonicalUrl: url, matchedText: url, richPreviewType: 0, doNotPlayInline: true } };
  };

  return { attributesOf, recordOf, findFirstWebLink, genMinimalLinkPreview };
});
