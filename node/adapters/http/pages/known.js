// What all views know: the network as it is now, and the registered nodes as their contracts have them.

import { askJson } from "./dom.js";

/** `network` as `/portal/network` gives it, `listed` as `/portal/nodes`, `names` of nodes by id,
 * and why the last look at those nodes failed, if it did. */
export const known = { network: null, listed: [], names: new Map(), fault: "" };
/** The first digits of the tasks that this page handed in. */
export const ours = new Set();
const listeners = new Set();

/** Hear of every change, and of what is known already. */
export function follow(listener) {
  listeners.add(listener);
  if (known.network) listener(known);
}

/** Take in what the network looks like now. */
export function take(network) {
  known.network = network;
  tell();
}

/** Read the registered nodes. */
export async function readNodes() {
  try {
    known.listed = (await askJson("portal/nodes")).nodes;
    known.fault = "";
  } catch (error) {
    known.fault = error.message;
    tell();
    throw error;
  }
  known.names = new Map(known.listed.map((node) => [node.id, node.profile.name || `Node ${node.id}`]));
  tell();
  return known.listed;
}

/** What people call a node. */
export const nameOf = (id) => known.names.get(Number(id)) ?? `Node ${id}`;

/** Name a node so that nobody else can take its place: names are free to choose, numbers are not. */
export const called = (id) => (nameOf(id) === `Node ${id}` ? `node ${id}` : `${nameOf(id)} #${id}`);

function tell() {
  if (known.network) for (const listener of listeners) listener(known);
}
