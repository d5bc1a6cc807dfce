// Keeps a page fresh: when the daemon says that something changed, the page is fetched again and its content exchanged.
// Without this script the page reloads itself every 30 s. What a person is about to use is left alone.
"use strict";
(() => {
  if (!window.EventSource || location.pathname === "/login") return;
  let busy = false;
  const inUse = (main) => {
    const at = document.activeElement;
    const selected = String(document.getSelection() || "") !== "";
    return selected || (at && main.contains(at) && ["INPUT", "SELECT", "BUTTON"].includes(at.tagName));
  };
  const refresh = async () => {
    const main = document.getElementById("content");
    if (busy || !main || document.hidden || inUse(main)) return;
    busy = true;
    try {
      const answer = await fetch(location.pathname + location.search, { cache: "no-store", credentials: "same-origin" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const content = fresh.getElementById("content");
      if (!content || inUse(main)) return;
      for (const open of main.querySelectorAll("details[id][open]")) {
        const same = content.querySelector("#" + CSS.escape(open.id));
        if (same) same.setAttribute("open", "");
      }
      const focused = document.activeElement && main.contains(document.activeElement) && document.activeElement.id;
      main.replaceWith(document.adoptNode(content));
      const head = fresh.querySelector("header.masthead");
      const old = document.querySelector("header.masthead");
      if (head && old) old.replaceWith(document.adoptNode(head));
      if (focused) document.getElementById(focused)?.focus();
    } finally {
      busy = false;
    }
  };
  new EventSource("/events").addEventListener("changed", refresh);
  document.addEventListener("visibilitychange", refresh);
})();
