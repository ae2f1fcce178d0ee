// The OpenAPI description, read and laid out; nothing is fetched from elsewhere.

import { make } from "./make.js";

const api = await (await fetch("/openapi.json")).json();
const named = (schema) => (schema?.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema) ?? {};

// A schema in a few words.
function kind(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  const of = schema.anyOf ?? schema.oneOf;
  if (of) return of.map(kind).join(" or ");
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" or ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${kind(schema.items ?? {})}`;
  return schema.type ?? "anything";
}

function rows(properties, required) {
  return Object.entries(properties).map(([name, schema]) => make("tr", {},
    make("td", {}, make("code", {}, name), required.includes(name) ? "" : " (may be left out)"),
    make("td", {}, kind(schema)), make("td", {}, schema.description ?? named(schema).description ?? "")));
}

function fields(schema) {
  const { properties = {}, required = [] } = named(schema);
  return Object.keys(properties).length ? make("table", {}, make("tbody", {}, rows(properties, required))) : make("p", {}, kind(schema));
}

function route(path, verb, said) {
  const body = said.requestBody && Object.values(said.requestBody.content)[0].schema;
  const good = Object.entries(said.responses).find(([status]) => status < 300);
  const answer = good?.[1].content && Object.values(good[1].content)[0].schema;
  const bad = Object.entries(said.responses).filter(([status]) => status >= 300);
  const asked = (said.parameters ?? []).filter((each) => each.name !== "X-Runway-Version");
  return make("details", { className: "panel" },
    make("summary", {}, make("span", { className: "verb" }, verb.toUpperCase()), make("code", {}, path)),
    make("p", {}, said.description ?? ""),
    asked.length > 0 && [make("h3", {}, "Asked with"), make("table", {}, make("tbody", {}, rows(Object.fromEntries(asked.map((each) => [each.name, { ...each.schema, description: `${each.in}. ${each.description ?? ""}` }])), asked.filter((each) => each.required).map((each) => each.name))))],
    body && [make("h3", {}, "Body"), fields(body)],
    make("h3", {}, `Answer ${good?.[0] ?? ""}`), answer ? fields(answer) : make("p", {}, "Nothing."),
    bad.length > 0 && [make("h3", {}, "Otherwise"), make("table", {}, make("tbody", {}, bad.map(([status, { description }]) => make("tr", {}, make("td", {}, status), make("td", {}, description)))))]);
}

const groups = new Map(); // what routes are about -> those routes
for (const [path, verbs] of Object.entries(api.paths)) {
  for (const [verb, said] of Object.entries(verbs)) {
    const about = said.tags?.[0] ?? "the server";
    groups.set(about, [...(groups.get(about) ?? []), route(path, verb, said)]);
  }
}
const shapes = Object.entries(api.components.schemas).map(([name, schema]) => make("details", { className: "panel" }, make("summary", {}, make("code", {}, name)), make("p", {}, schema.description ?? ""), fields(schema)));
document.getElementById("routes").replaceChildren(
  make("p", {}, "Every answer that is not what was asked for is ", make("code", {}, '{"error": "…"}'), ", with ", make("code", {}, "issues"), " where a field of the request is at fault. A key goes along as ", make("code", {}, "Authorization: Bearer KEY"), "."),
  ...[...groups].flatMap(([about, routes]) => [make("h2", {}, about.charAt(0).toUpperCase() + about.slice(1)), ...routes]),
  make("h2", {}, "Shapes"), ...shapes);
