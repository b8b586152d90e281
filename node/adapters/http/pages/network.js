// The live network: figures, the map, the latest tasks, and a table of the same for those who cannot see a map.

import { at, cai, cell, h, seconds, short, tag } from "./dom.js";
import { follow, known, nameOf, ours } from "./known.js";
import { NetworkMap } from "./map.js";

const MAX_TASKS = 9;
const MAX_ELSEWHERE = 4;
const MAX_ROWS = 100;
const NAMES = ["Miners connected", "Free places", "Pictures made", "In the works", "Staked", "A picture takes"];
const LEFT = new Set(["cancelled", "client gone"]); // by whoever asked for it: no fault of anybody's
const STEPS = ["offered", "claimed", "drawing", "done"];
let map = null;
let isRead = false;
let names = null;
const tasks = new Map();

export function start() {
  map = new NetworkMap(at("map"));
  figures(NAMES.map((name) => [name, "–", " "]));
  follow(show);
}

/** Forget all tasks, and take in the latest steps instead: of those that ended meanwhile nothing else would tell. */
export function begin(steps) {
  isRead = true;
  tasks.clear();
  map.forget();
  steps.forEach(note);
  showTasks();
}

/** Take in steps of tasks. */
export function happened(steps) {
  for (const step of steps) {
    note(step);
    map.happened(step);
  }
  showTasks();
}

function note(step) {
  let task = tasks.get(step.task);
  if (!task) {
    if (!["task.accepted", "task.offered", "heard.offered"].includes(step.name)) return;
    task = { id: step.task, at: step.at, stage: 0, claims: new Set(), model: step.model, of: step.coordinator };
    tasks.set(step.task, task);
    const elsewhere = [...tasks.values()].filter((one) => one.of !== undefined);
    if (elsewhere.length > MAX_ELSEWHERE) tasks.delete(elsewhere[0].id);
    while (tasks.size > MAX_TASKS) tasks.delete(tasks.keys().next().value);
  }
  switch (step.name) {
    case "task.offered":
      task.stage = 1;
      task.attempt = step.attempt;
      break;
    case "claim.received":
      task.claims.add(step.miner);
      task.stage = Math.max(task.stage, 2);
      break;
    case "task.awarded":
      Object.assign(task, { stage: 3, miner: step.miner, problem: null, awarded: step.at });
      break;
    case "task.done":
      Object.assign(task, { stage: 4, took: step.ms });
      break;
    case "task.failed":
      Object.assign(task, { stage: 5, problem: words(step.reason) });
      break;
    case "heard.offered":
      Object.assign(task, { stage: 1, problem: null });
      break;
    case "heard.awarded":
      Object.assign(task, { stage: 3, miner: step.miner });
      break;
    case "heard.closed":
      Object.assign(task, step.reason === "done" ? { stage: 4 } : { stage: 5, problem: words(step.reason) });
      break;
    case "task.lease_expired":
    case "task.abandoned":
      Object.assign(task, { stage: 0, problem: `${nameOf(step.miner)} gave it back` });
      break;
    default:
  }
}

const ending = (problem) => (LEFT.has(problem) ? "given up by who asked for it" : `ended without a picture: ${problem}`);
const words = (reason) => String(reason ?? "").replaceAll("_", " ");

function showTasks() {
  names = known.names;
  at("feed-empty").hidden = tasks.size > 0 || !isRead;
  at("feed").replaceChildren(...[...tasks.values()].reverse().map(taskRow));
}

function taskRow(task) {
  const stages = STEPS.map((name, index) => h("i", { class: task.stage > index ? "on" : "" }));
  const kind = task.stage === 5 ? (LEFT.has(task.problem) ? "left" : "failed") : task.stage === 4 ? "done" : task.stage === 3 ? "drawing" : "open";
  return h("li", { class: kind },
    h("span", { class: "mono id" }, task.id.slice(0, 6)),
    h("span", { class: "what" }, sentence(task), ours.has(task.id) ? [" ", tag("good", "yours")] : null),
    h("span", { class: "steps", "aria-hidden": "true" }, ...stages));
}

function sentence(task) {
  return task.of === undefined ? ofOurs(task) : `${nameOf(task.of)}: ${ofTheirs(task)}`;
}

/** What another coordinator says in public: not who claims, nor how long it takes. */
function ofTheirs(task) {
  if (task.stage === 5) return ending(task.problem);
  if (task.stage === 4) return task.miner === undefined ? "drawn" : `${nameOf(task.miner)} drew it`;
  return task.stage === 3 ? `${nameOf(task.miner)} draws it` : "offered to all miners";
}

function ofOurs(task) {
  const claims = `${task.claims.size} ${task.claims.size === 1 ? "claim" : "claims"}`;
  if (task.stage === 5) return ending(task.problem);
  if (task.stage === 4) return `${nameOf(task.miner)} drew it in ${seconds(task.took)}`;
  if (task.stage === 3) return `${nameOf(task.miner)} draws it${isNext(task) ? " next" : ""}`;
  if (task.stage === 2) return `${claims}, about to be awarded`;
  if (task.problem) return `${task.problem}, offered again`;
  return task.stage === 1 ? "offered to all miners" : "waits for its offer";
}

/** Whether its miner has as many earlier tasks as it draws at once: it is given one more meanwhile. */
function isNext(task) {
  const places = known.network?.members.find((member) => member.id === task.miner)?.places;
  const before = [...tasks.values()].filter((one) => one.stage === 3 && one.miner === task.miner && one.awarded < task.awarded);
  return Boolean(places) && before.length >= places;
}

function show({ network }) {
  map.show(network);
  if (names !== known.names) showTasks();
  const miners = network.members.filter((member) => member.role === "miner");
  const here = miners.filter((member) => member.here);
  const sum = (key) => here.reduce((total, member) => total + (member[key] ?? 0), 0);
  const staked = network.members.reduce((total, member) => total + BigInt(member.stake), 0n);
  const { totals } = network;
  const timed = miners.reduce((total, member) => total + member.deeds.timed, 0);
  const worked = miners.reduce((total, member) => total + member.deeds.work_ms, 0);
  const shown = [
    [String(here.length), `of ${miners.length} registered`],
    [`${sum("free")}`, `of ${sum("places")} at once`],
    [totals.done.toLocaleString("en-US"), totals.failed ? `${totals.failed} failed` : "since this start"],
    [totals.open.toLocaleString("en-US"), totals.open === 1 ? "task" : "tasks"],
    [short(staked.toString()), "CAI"],
    [timed ? seconds(worked / timed) : "–", timed ? "on average" : "none timed yet"],
  ];
  figures(shown.map((figure, index) => [NAMES[index], ...figure]));
  at("feed-more").hidden = !totals.passed_over;
  at("feed-more").textContent = `${totals.passed_over.toLocaleString("en-US")} more since this start: of a busy second, only the first tasks are listed.`;
  const rows = network.members.slice(0, MAX_ROWS);
  at("members").tBodies[0].replaceChildren(...rows.map((member) => memberRow(member, network.own_id)));
  at("members-note").textContent =
    network.registered > rows.length ? `${network.registered - rows.length} more are registered.` : "";
  at("members-note").hidden = network.registered <= rows.length;
}

function figures(found) {
  const list = at("figures");
  if (list.childElementCount !== found.length) {
    list.replaceChildren(...found.map(() => h("div", {}, h("dt"), h("dd", {}, h("b"), " ", h("small")))));
  }
  found.forEach(([name, value, note], index) => {
    const box = list.children[index];
    set(box.querySelector("dt"), name);
    set(box.querySelector("b"), value);
    set(box.querySelector("small"), note);
  });
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function memberRow(member, own) {
  const isMiner = member.role === "miner";
  let state = tag("quiet", isMiner ? "not connected" : "elsewhere");
  if (!member.active) state = tag("bad", "inactive");
  else if (member.id === own) state = tag("good", "this coordinator");
  else if (member.here) state = member.places === 0 ? tag("quiet", "loading") : member.free ? tag("good", "free") : tag("busy", "drawing");
  return h("tr", {},
    cell("Node", {}, h("span", {}, h("b", {}, nameOf(member.id)), h("span", { class: "muted" }, ` #${member.id}`))),
    cell("Role", {}, member.role),
    cell("Stake", { class: "num", title: cai(member.stake) }, `${short(member.stake)} CAI`),
    cell("Models", { class: member.models?.length ? null : "none" }, isMiner && member.models?.length ? member.models.join(", ") : "–"),
    cell("Places", { class: member.places ? null : "none" }, places(member)),
    cell("State", {}, state));
}

function places(member) {
  if (!member.places) return "–";
  const dots = Math.min(member.places, 12);
  const free = Math.min(member.free, dots);
  const marks = Array.from({ length: dots }, (_, index) => h("i", { class: index < dots - free ? "taken" : "" }));
  return h("span", { class: "places", role: "img", "aria-label": `${member.free} of ${member.places} free`, title: `${member.free} of ${member.places} free` }, ...marks);
}

export const open = () => known.network && show(known);
