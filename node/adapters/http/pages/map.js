// The map: this coordinator in the middle, everybody else around it, and what passes between them.

import { s, short } from "./dom.js";
import { nameOf } from "./known.js";

const WIDE = { width: 820, height: 520 };
const NARROW = { width: 440, height: 470 };
const NARROW_PX = 520;
const MAX_DRAWN = 96;
const MAX_NAMED = 18;
const MAX_NUMBERED = 40;
const MAX_SPARKS = 160;
const MAX_OFFERED_ELSEWHERE = 12;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class NetworkMap {
  constructor(parent) {
    this.links = s("g", { class: "links" });
    this.sparks = s("g", { class: "sparks" });
    this.nodes = s("g");
    this.title = s("title", {}, "The network");
    this.svg = s("svg", { role: "img" }, this.title, this.links, this.sparks, this.nodes);
    parent.append(this.svg);
    this.places = new Map();
    this.working = new Map();
    this.drawn = "";
    this.measure(parent.clientWidth);
    new ResizeObserver(() => this.measure(parent.clientWidth)).observe(parent);
  }

  /** Fit the drawing to its place: names stay readable on a phone. */
  measure(pixels) {
    const size = pixels && pixels < NARROW_PX ? NARROW : WIDE;
    if (size === this.size) return;
    this.size = size;
    this.centre = { x: size.width / 2, y: size.height / 2 };
    this.svg.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
    this.drawn = "";
    if (this.network) this.show(this.network);
  }

  /** Show who is here. Only what changed moves. */
  show(network) {
    this.network = network;
    const others = network.members.filter((member) => member.id !== network.own_id);
    const shown = others.slice(0, MAX_DRAWN).sort((a, b) => a.id - b.id);
    const here = others.filter((member) => member.here).length;
    this.title.textContent = `Map: this coordinator and ${here} connected miners of ${network.registered} registered nodes`;
    const key = JSON.stringify([network.own_id, shown.map((member) => [member.id, nameOf(member.id), member.stake])]);
    if (key !== this.drawn) {
      this.drawn = key;
      this.layOut(network, shown);
    }
    for (const member of shown) this.refresh(member);
  }

  layOut(network, shown) {
    this.links.replaceChildren();
    this.nodes.replaceChildren();
    this.places.clear();
    const most = shown.reduce((sum, member) => (member.role === "miner" ? Math.max(sum, Number(member.stake)) : sum), 1);
    const isCrowd = shown.length > MAX_NUMBERED;
    const margin = shown.length > MAX_NAMED ? { x: 34, y: 34 } : { x: this.size === WIDE ? 92 : 56, y: 74 };
    shown.forEach((member, index) => {
      const angle = -Math.PI / 2 + (2 * Math.PI * (index + 0.5)) / shown.length;
      const reach = isCrowd && index % 2 ? 0.66 : 1;
      const x = this.centre.x + Math.cos(angle) * (this.size.width / 2 - margin.x) * reach;
      const y = this.centre.y + Math.sin(angle) * (this.size.height / 2 - margin.y) * reach;
      const base = isCrowd ? 7 : 13;
      const radius = member.role === "miner" ? base + base * 0.9 * Math.sqrt(Number(member.stake) / most) : base * 1.6;
      this.place(member, x, y, radius, { numbered: !isCrowd, named: shown.length <= MAX_NAMED });
    });
    const own = network.members.find((member) => member.id === network.own_id);
    this.hub = s("g", { class: "node hub", transform: `translate(${this.centre.x} ${this.centre.y})` },
      s("path", { d: hexagon(40), class: "body" }),
      s("path", { d: hexagon(40), class: "wave" }),
      s("rect", { x: -82, y: 46, width: 164, height: 40, class: "back" }), // no line runs through the words
      s("text", { class: "inside", y: 5 }, own ? `#${own.id}` : "…"),
      s("text", { class: "name", y: 62 }, own ? nameOf(own.id) : "this coordinator"),
      s("text", { class: "small", y: 79 }, own ? `${short(own.stake)} CAI · this coordinator` : "not active yet"));
    this.nodes.append(this.hub);
  }

  place(member, x, y, radius, { numbered, named }) {
    const link = s("line", { x1: this.centre.x, y1: this.centre.y, x2: x, y2: y });
    const body = member.role === "miner" ? s("circle", { r: radius, class: "body" }) : s("path", { d: hexagon(radius), class: "body" });
    const group = s("g", { class: `node ${member.role}`, transform: `translate(${x} ${y})` },
      s("title"), body, member.role === "miner" ? s("circle", { r: radius + 5, class: "turning" }) : null,
      numbered ? s("text", { class: "inside", y: 4 }, `${member.id > 99 ? "" : "#"}${member.id}`) : null);
    if (named) {
      const above = y < this.centre.y - 20;
      group.append(
        s("text", { class: "name", y: above ? -radius - 24 : radius + 20 }, clip(nameOf(member.id))),
        s("text", { class: "small", y: above ? -radius - 9 : radius + 35 }, `${short(member.stake)} CAI`));
    }
    this.links.append(link);
    this.nodes.append(group);
    this.places.set(member.id, { x, y, group, link, member });
  }

  refresh(member) {
    const place = this.places.get(member.id);
    if (!place) return;
    place.member = member;
    place.link.classList.toggle("on", member.here);
    place.group.classList.toggle("away", !member.here);
    place.group.classList.toggle("off", !member.active);
    const busy = member.here && member.places !== undefined && member.free < member.places;
    place.group.classList.toggle("busy", busy || this.isWorking(member.id));
    const state = !member.active ? "inactive" : member.here ? (busy ? "drawing" : "free") : "not connected here";
    place.group.querySelector("title").textContent =
      `${nameOf(member.id)} (${member.role} ${member.id}): ${short(member.stake)} CAI, ${state}`;
  }

  /** Who works is told anew. */
  forget() {
    this.working.clear();
    for (const place of this.places.values()) this.refresh(place.member);
  }

  isWorking(id) {
    return [...this.working.values()].includes(id);
  }

  /** Draw one step of a task. */
  happened(step) {
    const place = this.places.get(step.miner);
    const other = this.places.get(step.coordinator);
    if (step.name === "task.awarded") this.working.set(step.task, step.miner);
    if (["result.received", "task.done", "task.failed", "task.lease_expired", "task.abandoned"].includes(step.name)) {
      this.working.delete(step.task);
    }
    if (place) this.refresh(place.member);
    if (document.hidden || calm.matches) return;
    switch (step.name) {
      case "task.offered":
        this.wave();
        for (const other of this.places.values()) {
          if (other.member.here) this.spark("offer", this.centre, other, 700);
        }
        break;
      case "claim.received":
        if (place) this.spark("claim", place, this.centre, 550);
        break;
      case "task.awarded":
        if (place) this.spark("award", this.centre, place, 650);
        break;
      case "result.received":
        if (place) this.spark("result", place, this.centre, 800);
        break;
      case "heard.offered":
        if (other) this.offerFrom(other);
        break;
      case "heard.awarded":
        if (place && other) this.spark("award", other, place, 650);
        break;
      default:
    }
  }

  wave() {
    this.hub?.querySelector(".wave").animate(
      [{ transform: "scale(1)", opacity: 0.8 }, { transform: "scale(2.1)", opacity: 0 }], { duration: 900, easing: "ease-out" });
  }

  /** Another coordinator offers to everybody: towards a few of them, as many coordinators may do so at once. */
  offerFrom(coordinator) {
    const miners = [...this.places.values()].filter((place) => place.member.role === "miner");
    for (const miner of miners.slice(0, MAX_OFFERED_ELSEWHERE)) this.spark("offer", coordinator, miner, 700);
  }

  spark(kind, from, to, duration) {
    if (this.sparks.childElementCount >= MAX_SPARKS) return;
    const dot = s("circle", { r: kind === "offer" ? 3.5 : 6, class: `spark ${kind}` });
    this.sparks.append(dot);
    const path = [
      { transform: `translate(${from.x}px, ${from.y}px)`, opacity: 0.2 },
      { opacity: 1, offset: 0.15 },
      { opacity: 1, offset: 0.85 },
      { transform: `translate(${to.x}px, ${to.y}px)`, opacity: 0 },
    ];
    dot.animate(path, { duration, easing: "ease-in-out", fill: "both" }).finished.finally(() => dot.remove());
  }
}

function hexagon(radius) {
  const corners = [0, 1, 2, 3, 4, 5].map((corner) => {
    const angle = (Math.PI / 3) * corner - Math.PI / 2;
    return `${(Math.cos(angle) * radius).toFixed(1)} ${(Math.sin(angle) * radius).toFixed(1)}`;
  });
  return `M${corners.join("L")}Z`;
}

const clip = (text) => (text.length > 18 ? `${text.slice(0, 17)}…` : text);
