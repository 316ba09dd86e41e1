// Building nodes. Text and attributes given as functions are written again when the language changes.

/** What to write again, by node and by attribute ("" is the text). @type {WeakMap<Element, Map<string, () => void>>} */
const writers = new WeakMap();

/**
 * @param {string} tag
 * @param {Record<string, any>} [attributes] `on…` are listeners, booleans are properties, functions follow the language.
 * @param {...(Node | string | (() => string) | null)} children
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  for (const child of children) {
    if (child === null) continue;
    if (typeof child === "function") node.append(live(document.createElement("span"), child));
    else node.append(child);
  }
  return node;
}

function setAttribute(node, name, value) {
  if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
  else if (typeof value === "boolean") node[name] = value;
  else if (typeof value === "function") follow(node, name, () => node.setAttribute(name, value()));
  else node.setAttribute(name, value);
}

/** Sets a node's text to what `words` gives, now and after each change of language. */
export function live(node, words) {
  delete node.dataset.t;
  return follow(node, "", () => {
    const text = words();
    // Writing the same text again would make a screen reader repeat it.
    if (node.textContent !== text) node.textContent = text;
  });
}

function follow(node, name, write) {
  if (!writers.has(node)) writers.set(node, new Map());
  writers.get(node).set(name, write);
  node.toggleAttribute("data-live", true);
  write();
  return node;
}

/** Writes every living text again. */
export function rewriteAll() {
  for (const node of document.querySelectorAll("[data-live]")) {
    for (const write of writers.get(node)?.values() ?? []) write();
  }
}

/** Says something once to a screen reader. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  if (announcer) announcer.textContent = text;
}
