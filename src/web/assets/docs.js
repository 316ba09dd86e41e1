// The API's page, drawn from the server's own OpenAPI document. Everything is text nodes: nothing of the document is HTML.

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEEPEST = 6;

/** An element with attributes and children. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

/** What a `$ref` stands for. */
function resolved(api, value) {
  if (!value?.$ref) return value ?? {};
  return value.$ref.slice(2).split("/").reduce((found, key) => found?.[key], api) ?? {};
}

/** A value that a schema describes, as an example. */
function example(api, schema, depth = 0) {
  const shape = resolved(api, schema);
  if (shape.example !== undefined) return shape.example;
  if (depth > DEEPEST) return "…";
  if (shape.enum) return shape.enum[0];
  const one = shape.oneOf?.find((option) => option.type !== "null") ?? shape.allOf?.[0];
  if (one) return example(api, one, depth + 1);
  const type = Array.isArray(shape.type) ? shape.type.find((name) => name !== "null") : shape.type;
  if (type === "object" && shape.properties) {
    const fields = Object.entries(shape.properties);
    return Object.fromEntries(fields.map(([name, field]) => [name, example(api, field, depth + 1)]));
  }
  if (type === "array") return [example(api, shape.items, depth + 1)];
  return { integer: 1, number: 1, boolean: true, object: {} }[type] ?? "text";
}

function code(value) {
  return element("pre", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

/** The first media type of a body, with an example. */
function content(api, body) {
  const [type, media] = Object.entries(body?.content ?? {})[0] ?? [];
  if (!type) return [];
  return [element("p", {}, element("code", {}, type)), code(example(api, media.schema))];
}

function parameters(api, list) {
  if (!list?.length) return [];
  const rows = list.map((given) => {
    const parameter = resolved(api, given);
    const must = parameter.required ? "required" : "optional";
    const where = `${parameter.in}, ${must}`;
    return element("tr", {}, element("td", {}, element("code", {}, parameter.name)), element("td", {}, where),
      element("td", {}, parameter.description ?? ""));
  });
  return [element("h4", {}, "Parameters"), element("table", {}, ...rows)];
}

function responses(api, given) {
  const rows = Object.entries(given ?? {}).map(([status, value]) => {
    const response = resolved(api, value);
    const [media] = Object.values(response.content ?? {});
    const examples = Object.keys(media?.examples ?? {}).join(", ");
    const body = media?.schema && /^2/.test(status) ? code(example(api, media.schema)) : examples;
    return element("tr", {}, element("th", { scope: "row" }, status), element("td", {}, response.description ?? "", body ? element("div", {}, body) : null));
  });
  return [element("h4", {}, "Answers"), element("table", {}, ...rows)];
}

function opener(operation) {
  const needed = (operation.security ?? []).flatMap((option) => Object.keys(option));
  return needed.length ? `Needs: ${needed.join(" or ")}` : "Open to everybody";
}

function operationView(api, method, path, operation) {
  const id = `${method}-${path.replace(/[^a-z0-9]+/gi, "-")}`;
  const body = operation.requestBody ? [element("h4", {}, "Body"), ...content(api, operation.requestBody)] : [];
  const view = element("details", { id },
    element("summary", {}, element("span", { class: "method" }, method.toUpperCase()), element("code", {}, path), ` ${operation.summary ?? ""}`),
    element("p", {}, operation.description ?? ""),
    element("p", {}, opener(operation)),
    ...parameters(api, operation.parameters),
    ...body,
    ...responses(api, operation.responses));
  return { tag: operation.tags?.[0] ?? "other", id, label: `${method.toUpperCase()} ${path}`, view };
}

function problems(api) {
  const media = api.components?.responses?.Problem?.content?.["application/problem+json"];
  const views = Object.entries(media?.examples ?? {}).map(([name, { value }]) =>
    element("details", { id: `problem-${name}` }, element("summary", {}, `${value.status} `, element("code", {}, name), ` ${value.title}`), code(value)));
  return [element("h2", { id: "problems" }, "Problems"), ...views];
}

function draw(api) {
  document.title = `${api.info.title}: HTTP API`;
  document.getElementById("title").textContent = `${api.info.title} ${api.info.version}`;
  const about = document.getElementById("about");
  about.replaceChildren(api.info.description ?? "", " ", element("a", { href: "/openapi.json" }, "openapi.json"));
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => operationView(api, method, path, item[method])));
  const tags = [...new Set(operations.map((operation) => operation.tag))].sort().reverse();
  const place = document.getElementById("operations");
  for (const tag of tags) {
    const mine = operations.filter((operation) => operation.tag === tag);
    place.append(element("h2", {}, tag), ...mine.map((operation) => operation.view));
  }
  place.append(...problems(api));
  const links = operations.map(({ id, label }) => element("li", {}, element("a", { href: `#${id}` }, label)));
  document.getElementById("contents").append(element("ul", {}, ...links));
  openNamed();
}

/** Opens what the address names. */
function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!(named instanceof HTMLDetailsElement)) return;
  named.open = true;
  named.scrollIntoView();
}

addEventListener("hashchange", openNamed);

try {
  const response = await fetch("/openapi.json", { headers: { accept: "application/json" } });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  draw(await response.json());
} catch (error) {
  document.getElementById("about").textContent = `The document cannot be read: ${error.message}`;
}
