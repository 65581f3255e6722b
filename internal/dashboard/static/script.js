// Keeps an open page current, shows times in the viewer's zone, and copies. Every page
// works without it.
(() => {
  "use strict";
  const known = new Map(); // the sections as the server last sent them, by id
  let failing = null; // since when the server has not answered
  let timer = 0;

  const main = () => document.getElementById("main");

  // Times of day are the server's, in UTC, until they are made the viewer's here.
  function localize(root) {
    const now = new Date();
    for (const el of root.querySelectorAll("time[data-form=time], time[data-form=date]")) {
      const at = new Date(el.dateTime);
      const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
      const day = { day: "numeric", month: "short" };
      if (el.dataset.form === "date") {
        el.textContent = at.toLocaleString("en-GB", { day: "numeric", month: "long", year: "numeric", ...time, second: "2-digit" });
      } else if (at.toDateString() === now.toDateString()) {
        el.textContent = at.toLocaleTimeString("en-GB", time);
      } else {
        el.textContent = at.toLocaleDateString("en-GB", day) + ", " + at.toLocaleTimeString("en-GB", time);
      }
    }
  }

  function prepare(root) {
    localize(root);
    if (navigator.clipboard) {
      for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
    }
  }

  const sections = (root) => [...root.querySelectorAll("[id]")].filter((el) => el.parentElement === root);

  function remember(root) {
    known.clear();
    for (const el of sections(root)) known.set(el.id, el.outerHTML);
  }

  // What names the focused element in the page that takes this one's place.
  function nameOf(el) {
    if (!el || el === document.body || !main().contains(el)) return null;
    const all = [...main().querySelectorAll("a, button, input, [tabindex]")];
    const same = (x) => x.tagName === el.tagName && x.getAttribute("href") === el.getAttribute("href") && x.textContent === el.textContent;
    const alike = all.filter(same);
    return { same, nth: alike.indexOf(el), section: el.closest("[id]") };
  }

  function refocus(name) {
    if (!name || main().contains(document.activeElement)) return;
    const alike = [...main().querySelectorAll("a, button, input, [tabindex]")].filter(name.same);
    const el = alike[name.nth] || alike[0] || (name.section && document.getElementById(name.section.id));
    if (el) el.focus({ preventScroll: true });
  }

  function selecting() {
    const s = getSelection();
    return s && !s.isCollapsed && main().contains(s.anchorNode);
  }

  // Only what has changed is taken over, so that scroll, focus and selection stay.
  function swap(text) {
    const next = new DOMParser().parseFromString(text, "text/html").getElementById("main");
    if (!next) throw new Error("not a page of ours"); // what stands before the server says that it is away
    const old = main();
    const focused = nameOf(document.activeElement);
    const said = old.querySelector("#headline");
    const ids = (root) => sections(root).map((el) => el.id).join(" ");
    const alike = old.className === next.className && ids(old) === ids(next) && ids(old) !== "";
    const fresh = new Map(sections(next).map((el) => [el.id, el.outerHTML]));
    if (alike) {
      for (const el of sections(next)) {
        if (known.get(el.id) === fresh.get(el.id)) continue;
        const place = document.getElementById(el.id);
        prepare(el);
        place.replaceWith(el);
      }
      old.dataset.poll = next.dataset.poll;
    } else {
      prepare(next);
      old.replaceWith(next);
    }
    known.clear();
    for (const [id, html] of fresh) known.set(id, html);
    document.title = next.dataset.title || document.title;
    refocus(focused);
    if (failing) notice(""); // before what is said aloud
    announce(said);
  }

  // A change of state is said aloud; the minutes that pass are not.
  function announce(before) {
    const after = document.getElementById("headline");
    if (before && after && before.dataset.state !== after.dataset.state) notice(after.textContent, true);
  }

  function notice(text, unseen) {
    const el = document.getElementById("notice");
    el.textContent = text;
    el.classList.toggle("hidden", Boolean(unseen));
    el.hidden = !text;
  }

  async function refresh() {
    if (document.hidden || selecting() || document.querySelector("[aria-busy=true]")) return;
    let answer;
    try {
      answer = await fetch(location.href, { headers: { "X-Dashboard-Poll": "1" }, cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(20000) });
      if (answer.status === 401) return location.reload();
      const text = await answer.text();
      if (document.querySelector("[aria-busy=true]")) return;
      swap(text);
      failing = null;
    } catch {
      failing = failing || new Date();
      notice("The server has not answered since " + failing.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" }) + "; what you see is from before. Trying again.");
    }
  }

  function schedule() {
    clearTimeout(timer);
    const seconds = Number(main().dataset.poll);
    if (!seconds) return;
    timer = setTimeout(async () => { await refresh(); schedule(); }, seconds * 1000);
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });

  // A run may take a minute: its button says so, and is not pressed twice.
  document.addEventListener("submit", (event) => {
    const button = event.target.querySelector("[data-busy]");
    if (!button) return;
    if (button.getAttribute("aria-busy") === "true") return event.preventDefault();
    button.setAttribute("aria-busy", "true");
    button.textContent = button.dataset.busy;
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && Number(main().dataset.poll)) refresh(); });

  remember(main());
  prepare(document);
  schedule();
})();
