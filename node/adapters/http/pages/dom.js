// Elements and words. Text always goes in as text, never as markup: much of it is written by strangers.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: attributes by name, `on…` for listeners, `class`, and children (text or elements; null is left out). */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Make an SVG element. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Begin with a capital letter, and end with a full stop if asked to. */
export const sentence = (text, end = "") => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : end}`;

/** Find by id. */
export const at = (id) => document.getElementById(id);

const WEI = 10n ** 18n;

/** Write an amount of wei (decimal text) in CAI, rounded down to `decimals`. */
export function number(wei, decimals = 6) {
  const value = BigInt(wei);
  const digits = (value % WEI).toString().padStart(18, "0").slice(0, decimals).replace(/0+$/, "");
  if (value > 0n && value / WEI === 0n && !digits) return `below ${10 ** -decimals}`;
  return (value / WEI).toLocaleString("en-US") + (digits ? `.${digits}` : "");
}

export const cai = (wei, decimals = 6) => `${number(wei, decimals)} CAI`;

/** Write an amount of wei in a few characters, rounded down: 25k, 2.67M. */
export function short(wei) {
  const whole = Number(BigInt(wei) / (WEI / 1000n)) / 1000;
  for (const [size, unit] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (whole >= size) {
      const digits = whole >= 10 * size ? 10 : 100;
      return `${(Math.floor((whole / size) * digits) / digits).toLocaleString("en-US")}${unit}`;
    }
  }
  return (Math.floor(whole * 100) / 100).toLocaleString("en-US");
}

export const percent = (bps) => `${bps / 100} %`;

/** Write a length of time (s) in its two largest units. */
export function span(seconds) {
  let left = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count && parts.length < 2) parts.push(`${count} ${unit}`);
    else if (parts.length) break;
  }
  return parts.join(" ") || "0 s";
}

export const seconds = (ms) => (ms < 950 ? `${Math.round(ms)}\u00a0ms` : `${(ms / 1000).toFixed(1)}\u00a0s`);

/** Shorten an address for the eye; the whole of it is its title. */
export function address(text) {
  return h("span", { class: "mono", title: text }, `${text.slice(0, 6)}…${text.slice(-4)}`);
}

/** Give a link for a site that a stranger names: https alone; anything else stays text. */
export function site(text) {
  let url = null;
  try {
    url = new URL(text);
  } catch {
    return h("span", {}, text);
  }
  if (url.protocol !== "https:" || url.username || url.password) return h("span", {}, text);
  return h("a", { href: url.href, rel: "noopener noreferrer nofollow ugc", target: "_blank" }, url.hostname);
}

/** A cell with the heading that it has on a narrow screen. */
export function cell(heading, attributes, ...children) {
  return h("td", { "data-label": heading, ...attributes }, ...children);
}

/** A coloured word. */
export const tag = (kind, text) => h("span", { class: `tag ${kind}` }, text);

/** Ask the gateway; an answer that is not a success becomes an Error with its message. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", credentials: "omit", ...options });
  } catch {
    throw Object.assign(new Error("this coordinator does not answer now"), { isPassing: true });
  }
  if (answer.ok) return answer;
  let told = null;
  try {
    told = (await answer.json()).error;
  } catch {
    // no JSON: something between us and the coordinator answered
  }
  const error = new Error(told?.message ?? `the coordinator answered with status ${answer.status}`);
  error.status = answer.status;
  error.isPassing = answer.status >= 500;
  throw error;
}

export const askJson = async (path, options) => (await ask(path, options)).json();
