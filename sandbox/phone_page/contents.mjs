// What is in a message besides text and media: a place, contacts, a poll, a link's preview.
//
// Owns these parts of a bubble. What a vote does is the caller's.

import { make } from "./dom.mjs";

// The text that stands for such a message in a line; empty for all others.
export const contentText = ({ location, contacts, poll }) => {
  if (location) return location.name || `${location.latitude}, ${location.longitude}`;
  if (contacts) return contacts.map((card) => card.name).join(", ");
  return poll?.question ?? "";
};

const placeElement = ({ latitude, longitude, name, address }) =>
  make(
    "div",
    { className: "part place" },
    name ? make("b", { dir: "auto" }, name) : "",
    address ? make("span", { dir: "auto" }, address) : "",
    make("span", { className: "hint" }, `${latitude}, ${longitude}`),
  );

const phoneOf = ({ vcard }) => vcard.match(/waid=(\d+)/i)?.[1] ?? "";

const cardElement = (card) =>
  make("div", { className: "part card" },
    make("b", { dir: "auto" }, card.name), make("span", { className: "hint" }, phoneOf(card)));

const pollElement = (message, votes, { names, number, press }) => {
  const { poll } = message;
  const rows = poll.options.map((option) => {
    const voters = Object.entries(votes).filter(([, chosen]) => chosen.includes(option)).map(([voter]) => voter);
    const who = voters.map((voter) => names.get(voter) ?? voter).join(", ");
    const count = make("span", { className: "count", title: who }, String(voters.length));
    return make(
      "button",
      {
        type: "button",
        className: "plain",
        "data-act": `vote ${option}`,
        "aria-pressed": String(voters.includes(number)),
        onclick: () => press("vote", message, option),
      },
      make("span", { dir: "auto" }, option),
      count,
    );
  });
  const most = poll.choices_max ?? 0;
  const hint = most === 1 ? "Choose one" : most ? `Choose up to ${most}` : "Choose any";
  return make("div", { className: "part poll", role: "group", "aria-label": poll.question },
    make("b", { dir: "auto" }, poll.question), make("span", { className: "hint" }, hint), ...rows);
};

const previewElement = ({ url, title, description }) =>
  make("div", { className: "part preview" },
    title ? make("b", { dir: "auto" }, title) : "",
    description ? make("span", { dir: "auto" }, description) : "",
    make("span", { className: "hint" }, url));

// The parts of a message's bubble. `votes`: options by number.
export const contentParts = (message, votes, context) => [
  message.location ? placeElement(message.location) : null,
  ...(message.contacts ?? []).map(cardElement),
  message.poll ? pollElement(message, votes, context) : null,
  message.preview ? previewElement(message.preview) : null,
];

// What a vote for an option makes of the options chosen: pressed again it goes, and where only one
// may be chosen it takes the other's place.
export const votedFor = (option, chosen, { options, choices_max: most = 0 }) => {
  if (chosen.includes(option)) return chosen.filter((one) => one !== option);
  if (most === 1) return [option];
  return options.filter((one) => one === option || chosen.includes(one));
};
