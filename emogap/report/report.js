// Filters over cards, and what is folded away opened by a link or all at once. Without it the page is a list.
"use strict";

function filtered(deck) {
  const cards = [...deck.querySelectorAll(".card")];
  const chosen = {};
  const bar = Object.assign(document.createElement("form"), { className: "filter", onsubmit: () => false });
  const count = document.createElement("output");
  const fits = (element, keys) => keys.every((key) => !chosen[key] || element.dataset[key] === chosen[key]);

  function show() {
    for (const card of cards) {
      const replies = [...card.querySelectorAll(".reply")];
      for (const reply of replies) reply.hidden = !fits(reply, [deck.dataset.by, "verdict"]);
      card.hidden = !fits(card, ["emotion"]) || replies.every((reply) => reply.hidden);
    }
    if (Object.values(chosen).some(Boolean)) deck.querySelector(".further")?.setAttribute("open", "");
    count.textContent = `${cards.filter((card) => !card.hidden).length} of ${cards.length} cards`;
  }

  for (const key of [deck.dataset.by, "emotion", "verdict"]) {
    const values = new Set([...deck.querySelectorAll(`[data-${key}]`)].map((element) => element.dataset[key]));
    values.delete("");
    if (values.size < 2) continue;
    const select = document.createElement("select");
    select.append(new Option(`every ${key}`, ""), ...[...values].map((value) => new Option(value, value)));
    select.setAttribute("aria-label", `Show which ${key}`);
    select.oninput = () => { chosen[key] = select.value; show(); };
    bar.append(select);
  }
  bar.append(count);
  deck.prepend(bar);
  show();
}

function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let element = target; element; element = element.parentElement) if (element.tagName === "DETAILS") element.open = true;
  target?.scrollIntoView();
}

function openAll() {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
}

document.querySelectorAll(".deck").forEach(filtered);
const button = { type: "button", textContent: "Open everything, also for print", onclick: openAll };
document.querySelector("nav").append(Object.assign(document.createElement("button"), button));
if (new URLSearchParams(location.search).get("print") === "all") openAll();
addEventListener("hashchange", reveal);
if (location.hash) reveal();
