// Draws /openapi.json. Everything is set as text, never as markup.
const target = document.getElementById("reference");
if (target) {
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(String(answer.status));
    draw(await answer.json());
  } catch {
    target.textContent = "openapi.json could not be read. Reload the page.";
  }
  target.removeAttribute("aria-busy");
}

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Just `code`, [text](/path), "- " lists and paragraphs: what our own descriptions use.
function prose(text = "") {
  const box = el("div");
  for (const part of text.trim().split(/\n\n+/)) {
    const items = part.split(/\n(?=- )/);
    if (!items[0].startsWith("- ")) box.append(el("p", {}, ...inline(part)));
    else box.append(el("ul", {}, ...items.map((i) => el("li", {}, ...inline(i.slice(2))))));
  }
  return box;
}

function inline(text) {
  return text.split(/(\[[^\]]+\]\(\/[^)\s]*\)|`[^`]+`)/).filter(Boolean).map((piece) => {
    const link = piece.match(/^\[([^\]]+)\]\((\/[^)\s]*)\)$/);
    if (link) return el("a", { href: link[2] }, ...inline(link[1]));
    return /^`.+`$/.test(piece) ? el("code", {}, piece.slice(1, -1)) : piece;
  });
}

function draw(api) {
  target.replaceChildren(el("h1", {}, `${api.info.title} ${api.info.version}`), prose(api.info.description));
  const byTag = new Map((api.tags ?? []).map((tag) => [tag.name, { about: tag.description, all: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const tag = operation.tags?.[0] ?? "Other";
      if (!byTag.has(tag)) byTag.set(tag, { about: "", all: [] });
      byTag.get(tag).all.push([method, path, operation]);
    }
  }
  for (const [name, { about, all }] of byTag) {
    if (!all.length) continue;
    target.append(el("h2", {}, name), prose(about), ...all.map((one) => drawOperation(api, ...one)));
  }
  target.append(el("h2", {}, "Schemas"));
  for (const [name, schema] of Object.entries(api.components.schemas).sort()) {
    target.append(el("details", { class: "operation", id: `schema-${name}` },
      el("summary", {}, el("code", {}, name)), el("div", {}, drawSchema(schema))));
  }
  openTarget();
  addEventListener("hashchange", openTarget);
}

function openTarget() {
  const node = location.hash && document.getElementById(location.hash.slice(1));
  if (!node) return;
  node.open = true;
  node.scrollIntoView();
}

function drawOperation(api, method, path, operation) {
  const body = el("div", {}, prose(operation.description));
  const parameters = (operation.parameters ?? []).map((p) =>
    [code(p.name), p.in + (p.required ? ", required" : ""), typeOf(p.schema), p.description ?? ""]);
  if (parameters.length) body.append(el("h3", {}, "Parameters"), table(["Name", "In", "Type", "About"], parameters));
  for (const [type, { schema }] of Object.entries(operation.requestBody?.content ?? {})) {
    const whole = schema.$ref ? resolve(api, schema) : schema;
    body.append(el("h3", {}, "Body: ", code(type)), drawSchema(whole));
    const example = whole.examples?.[0];
    if (example) body.append(el("pre", { tabindex: "0" }, JSON.stringify(example, null, 2)));
  }
  body.append(el("h3", {}, "Answers"), table(["HTTP", "What"], Object.entries(operation.responses).map(
    ([http, answer]) => [http, el("div", {}, prose(answer.description), drawContent(answer.content))])));
  return el("details", { class: "operation", id: operation.operationId },
    el("summary", {}, el("span", { class: `method ${method}` }, method), code(path),
      el("span", { class: "faint" }, operation.summary)), body);
}

function code(text) {
  return el("code", {}, text);
}

function resolve(api, schema) {
  return api.components.schemas[schema.$ref.split("/").pop()] ?? {};
}

function drawContent(content = {}) {
  const parts = Object.entries(content).flatMap(([type, { schema }]) => [code(type), " ", typeOf(schema ?? {}), el("br")]);
  return el("span", { class: "faint" }, ...parts.slice(0, -1));
}

function drawSchema(schema) {
  if (!schema.properties) return el("p", {}, typeOf(schema));
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties).map(([name, field]) =>
    [code(name), required.has(name) ? "yes" : "", typeOf(field), limits(field)]);
  return el("div", {}, prose(schema.description), table(["Field", "Required", "Type", "About"], rows));
}

function typeOf(schema = {}) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return el("a", { href: `#schema-${name}` }, name);
  }
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return el("span", {}, ...several.flatMap((one, i) => (i ? [" or ", typeOf(one)] : [typeOf(one)])));
  if (schema.enum) return el("span", {}, schema.enum.filter((v) => v !== null).join(", "));
  if (schema.type === "array") return el("span", {}, "list of ", typeOf(schema.items));
  return el("span", {}, [schema.type].flat().join(" or ") || "anything");
}

function limits(schema) {
  const names = { minLength: "at least", maxLength: "at most", minimum: "from", maximum: "to", pattern: "like" };
  const one = schema.anyOf?.[0] ?? schema;
  const found = Object.entries(names).filter(([k]) => k in one).map(([k, words]) => `${words} ${one[k]}`);
  return [schema.description ?? one.description, found.join(", ")].filter(Boolean).join(" ");
}

function table(names, rows) {
  const head = el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)));
  const lines = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))));
  return el("div", { class: "wide", tabindex: "0", role: "group", "aria-label": names.join(", ") },
    el("table", {}, el("thead", {}, head), el("tbody", {}, ...lines)));
}
