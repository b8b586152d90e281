// The leaderboard: who is registered, with what stake, and how well it works as this coordinator saw it.

import { address, at, cai, cell, h, number, percent, seconds, short, site, span, tag } from "./dom.js";
import { gently } from "./gently.js";
import { follow, known, readNodes } from "./known.js";

const MAX_ROWS = 200;
const total = (node) => BigInt(node.own) + BigInt(node.votes);
const columns = {
  name: { title: "Node", by: (row) => row.name.toLowerCase(), both: true, up: true },
  stake: { title: "Stake", by: (row) => total(row.node), num: true, both: true },
  keeps: { title: "Commission", by: (row) => row.node.commission_bps, num: true, both: true, up: true },
  state: { title: "State", by: (row) => row.node.state, both: true, up: true },
  success: { title: "Success", by: (row) => row.success ?? -1, num: true },
  speed: { title: "Speed", by: (row) => row.speed ?? Infinity, num: true, up: true },
};
let role = "miner";
let order = ["stake", false];
let drawn = "";

export function start() {
  for (const button of document.querySelectorAll("#view-nodes .switch button")) {
    button.addEventListener("click", () => {
      role = button.dataset.role;
      for (const other of document.querySelectorAll("#view-nodes .switch button")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      show(known);
    });
  }
  at("find").addEventListener("input", () => show(known));
  follow((state) => gently(at("leaders"), () => show(state)));
}

export async function open() {
  await readNodes().catch(() => show(known));
}

function show({ listed, network, fault }) {
  const members = new Map((network?.members ?? []).map((member) => [member.id, member]));
  const words = at("find").value.trim().toLowerCase();
  const rows = listed.filter((node) => node.role === role).map((node) => rowOf(node, members.get(node.id)))
    .filter((row) => !words || row.text.includes(words));
  const column = columns[order[0]];
  const sign = order[1] ? 1 : -1;
  rows.sort((a, b) => {
    const [x, y] = [column.by(a), column.by(b)];
    return x === y ? a.node.id - b.node.id : (x < y ? -1 : 1) * sign;
  });
  at("leaders-note").textContent = fault ? `Not up to date: ${fault}.` : !listed.length ? "Reading the chain…" : !rows.length ? "Nobody fits." : "";
  const key = JSON.stringify([role, order, words, rows.map((row) => [row.node, row.deeds, row.here])]);
  if (key === drawn) return;
  drawn = key;
  const shown = Object.entries(columns).filter(([, each]) => each.both || role === "miner");
  const focused = document.activeElement?.dataset?.column;
  at("leaders").tHead.replaceChildren(h("tr", {}, ...shown.map(heading), h("th", { scope: "col" }, h("span", { class: "out" }, "Vote"))));
  if (focused) at("leaders").querySelector(`[data-column="${focused}"]`)?.focus();
  at("leaders").tBodies[0].replaceChildren(...rows.slice(0, MAX_ROWS).map((row) => tableRow(row)));
}

function rowOf(node, member) {
  const name = node.profile.name || `Node ${node.id}`;
  const deeds = member?.deeds;
  const ended = deeds ? deeds.done + deeds.lost : 0;
  return {
    node, name, deeds, here: member?.here ?? false,
    success: ended ? deeds.done / ended : null,
    speed: deeds?.timed ? deeds.work_ms / deeds.timed : null,
    text: [name, `#${node.id}`, node.id, ...Object.values(node.profile), node.owner, node.key].join(" ").toLowerCase(),
  };
}

function heading([key, column]) {
  const [sorted, up] = order;
  const arrow = sorted === key ? (up ? " ↑" : " ↓") : "";
  const click = () => {
    order = [key, sorted === key ? !up : Boolean(column.up)];
    show(known);
  };
  const sort = sorted === key ? (up ? "ascending" : "descending") : null;
  return h("th", { scope: "col", class: column.num ? "num" : null, "aria-sort": sort },
    h("button", { type: "button", "data-column": key, onclick: click }, column.title + arrow));
}

function tableRow({ node, name, deeds, success, speed }) {
  const { profile } = node;
  const places = [profile.location, profile.contact].filter(Boolean).join(" · ");
  const stake = total(node);
  const state = { active: "good", inactive: "quiet", jailed: "bad", "in debt": "bad" }[node.state] ?? "quiet";
  return h("tr", {},
    cell("Node", {}, h("div", { class: "who" },
      h("span", {}, h("b", {}, name), h("span", { class: "muted" }, ` #${node.id}`)),
      profile.description ? h("p", {}, profile.description) : null,
      profile.site || places ? h("p", {}, profile.site ? site(profile.site) : null, profile.site && places ? " · " : null, places) : null,
      h("p", {}, "owner ", address(node.owner)))),
    cell("Stake", { class: "num", title: `own ${cai(node.own)}, votes ${cai(node.votes)}` },
      h("div", {}, `${short(stake.toString())} CAI`,
        h("small", { class: "muted" }, h("br"), node.votes === "0" ? "no votes yet" : `${number(node.votes, 2)} of it votes`), node.votes === "0" ? null : split(node, stake))),
    cell("Commission", { class: "num" }, h("span", {}, percent(node.commission_bps),
      node.next_commission_at ? h("small", { class: "muted" }, h("br"), `then ${percent(node.next_commission_bps)}`) : null)),
    cell("State", {}, h("span", {}, tag(state, node.state), node.jailed_until ? h("small", { class: "muted" }, ` ${left(node.jailed_until)}`) : null,
      ...node.slashes.map(slash))),
    role === "miner" ? cell("Success", { class: "num" }, success === null ? h("span", { class: "muted" }, "no work yet")
      : h("span", {}, `${Math.round(success * 100)} %`, h("small", { class: "muted" }, h("br"), `${deeds.done} of ${deeds.done + deeds.lost}`))) : null,
    role === "miner" ? cell("Speed", { class: "num" }, speed === null ? "–"
      : h("span", {}, seconds(speed), h("small", { class: "muted" }, h("br"), "a picture"))) : null,
    cell("", { class: "end" }, h("a", { class: "button", href: `#stake?node=${node.id}`, "aria-label": `Vote for ${name}` }, "Vote")));
}

const slash = ({ slashed, at, why, transaction }) =>
  h("small", { class: "slash" }, h("br"), BigInt(slashed) ? `slashed ${number(slashed, 2)} CAI` : "jailed",
    ` on ${new Date(at * 1000).toLocaleDateString()}: ${why} `, address(transaction));

const left = (until) => {
  const seconds_ = until - Date.now() / 1000;
  return seconds_ > 0 ? `free in ${span(seconds_)}` : "may return";
};

function split(node, stake) {
  const bar = h("span", { class: "split-bar", "aria-hidden": "true" }, h("i"), h("i"));
  const own = stake ? Number((BigInt(node.own) * 100n) / stake) : 0;
  bar.children[0].style.width = `${own}%`;
  bar.children[1].style.width = `${100 - own}%`;
  return bar;
}
